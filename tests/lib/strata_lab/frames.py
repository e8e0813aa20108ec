"""Kafka's framing by hand, for what no client library would send: broken, huge and unfinished frames."""

import socket
import struct

API_VERSIONS = 18
ANSWERED_WITHIN = 30.0


def request(api_key: int, api_version: int, body: bytes = b"", correlation: int = 7, client: bytes = b"lab") -> bytes:
    """A whole frame with request header v1."""
    head = struct.pack(">hhih", api_key, api_version, correlation, len(client)) + client
    return struct.pack(">i", len(head) + len(body)) + head + body


def connect(address: tuple[str, int], seconds: float = ANSWERED_WITHIN) -> socket.socket:
    connection = socket.create_connection(address, timeout=seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection: socket.socket) -> bytes:
    """The next frame without its length; raises ConnectionError when the other side closed."""
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(count)
        if not part:
            raise ConnectionError("closed by the other side")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def api_versions(connection: socket.socket) -> dict[int, tuple[int, int]]:
    """One ApiVersions v0 round trip: API key to (lowest, highest) version."""
    connection.sendall(request(API_VERSIONS, 0))
    answer = receive(connection)
    correlation, error, count = struct.unpack_from(">ihi", answer)
    assert (correlation, error) == (7, 0), f"ApiVersions answered correlation {correlation}, error {error}"
    triples = (struct.unpack_from(">hhh", answer, 10 + 6 * n) for n in range(count))
    return {key: (lowest, highest) for key, lowest, highest in triples}


def answers(address: tuple[str, int]) -> bool:
    """True when a broker there answers ApiVersions."""
    try:
        with connect(address, 2.0) as connection:
            return bool(api_versions(connection))
    except (OSError, struct.error):
        return False


def closed_by_peer(connection: socket.socket, seconds: float = ANSWERED_WITHIN) -> bool:
    """Reads on until the other side closes; False when it has not done so in time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True

"""Frames that no honest client sends: each closes its own connection and nothing else."""

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from strata_lab import frames, traffic, waiting
from strata_lab.broker import Broker

METADATA, PRODUCE, FETCH = 3, 0, 1


@pytest.fixture(autouse=True)
def another_client_goes_on(broker: Broker) -> Iterator[None]:
    """A connection opened before still answers afterwards, and so does a new one."""
    with frames.connect(broker.address) as before:
        assert frames.api_versions(before)
        yield
        assert frames.api_versions(before)
    assert frames.answers(broker.address)


def resident_bytes(broker: Broker) -> int:
    pages = int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(struct.pack(">i", -1), id="negative-length"),
        pytest.param(struct.pack(">i", 0x7FFF_FFFF) + b"x" * 64, id="two-gigabytes-announced"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: strata\r\n\r\n", id="http"),
        pytest.param(bytes.fromhex("160301020001000001fc0303") + b"\0" * 64, id="tls-hello"),
        pytest.param(struct.pack(">i", 2) + b"\0\x12", id="frame-without-a-head"),
        pytest.param(frames.request(999, 0), id="unknown-api"),
        pytest.param(frames.request(METADATA, 1, struct.pack(">i", 0x7FFF_FFF0)), id="array-of-two-billion"),
        pytest.param(frames.request(PRODUCE, 9, b"\xff\xff\xff\xff\x0f" * 8), id="varints-that-lie"),
        pytest.param(frames.request(FETCH, 4, b"\0" * 3), id="body-cut-short"),
    ],
)
def test_a_malformed_frame_closes_that_connection_only(broker: Broker, raw: bytes) -> None:
    with frames.connect(broker.address) as hostile:
        hostile.sendall(raw)
        assert frames.closed_by_peer(hostile), "the connection is still open"


@pytest.mark.strata
def test_an_announced_frame_costs_only_what_was_received(broker: Broker) -> None:
    before = resident_bytes(broker)
    connections = [frames.connect(broker.address) for _ in range(64)]
    for connection in connections:
        # 100 MiB is allowed (socket.request.max.bytes); what was announced must not be what is allocated.
        connection.sendall(struct.pack(">i", 100 << 20) + b"\0" * 1000)
    with frames.connect(broker.address) as other:
        assert frames.api_versions(other)
    grown = resident_bytes(broker) - before
    assert grown < 64 << 20, f"64 connections that announced 100 MiB each and sent 1 KB cost {grown >> 20} MiB"
    for connection in connections:
        connection.close()


def test_a_frame_that_is_never_completed_does_not_hold_up_others(broker: Broker, topic: str) -> None:
    with frames.connect(broker.address) as hanging:
        hanging.sendall(frames.request(frames.API_VERSIONS, 0)[:-2])
        traffic.produce(broker.bootstrap, topic, [{"value": b"%d" % n} for n in range(100)])
        assert len(traffic.read_all(broker.bootstrap, topic, range(3))) == 100


@pytest.mark.strata
def test_a_frame_that_is_never_completed_is_given_up(broker: Broker) -> None:
    with frames.connect(broker.address) as hanging:
        hanging.sendall(frames.request(frames.API_VERSIONS, 0)[:-2])
        assert frames.closed_by_peer(hanging, seconds=60), "half a frame keeps its connection for ever"


def test_an_unsupported_version_of_api_versions_is_answered_in_version_0(broker: Broker) -> None:
    with frames.connect(broker.address) as connection:
        connection.sendall(frames.request(frames.API_VERSIONS, 99, b"\0"))  # the byte ends a flexible head
        answer = frames.receive(connection)
        correlation, error = struct.unpack_from(">ih", answer)
        assert (correlation, error) == (7, 35)


def test_requests_sent_at_once_are_answered_in_order(broker: Broker) -> None:
    with frames.connect(broker.address) as connection:
        connection.sendall(b"".join(frames.request(frames.API_VERSIONS, 0, correlation=n) for n in range(50)))
        answered = [struct.unpack_from(">i", frames.receive(connection))[0] for _ in range(50)]
    assert answered == list(range(50))


def test_random_bytes_never_stop_the_broker(broker: Broker) -> None:
    seed = int(os.environ.get("STRATA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"STRATA_TEST_SEED={seed}")
    rng = random.Random(seed)
    pid = broker.pid
    keys = sorted(frames.api_versions(frames.connect(broker.address)))
    for _ in range(300):
        body = rng.randbytes(rng.randrange(0, 200))
        with frames.connect(broker.address) as hostile:
            # A broker may close while we still send.
            try:
                hostile.sendall(frames.request(rng.choice(keys), rng.randrange(0, 14), body))
            except ConnectionError:
                continue
    waiting.until(lambda: frames.answers(broker.address), "the broker to answer")
    assert broker.pid == pid and broker.child is not None and broker.child.running()

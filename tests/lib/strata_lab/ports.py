"""Free ports of 127.0.0.1."""

import socket

# Handed out once per process: the kernel could give the same free port twice before its first user binds it.
_given: set[int] = set()


def free() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port

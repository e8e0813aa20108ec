"""A TCP proxy on 127.0.0.1 that can be cut: the network between a broker and its store, as a switch.

`cut` closes what is open and refuses what comes; `hold` keeps every connection open and lets no byte through, as a store
that hangs; `mend` ends both. It forwards bytes and looks at none. Per connection one thread for each direction.
"""

import contextlib
import socket
import threading


class Proxy:
    def __init__(self, target_port: int):
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut_now = threading.Event()
        self.flowing = threading.Event()
        self.flowing.set()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.connections = 0
        self.refused = 0
        self.bytes_from_target = 0
        self.cut_after: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        self.cut_now.set()
        with self.lock:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.open.clear()

    def cut_after_bytes(self, count: int) -> None:
        """Cuts by itself once so many further bytes came from the target: in the middle of whatever is under way."""
        self.cut_after = self.bytes_from_target + count

    def hold(self) -> None:
        self.flowing.clear()

    def mend(self) -> None:
        self.flowing.set()
        self.cut_after = None
        self.cut_now.clear()

    def close(self) -> None:
        self.flowing.set()
        self.cut()
        self.listener.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.cut_now.is_set():
                self.refused += 1
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self.connections += 1
            with self.lock:
                self.open |= {near, far}
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_target: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                if from_target:
                    self.bytes_from_target += len(data)
                    if self.cut_after is not None and self.bytes_from_target >= self.cut_after:
                        self.cut()
                        break
                sink.sendall(data)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self.lock:
            self.open -= {source, sink}
        source.close()

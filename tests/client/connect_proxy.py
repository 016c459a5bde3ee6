"""An HTTP proxy that forwards every CONNECT to one server, whichever name the client asks for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class ConnectProxy:
    """A proxy on a free port of this machine."""

    def __init__(self, listener: socket.socket, server: tuple[str, int]) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.requested: list[str] = []
        """The `host:port` of every CONNECT, in order."""
        self._listener = listener
        self._server = server
        self._sockets: list[socket.socket] = []

    @classmethod
    @contextlib.contextmanager
    def running(cls, port: int) -> Iterator[ConnectProxy]:
        """Run a proxy to this port of this machine."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            proxy = cls(listener, ("localhost", port))
            threading.Thread(target=proxy._accept, daemon=True).start()
            try:
                yield proxy
            finally:
                for each in proxy._sockets:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                    each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            received = client.recv(4096)
            if not received:
                return
            request += received
        self.requested.append(request.split()[1].decode())
        server = socket.create_connection(self._server)
        self._sockets.append(server)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        _pump(server, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)

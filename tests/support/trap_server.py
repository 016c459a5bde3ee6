"""A web server of a private network, which records every request."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "internal-secret-Zq81"
"""Text of the answer that no user may see."""


class TrapServer(ThreadingHTTPServer):
    """Answers every request, and records its path and headers."""

    daemon_threads = True

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        """Open the server on a free port of this machine; `running` starts it."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.content_type, self.body = status, content_type, body
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    @classmethod
    @contextmanager
    def running(
        cls, status: int = 200, content_type: str = "text/plain", body: bytes = SECRET.encode()
    ) -> Iterator[TrapServer]:
        """Run a server while the context is open."""
        with cls(status, content_type, body) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: TrapServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers.items())))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_PUT = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

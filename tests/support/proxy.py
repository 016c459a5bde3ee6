"""A TCP proxy in front of the database, Redis or the service. It can drop all data or cut a connection."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 256 * 1024
_PREPARED = re.compile(rb"PREPARE (\w+) AS ([^;\0]*)")


class Proxy:
    """Forwards connections to a server, and causes network faults on request."""

    def __init__(self, url: str) -> None:
        """Listen, and forward to the host and port of `url`."""
        self._parts = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._connections: set[_Connection] = set()
        self._forwarding = threading.Event()
        self._forwarding.set()
        self._cut_after: bytes | None = None
        self._cutting = threading.Lock()
        """Guards `_cut_after`. Not `_lock`: under it, `reset_connections` waits for threads that inspect."""
        self._lock = threading.Lock()
        self.cuts = 0
        """Number of connections that `cut_commit_after` has cut."""
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server through this proxy."""
        user = f"{self._parts.username}:{self._parts.password}@" if self._parts.username else ""
        port = self._listener.getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    def blackhole(self) -> None:
        """Stop forwarding. Connections stay open and new ones are accepted, but no data arrives."""
        self._forwarding.clear()

    def recover(self) -> None:
        """Forward again, including the data held back."""
        self._forwarding.set()

    def forget_connections(self) -> None:
        """Drop all data on the existing connections forever, without closing them. New connections work."""
        with self._lock:
            for connection in self._connections:
                connection.forgotten = True

    def cut_connections(self) -> None:
        """Close the existing connections. New connections work."""
        with self._lock:
            for connection in list(self._connections):
                connection.close()

    def reset_connections(self, last_data: bytes) -> None:
        """Send last data to the clients, and reset their connections before they can read it.

        New connections work.
        """
        with self._lock:
            for connection in list(self._connections):
                connection.reset(last_data)

    def cut_commit_after(self, statement: bytes) -> None:
        """Cut the first connection that commits a transaction in which a statement has this text.

        PostgreSQL receives the COMMIT and executes it. Its answer is lost.
        """
        self._cut_after = statement

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        self.recover()
        self.cut_connections()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        self._forwarding.wait()
        try:
            server = socket.create_connection((self._parts.hostname or "", self._parts.port or 0))
        except OSError:
            client.close()
            return
        connection = _Connection(client, server)
        with self._lock:
            self._connections.add(connection)
        threading.Thread(target=self._pump, args=(connection, client, server), daemon=True).start()
        self._pump(connection, server, client)
        with self._lock:
            self._connections.discard(connection)

    def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._forwarding.wait()
                if connection.forgotten:
                    continue
                if source is connection.client:
                    self._inspect(connection, data)
                elif connection.cutting:
                    self.cuts += 1
                    break
                sink.sendall(data)
        if source is connection.client:
            connection.client_read.set()
        if not connection.forgotten:
            connection.close()

    def _inspect(self, connection: _Connection, data: bytes) -> None:
        connection.prepared.update(_PREPARED.findall(data))
        with self._cutting:
            if self._cut_after is None:
                return
            if b"BEGIN" in data:
                connection.marked = False
            wanted = [self._cut_after]
            wanted += [b"EXECUTE " + name for name, text in connection.prepared.items() if wanted[0] in text]
            statements = _PREPARED.sub(b"", data)
            if any(each in statements for each in wanted):
                connection.marked = True
            if connection.marked and b"COMMIT" in data:
                self._cut_after = None
                connection.cutting = True


class _Connection:
    """One forwarded connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.forgotten = False
        self.marked = False
        """Its transaction has the statement that `cut_commit_after` waits for."""
        self.prepared: dict[bytes, bytes] = {}
        """The statements that it has prepared, by name."""
        self.cutting = False
        self.client_read = threading.Event()
        """Set when nothing more is read from the client."""

    def close(self) -> None:
        """Close both sides."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def reset(self, last_data: bytes) -> None:
        """Send last data to the client and reset its connection, and close the server's side."""
        # Otherwise a thread that still reads would end the connection in an orderly way.
        self.forgotten = True
        # Without time to linger, `close` resets the connection.
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.sendall(last_data)
        self.client.shutdown(socket.SHUT_RD)
        self.client.close()
        # The kernel closes the connection when no thread reads from it.
        self.client_read.wait()
        self.close()

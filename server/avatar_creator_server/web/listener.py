"""The listener of the web port: HTTP/1.1 by uvicorn, in the event loop of the server, with limits.

uvicorn's own `Server` is not used: it takes over the signals of the process, and wakes up ten times a second.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from avatar_creator_server.web.messages import AsgiApplication, Receive, Scope, Send

_HEADER_SECONDS = 10.0
"""Time in which a connection must send the whole head of its next request, once it has begun to send it; and
time for the handshake of TLS."""
_SILENCE_SECONDS = 30
"""Time after which the system asks a silent client whether it is still there, and after which it closes the
connection of a client that does not take what was sent."""
_ACCEPT_PAUSE_SECONDS = 0.05
_PROBES = 3
_PROBE_SECONDS = 10
_MAX_HEAD_BYTES = 64 * 1024
"""Size of the head of a request from which it is refused, as on the gRPC port."""
_CONNECTION = "connection"
"""Key of the connection in the state of its requests."""

_SOCKET_OPTIONS = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", _SILENCE_SECONDS),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _PROBE_SECONDS),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", _SILENCE_SECONDS * 1000),
    )
    if hasattr(socket, name)  # macOS has other ones
)
"""tcp(7): a dead client is found within a minute, and one that takes nothing within half a minute."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections of one listener."""

    connections: int
    """Maximum number of open connections. More are closed at once."""
    idle_seconds: float
    """Time after which a connection without a request is closed."""


class _Connection(H11Protocol):
    """One connection of a client."""

    def __init__(self, listener: Listener, begin: asyncio.Task[None] | None) -> None:
        super().__init__(listener.config, listener.state, {})
        self._listener = listener
        self._begin = begin
        self._head_limit: asyncio.TimerHandle | None = None
        self._ends_with_client: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to receive requests."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._listener.count_begun(self._begin)
        self.app_state[_CONNECTION] = self
        self._limit_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and end the answers that nothing reads."""
        self._end_head_limit()
        super().connection_lost(exc)
        for task in self._ends_with_client:
            task.cancel()

    async def answer(self, application: AsgiApplication, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and return when the client has taken the answer."""
        task = asyncio.current_task()
        # Only those who read a request hear from uvicorn that its client is gone. Calls read, and end
        # themselves.
        if task is not None and scope["method"] != "POST":
            self._ends_with_client.add(task)
            task.add_done_callback(self._ends_with_client.discard)
        await application(scope, receive, send)
        # uvicorn waits before it sends, and not after. A call counts until its answer is taken.
        await self.flow.drain()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        self.server_state.default_headers = self._listener.answer_headers()
        super().data_received(data)
        if self._is_busy:
            self._end_head_limit()
        else:
            self._limit_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and close the connection."""
        headers = [
            *self._listener.answer_headers(),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(data=msg.encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # the answer to a request has begun already
            self.transport.abort()
            return
        self.transport.close()

    @property
    def _is_busy(self) -> bool:
        """True while a request is answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_head(self) -> None:
        if self._head_limit is None and not self.transport.is_closing():
            self._head_limit = self.loop.call_later(_HEADER_SECONDS, self._close_if_slow)

    def _end_head_limit(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None

    def _close_if_slow(self) -> None:
        self._head_limit = None
        if not self._is_busy:
            self.transport.abort()


class Listener:
    """Accepts the connections of the web port, and ends them."""

    def __init__(
        self,
        application: AsgiApplication,
        sockets: Sequence[socket.socket],
        *,
        limits: Limits,
        headers: Sequence[tuple[bytes, bytes]],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Create a listener that accepts nothing yet.

        Args:
            application: Answers the requests.
            sockets: The sockets, which listen already.
            limits: The limits of the connections.
            headers: The headers that each answer has.
            tls: The certificate and its key; None without TLS.
        """
        self._application = application
        self._limits = limits
        self.state = ServerState()
        self.config = uvicorn.Config(
            self._answer,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=round(limits.idle_seconds),
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            # Without it, a request could see the user of the last one (https://github.com/python/cpython/issues/140947).
            reset_contextvars=True,
        )
        self._sockets = sockets
        self._headers = list(headers)
        self._dated: list[tuple[bytes, bytes]] = []
        self._second = 0
        self._tls = tls
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()
        """Connections whose handshake of TLS has not ended."""

    def answer_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of each answer, with the current date."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._dated = [(b"date", formatdate(second, usegmt=True).encode()), *self._headers]
        return self._dated

    def count_begun(self, begin: asyncio.Task[None] | None) -> None:
        """Count a connection no longer as one that begins: from now on it is one of those in `state`."""
        if begin is not None:
            self._beginning.discard(begin)

    async def start(self) -> None:
        """Start to accept connections."""
        # Each line of uvicorn is about what a client has sent, and so any number of them.
        logging.getLogger("uvicorn.error").disabled = True
        self.config.load()
        for each in self._sockets:
            each.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept(each), name="accept-web"))

    async def stop(self, grace_seconds: float) -> None:
        """Answer until no request is left, at most for `grace_seconds`, and close everything."""
        end = time.monotonic() + grace_seconds
        while self.state.tasks and (left := end - time.monotonic()) > 0:
            await asyncio.wait(self.state.tasks, timeout=left)
        tasks = [*self._accepting, *self._beginning, *self.state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.state.connections):
            connection.transport.close()
        for each in self._sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections, one in each turn of the event loop, so that a flood leaves time for calls.

        `loop.create_server` would not count connections before their handshake of TLS has ended.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listening)
            except OSError:  # the client is gone already, or no file is left
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            if len(self.state.connections) + len(self._beginning) < self._limits.connections:
                beginning = loop.create_task(self._begin(connected))
                self._beginning.add(beginning)
                beginning.add_done_callback(self._beginning.discard)
            else:
                connected.close()
            await asyncio.sleep(0)

    async def _begin(self, connected: socket.socket) -> None:
        """Let a connection receive requests, after the handshake of TLS if there is a certificate."""
        begin = asyncio.current_task()
        try:
            for level, option, value in _SOCKET_OPTIONS:
                connected.setsockopt(level, option, value)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Connection(self, begin),
                connected,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _HEADER_SECONDS,
            )
        except OSError:  # also that the handshake failed, or took too long
            connected.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: _Connection = scope["state"][_CONNECTION]
        await connection.answer(self._application, scope, receive, send)

"""One HTTP/2 connection with many gRPC calls at a time, for programs that must cost less than they measure.

It costs about 15 µs of CPU a call, where a client of `grpc.aio` costs as much as the server that it measures.
It reads no headers: an answer with a message is a success, and an error of gRPC comes without one.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping

from tests.support.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    ClosedError,
    frame,
    literal,
)

WINDOW_UPDATE = 8
_PADDED = 8
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
"""Bytes that each side may send at first (RFC 9113, section 6.9.2)."""
_READ_BYTES = 256 * 1024
_STATIC = (3, 6)
"""Places of the method POST and the scheme http in HPACK's table (RFC 7541, appendix A)."""
_FIRST_DYNAMIC = 62
"""Place of the newest header that the server keeps (RFC 7541, section 2.3.3)."""
_HEADER_BYTES = 9
_PREFIX_BYTES = 5
"""Bytes in front of a message of gRPC: a flag and its size."""

Ended = Callable[[int, bool], None]


class Connection:
    """A connection on which any number of calls of one method run at the same time."""

    def __init__(self, target: str, path: str, metadata: Mapping[str, str]) -> None:
        """Connect.

        Args:
            target: Address of the server, `host:port`.
            path: The method, for example `/avatar_creator.v1.AvatarService/GetAvatar`.
            metadata: Metadata of every call.
        """
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers, self._later_headers = _headers(target, path, metadata)
        self._next_id = 1
        self._window = _FIRST_WINDOW
        self._unread = 0
        self._received = bytearray()
        self._out = bytearray()
        self._held: deque[tuple[int, bytes]] = deque()
        self._running: set[int] = set()
        self._with_message: set[int] = set()
        self._parts: dict[int, bytes] = {}
        self.message_bytes = 0
        """Size of all messages received, with their prefixes of five bytes."""
        window = INITIAL_WINDOW_SIZE.to_bytes(2) + _LARGEST_WINDOW.to_bytes(4)
        self._out += PREFACE + frame(SETTINGS, 0, window)
        self._out += frame(WINDOW_UPDATE, 0, (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4))
        self._on_message: Callable[[int], None] = lambda _: None

    def on_message(self, function: Callable[[int], None]) -> None:
        """Call a function with the number of the call whenever a message has arrived."""
        self._on_message = function

    def call(self, message: bytes) -> int:
        """Begin a call with one request, which `flush` sends, and return its number."""
        number, self._next_id = self._next_id, self._next_id + 2
        self._running.add(number)
        self._out += frame(HEADERS, END_HEADERS, self._headers, number)
        self._headers = self._later_headers
        self._held.append((number, b"\x00" + len(message).to_bytes(4) + message))
        return number

    def fileno(self) -> int:
        """Return the descriptor of the socket, for `select`."""
        return self._socket.fileno()

    def read(self, ended: Ended) -> None:
        """Read what has arrived, or wait for bytes, and report the calls that have ended.

        Args:
            ended: Receives the number of each call, and whether it has an answer.

        Raises:
            ClosedError: The server has closed the connection.
        """
        chunk = self._socket.recv(_READ_BYTES)
        if not chunk:
            raise ClosedError
        self._received += chunk
        self._read_frames(ended)
        self.flush()

    def flush(self) -> None:
        """Send the calls that have begun."""
        while self._held and self._window >= len(self._held[0][1]):
            number, data = self._held.popleft()
            self._window -= len(data)
            self._out += frame(DATA, END_STREAM, data, number)
        if self._out:
            self._socket.sendall(self._out)
            self._out.clear()

    def close(self) -> None:
        """Close the connection, which cancels the calls."""
        self._socket.close()

    def _read_frames(self, ended: Ended) -> None:
        received, place = self._received, 0
        while len(received) - place >= _HEADER_BYTES:
            size = int.from_bytes(received[place : place + 3])
            end = place + _HEADER_BYTES + size
            if len(received) < end:
                break
            kind, flags = received[place + 3], received[place + 4]
            number = int.from_bytes(received[place + 5 : place + _HEADER_BYTES])
            self._read_frame(kind, flags, number, bytes(received[place + _HEADER_BYTES : end]), ended)
            place = end
        del received[:place]

    def _read_frame(self, kind: int, flags: int, number: int, payload: bytes, ended: Ended) -> None:
        if kind == DATA:
            if flags & _PADDED:
                raise ValueError("a frame has padding, which gRPC never sends")
            if payload:
                self._take(number, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._out += frame(SETTINGS, ACK, b"")
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, payload)
        elif kind == WINDOW_UPDATE and number == 0:
            self._window += int.from_bytes(payload)
        elif kind == GOAWAY:
            raise ClosedError(payload[8:].decode(errors="replace"))
        is_end = kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM)
        # A server that answers before it has seen the end of the request resets the stream after its end.
        if is_end and number in self._running:
            self._running.discard(number)
            has_message = number in self._with_message
            self._with_message.discard(number)
            ended(number, has_message and kind != RST_STREAM)

    def _take(self, number: int, payload: bytes) -> None:
        self.message_bytes += len(payload)
        self._unread += len(payload)
        if self._unread > _LARGEST_WINDOW // 4:
            self._out += frame(WINDOW_UPDATE, 0, self._unread.to_bytes(4))
            self._unread = 0
        # A frame may have a part of a message, and parts of several.
        received = self._parts.pop(number, b"") + payload
        while len(received) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + int.from_bytes(received[1:_PREFIX_BYTES])
            if len(received) < end:
                break
            received = received[end:]
            self._with_message.add(number)
            self._on_message(number)
        if received:
            self._parts[number] = received


def _headers(target: str, path: str, metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the headers of the first call, which the server keeps, and of later ones: their places."""
    own = {
        ":path": path,
        ":authority": target,
        "te": "trailers",
        "content-type": "application/grpc",
        **metadata,
    }
    static = bytes(0x80 | place for place in _STATIC)
    texts = (b"\x40" + literal(name.encode()) + literal(value.encode()) for name, value in own.items())
    places = bytes(0x80 | (_FIRST_DYNAMIC + place) for place in reversed(range(len(own))))
    return static + b"".join(texts), static + places

"""HTTP/2 frames on a plain socket, for clients that behave as no gRPC library does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
ACK = END_STREAM = 1
END_HEADERS = 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
"""Identifiers of settings (RFC 9113, section 6.5.2)."""

_SECONDS = 10.0
_MAX_FRAME_BYTES = 16_384
"""Maximum payload of a frame that every server accepts (RFC 9113, section 4.2)."""


class ClosedError(Exception):
    """The server has closed the connection."""


@contextmanager
def connected(target: str, sent: bytes = b"", *, seconds: float = _SECONDS) -> Iterator[socket.socket]:
    """Connect, send these bytes, and yield the socket, whose every operation may take `seconds`."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        connection.sendall(sent)
        yield connection


def frame(kind: int, flags: int, payload: bytes, stream_id: int = 0) -> bytes:
    """Return a frame of a stream, or of the connection (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + struct.pack(">BBL", kind, flags, stream_id) + payload


def next_frame(connection: socket.socket) -> tuple[int, int, bytes]:
    """Return the type, the flags and the payload of the next frame.

    Raises:
        ClosedError: The server has closed the connection.
    """
    header = _exactly(connection, 9)
    return header[3], header[4], _exactly(connection, int.from_bytes(header[:3]))


def wait_until_closed(connection: socket.socket) -> None:
    """Read until the server closes the connection."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ClosedError
        received += chunk
    return received


def unary_call(stream_id: int, path: str, message: bytes, metadata: dict[str, str]) -> bytes:
    """Return the frames of a gRPC call with one request."""
    data = b"\x00" + len(message).to_bytes(4) + message
    return call_headers(stream_id, path, metadata) + frame(DATA, END_STREAM, data, stream_id)


def call_headers(
    stream_id: int,
    path: str,
    metadata: dict[str, str],
    *,
    authority: str = "localhost",
    flags: int = 0,
) -> bytes:
    """Return the frames that begin a gRPC call, without compression of its headers (RFC 7541).

    Args:
        stream_id: Number of the call: odd, and larger than those of earlier calls of the connection.
        path: The method.
        metadata: The metadata.
        authority: The name of the server; empty for a call without one.
        flags: Flags of the first frame, besides the end of the headers.
    """
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        **({":authority": authority} if authority else {}),
        "te": "trailers",
        "content-type": "application/grpc",
        **metadata,
    }
    block = b"".join(
        b"\x00" + literal(name.encode()) + literal(value.encode()) for name, value in headers.items()
    )
    parts = [block[start : start + _MAX_FRAME_BYTES] for start in range(0, len(block), _MAX_FRAME_BYTES)]
    return b"".join(
        frame(
            CONTINUATION if number else HEADERS,
            (0 if number else flags) | (END_HEADERS if number == len(parts) - 1 else 0),
            part,
            stream_id,
        )
        for number, part in enumerate(parts)
    )


def literal(value: bytes) -> bytes:
    """Return a literal of HPACK with its length (RFC 7541, sections 5.1 and 5.2)."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, prefix = len(value) - 127, [127]
    while rest >= 128:
        prefix.append(rest % 128 + 128)
        rest //= 128
    return bytes([*prefix, rest]) + value

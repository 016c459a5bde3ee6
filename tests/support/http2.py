"""HTTP/2 frames on a plain socket, for clients that behave as no gRPC library does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1
MAX_CONCURRENT_STREAMS = 3
"""Identifier of the setting (RFC 9113, section 6.5.2)."""

_SECONDS = 10.0


class ClosedError(Exception):
    """The server has closed the connection."""


@contextmanager
def connected(target: str, sent: bytes = b"", *, seconds: float = _SECONDS) -> Iterator[socket.socket]:
    """Connect, send these bytes, and yield the socket, whose every operation may take `seconds`."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        connection.sendall(sent)
        yield connection


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame of the connection (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + struct.pack(">BBL", kind, flags, 0) + payload


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

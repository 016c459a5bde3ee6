"""Keepalive: the server answers every ping of a client, also on a connection without calls."""

from __future__ import annotations

import socket
import struct

from tests.support.service import Deployment

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_ACK = 1
_SECONDS = 10.0
_PINGS = 50
"""gRPC's default closes the connection after the third."""


def test_a_client_may_ping_without_calls_as_often_as_it_likes(shared_deployment: Deployment) -> None:
    """Send the frames ourselves: gRPC's clients wait at least a second between two pings."""
    host, _, port = shared_deployment.target.rpartition(":")
    with socket.create_connection((host, int(port)), _SECONDS) as connection:
        connection.sendall(_PREFACE + _frame(_SETTINGS, 0, b""))
        for number in range(_PINGS):
            connection.sendall(_frame(_PING, 0, struct.pack(">Q", number)))
            while True:
                kind, flags, payload = _next_frame(connection)
                assert kind != _GOAWAY, payload
                if (kind, flags) == (_PING, _ACK):
                    break
            assert payload == struct.pack(">Q", number)


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame of the connection (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + struct.pack(">BBL", kind, flags, 0) + payload


def _next_frame(connection: socket.socket) -> tuple[int, int, bytes]:
    """Return the type, the flags and the payload of the next frame."""
    header = _exactly(connection, 9)
    return header[3], header[4], _exactly(connection, int.from_bytes(header[:3]))


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        assert chunk, "the server closed the connection"
        received += chunk
    return received

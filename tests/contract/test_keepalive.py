"""Keepalive: the server answers every ping of a client, also on a connection without calls."""

from __future__ import annotations

import struct

from tests.support.http2 import ACK, GOAWAY, PING, PREFACE, SETTINGS, connected, frame, next_frame
from tests.support.service import Deployment

_PINGS = 50
"""gRPC's default closes the connection after the third."""


def test_a_client_may_ping_without_calls_as_often_as_it_likes(shared_deployment: Deployment) -> None:
    """Send the frames ourselves: gRPC's clients wait at least a second between two pings."""
    with connected(shared_deployment.target, PREFACE + frame(SETTINGS, 0, b"")) as connection:
        for number in range(_PINGS):
            connection.sendall(frame(PING, 0, struct.pack(">Q", number)))
            while True:
                kind, flags, payload = next_frame(connection)
                assert kind != GOAWAY, payload
                if (kind, flags) == (PING, ACK):
                    break
            assert payload == struct.pack(">Q", number)

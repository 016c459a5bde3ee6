"""Sizes of answers and of errors that the client accepts, and the words for failures of the connection."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as rpc_details

from avatar_creator import Backoff, InvalidArgumentError, UnavailableError
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_service_pb2 import ListAvatarsResponse
from tests.client.both_clients import Connector
from tests.client.scripted_server import Failure, ScriptedServer

LARGEST_THUMBNAIL = bytes(160 * 1024)
"""A WebP of random, transparent pixels has this size."""
LARGEST_ANSWER_BYTES = 3_670_016
"""The service ends a page before this size (3.5 MiB)."""
ONCE = Backoff(initial=100.0, maximum=100.0, random=lambda: 1.0)
"""Delays that are longer than any call."""


def test_a_page_of_the_largest_avatars_is_received(client: Any, server: ScriptedServer) -> None:
    page = [Avatar(id=str(number), thumbnail_data=LARGEST_THUMBNAIL) for number in range(22)]
    answer = ListAvatarsResponse(avatars=page)
    assert LARGEST_ANSWER_BYTES - len(LARGEST_THUMBNAIL) < answer.ByteSize() < LARGEST_ANSWER_BYTES
    server.script("ListAvatars", [answer])

    assert len(list(client.avatars.list(include_thumbnails=True))) == 22


def test_large_error_details_are_always_received(client: Any, server: ScriptedServer) -> None:
    violations = [
        rpc_details.BadRequest.FieldViolation(field=f"field{number}", description="x" * 400)
        for number in range(20)
    ]
    failure = Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        (
            rpc_details.ErrorInfo(reason="INVALID_FIELD", domain="avatar-creator"),
            rpc_details.BadRequest(field_violations=violations),
        ),
    )
    for _ in range(20):
        server.script("GetProject", [failure])
        with pytest.raises(InvalidArgumentError) as error:
            client.projects.get("p1")
        assert (error.value.reason, len(error.value.field_violations)) == ("INVALID_FIELD", 20)


def test_a_refused_connection_is_said_in_words_of_ours(connect: Connector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(UnavailableError) as error:
        connect(target, backoff=ONCE).projects.get("p1")

    assert error.value.message == "connection refused: nothing listens at the address of the service"
    assert "ipv4" in str(error.value.__cause__)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("DNS resolution failed for a:1: C-ares status", "the host name of the service cannot be resolved"),
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: Connection refused",
            "connection refused: nothing listens at the address of the service",
        ),
        ("failed to connect to all addresses; last error: FD Shutdown", "the service cannot be reached"),
        ("Stream removed: Socket closed", "the connection to the service was lost"),
        ("recvmsg:Connection reset by peer", "the connection to the service was lost"),
        (
            "failed to connect to all addresses; last error: Ssl handshake failed: SSL_ERROR_SSL",
            "the TLS connection to the service cannot be made; check `tls` and the certificates",
        ),
        ("the proxy of the operator is away", "the proxy of the operator is away"),
    ],
)
def test_words_of_grpc_become_a_sentence(
    connect: Connector, server: ScriptedServer, words: str, sentence: str
) -> None:
    server.script("GetProject", [Failure(grpc.StatusCode.UNAVAILABLE, message=words)])

    with pytest.raises(UnavailableError) as error:
        connect(server.target, backoff=ONCE).projects.get("p1")

    assert error.value.message == sentence


def test_words_of_the_service_are_kept(connect: Connector, server: ScriptedServer) -> None:
    info = rpc_details.ErrorInfo(reason="DATABASE_UNAVAILABLE", domain="avatar-creator")
    message = "the certificate is Connection refused"
    server.script("GetProject", [Failure(grpc.StatusCode.UNAVAILABLE, (info,), message)])

    with pytest.raises(UnavailableError, match=message):
        connect(server.target, backoff=ONCE).projects.get("p1")

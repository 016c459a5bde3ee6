"""Connections are bounded in time and in calls, and so are the answers that no client reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator.v1.generation_service_pb2 import CancelGenerationRequest, WatchGenerationRequest
from tests.contract.calls import Calls, refusal
from tests.support.generations import CANCELLED, COMPLETED, PENDING
from tests.support.http2 import (
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    SETTINGS,
    connected,
    frame,
    next_frame,
    unary_call,
    wait_until_closed,
)
from tests.support.service import Deployment
from tests.support.waiting import wait_until

STREAMS_PER_CONNECTION = 250
SMALL = {
    "UNREAD_ANSWERS_MIB_PER_USER": "1",
    "STREAMS_PER_CONNECTION": str(STREAMS_PER_CONNECTION),
    "CONNECTION_IDLE_SECONDS": "1",
}
CLIENT = PREFACE + frame(SETTINGS, 0, b"")
"""The beginning of a connection of a real client."""
NO_WINDOW = PREFACE + frame(SETTINGS, 0, struct.pack(">HL", INITIAL_WINDOW_SIZE, 0))
"""The beginning of a connection on which the server may send no answer."""
LIST_PROJECTS = "/avatar_creator.v1.AvatarProjectService/ListProjects"
UNREAD_CALLS = 240
"""Calls whose answers exceed the limit, also if some are refused: each counts with at least 8 KiB."""
LARGE = {"options": {"width": 1440, "height": 1440}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded service with small limits of connections."""
    deployment = Deployment.embedded(tmp_path_factory.mktemp("connections"), **SMALL)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


@pytest.mark.parametrize(
    "sent", [b"", PREFACE, CLIENT[:-1]], ids=["nothing", "no settings", "incomplete settings"]
)
def test_a_handshake_that_never_comes_is_cut(service: Deployment, sent: bytes) -> None:
    with connected(service.target, sent, seconds=30) as connection:
        wait_until_closed(connection)


def test_a_connection_without_a_call_is_closed_but_not_one_with_a_watch(
    service: Deployment, user: str
) -> None:
    with Calls(service.target, service.token(user)) as calls:
        project = calls.create_project()
        generation = [calls.create_generation(project.id, **LARGE) for _ in range(4)][-1]
        watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        assert next(watch).generation.state == PENDING

        for _ in range(2):
            with connected(service.target, CLIENT, seconds=30) as idle:
                wait_until_closed(idle)

        with Calls(service.target, service.token(user)) as others:
            others.generations.CancelGeneration(CancelGenerationRequest(generation_id=generation.id))
        assert [answer.generation.state for answer in watch][-1] == CANCELLED


def test_a_connection_has_a_limit_of_streams(service: Deployment) -> None:
    with connected(service.target, CLIENT) as connection:
        while True:
            kind, _, payload = next_frame(connection)
            if kind == SETTINGS and payload:
                break
    settings = dict(struct.iter_unpack(">HL", payload))
    assert settings[MAX_CONCURRENT_STREAMS] == STREAMS_PER_CONNECTION


def test_a_client_keeps_calls_beyond_the_streams_of_its_connection_waiting(
    service: Deployment, user: str
) -> None:
    with Calls(service.target, service.token(user)) as calls:
        generation = calls.create_generation(calls.create_project().id, **LARGE)
        request = WatchGenerationRequest(generation_id=generation.id)
        watches: list[Any] = [
            calls.generations.WatchGeneration(request) for _ in range(STREAMS_PER_CONNECTION + 50)
        ]

        # The last ones begin only when others have ended.
        assert {list(each)[-1].generation.state for each in watches} == {COMPLETED}


def succeeds(calls: Calls) -> bool:
    """Return whether a call succeeds now."""
    try:
        calls.projects.ListProjects(ListProjectsRequest())
    except grpc.RpcError:
        return False
    return True


def test_a_user_who_reads_no_answers_gets_none_until_they_read(service: Deployment, user: str) -> None:
    token = service.token(user)
    authorization = {"authorization": f"Bearer {token}"}
    with (
        Calls(service.target, token) as calls,
        Calls(service.target, service.token(f"{user}-other")) as other,
    ):
        assert succeeds(calls)
        with connected(service.target, NO_WINDOW) as connection:
            for number in range(UNREAD_CALLS):
                connection.sendall(unary_call(2 * number + 1, LIST_PROJECTS, b"", authorization))
            wait_until(lambda: not succeeds(calls))
            answer = refusal(lambda: calls.projects.ListProjects(ListProjectsRequest()))
            assert succeeds(other)
        wait_until(lambda: succeeds(calls), message="the answers still count after their connection")

    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALL_LIMIT")
    assert answer.metadata == {"limit": "bytes_of_unread_answers", "most": str(1024 * 1024)}
    assert answer.quota == ["bytes_of_unread_answers"]
    assert answer.retry_after

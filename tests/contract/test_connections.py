"""Connections are bounded in time and in calls, and so are the answers that no client reads."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice

import grpc
import pytest

from avatar_creator import AsyncAvatarCreator, GenerationState
from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator.v1.generation_service_pb2 import CancelGenerationRequest, WatchGenerationRequest
from tests.contract.calls import Calls, Refusal, refusal_of
from tests.support.generations import CANCELLED, PENDING
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
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
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
CALLS_AT_ONCE = 4
"""Fewer than a user may have at the same time, so that all are answered."""
_REDIS_DATABASE = 2


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, database_template: str, redis_server: Redis
) -> Iterator[Deployment]:
    """A server with small limits of connections, and without a worker: its generations stay pending."""
    deployment = Deployment.distributed(
        tmp_path_factory.mktemp("connections"),
        postgres.create_database(database_template),
        redis_server.url(_REDIS_DATABASE),
        **SMALL,
    )
    try:
        deployment.start_server()
        yield deployment
    finally:
        deployment.close()


def cancel(service: Deployment, user: str, generation_id: str) -> None:
    """Cancel a generation on a connection of its own."""
    with Calls(service.target, service.token(user)) as calls:
        calls.generations.CancelGeneration(CancelGenerationRequest(generation_id=generation_id))


def test_a_handshake_that_never_comes_is_cut(embedded: Deployment) -> None:
    nothing, no_settings, incomplete_settings = b"", PREFACE, CLIENT[:-1]
    with ServiceInThread.serving(embedded), ExitStack() as connections:
        # The default idle time of connections is much longer than the wait.
        for connection in [
            connections.enter_context(connected(embedded.target, sent, seconds=30))
            for sent in (nothing, no_settings, incomplete_settings)
        ]:
            wait_until_closed(connection)


def test_a_connection_without_a_call_is_closed_but_not_one_with_a_watch(
    service: Deployment, user: str
) -> None:
    with Calls(service.target, service.token(user)) as calls:
        generation = calls.create_generation(calls.create_project().id)
        watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        assert next(watch).generation.state == PENDING.number

        for _ in range(2):
            with connected(service.target, CLIENT, seconds=30) as idle:
                wait_until_closed(idle)

        cancel(service, user, generation.id)
        assert [answer.generation.state for answer in watch][-1] == CANCELLED.number


def test_a_connection_has_a_limit_of_streams(service: Deployment) -> None:
    with connected(service.target, CLIENT) as connection:
        while True:
            kind, _, payload = next_frame(connection)
            if kind == SETTINGS and payload:
                break
    settings = dict(struct.iter_unpack(">HL", payload))
    assert settings[MAX_CONCURRENT_STREAMS] == STREAMS_PER_CONNECTION


async def test_a_client_keeps_calls_beyond_the_streams_of_its_connection_waiting(
    service: Deployment, user: str
) -> None:
    with Calls(service.target, service.token(user)) as calls:
        generation = calls.create_generation(calls.create_project().id)
    open_watches, ends = 0, []

    async def watch(client: AsyncAvatarCreator) -> None:
        nonlocal open_watches
        states: list[GenerationState] = []
        async for state in client.generations.watch(generation.id):
            open_watches += not states
            states.append(state.state)
        ends.append(states[-1])

    async with AsyncAvatarCreator(service.target, token=service.token(user)) as client:
        watches = asyncio.gather(*(watch(client) for _ in range(STREAMS_PER_CONNECTION + 50)))
        await asyncio.to_thread(wait_until, lambda: open_watches == STREAMS_PER_CONNECTION)
        await asyncio.to_thread(cancel, service, user, generation.id)
        await watches

    assert ends == [CANCELLED] * (STREAMS_PER_CONNECTION + 50)


def succeeds(calls: Calls) -> bool:
    """Return whether a call succeeds now."""
    try:
        calls.projects.ListProjects(ListProjectsRequest())
    except grpc.RpcError:
        return False
    return True


def refusal_for_unread_answers(calls: Calls) -> Refusal | None:
    """Return the error of a call that is refused because answers were not read."""
    try:
        calls.projects.ListProjects(ListProjectsRequest())
    except grpc.RpcError as error:
        refused = refusal_of(error)
        return refused if refused.metadata.get("limit") == "bytes_of_unread_answers" else None
    return None


def test_a_user_who_reads_no_answers_gets_none_until_they_read(service: Deployment, user: str) -> None:
    token = service.token(user)
    authorization = {"authorization": f"Bearer {token}"}
    with (
        Calls(service.target, token) as calls,
        Calls(service.target, service.token(f"{user}-other")) as other,
    ):
        assert succeeds(calls)
        with connected(service.target, NO_WINDOW) as connection:
            numbers = count(1, 2)

            def refusal_after_more_calls() -> Refusal | None:
                for number in islice(numbers, CALLS_AT_ONCE):
                    connection.sendall(unary_call(number, LIST_PROJECTS, b"", authorization))
                return refusal_for_unread_answers(calls)

            answer = wait_until(refusal_after_more_calls, 30)
            assert succeeds(other)
        wait_until(lambda: succeeds(calls), message="the answers still count after their connection")

    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALL_LIMIT")
    assert answer.metadata == {"limit": "bytes_of_unread_answers", "most": str(1024 * 1024)}
    assert answer.quota == ["bytes_of_unread_answers"]
    assert answer.retry_after

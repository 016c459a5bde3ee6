"""Limits of calls at the same time: of a user, of a machine without a token, and of a server."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from avatar_creator import AvatarCreator
from avatar_creator.v1 import avatar_project_service_pb2 as projects
from avatar_creator.v1 import avatar_project_service_pb2_grpc as projects_grpc
from avatar_creator.v1.generation_service_pb2 import WatchGenerationsRequest
from avatar_creator_server.api.call_classes import CLASS_OF_RPC
from avatar_creator_server.api.server import SERVICE_NAMES
from tests.contract.calls import Calls, refusal_of
from tests.support.in_process import InProcessService
from tests.support.locked_table import locked_table
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
from tests.support.waiting import wait_until

OK = "OK"

Start = Callable[..., Deployment]


@pytest.fixture
def start(embedded: Deployment) -> Iterator[Start]:
    """A function that starts a server with these settings, and without a worker."""
    with ExitStack() as stack:

        def start(**settings: str) -> Deployment:
            stack.enter_context(ServiceInThread.serving(embedded, **settings))
            return embedded

        yield start


def test_every_rpc_of_the_contract_has_a_class() -> None:
    from google.protobuf.descriptor_pool import Default

    methods = [
        method.name for service in SERVICE_NAMES for method in Default().FindServiceByName(service).methods
    ]

    assert sorted(CLASS_OF_RPC) == sorted(methods)


@contextmanager
def watching(calls: Calls, project_id: str, number: int) -> Iterator[list[str]]:
    """Open watches while the context is open, and yield their outcomes: OK, or the reason of an error."""
    outcomes, streams = [], []
    for _ in range(number):
        stream = calls.generations.WatchGenerations(WatchGenerationsRequest(project_id=project_id))
        streams.append(stream)
        outcomes.append(first_outcome(stream))
    try:
        yield outcomes
    finally:
        for stream in streams:
            stream.cancel()


def first_outcome(stream: Iterator[object]) -> str:
    """Return OK if a stream is open, or the reason of its error."""
    try:
        # The first message may never come, so only the initial metadata says that the watch is open.
        stream.initial_metadata()  # type: ignore[attr-defined]
        if not stream.is_active():  # type: ignore[attr-defined]
            next(stream)
    except grpc.RpcError as error:
        return refusal_of(error).reason
    return OK


def test_a_user_with_too_many_watches_is_refused_and_other_users_are_not(start: Start) -> None:
    service = start(WATCHES_AT_ONCE="3", WATCHES_AT_ONCE_PER_USER="2")
    with (
        Calls(service.target, service.token("sarah")) as sarah,
        Calls(service.target, service.token("omar")) as omar,
    ):
        of_sarah, of_omar = sarah.create_project().id, omar.create_project().id
        pending = sarah.create_generation(of_sarah), omar.create_generation(of_omar)
        assert all(pending)

        with watching(sarah, of_sarah, 3) as outcomes:
            assert Counter(outcomes) == {OK: 2, "CALL_LIMIT": 1}
            with watching(omar, of_omar, 2) as outcomes:
                assert Counter(outcomes) == {OK: 1, "OVERLOADED": 1}

        def is_open_again() -> bool:
            with watching(omar, of_omar, 1) as outcomes:
                return outcomes == [OK]

        wait_until(is_open_again)


def test_two_users_with_many_watches_do_not_keep_out_the_first_watch_of_a_third(start: Start) -> None:
    service = start(WATCHES_AT_ONCE="8", WATCHES_AT_ONCE_PER_USER="5")
    outcomes: dict[str, Counter[str]] = {}
    with ExitStack() as stack:
        for user, number in (("sarah", 5), ("omar", 5), ("third", 2)):
            calls = stack.enter_context(Calls(service.target, service.token(user)))
            project_id = calls.create_project().id
            calls.create_generation(project_id)
            outcomes[user] = Counter(stack.enter_context(watching(calls, project_id, number)))

    assert outcomes["sarah"] == {OK: 5}
    assert outcomes["omar"] == {OK: 2, "OVERLOADED": 3}
    assert outcomes["third"] == {OK: 1, "OVERLOADED": 1}


def test_the_refusal_names_the_limit_and_the_delay(start: Start) -> None:
    service = start(WATCHES_AT_ONCE_PER_USER="1")
    with Calls(service.target, service.token("sarah")) as calls:
        project_id = calls.create_project().id
        calls.create_generation(project_id)
        with watching(calls, project_id, 1), pytest.raises(grpc.RpcError) as refused:
            next(calls.generations.WatchGenerations(WatchGenerationsRequest(project_id=project_id)))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALL_LIMIT")
    assert refusal.metadata == {"limit": "watches", "most": "1"}
    assert refusal.quota == ["watches"]
    assert refusal.retry_after == 2.0


class Reads:
    """Reads of a user at the same time, and their outcomes: OK, or the reason of an error."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._stub = projects_grpc.AvatarProjectServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, number: int) -> None:
        """Begin this many reads."""
        self._tasks += [asyncio.create_task(self._read()) for _ in range(number)]

    async def wait_until_ended(self, number: int) -> None:
        """Wait until at least this many reads have ended."""
        await asyncio.to_thread(wait_until, lambda: self.outcomes.total() >= number)

    async def end(self) -> None:
        """Wait until all reads have ended."""
        await asyncio.gather(*self._tasks)

    async def _read(self) -> None:
        try:
            await self._stub.ListProjects(projects.ListProjectsRequest(), metadata=self._metadata)
            self.outcomes[OK] += 1
        except grpc.RpcError as error:
            self.outcomes[refusal_of(error).reason] += 1


FEW_READS = {"READS_AT_ONCE_PER_USER": "1", "READS_AT_ONCE": "2", "CALL_WAIT_SECONDS": "60"}
SERVED, WAITING = 1, 32
"""Reads of a user that run and that wait, with `FEW_READS`."""


async def test_a_users_burst_beyond_the_queue_is_refused_and_another_user_is_served(
    distributed: Deployment,
) -> None:
    burst = 400
    async with (
        InProcessService.serving(distributed, **FEW_READS),
        grpc.aio.insecure_channel(distributed.target) as channel,
    ):
        reads = Reads(channel, distributed.token("sarah"))
        with locked_table(distributed, "avatar_projects"):
            reads.begin(burst)
            await reads.wait_until_ended(burst - SERVED - WAITING)
            with distributed.client("omar") as client:
                await asyncio.to_thread(lambda: list(client.presets.list()))
            assert set(reads.outcomes) <= {"CALL_LIMIT", "OVERLOADED"}
        await reads.end()

    assert reads.outcomes[OK] == SERVED + WAITING


async def test_two_users_who_fill_the_queue_do_not_keep_out_a_third(distributed: Deployment) -> None:
    refused = 8
    async with (
        InProcessService.serving(distributed, **FEW_READS),
        grpc.aio.insecure_channel(distributed.target) as channel,
    ):
        sarah, omar, third = (Reads(channel, distributed.token(user)) for user in ("sarah", "omar", "third"))
        with locked_table(distributed, "avatar_projects"):
            for reads in (sarah, omar):
                reads.begin(SERVED + WAITING + refused)
            for reads in (sarah, omar):
                await reads.wait_until_ended(refused)

            third.begin(2)
            await third.wait_until_ended(1)
            assert third.outcomes == {"OVERLOADED": 1}, "the queue is full, and the other call waits"
        for reads in (sarah, omar, third):
            await reads.end()

    assert third.outcomes == {OK: 1, "OVERLOADED": 1}
    assert (sarah.outcomes[OK], omar.outcomes[OK]) == (SERVED + WAITING, SERVED + WAITING)


async def test_the_client_retries_until_a_refused_call_succeeds(start: Start) -> None:
    service = await asyncio.to_thread(start, READS_AT_ONCE_PER_USER="1", CALL_WAIT_SECONDS="0")
    with AvatarCreator(service.target, token=service.token("sarah")) as client:
        results = await asyncio.gather(
            *(asyncio.to_thread(client.projects.list, timeout=60) for _ in range(16))
        )

    assert len(results) == 16


def test_streams_without_a_token_are_bounded_for_each_machine(start: Start) -> None:
    service = start(ANONYMOUS_STREAMS_PER_PEER="2")
    with grpc.insecure_channel(service.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        streams = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for stream in streams:
            next(stream)

        calls: tuple[Any, ...] = (
            health.Watch(health_pb2.HealthCheckRequest()),
            reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(())),
            channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(iter(())),
        )
        for refused in calls:
            with pytest.raises(grpc.RpcError) as error:
                next(refused)
            refusal = refusal_of(error.value)
            assert (refusal.reason, refusal.metadata["limit"]) == ("CALL_LIMIT", "streams_without_a_token")
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status

        streams[0].cancel()
        wait_until(lambda: first_outcome(health.Watch(health_pb2.HealthCheckRequest())) == OK)


def test_reflection_can_be_switched_off(start: Start) -> None:
    service = start(REFLECTION="off")
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(service.target) as channel, pytest.raises(grpc.RpcError) as refused:
        next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request])))

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_connections_beyond_the_limit_are_closed(start: Start) -> None:
    service = start(CONNECTIONS="3")
    host, _, port = service.target.rpartition(":")
    address = (host, int(port))

    def connect() -> AbstractContextManager[socket.socket]:
        return socket.create_connection(address, timeout=10)

    def is_closed(connection: socket.socket) -> bool:
        connection.settimeout(1)
        try:
            while connection.recv(4096):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    with ExitStack() as stack:
        connections = [stack.enter_context(connect()) for _ in range(6)]

        assert sum(map(is_closed, connections)) >= 3


def test_a_health_check_that_is_ok_is_not_logged_and_refusals_are_logged_in_part(
    embedded: Deployment,
) -> None:
    server = embedded.start_server()
    with grpc.insecure_channel(embedded.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for _ in range(50):
            health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        with pytest.raises(grpc.RpcError):
            health.Check(health_pb2.HealthCheckRequest(service="unknown"), timeout=5)
        stub = projects_grpc.AvatarProjectServiceStub(channel)
        for _ in range(200):
            with pytest.raises(grpc.RpcError):
                stub.ListProjects(projects.ListProjectsRequest(), timeout=5)

    def refusals() -> tuple[int, int]:
        not_logged = sum(event["count"] for event in server.events("refusals_not_logged"))
        return sum(event["code"] == "UNAUTHENTICATED" for event in server.events("call_finished")), not_logged

    wait_until(lambda: sum(refusals()) == 200)
    logged, not_logged = refusals()
    assert logged > 0
    assert not_logged > 0
    checks = Counter(event["code"] for event in server.events("call_finished") if "Health" in event["method"])
    assert checks == {"NOT_FOUND": 1}

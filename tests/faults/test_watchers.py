"""Watches that open at the wrong moment, lose Redis or their token, stop reading, or open by the thousand."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import grpc
import psutil
import pytest
import redis

import avatar_creator
from avatar_creator import AvatarCreator, UnauthenticatedError
from avatar_creator.retries import Backoff
from avatar_creator.v1 import generation_service_pb2 as pb
from avatar_creator.v1.generation_pb2 import Generation
from avatar_creator_server.generations.events import ChangeHint
from avatar_creator_server.shared.event_bus import GENERATION_CHANGED
from tests.contract.calls import Calls, refusal_of
from tests.support.background import InBackground
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.redis import OwnRedis
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

CROWD_SIZE = 5000
CONNECTIONS = 20
CROWD_TIMEOUT_SECONDS = 120.0
STOPPED_READERS = 100
CHANGE_COUNT = 2000
WATCH_SECONDS = 300.0
LONG_PROMPT = "a very patient woman " * 1000


def create_generation(client: AvatarCreator, prompt: str = "a patient woman") -> avatar_creator.Generation:
    project = client.projects.create("Watched")
    return client.generations.create(project.id, prompt, width=SMALLEST, height=SMALLEST).generation


@pytest.mark.slow
def test_a_watch_receives_an_end_that_happens_while_it_opens(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    frozen = hosted.start_server(
        fault="suspend after avatar_creator_server.generations.feed:GenerationFeed.batch_get"
    )
    running = hosted.start_server()
    with AvatarCreator(running.target, token=hosted.token(user)) as client:
        generation = create_generation(client)
        # The snapshot has been read and says PENDING when the server freezes.
        with hosted.client(user) as other:
            watcher = Watcher(other, generation.id)
            wait_until(frozen.is_suspended, 20.0)
            hosted.start_worker()
            assert Watcher(client, generation.id).states()[-1].state == COMPLETED

            frozen.resume()

            states = watcher.states()
        assert [states[0].state, states[-1].state] == [PENDING, COMPLETED]
        assert_promise_kept(hosted, router, outcomes_seen=states[-1:])


@pytest.mark.slow
def test_open_watches_survive_a_redis_restart(
    hosted_breakable: Deployment, own_redis: OwnRedis, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    hosted_breakable.start()
    with hosted_breakable.client(user) as client:
        generation = create_generation(client)
        watchers = [Watcher(client, generation.id) for _ in range(20)]
        router.wait_until_polled()
        own_redis.kill()
        own_redis.restart()
        router.finish()

        last_states = [watcher.states()[-1] for watcher in watchers]

        assert {last.state for last in last_states} == {COMPLETED}
        assert_promise_kept(hosted_breakable, router, outcomes_seen=last_states)


def test_a_watch_ends_with_its_token_and_resumes_with_a_new_one(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    issued: list[str] = []

    def issue_token() -> str:
        # The first token of each client expires soon, and the third one is valid for longer.
        issued.append(distributed.token(user, exp=time.time() + (1.5 if len(issued) < 2 else 60)))
        return issued[-1]

    with (
        distributed.client(user) as client,
        AvatarCreator(distributed.target, token=issue_token()) as static_client,
        AvatarCreator(distributed.target, token=issue_token) as refreshing_client,
    ):
        generation = create_generation(client)
        project_id = generation.project_id
        for refused in [
            InBackground(lambda: list(static_client.generations.watch(generation.id))),
            InBackground(lambda: list(static_client.generations.watch_many(project=project_id))),
        ]:
            expired = refused.outcome()
            assert isinstance(expired, UnauthenticatedError)
            assert expired.reason == "TOKEN_EXPIRED"

        watcher = Watcher(refreshing_client, generation.id)
        wait_until(lambda: len(issued) == 3, 20.0, "the watch did not request another token")
        client.generations.cancel(generation.id)
        assert [state.state for state in watcher.states()] == [PENDING, CANCELLED]


@pytest.mark.slow
def test_each_stopped_reader_costs_the_memory_of_one_state(
    distributed: Deployment, redis_url: str, user: str
) -> None:
    server = distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as calls:
        project = calls.create_project()
        generation = calls.create_generation(project.id)
        request = pb.WatchGenerationRequest(generation_id=generation.id)
        # Longer than the other calls: a reader sees 2,000 changes, one after the other.
        watches = [
            calls.generations.WatchGeneration(request, timeout=WATCH_SECONDS) for _ in range(STOPPED_READERS)
        ]
        for watch in watches:
            next(watch)
        reader = calls.generations.WatchGeneration(request, timeout=WATCH_SECONDS)
        next(reader)
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        with redis.Redis.from_url(redis_url) as connection:

            def change(**columns: str) -> Generation:
                """Change the row, and return the state that the reader receives."""
                assignments = ", ".join(f"{column} = %s" for column in columns)
                (row,) = distributed.execute(
                    f"UPDATE avatar_generations SET revision = revision + 1, {assignments}"
                    " WHERE id = %s RETURNING revision",
                    *columns.values(),
                    generation.id,
                )
                hint = ChangeHint(generation.id, project.id, generation.user_id, row["revision"])
                connection.publish(GENERATION_CHANGED, hint.encode())
                return next(reader).generation

            for _ in range(CHANGE_COUNT):
                assert change(prompt=LONG_PROMPT).prompt == LONG_PROMPT
            state = change(state="cancelled")
        assert state.state == CANCELLED.number
        grown = process.memory_info().rss - before

        last_states = [list(watch)[-1].generation for watch in watches]

    assert {(last.revision, last.state) for last in last_states} == {(state.revision, CANCELLED.number)}
    # All changes together are 42 MB, and a server that queued them would keep them at least once. gRPC always
    # buffers some messages.
    assert grown < CHANGE_COUNT * len(LONG_PROMPT) / 2, f"{grown:,} bytes"


@pytest.fixture
def crowded(distributed: Deployment) -> Deployment:
    """A service without a worker, for thousands of watches."""
    distributed.start_server()
    return distributed


@pytest.mark.slow
async def test_five_thousand_watches_are_drained_reopened_and_all_receive_the_outcome(
    crowded: Deployment, user: str
) -> None:
    (server,) = crowded.servers
    with crowded.client(user) as client:
        generations = [await asyncio.to_thread(create_generation, client) for _ in range(10)]

    crowd = _Crowd(crowded, user, [generation.id for generation in generations])
    first = await crowd.open()
    assert {(each.code, each.state) for each in first} == {(None, PENDING.number)}
    server.send(signal.SIGTERM)
    ends = await crowd.ends()
    assert {(end.code, end.reason) for end in ends} == {(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")}
    assert await asyncio.to_thread(server.wait, 30.0) == 0

    await asyncio.to_thread(server.start_again)
    await asyncio.to_thread(server.wait_until_ready)
    again = await crowd.open()
    assert {(each.code, each.state) for each in again} == {(None, PENDING.number)}
    with crowded.client(user) as client:
        for generation in generations:
            await asyncio.to_thread(client.generations.cancel, generation.id)
    ends = await crowd.ends()

    assert len(ends) == CROWD_SIZE
    assert {(end.code, end.state) for end in ends} == {(grpc.StatusCode.OK, CANCELLED.number)}
    await crowd.close()


class _Received:
    """The last state that a watch received, or the status with which it ended."""

    def __init__(self, code: grpc.StatusCode | None, state: int, reason: str = "") -> None:
        self.code = code
        self.state = state
        self.reason = reason


class _Crowd:
    """`CROWD_SIZE` watches that open at the same moment, each a plain call.

    Only a watch that the server has no room for is opened again, with the delays of our clients.
    """

    def __init__(self, deployment: Deployment, user: str, generation_ids: list[str]) -> None:
        self._target = deployment.target
        self._metadata = (("authorization", f"Bearer {deployment.token(user)}"),)
        self._generation_ids = generation_ids
        self._channels: list[grpc.aio.Channel] = []
        self._watches: list[asyncio.Task[_Received]] = []

    async def open(self) -> list[_Received]:
        """Open all watches and return the first result of each."""
        await self.close()
        # Without a local pool, gRPC shares one connection between all channels to an address.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channels = [grpc.aio.insecure_channel(self._target, options) for _ in range(CONNECTIONS)]
        first_results: list[asyncio.Future[_Received]] = [asyncio.Future() for _ in range(CROWD_SIZE)]
        self._watches = [asyncio.create_task(self._watch(n, first)) for n, first in enumerate(first_results)]
        async with asyncio.timeout(CROWD_TIMEOUT_SECONDS):
            return await asyncio.gather(*first_results)

    async def ends(self) -> list[_Received]:
        """Wait until all watches have ended, and return their last results."""
        async with asyncio.timeout(CROWD_TIMEOUT_SECONDS):
            return await asyncio.gather(*self._watches)

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def _watch(self, number: int, first: asyncio.Future[_Received]) -> _Received:
        refusals = 0
        while True:
            received = _Received(None, 0)
            try:
                async for message in self._open(number):
                    received = _Received(None, message.generation.state)
                    if not first.done():
                        first.set_result(received)
                return _Received(grpc.StatusCode.OK, received.state)
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                if refusal.reason == "OVERLOADED" and not first.done():
                    assert refusal.retry_after
                    refusals += 1
                    await asyncio.sleep(Backoff().delay(refusals, refusal.retry_after))
                    continue
                received = _Received(error.code(), 0, refusal.reason)
                if not first.done():
                    first.set_result(received)
                return received

    def _open(self, number: int) -> grpc.aio.UnaryStreamCall[Any, Any]:
        watch = self._channels[number % CONNECTIONS].unary_stream(
            "/avatar_creator.v1.GenerationService/WatchGeneration",
            request_serializer=pb.WatchGenerationRequest.SerializeToString,
            response_deserializer=pb.WatchGenerationResponse.FromString,
        )
        generation_id = self._generation_ids[number % len(self._generation_ids)]
        return watch(pb.WatchGenerationRequest(generation_id=generation_id), metadata=self._metadata)

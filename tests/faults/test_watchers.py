"""Watchers that come at the wrong moment, lose Redis or their token, stop reading, or come in thousands."""

from __future__ import annotations

import asyncio
import signal
import time

import grpc
import psutil
import pytest
import redis

from avatar_creator import AvatarCreator, UnauthenticatedError
from avatar_creator.v1 import generation_service_pb2 as pb
from avatar_creator.v1.generation_pb2 import Generation
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

CROWD = 5000
CONNECTIONS = 20
OPENED_WITHIN_SECONDS = 120.0
STOPPED_READERS = 100
CHANGES = 2000
LONG_PROMPT = "a very patient woman " * 1000


def order(client: AvatarCreator, prompt: str = "a patient woman") -> Generation:
    project = client.projects.create("Watched")
    return client.generations.create(project.id, prompt, width=SMALLEST, height=SMALLEST)


@pytest.mark.slow
def test_the_end_comes_while_the_watch_is_being_opened(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    deaf = hosted.start_server(
        fault="suspend after avatar_creator_server.generations.service:Generations.batch_get"
    )
    awake = hosted.start_server()
    with AvatarCreator(awake.target, token=hosted.token(user)) as client:
        generation = order(client)
        # The snapshot has been read and says PENDING when the server freezes.
        with hosted.client(user) as other:
            watcher = Watcher(other, generation.id)
            wait_until(deaf.is_suspended, 20.0)
            hosted.start_worker()
            assert Watcher(client, generation.id).states()[-1].state == COMPLETED

            deaf.resume()

            states = watcher.states()
        assert [states[0].state, states[-1].state] == [PENDING, COMPLETED]
        assert_promise_kept(hosted, router, outcomes_seen=states[-1:])


@pytest.mark.slow
def test_redis_is_restarted_under_an_open_watch(
    hosted_breakable: Deployment, own_redis: OwnRedis, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    hosted_breakable.start()
    with hosted_breakable.client(user) as client:
        generation = order(client)
        watchers = [Watcher(client, generation.id) for _ in range(20)]
        router.wait_until_polled()
        own_redis.kill()
        own_redis.restart()
        router.finish()

        lasts = [watcher.states()[-1] for watcher in watchers]

        assert {last.state for last in lasts} == {COMPLETED}
        assert_promise_kept(hosted_breakable, router, outcomes_seen=lasts)


def test_a_watch_ends_with_its_token_and_goes_on_with_a_fresh_one(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    issued: list[str] = []

    def short_lived() -> str:
        # The third is good for longer.
        issued.append(distributed.token(user, exp=time.time() + (1.5 if len(issued) < 2 else 60)))
        return issued[-1]

    with (
        distributed.client(user) as client,
        AvatarCreator(distributed.target, token=short_lived()) as careless,
        AvatarCreator(distributed.target, token=short_lived) as careful,
    ):
        generation = order(client)
        project_id = generation.project_id
        for refused in [
            InBackground(lambda: list(careless.generations.watch(generation.id))),
            InBackground(lambda: list(careless.generations.watch_many(project_id=project_id))),
        ]:
            expired = refused.outcome()
            assert isinstance(expired, UnauthenticatedError)
            assert expired.reason == "TOKEN_EXPIRED"

        watcher = Watcher(careful, generation.id)
        wait_until(lambda: len(issued) == 3, 20.0, "the watch did not ask for another token")
        client.generations.cancel(generation.id)
        assert [state.state for state in watcher.states()] == [PENDING, CANCELLED]


@pytest.mark.slow
def test_readers_that_stop_cost_one_pending_state_each(
    distributed: Deployment, redis_url: str, user: str
) -> None:
    server = distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as calls:
        project = calls.create_project()
        generation = calls.create_generation(project.id)
        watches = [
            calls.generations.WatchGeneration(pb.WatchGenerationRequest(generation_id=generation.id))
            for _ in range(STOPPED_READERS)
        ]
        for watch in watches:
            next(watch)
        reader = InBackground(
            lambda: (
                list(
                    calls.generations.WatchGeneration(pb.WatchGenerationRequest(generation_id=generation.id))
                )[-1].generation.state
            )
        )
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        state = Generation()
        state.CopyFrom(generation)
        state.prompt = LONG_PROMPT
        with redis.Redis.from_url(redis_url) as connection:
            for _ in range(CHANGES):
                state.revision += 1
                connection.publish(GENERATION_CHANGED, state.SerializeToString())
            state.revision += 1
            state.state = CANCELLED
            connection.publish(GENERATION_CHANGED, state.SerializeToString())
        # Who reads has been told everything, so the server has heard everything.
        assert reader.outcome() == CANCELLED
        grown = process.memory_info().rss - before

        lasts = [list(watch)[-1].generation for watch in watches]

    assert {(last.revision, last.state) for last in lasts} == {(state.revision, CANCELLED)}
    # All changes are 42 MB, which would be kept once at least. gRPC sends some ahead, whatever we do.
    assert grown < CHANGES * len(LONG_PROMPT) / 2, f"{grown:,} bytes"


@pytest.fixture
def crowded(distributed: Deployment) -> Deployment:
    """A service without a worker; the test watches it by the thousand."""
    distributed.start_server()
    return distributed


@pytest.mark.slow
async def test_five_thousand_open_at_once_are_drained_come_back_and_are_all_told(
    crowded: Deployment, user: str
) -> None:
    (server,) = crowded.servers
    with crowded.client(user) as client:
        generations = [await asyncio.to_thread(order, client) for _ in range(10)]

    crowd = _Crowd(crowded, user, [generation.id for generation in generations])
    first = await crowd.open()
    assert {(each.code, each.state) for each in first} == {(None, PENDING)}
    server.send(signal.SIGTERM)
    ends = await crowd.ends()
    assert {(end.code, end.reason) for end in ends} == {(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")}
    assert await asyncio.to_thread(server.wait, 30.0) == 0

    await asyncio.to_thread(server.start_again)
    await asyncio.to_thread(server.wait_until_ready)
    again = await crowd.open()
    assert {(each.code, each.state) for each in again} == {(None, PENDING)}
    with crowded.client(user) as client:
        for generation in generations:
            await asyncio.to_thread(client.generations.cancel, generation.id)
    ends = await crowd.ends()

    assert len(ends) == CROWD
    assert {(end.code, end.state) for end in ends} == {(grpc.StatusCode.OK, CANCELLED)}
    await crowd.close()


class _Told:
    """What one watch was told last: a state, or the status that it ended with."""

    def __init__(self, code: grpc.StatusCode | None, state: int, reason: str = "") -> None:
        self.code = code
        self.state = state
        self.reason = reason


class _Crowd:
    """As many watches as there are, all opened at the same moment, each a bare call that nothing repeats."""

    def __init__(self, deployment: Deployment, user: str, generation_ids: list[str]) -> None:
        self._target = deployment.target
        self._metadata = (("authorization", f"Bearer {deployment.token(user)}"),)
        self._generation_ids = generation_ids
        self._channels: list[grpc.aio.Channel] = []
        self._watches: list[asyncio.Task[_Told]] = []

    async def open(self) -> list[_Told]:
        """Open all of them; what each is told first."""
        await self.close()
        # gRPC shares connections between channels to one address, unless they have a pool of their own.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channels = [grpc.aio.insecure_channel(self._target, options) for _ in range(CONNECTIONS)]
        firsts: list[asyncio.Future[_Told]] = [asyncio.Future() for _ in range(CROWD)]
        self._watches = [asyncio.create_task(self._watch(n, first)) for n, first in enumerate(firsts)]
        async with asyncio.timeout(OPENED_WITHIN_SECONDS):
            return await asyncio.gather(*firsts)

    async def ends(self) -> list[_Told]:
        """What all of them were told at the end."""
        async with asyncio.timeout(OPENED_WITHIN_SECONDS):
            return await asyncio.gather(*self._watches)

    async def close(self) -> None:
        """Let go of the connections."""
        for channel in self._channels:
            await channel.close()

    async def _watch(self, number: int, first: asyncio.Future[_Told]) -> _Told:
        channel = self._channels[number % CONNECTIONS]
        watch = channel.unary_stream(
            "/avatar_creator.v1.GenerationService/WatchGeneration",
            request_serializer=pb.WatchGenerationRequest.SerializeToString,
            response_deserializer=pb.WatchGenerationResponse.FromString,
        )
        generation_id = self._generation_ids[number % len(self._generation_ids)]
        call = watch(pb.WatchGenerationRequest(generation_id=generation_id), metadata=self._metadata)
        told = _Told(None, 0)
        try:
            async for message in call:
                told = _Told(None, message.generation.state)
                if not first.done():
                    first.set_result(told)
            return _Told(grpc.StatusCode.OK, told.state)
        except grpc.aio.AioRpcError as error:
            told = _Told(error.code(), 0, refusal_of(error).reason)
            if not first.done():
                first.set_result(told)
            return told

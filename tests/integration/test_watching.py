"""Watches of one generation: early, late, slow and many watchers, until it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest

from avatar_creator import AsyncAvatarCreator, AvatarCreator, Generation
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from tests.contract.calls import Calls, Refusal, refusal_of
from tests.support.generations import (
    CANCELLED,
    COMPLETED,
    PENDING,
    PROCESSING,
    SMALLEST,
    progress_never_falls,
)
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment

WATCHERS = 50
TIMEOUT_SECONDS = 20.0


@pytest.fixture
def calls(shared_deployment: Deployment, user: str) -> Iterator[Calls]:
    """Calls of `shared_deployment`, as `user`."""
    with Calls(shared_deployment.target, shared_deployment.token(user)) as opened:
        yield opened


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    calls: Calls
    project_id: str

    async def create_generation(self) -> Generation:
        """Create a generation of a small picture."""
        return (
            await self.client.generations.create(
                self.project_id, "a portrait", width=SMALLEST, height=SMALLEST
            )
        ).generation

    def watch(self, generation_id: str, known_revision: int = 0) -> asyncio.Task[Watched]:
        """Watch on another thread, and read every state at once."""
        return asyncio.create_task(asyncio.to_thread(watch, self.calls, generation_id, known_revision))

    async def wait_for_progress(self, generation_id: str, percent: int) -> Generation:
        """Wait until the generation has reached this progress, and return its state."""
        async for state in self.client.generations.watch(generation_id, timeout=TIMEOUT_SECONDS):
            if state.progress_percent >= percent:
                return state
        raise AssertionError(f"the generation ended before it reached {percent} percent")


@dataclass(frozen=True)
class Watched:
    """The states that a watch received, and its end."""

    states: list[Generation]
    refusal: Refusal | None
    """None if the watch ended with OK."""


def watch(calls: Calls, generation_id: str, known_revision: int = 0) -> Watched:
    states = []
    request = WatchGenerationRequest(generation_id=generation_id, known_revision=known_revision)
    try:
        for message in calls.generations.WatchGeneration(request):
            states.append(Generation.from_message(message.generation))
    except grpc.RpcError as error:
        return Watched(states, refusal_of(error))
    return Watched(states, None)


@asynccontextmanager
async def opened(deployment: Deployment, user: str, **settings: str) -> AsyncIterator[Studio]:
    """Run a service without a worker, with a user, while the context is open."""
    async with InProcessService.serving(deployment, **settings) as service:
        with Calls(deployment.target, deployment.token(user)) as calls:
            async with service.client(user) as client:
                project = await client.projects.create("Watched")
                yield Studio(service, client, calls, project.id)


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    async with opened(request.getfixturevalue(request.param), user) as studio:
        yield studio


def test_progress_never_falls_and_the_stream_ends_with_ok_after_completion(calls: Calls) -> None:
    generation = calls.create_generation(calls.create_project().id)

    watched = watch(calls, generation.id)

    assert watched.refusal is None
    assert watched.states[-1].state == COMPLETED
    assert watched.states[-1].progress_percent == 100
    assert watched.states[-1].avatar_id
    assert COMPLETED not in [state.state for state in watched.states[:-1]]
    assert progress_never_falls(watched.states)
    revisions = [state.revision for state in watched.states]
    assert revisions == sorted(set(revisions))


def test_a_watch_of_an_ended_generation_sends_the_last_state_for_any_known_revision(calls: Calls) -> None:
    generation = calls.wait_for_end(calls.create_generation(calls.create_project().id).id)

    started = time.monotonic()
    for known in (0, generation.revision - 1, generation.revision, generation.revision + 1):
        assert watch(calls, generation.id, known) == Watched([Generation.from_message(generation)], None)
    assert time.monotonic() - started < 1.0, "the state must come at once, not with the next re-read"


async def test_fifty_watchers_of_one_generation_all_receive_the_last_state(
    shared_deployment: Deployment, shared_client: AvatarCreator, user: str
) -> None:
    project = shared_client.projects.create("Premiere")
    generation = shared_client.generations.create(project.id, "a star")
    async with AsyncAvatarCreator(shared_deployment.target, token=shared_deployment.token(user)) as client:

        async def last_state() -> Generation:
            states = [state async for state in client.generations.watch(generation.id)]
            return states[-1]

        async with asyncio.timeout(30):
            last_states = await asyncio.gather(*(last_state() for _ in range(WATCHERS)))

    final = shared_client.generations.get(generation.id)
    assert final.state == COMPLETED
    assert last_states == [final] * WATCHERS


async def test_a_late_watcher_receives_the_current_state_first(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.progress(0.5)
        now = await studio.wait_for_progress(generation.id, 45)
        late = studio.watch(generation.id)
        drawing.progress(0.6)
        drawing.succeed()
        watched = await late

    assert watched.refusal is None
    assert watched.states[0].revision >= now.revision
    assert watched.states[0].progress_percent >= 45
    assert watched.states[-1].state == COMPLETED


async def test_a_reconnected_watcher_receives_only_new_states(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.progress(0.5)
        known = await studio.wait_for_progress(generation.id, 45)
        reconnected = studio.watch(generation.id, known.revision)
        drawing.progress(0.6)
        await studio.wait_for_progress(generation.id, 50)
        drawing.succeed()
        watched = await reconnected

    assert watched.refusal is None
    assert all(state.revision > known.revision for state in watched.states)
    assert watched.states[-1].state == COMPLETED


async def test_a_change_without_an_event_is_reread_and_a_known_state_is_not_sent_again(
    studio: Studio,
) -> None:
    known, changed = await studio.create_generation(), await studio.create_generation()
    watching_known = studio.watch(known.id, known.revision)
    changes = studio.client.generations.watch(changed.id, timeout=TIMEOUT_SECONDS)
    assert await anext(changes) == changed
    studio.service.deployment.execute(
        "UPDATE avatar_generations SET progress_percent = 5, revision = revision + 3 WHERE id = %s",
        changed.id,
    )
    received = await anext(changes)
    cancelled = await studio.client.generations.cancel(known.id)

    assert (received.progress_percent, received.revision) == (5, changed.revision + 3)
    assert await watching_known == Watched([cancelled], None)


async def test_deleting_the_project_ends_the_watch_with_not_found(studio: Studio) -> None:
    generation = await studio.create_generation()
    stream = studio.client.generations.watch(generation.id, timeout=TIMEOUT_SECONDS)
    assert (await anext(stream)).state == PENDING
    watching = studio.watch(generation.id)
    await studio.client.projects.delete(studio.project_id)
    watched = await watching

    assert watched.refusal is not None
    assert watched.refusal.code == grpc.StatusCode.NOT_FOUND
    assert watched.refusal.reason == "RESOURCE_NOT_FOUND"
    assert watched.refusal.resource == ("generation", generation.id)
    with pytest.raises(Exception, match="RESOURCE_NOT_FOUND"):
        await anext(stream)


async def test_a_cancellation_is_sent_and_ends_the_watch(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        watching = studio.watch(generation.id)
        async for state in studio.client.generations.watch(generation.id, timeout=TIMEOUT_SECONDS):
            if state.state == PROCESSING:
                await studio.client.generations.cancel(generation.id)
        watched = await watching
        drawing.succeed()

    assert state.state == CANCELLED
    assert watched.refusal is None
    assert watched.states[-1] == state


@pytest.mark.parametrize("mode", ["embedded", "distributed"])
async def test_a_slow_reader_skips_states_but_receives_the_last(
    request: pytest.FixtureRequest, mode: str, user: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    provider = ScriptedProvider()
    # The states are so large that the buffers of the connection cannot hold all the unread ones.
    large = {"HUGGINGFACE_API_KEY": "hf_test", "LORA_TRIGGER": " ".join(["detailed"] * 50_000)}
    async with opened(deployment, user, **large) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        stream = studio.calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        first = await asyncio.to_thread(next, stream)
        drawing = await provider.next_drawing()
        for step in range(1, 51):
            drawing.progress(step / 50)
        drawing.succeed()
        last = await studio.wait_for_progress(generation.id, 100)
        slowly_read = await asyncio.to_thread(
            lambda: [first.generation, *(message.generation for message in stream)]
        )

    assert last.state == COMPLETED
    assert last.revision > 50
    assert slowly_read[-1] == last.message
    assert len(slowly_read) < last.revision / 2
    revisions = [state.revision for state in slowly_read]
    assert revisions == sorted(set(revisions))

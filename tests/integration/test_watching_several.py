"""Watches of several generations, or of a whole project or user, on one stream."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from avatar_creator import AsyncAvatarCreator, Generation, NotFoundError
from avatar_creator.v1 import generation_service_pb2 as pb
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST, progress_never_falls
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider
from tests.support.waiting import wait_until

TIMEOUT_SECONDS = 20.0


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    user: str
    project_id: str

    async def create_generation(self, project_id: str = "") -> Generation:
        """Create a generation of a small picture."""
        return (
            await self.client.generations.create(
                project_id or self.project_id, "a portrait", width=SMALLEST, height=SMALLEST
            )
        ).generation

    async def cancel(self, generation: Generation) -> Generation:
        """Cancel a generation and return its state."""
        return await self.client.generations.cancel(generation.id)

    def change_unannounced(self, generation: Generation) -> None:
        """Change a generation in the database without an event, as if the event was lost."""
        self.service.deployment.execute(
            "UPDATE avatar_generations SET progress_percent = 5, revision = revision + 3, update_time = %s"
            " WHERE id = %s",
            datetime.now(UTC),
            generation.id,
        )


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with InProcessService.serving(deployment) as service, service.client(user) as client:
        project = await client.projects.create("Watched")
        yield Studio(service, client, user, project.id)


async def test_the_watch_of_several_generations_ends_when_all_have_ended(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generations = [await studio.create_generation() for _ in range(3)]
        watching = asyncio.create_task(
            _all(
                studio.client.generations.watch_many(
                    [generation.id for generation in generations], timeout=TIMEOUT_SECONDS
                )
            )
        )
        for _ in generations:
            drawing = await provider.next_drawing()
            drawing.progress(0.5)
            drawing.succeed()
        states = await watching

    for generation in generations:
        own_states = [state for state in states if state.id == generation.id]
        assert own_states[-1].state == COMPLETED
        assert progress_never_falls(own_states)
        assert [state.revision for state in own_states] == sorted({state.revision for state in own_states})
        assert own_states[-1] == await studio.client.generations.get(generation.id)


async def test_a_known_state_is_not_sent_but_a_final_state_always_is(studio: Studio) -> None:
    known, ended, unknown = [await studio.create_generation() for _ in range(3)]
    ended = await studio.cancel(ended)
    targets = {known.id: known.revision, ended.id: ended.revision + 7, unknown.id: 0}

    async with studio.client.generations.watch_many(targets, timeout=TIMEOUT_SECONDS) as states:
        first = [await anext(states) for _ in range(2)]
        last = [await studio.cancel(known), await studio.cancel(unknown)]
        rest = [state async for state in states]

    assert [(state.id, state.state) for state in first] == [(ended.id, CANCELLED), (unknown.id, PENDING)]
    assert {state.id: state for state in rest} == {state.id: state for state in last}


async def test_an_unknown_generation_is_not_found(studio: Studio) -> None:
    generation = await studio.create_generation()

    with pytest.raises(NotFoundError) as refused:
        await _all(studio.client.generations.watch_many([generation.id, "unknown"]))

    assert refused.value.resource is not None
    assert (refused.value.resource.type, refused.value.resource.id) == ("generation", "unknown")


async def test_a_deleted_generation_ends_the_watch_with_not_found(studio: Studio) -> None:
    elsewhere = await studio.client.projects.create("Elsewhere")
    kept, deleted = await studio.create_generation(), await studio.create_generation(elsewhere.id)
    states = studio.client.generations.watch_many([kept.id, deleted.id], timeout=TIMEOUT_SECONDS)
    assert {(await anext(states)).id for _ in range(2)} == {kept.id, deleted.id}

    await studio.client.projects.delete(elsewhere.id)

    with pytest.raises(NotFoundError) as ended:
        await anext(states)
    assert ended.value.resource is not None
    assert ended.value.resource.id == deleted.id


async def test_the_watch_of_a_project_sends_unfinished_generations_then_changes_and_new_ones(
    studio: Studio,
) -> None:
    await studio.cancel(await studio.create_generation())
    unfinished = [await studio.create_generation() for _ in range(2)]
    elsewhere = await studio.client.projects.create("Elsewhere")
    await studio.create_generation(elsewhere.id)
    watch = studio.client.generations.watch_many(project=studio.project_id, timeout=TIMEOUT_SECONDS)

    async with watch as states:
        assert [await anext(states) for _ in unfinished] == unfinished
        changed = await studio.cancel(unfinished[0])
        assert await anext(states) == changed
        await studio.create_generation(elsewhere.id)
        new = await studio.create_generation()
        received = await anext(states)

    assert (received.id, received.state) == (new.id, PENDING)


async def test_changes_without_an_event_are_reread_and_earlier_ends_are_not_sent(
    studio: Studio,
) -> None:
    ended_before, unfinished = await studio.create_generation(), await studio.create_generation()
    await studio.cancel(ended_before)
    watch = studio.client.generations.watch_many(project=studio.project_id, timeout=TIMEOUT_SECONDS)

    async with watch as states:
        assert (await anext(states)).id == unfinished.id
        received = []
        for _ in range(2):
            studio.change_unannounced(unfinished)
            received.append(await anext(states))

    assert [(state.id, state.revision) for state in received] == [
        (unfinished.id, unfinished.revision + 3),
        (unfinished.id, unfinished.revision + 6),
    ]


async def test_a_watch_resumes_without_a_gap(studio: Studio) -> None:
    seen, unfinished = await studio.create_generation(), await studio.create_generation()
    seen = await studio.cancel(seen)
    missed = await studio.cancel(await studio.create_generation())
    since = seen.update_time
    watch = studio.client.generations.watch_many(
        project=studio.project_id, changed_since=since, timeout=TIMEOUT_SECONDS
    )

    async with watch as states:
        received = [await anext(states) for _ in range(3)]

    assert [(state.id, state.state) for state in received] == [
        (unfinished.id, PENDING),
        (seen.id, CANCELLED),
        (missed.id, CANCELLED),
    ]


async def test_a_watch_that_breaks_after_any_message_resumes_without_a_gap(studio: Studio) -> None:
    oldest, *others = [await studio.create_generation() for _ in range(4)]
    since = oldest.update_time
    for other in others:
        await studio.cancel(other)
    # So long ago that the overlap at a resumption does not include them.
    studio.service.deployment.execute(
        "UPDATE avatar_generations SET update_time = %s WHERE state = 'cancelled'",
        since - timedelta(minutes=10),
    )
    studio.change_unannounced(oldest)
    since -= timedelta(hours=1)
    received: list[str] = []

    while len(set(received)) < 4:
        watch = studio.client.generations.watch_many(
            project=studio.project_id, changed_since=since, timeout=TIMEOUT_SECONDS
        )
        async with watch as states:
            async for state in states:
                if state.id not in received:
                    break
        received.append(state.id)
        since = max(since, state.update_time)

    assert received[-1] == oldest.id


async def test_the_watch_of_a_user_has_all_projects_but_no_other_user(studio: Studio, user: str) -> None:
    await studio.cancel(await studio.create_generation())
    elsewhere = await studio.client.projects.create("Elsewhere")
    unfinished = [await studio.create_generation(), await studio.create_generation(elsewhere.id)]
    watch = studio.client.generations.watch_many(timeout=TIMEOUT_SECONDS)

    async with studio.service.client(f"not-{user}") as other, watch as states:
        assert [await anext(states) for _ in unfinished] == unfinished
        strangers = await other.projects.create("Not watched")
        await other.generations.create(strangers.id, "a portrait", width=SMALLEST, height=SMALLEST)
        changed = await studio.cancel(unfinished[1])
        assert await anext(states) == changed
        studio.change_unannounced(unfinished[0])
        reread = await anext(states)
        later = await studio.client.projects.create("Later")
        new = await studio.create_generation(later.id)
        received = await anext(states)

    assert (reread.id, reread.revision) == (unfinished[0].id, unfinished[0].revision + 3)
    assert (received.id, received.state) == (new.id, PENDING)


async def test_the_watch_of_a_user_resumes_without_a_gap(studio: Studio) -> None:
    elsewhere = await studio.client.projects.create("Elsewhere")
    seen, unfinished = await studio.create_generation(), await studio.create_generation(elsewhere.id)
    seen = await studio.cancel(seen)
    missed = await studio.cancel(await studio.create_generation(elsewhere.id))
    since = seen.update_time

    watch = studio.client.generations.watch_many(changed_since=since, timeout=TIMEOUT_SECONDS)
    async with watch as states:
        received = [await anext(states) for _ in range(3)]

    assert [(state.id, state.state) for state in received] == [
        (unfinished.id, PENDING),
        (seen.id, CANCELLED),
        (missed.id, CANCELLED),
    ]


async def test_the_watch_of_a_user_goes_on_when_a_project_is_deleted(studio: Studio) -> None:
    deleted = await studio.client.projects.create("Deleted")
    gone = await studio.create_generation(deleted.id)

    async with studio.client.generations.watch_many(timeout=TIMEOUT_SECONDS) as states:
        assert (await anext(states)).id == gone.id
        await studio.client.projects.delete(deleted.id)
        new = await studio.create_generation()
        received = await anext(states)

    assert received.id == new.id


@pytest.mark.parametrize("with_generations", [True, False])
async def test_deleting_the_project_ends_its_watch_with_not_found(
    studio: Studio, with_generations: bool
) -> None:
    if with_generations:
        await studio.create_generation()
    stream = studio.client.generations.watch_many(project=studio.project_id, timeout=TIMEOUT_SECONDS)
    following = asyncio.create_task(_all(stream))
    if with_generations:
        # The watch has started, so it sends this generation from its slot.
        await studio.create_generation()

    await studio.client.projects.delete(studio.project_id)

    with pytest.raises(NotFoundError) as ended:
        await following
    assert ended.value.resource is not None
    assert (ended.value.resource.type, ended.value.resource.id) == ("project", studio.project_id)


async def _all(states: AsyncIterator[Generation]) -> list[Generation]:
    return [state async for state in states]


async def test_open_watches_keep_no_message_in_memory(studio: Studio) -> None:
    generation = await studio.create_generation()
    requests = {
        "WatchGeneration": pb.WatchGenerationRequest(generation_id=generation.id).SerializeToString(),
        "WatchGenerations": pb.WatchGenerationsRequest(project_id=studio.project_id).SerializeToString(),
    }
    messages_of_watches = (
        pb.WatchGenerationRequest,
        pb.WatchGenerationsRequest,
        pb.WatchGenerationResponse,
        pb.WatchGenerationsResponse,
    )
    deployment = studio.service.deployment
    metadata = (("authorization", f"Bearer {deployment.token(studio.user)}"),)

    def messages() -> list[Any]:
        return [each for each in gc.get_objects() if isinstance(each, messages_of_watches)]

    of_other_tests = messages()
    async with grpc.aio.insecure_channel(deployment.target) as channel:
        # Requests and responses are bytes here, so all messages are those of the server.
        watches: list[Any] = []
        for rpc, request in requests.items():
            open_watch: Any = channel.unary_stream(f"/avatar_creator.v1.GenerationService/{rpc}")
            watches.append(open_watch(request, metadata=metadata))
        for watch in watches:
            assert generation.id.encode() in await watch.read()

        def are_gone() -> bool:
            return all(any(each is other for other in of_other_tests) for each in messages())

        await asyncio.to_thread(wait_until, are_gone, message="a watch keeps a message")
        await studio.cancel(generation)
        for watch in watches:
            assert generation.id.encode() in await watch.read()
        await asyncio.to_thread(wait_until, are_gone, message="a watch keeps a message")

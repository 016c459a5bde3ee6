"""Watching several generations, or all of a project, over one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from avatar_creator import AsyncAvatarCreator, Generation, NotFoundError
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST, within_attempts_never_falls
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider

LATER_SECONDS = 20.0


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    project_id: str

    async def order(self, project_id: str = "") -> Generation:
        """A new generation of a small picture."""
        return await self.client.generations.create(
            project_id or self.project_id, "a portrait", width=SMALLEST, height=SMALLEST
        )

    async def cancelled(self, generation: Generation) -> Generation:
        """The generation, cancelled."""
        return await self.client.generations.cancel(generation.id)

    def change_unannounced(self, generation: Generation) -> None:
        """Change it as a process would whose message on the bus was lost."""
        self.service.deployment.execute(
            "UPDATE avatar_generations SET progress_percent = 5, revision = revision + 3, update_time = %s"
            " WHERE id = %s",
            datetime.now(UTC),
            generation.id,
        )


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker, once on SQLite, once on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with InProcessService.serving(deployment) as service, service.client(user) as client:
        project = await client.projects.create("Watched")
        yield Studio(service, client, project.id)


async def test_the_watch_of_several_ends_once_all_have_ended(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        orders = [await studio.order() for _ in range(3)]
        watching = asyncio.create_task(
            _all(studio.client.generations.watch_many([order.id for order in orders], timeout=LATER_SECONDS))
        )
        for _ in orders:
            drawing = await provider.next_drawing()
            drawing.progress(0.5)
            drawing.succeed()
        states = await watching

    for order in orders:
        of_one = [state for state in states if state.id == order.id]
        assert of_one[-1].state == COMPLETED
        assert within_attempts_never_falls(of_one)
        assert [state.revision for state in of_one] == sorted({state.revision for state in of_one})
        assert of_one[-1] == await studio.client.generations.get(order.id)


async def test_what_is_known_is_not_sent_and_what_has_ended_is_always(studio: Studio) -> None:
    known, ended, unknown = [await studio.order() for _ in range(3)]
    ended = await studio.cancelled(ended)
    targets = {known.id: known.revision, ended.id: ended.revision + 7, unknown.id: 0}

    async with aclosing(studio.client.generations.watch_many(targets, timeout=LATER_SECONDS)) as states:
        first = [await anext(states) for _ in range(2)]
        last = [await studio.cancelled(known), await studio.cancelled(unknown)]
        rest = [state async for state in states]

    assert [(state.id, state.state) for state in first] == [(ended.id, CANCELLED), (unknown.id, PENDING)]
    assert {state.id: state for state in rest} == {state.id: state for state in last}


async def test_one_that_is_not_there_is_not_found(studio: Studio) -> None:
    order = await studio.order()

    with pytest.raises(NotFoundError) as refused:
        await _all(studio.client.generations.watch_many([order.id, "nobodys"]))

    assert refused.value.resource is not None
    assert (refused.value.resource.type, refused.value.resource.id) == ("generation", "nobodys")


async def test_one_that_is_deleted_ends_the_watch_with_not_found(studio: Studio) -> None:
    elsewhere = await studio.client.projects.create("Elsewhere")
    kept, deleted = await studio.order(), await studio.order(elsewhere.id)
    states = studio.client.generations.watch_many([kept.id, deleted.id], timeout=LATER_SECONDS)
    assert {(await anext(states)).id for _ in range(2)} == {kept.id, deleted.id}

    await studio.client.projects.delete(elsewhere.id)

    with pytest.raises(NotFoundError) as ended:
        await anext(states)
    assert ended.value.resource is not None
    assert ended.value.resource.id == deleted.id


async def test_a_project_tells_what_is_unfinished_then_every_change_and_every_new_one(
    studio: Studio,
) -> None:
    await studio.cancelled(await studio.order())
    unfinished = [await studio.order() for _ in range(2)]
    elsewhere = await studio.client.projects.create("Elsewhere")
    await studio.order(elsewhere.id)
    watch = studio.client.generations.watch_many(project_id=studio.project_id, timeout=LATER_SECONDS)

    async with aclosing(watch) as states:
        assert [await anext(states) for _ in unfinished] == unfinished
        changed = await studio.cancelled(unfinished[0])
        assert await anext(states) == changed
        await studio.order(elsewhere.id)
        new = await studio.order()
        told = await anext(states)

    assert (told.id, told.state) == (new.id, PENDING)


async def test_what_the_bus_did_not_tell_is_read_again_and_what_ended_before_is_not_told(
    studio: Studio,
) -> None:
    ended_before, unfinished = await studio.order(), await studio.order()
    await studio.cancelled(ended_before)
    watch = studio.client.generations.watch_many(project_id=studio.project_id, timeout=LATER_SECONDS)

    async with aclosing(watch) as states:
        assert (await anext(states)).id == unfinished.id
        told = []
        for _ in range(2):
            studio.change_unannounced(unfinished)
            told.append(await anext(states))

    assert [(state.id, state.revision) for state in told] == [
        (unfinished.id, unfinished.revision + 3),
        (unfinished.id, unfinished.revision + 6),
    ]


async def test_a_watch_is_taken_up_without_a_gap(studio: Studio) -> None:
    seen, unfinished = await studio.order(), await studio.order()
    seen = await studio.cancelled(seen)
    missed = await studio.cancelled(await studio.order())
    since = seen.update_time.ToDatetime(tzinfo=UTC)
    watch = studio.client.generations.watch_many(
        project_id=studio.project_id, changed_since=since, timeout=LATER_SECONDS
    )

    async with aclosing(watch) as states:
        told = [await anext(states) for _ in range(3)]

    assert [(state.id, state.state) for state in told] == [
        (unfinished.id, PENDING),
        (seen.id, CANCELLED),
        (missed.id, CANCELLED),
    ]


async def test_a_watch_that_broke_after_any_message_is_taken_up_without_a_gap(studio: Studio) -> None:
    oldest, *others = [await studio.order() for _ in range(4)]
    since = oldest.update_time.ToDatetime(tzinfo=UTC)
    for other in others:
        await studio.cancelled(other)
    # Long ago, so that looking back a little further makes up for nothing.
    studio.service.deployment.execute(
        "UPDATE avatar_generations SET update_time = %s WHERE state = 'cancelled'",
        since - timedelta(minutes=10),
    )
    studio.change_unannounced(oldest)
    since -= timedelta(hours=1)
    told: list[str] = []

    while len(set(told)) < 4:
        watch = studio.client.generations.watch_many(
            project_id=studio.project_id, changed_since=since, timeout=LATER_SECONDS
        )
        async with aclosing(watch) as states:
            async for state in states:
                if state.id not in told:
                    break
        told.append(state.id)
        since = max(since, state.update_time.ToDatetime(tzinfo=UTC))

    assert told[-1] == oldest.id


@pytest.mark.parametrize("with_generations", [True, False])
async def test_deleting_the_project_ends_its_watch_with_not_found(
    studio: Studio, with_generations: bool
) -> None:
    if with_generations:
        await studio.order()
    stream = studio.client.generations.watch_many(project_id=studio.project_id, timeout=LATER_SECONDS)
    following = asyncio.create_task(_all(stream))
    if with_generations:
        # The watch is under way: what it tells now it tells from its slot.
        await studio.order()

    await studio.client.projects.delete(studio.project_id)

    with pytest.raises(NotFoundError) as ended:
        await following
    assert ended.value.resource is not None
    assert (ended.value.resource.type, ended.value.resource.id) == ("project", studio.project_id)


async def _all(states: AsyncIterator[Generation]) -> list[Generation]:
    return [state async for state in states]

"""Starting a failed or cancelled generation again, and waiting in the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from avatar_creator import (
    AsyncAvatarCreator,
    Attributes,
    FailedPreconditionError,
    Gender,
    Generation,
    Persona,
)
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING, SMALLEST
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider

LATER_SECONDS = 20.0


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    project_id: str

    async def order(self, *, seed: int | None = None) -> Generation:
        """A new generation of a small picture, of a person who is described."""
        return await self.client.generations.create(
            self.project_id,
            "a portrait",
            avatar_name="Face",
            persona=Persona(name="Sari", age=29, personality=["warm"], background="From Yogyakarta."),
            attributes=Attributes(gender=Gender.GENDER_FEMALE, ethnicity="Indonesian"),
            width=SMALLEST,
            height=SMALLEST,
            seed=seed,
        )

    async def ended(self, generation_id: str) -> Generation:
        """The last state of a generation, which is waited for."""
        *_, last = [
            state async for state in self.client.generations.watch(generation_id, timeout=LATER_SECONDS)
        ]
        return last

    async def processing(self, generation_id: str) -> None:
        """Wait until a worker is at it."""
        async for state in self.client.generations.watch(generation_id, timeout=LATER_SECONDS):
            if state.state == PROCESSING:
                return


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker, once on SQLite, once on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with InProcessService.serving(deployment) as service, service.client(user) as client:
        project = await client.projects.create("Retried")
        yield Studio(service, client, project.id)


ASKED_FOR = (
    "project_id",
    "avatar_name",
    "prompt",
    "persona",
    "attributes",
    "options",
    "enhanced_prompt",
    "negative_prompt",
)


@pytest.mark.parametrize("seed", [None, 7])
async def test_a_failed_one_is_started_again_with_the_same_wishes(studio: Studio, seed: int | None) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        order = await studio.order(seed=seed)
        refused = ProviderError("PROVIDER_REJECTED", "not that prompt", retryable=False)
        (await provider.next_drawing()).fail(refused)
        failed = await studio.ended(order.id)
        again = await studio.client.generations.retry(failed.id)
        drawing = await provider.next_drawing()
        drawing.succeed()
        completed = await studio.ended(again.id)

    assert failed.state == FAILED
    assert again.id != failed.id
    assert (again.state, again.retry_of, again.attempt_number) == (PENDING, failed.id, 0)
    assert not again.HasField("error")
    for field in ASKED_FOR:
        assert getattr(again, field) == getattr(failed, field), field
    assert (again.seed_used == failed.seed_used) == (seed is not None)
    assert drawing.request.seed == again.seed_used
    assert (completed.state, completed.retry_of) == (COMPLETED, failed.id)
    assert await studio.client.generations.get(failed.id) == failed


async def test_a_cancelled_one_is_started_again_as_often_as_asked(studio: Studio) -> None:
    cancelled = await studio.client.generations.cancel((await studio.order()).id)

    again = [await studio.client.generations.retry(cancelled.id) for _ in range(2)]
    of_retry = await studio.client.generations.cancel(again[0].id)
    third = await studio.client.generations.retry(of_retry.id)

    assert cancelled.state == CANCELLED
    assert len({cancelled.id, again[0].id, again[1].id, third.id}) == 4
    assert [again[0].retry_of, again[1].retry_of, third.retry_of] == [
        cancelled.id,
        cancelled.id,
        again[0].id,
    ]


async def test_no_other_one_is_started_again(studio: Studio) -> None:
    provider = ScriptedProvider()
    order = await studio.order()
    refusals = {}

    async def refused() -> FailedPreconditionError:
        with pytest.raises(FailedPreconditionError) as raised:
            await studio.client.generations.retry(order.id)
        return raised.value

    refusals["PENDING"] = await refused()
    async with studio.service.working(provider):
        drawing = await provider.next_drawing()
        refusals["PROCESSING"] = await refused()
        drawing.succeed()
        await studio.ended(order.id)
    refusals["COMPLETED"] = await refused()

    for state, refusal in refusals.items():
        assert refusal.reason == "GENERATION_NOT_RETRYABLE"
        assert refusal.metadata == {"state": state}
    assert [listed.id async for listed in studio.client.generations.list()] == [order.id]


# The queue


async def test_what_waits_says_how_many_are_before_it(studio: Studio) -> None:
    orders = [await studio.order() for _ in range(4)]
    assert [order.queue_position for order in orders] == [0, 1, 2, 3]
    assert not orders[0].HasField("expected_seconds"), "none has completed yet"

    await studio.client.generations.cancel(orders[1].id)

    async def positions() -> dict[str, int | None]:
        return {
            listed.id: listed.queue_position if listed.HasField("queue_position") else None
            async for listed in studio.client.generations.list()
        }

    expected = {orders[0].id: 0, orders[1].id: None, orders[2].id: 1, orders[3].id: 2}
    assert await positions() == expected
    states = studio.client.generations.watch(orders[3].id, timeout=LATER_SECONDS)
    assert (await anext(states)).queue_position == 2
    assert (await studio.client.generations.get(orders[2].id)).queue_position == 1


async def test_another_users_work_is_before_ones_own(studio: Studio, user: str) -> None:
    async with studio.service.client(f"{user}-2") as other:
        project = await other.projects.create("Theirs")
        await other.generations.create(project.id, "a portrait", width=SMALLEST, height=SMALLEST)

    assert (await studio.order()).queue_position == 1


async def test_what_waits_expects_what_recent_ones_took(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        done = await studio.order()
        (await provider.next_drawing()).succeed()
        await studio.ended(done.id)
        # As if a portrait took 40 s, as a large model does.
        took = timedelta(seconds=40)
        for attempt in studio.service.deployment.rows("generation_attempts"):
            studio.service.deployment.execute(
                "UPDATE generation_attempts SET start_time = %s WHERE id = %s",
                attempt["end_time"] - took,
                attempt["id"],
            )
        running = [await studio.order() for _ in range(2)]
        for order in running:
            await studio.processing(order.id)
        waiting = [await studio.order() for _ in range(5)]

    read = [await studio.client.generations.get(order.id) for order in running]
    assert [order.HasField("queue_position") for order in read if order.state == PROCESSING] == []
    assert [order.queue_position for order in waiting] == [0, 1, 2, 3, 4]
    assert [order.expected_seconds for order in waiting] == [40, 40, 80, 80, 120]


async def test_a_retry_that_waits_expects_its_wait_too(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        done = await studio.order()
        (await provider.next_drawing()).succeed()
        await studio.ended(done.id)
        order = await studio.order()
        busy = ProviderError(
            "PROVIDER_UNAVAILABLE", "busy", retryable=True, retry_after=timedelta(seconds=900)
        )
        (await provider.next_drawing()).fail(busy)
        async for state in studio.client.generations.watch(order.id, timeout=LATER_SECONDS):
            if state.state == PENDING and state.attempt_number == 1:
                break
    waiting = await studio.client.generations.get(order.id)

    assert waiting.next_attempt_time.ToDatetime(tzinfo=UTC) > datetime.now(UTC) + timedelta(seconds=800)
    assert 800 < waiting.expected_seconds < 1000
    assert (await studio.order()).queue_position == 0, "what is due comes before what waits for its time"

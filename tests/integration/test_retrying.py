"""Retries of failed and cancelled generations, and queue positions."""

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
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider

TIMEOUT_SECONDS = 20.0


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    project_id: str

    async def create_generation(self, *, seed: int | None = None) -> Generation:
        """Create a generation of a small picture, with a persona and attributes."""
        return (
            await self.client.generations.create(
                self.project_id,
                "a portrait",
                avatar_name="Face",
                persona=Persona(name="Sari", age=29, personality=["warm"], background="From Yogyakarta."),
                attributes=Attributes(gender=Gender.FEMALE, ethnicity="Indonesian"),
                width=SMALLEST,
                height=SMALLEST,
                seed=seed,
            )
        ).generation

    async def wait_for_end(self, generation_id: str) -> Generation:
        """Wait until a generation has ended, and return its last state."""
        *_, last = [
            state async for state in self.client.generations.watch(generation_id, timeout=TIMEOUT_SECONDS)
        ]
        return last

    async def wait_for_processing(self, generation_id: str) -> None:
        """Wait until a worker processes a generation."""
        async for state in self.client.generations.watch(generation_id, timeout=TIMEOUT_SECONDS):
            if state.state == PROCESSING:
                return


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with InProcessService.serving(deployment) as service, service.client(user) as client:
        project = await client.projects.create("Retried")
        yield Studio(service, client, project.id)


COPIED_FIELDS = (
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
async def test_a_failed_generation_is_retried_with_the_same_parameters(
    studio: Studio, seed: int | None
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation(seed=seed)
        refused = ProviderError("PROVIDER_REJECTED", "not that prompt", retryable=False)
        (await provider.next_drawing()).fail(refused)
        failed = await studio.wait_for_end(generation.id)
        retry = (await studio.client.generations.retry(failed.id)).generation
        drawing = await provider.next_drawing()
        drawing.succeed()
        completed = await studio.wait_for_end(retry.id)

    assert failed.state == FAILED
    assert retry.id != failed.id
    assert (retry.state, retry.retry_of, retry.attempt_number) == (PENDING, failed.id, 0)
    assert retry.error is None
    for field in COPIED_FIELDS:
        assert getattr(retry, field) == getattr(failed, field), field
    assert (retry.seed_used == failed.seed_used) == (seed is not None)
    assert drawing.request.seed == retry.seed_used
    assert (completed.state, completed.retry_of) == (COMPLETED, failed.id)
    assert await studio.client.generations.get(failed.id) == failed


async def test_a_cancelled_generation_can_be_retried_many_times(studio: Studio) -> None:
    cancelled = await studio.client.generations.cancel((await studio.create_generation()).id)

    retries = [await studio.client.generations.retry(cancelled.id) for _ in range(2)]
    of_retry = await studio.client.generations.cancel(retries[0].id)
    third = await studio.client.generations.retry(of_retry.id)

    assert cancelled.state == CANCELLED
    assert len({cancelled.id, retries[0].id, retries[1].id, third.id}) == 4
    assert [each.generation.retry_of for each in (*retries, third)] == [
        cancelled.id,
        cancelled.id,
        retries[0].id,
    ]


async def test_a_generation_that_has_not_failed_or_been_cancelled_cannot_be_retried(studio: Studio) -> None:
    provider = ScriptedProvider()
    generation = await studio.create_generation()
    refusals = {}

    async def refused() -> FailedPreconditionError:
        with pytest.raises(FailedPreconditionError) as raised:
            await studio.client.generations.retry(generation.id)
        return raised.value

    refusals["PENDING"] = await refused()
    async with studio.service.working(provider):
        drawing = await provider.next_drawing()
        refusals["PROCESSING"] = await refused()
        drawing.succeed()
        await studio.wait_for_end(generation.id)
    refusals["COMPLETED"] = await refused()

    for state, refusal in refusals.items():
        assert refusal.reason == "GENERATION_NOT_RETRYABLE"
        assert refusal.metadata == {"state": state}
    assert [listed.id async for listed in studio.client.generations.list()] == [generation.id]


# The queue


async def test_a_pending_generation_has_the_number_of_generations_before_it(studio: Studio) -> None:
    generations = [await studio.create_generation() for _ in range(4)]
    assert [generation.queue_position for generation in generations] == [0, 1, 2, 3]
    assert generations[0].expected_seconds is None, "no generation has completed yet"

    await studio.client.generations.cancel(generations[1].id)

    async def positions() -> dict[str, int | None]:
        return {
            listed.id: listed.queue_position if listed.queue_position is not None else None
            async for listed in studio.client.generations.list()
        }

    expected = {generations[0].id: 0, generations[1].id: None, generations[2].id: 1, generations[3].id: 2}
    assert await positions() == expected
    states = studio.client.generations.watch(generations[3].id, timeout=TIMEOUT_SECONDS)
    assert (await anext(states)).queue_position == 2
    assert (await studio.client.generations.get(generations[2].id)).queue_position == 1


async def test_the_queue_position_counts_generations_of_other_users(studio: Studio, user: str) -> None:
    async with studio.service.client(f"{user}-2") as other:
        project = await other.projects.create("Theirs")
        await other.generations.create(project.id, "a portrait", width=SMALLEST, height=SMALLEST)

    assert (await studio.create_generation()).queue_position == 1


async def test_the_expected_time_follows_from_the_time_of_recent_generations(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        done = await studio.create_generation()
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(done.id)
        # As if a portrait took 40 s, like with a large model.
        duration = timedelta(seconds=40)
        for attempt in studio.service.deployment.rows("generation_attempts"):
            studio.service.deployment.execute(
                "UPDATE generation_attempts SET start_time = %s WHERE id = %s",
                attempt["end_time"] - duration,
                attempt["id"],
            )
        running = [await studio.create_generation() for _ in range(2)]
        for generation in running:
            await studio.wait_for_processing(generation.id)
        waiting = [await studio.create_generation() for _ in range(5)]

    read = [await studio.client.generations.get(generation.id) for generation in running]
    assert [
        generation.queue_position is not None for generation in read if generation.state == PROCESSING
    ] == []
    assert [generation.queue_position for generation in waiting] == [0, 1, 2, 3, 4]
    assert [generation.expected_seconds for generation in waiting] == [40, 40, 80, 80, 120]


@pytest.mark.parametrize(
    ("table", "column", "changed"),
    [
        ("generation_attempts", "provider", "diffusers"),
        ("generation_attempts", "route", "local-reference"),
        ("generation_recipes", "recipe", '{"model": "another/model"}'),
    ],
)
async def test_the_expected_time_does_not_follow_from_drawings_by_another_provider_route_or_model(
    studio: Studio, table: str, column: str, changed: str
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        done = await studio.create_generation()
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(done.id)
        assert (await studio.client.generations.estimate(studio.project_id, "x")).seconds_p50 is not None

        studio.service.deployment.execute(f"UPDATE {table} SET {column} = %s", changed)

        estimate = await studio.client.generations.estimate(studio.project_id, "x")
        assert (estimate.seconds_p50, estimate.expected_seconds) == (None, None)
        assert (await studio.create_generation()).expected_seconds is None


async def test_the_expected_time_of_a_retry_includes_its_delay(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        done = await studio.create_generation()
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(done.id)
        generation = await studio.create_generation()
        busy = ProviderError(
            "PROVIDER_UNAVAILABLE", "busy", retryable=True, retry_after=timedelta(seconds=900)
        )
        (await provider.next_drawing()).fail(busy)
        async for state in studio.client.generations.watch(generation.id, timeout=TIMEOUT_SECONDS):
            if state.state == PENDING and state.attempt_number == 1:
                break
        waiting = await studio.client.generations.get(generation.id)

    assert present(waiting.next_attempt_time) > datetime.now(UTC) + timedelta(seconds=800)
    assert 800 < present(waiting.expected_seconds) < 1000
    assert (await studio.create_generation()).queue_position == 0, (
        "a due generation comes before one that waits for its retry"
    )

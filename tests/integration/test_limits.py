"""Limits on the generations and the spending of a user. They are exact, even with many concurrent calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from avatar_creator import Generation, ResourceExhaustedError
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.generations import COMPLETED, FAILED
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio

CALLS = 20
PRICE = 35_000
"""Price of a picture of up to a megapixel with the route fal-ai, in millionths of a US dollar."""

NO_LIMITS = {
    "GENERATION_LIMIT_CONCURRENT": "0",
    "GENERATION_LIMIT_PER_MINUTE": "0",
    "GENERATION_LIMIT_PER_DAY": "0",
    "SPEND_LIMIT_PER_DAY": "0",
    "HUGGINGFACE_API_KEY": "hf_test",
}


class Spender(Studio):
    """A user with a project who reaches limits."""

    async def create_concurrently(self, calls: int) -> tuple[list[Generation], list[ResourceExhaustedError]]:
        """Make concurrent calls, and return the created generations and the errors of the refused calls."""
        outcomes = await asyncio.gather(
            *(self.create_generation() for _ in range(calls)), return_exceptions=True
        )
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Generation)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, ResourceExhaustedError)]
        assert len(accepted) + len(refused) == calls, outcomes
        return accepted, refused

    def move_starts_back(self, age: timedelta) -> None:
        """Change the start of every generation to this long ago."""
        self.service.deployment.execute(
            "UPDATE generation_starts SET create_time = %s", datetime.now(UTC) - age
        )

    def count_generations(self) -> int:
        return len(self.service.deployment.rows("avatar_generations"))


@pytest.fixture(params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """A service that is not started: once on SQLite, and once on PostgreSQL and Redis."""
    stopped: Deployment = request.getfixturevalue(request.param)
    return stopped


@asynccontextmanager
async def spender(deployment: Deployment, user: str, **limits: str) -> AsyncIterator[Spender]:
    """Run a service with these limits and without a worker, with a user, while the context is open."""
    async with (
        InProcessService.serving(deployment, **{**NO_LIMITS, **limits}) as service,
        service.client(user) as client,
    ):
        yield Spender(service, client, (await client.projects.create("Limits")).id)


async def test_five_per_minute_of_twenty_concurrent_calls_are_accepted(
    deployment: Deployment, user: str
) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="5") as studio:
        accepted, refused = await studio.create_concurrently(CALLS)

        assert (len(accepted), len(refused), studio.count_generations()) == (5, 15, 5)
        for error in refused:
            assert error.reason == "GENERATION_LIMIT"
            assert error.metadata == {"limit": "per_minute", "most": "5"}
            [violation] = error.quota_violations
            assert violation.subject == "per_minute"
            assert violation.description == (
                "the limit of generations started within a minute is 5, and this call would make it 6"
            )
            assert error.message.startswith(f"{violation.description}; try again in ")
            assert error.retry_after is not None
            assert 30 < error.retry_after <= 60
        stats = await studio.client.usage.stats()
        assert sum(state.generation_count for state in stats.generations) == 5
        await studio.client.projects.delete(studio.project_id)
        studio.project_id = (await studio.client.projects.create("Another")).id
        with pytest.raises(ResourceExhaustedError):
            await studio.create_generation()
        studio.move_starts_back(timedelta(seconds=61))
        assert await studio.create_generation()


async def test_an_ended_generation_makes_room_within_the_concurrent_limit(
    deployment: Deployment, user: str
) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_CONCURRENT="3") as studio:
        accepted, refused = await studio.create_concurrently(CALLS)

        assert (len(accepted), len(refused)) == (3, 17)
        assert {error.metadata["limit"] for error in refused} == {"concurrent"}
        await studio.client.generations.cancel(accepted[0].id)
        accepted, refused = await studio.create_concurrently(2)
        assert (len(accepted), len(refused)) == (1, 1)


async def test_the_daily_limit_counts_cancelled_generations_too(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_DAY="4") as studio:
        for generation in (await studio.create_concurrently(4))[0]:
            await studio.client.generations.cancel(generation.id)

        with pytest.raises(ResourceExhaustedError) as refusal:
            await studio.create_generation()
        assert refusal.value.metadata["limit"] == "per_day"
        studio.move_starts_back(timedelta(hours=23))
        with pytest.raises(ResourceExhaustedError) as refusal:
            await studio.create_generation()
        assert 3500 < (refusal.value.retry_after or 0) <= 3600
        studio.move_starts_back(timedelta(hours=25))
        assert await studio.create_generation()


async def test_each_variation_counts_and_all_or_none_are_created(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="5") as studio:
        created = await studio.client.generations.create_variations(studio.project_id, "a portrait", count=3)
        assert len(created) == 3
        with pytest.raises(ResourceExhaustedError):
            await studio.client.generations.create_variations(studio.project_id, "a portrait", count=3)
        assert studio.count_generations() == 3
        more = await studio.client.generations.create_variations(studio.project_id, "a portrait", count=2)
        assert len(more) == 2


@pytest.mark.parametrize(
    ("limits", "name", "finding"),
    [
        (
            {"GENERATION_LIMIT_CONCURRENT": "2"},
            "concurrent",
            "the limit of generations that wait or run at the same time is 2, and this call alone starts 3",
        ),
        (
            {"GENERATION_LIMIT_PER_MINUTE": "2"},
            "per_minute",
            "the limit of generations started within a minute is 2, and this call alone starts 3",
        ),
        (
            {"GENERATION_LIMIT_PER_DAY": "2"},
            "per_day",
            "the limit of generations started within 24 hours is 2, and this call alone starts 3",
        ),
        (
            {"PROVIDER": "huggingface", "SPEND_LIMIT_PER_DAY": "0.1"},
            "spend_per_day",
            "the limit of spending within 24 hours is $0.1, and this call alone costs $0.105",
        ),
    ],
)
async def test_a_call_that_exceeds_a_limit_alone_does_not_say_when_to_retry(
    deployment: Deployment, user: str, limits: dict[str, str], name: str, finding: str
) -> None:
    async with spender(deployment, user, **limits) as studio:
        with pytest.raises(ResourceExhaustedError, match="waiting does not help") as refusal:
            await studio.client.generations.create_variations(
                studio.project_id, "a portrait", count=3, width=1024, height=1024
            )

        assert refusal.value.metadata["limit"] == name
        assert [violation.description for violation in refusal.value.quota_violations] == [finding]
        assert refusal.value.retry_after is None
        assert studio.count_generations() == 0


async def test_a_repeated_call_is_not_counted_again(deployment: Deployment, user: str) -> None:
    request_id = "123e4567-e89b-12d3-a456-426614174000"
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="1") as studio:
        first = await studio.create_generation(request_id=request_id)
        again = await studio.create_generation(request_id=request_id)
        assert again.id == first.id
        with pytest.raises(ResourceExhaustedError):
            await studio.create_generation()


async def test_the_price_is_reserved_at_creation_and_settled_at_the_end(
    deployment: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with spender(deployment, user, SPEND_LIMIT_PER_DAY="0.12") as studio:
        accepted, refused = await studio.create_concurrently(CALLS)
        assert (len(accepted), len(refused)) == (3, 17)  # a fourth would bring the total to 0.14
        assert {error.metadata["limit"] for error in refused} == {"spend_per_day"}
        assert {error.metadata["most"] for error in refused} == {"120000"}

        async with studio.service.working(provider):
            drawings = [await provider.next_drawing(), await provider.next_drawing()]
            drawings[0].succeed()
            drawings[1].fail(ProviderError("PROVIDER_REJECTED", "no", retryable=False, charged=False))
            drawings.append(await provider.next_drawing())
            drawings[2].fail(ProviderError("PROVIDER_NSFW", "no", retryable=False, charged=True))
            ended = [await _wait_for_end(studio, generation.id) for generation in accepted]
        assert sorted(state.state for state in ended) == sorted([COMPLETED, FAILED, FAILED])
        assert sorted(state.price_micros for state in ended) == [0, PRICE, PRICE]

        # One generation was not charged, so there is room for one more, but not for two.
        accepted, refused = await studio.create_concurrently(2)
        assert (len(accepted), len(refused)) == (1, 1)
        [spent] = (await studio.client.usage.stats()).spending
        assert (spent.app_id, spent.price_micros, spent.attempt_count) == (None, 2 * PRICE, 2)


async def _wait_for_end(studio: Spender, generation_id: str) -> Generation:
    async for state in studio.client.generations.watch(generation_id, timeout=20.0):
        last = state
    return last

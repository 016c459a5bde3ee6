"""How much one user may generate and spend: exactly so much, however many calls come at once."""

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
"""Of one picture of at most a megapixel by the route fal-ai, in millionths of a US dollar."""

NO_LIMITS = {
    "GENERATION_LIMIT_CONCURRENT": "0",
    "GENERATION_LIMIT_PER_MINUTE": "0",
    "GENERATION_LIMIT_PER_DAY": "0",
    "SPEND_LIMIT_PER_DAY": "0",
    "HUGGINGFACE_API_KEY": "hf_test",
}


class Spender(Studio):
    """A user with a project who comes to limits."""

    async def order_at_once(self, calls: int) -> tuple[list[Generation], list[ResourceExhaustedError]]:
        """So many calls at the same time: what was accepted, and how the others were refused."""
        outcomes = await asyncio.gather(*(self.order() for _ in range(calls)), return_exceptions=True)
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Generation)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, ResourceExhaustedError)]
        assert len(accepted) + len(refused) == calls, outcomes
        return accepted, refused

    def let_pass(self, age: timedelta) -> None:
        """Let everything have been started so long ago."""
        self.service.deployment.execute(
            "UPDATE generation_starts SET create_time = %s", datetime.now(UTC) - age
        )

    def started(self) -> int:
        return len(self.service.deployment.rows("avatar_generations"))


@pytest.fixture(params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """A service's settings, once on SQLite, once on PostgreSQL and Redis."""
    stopped: Deployment = request.getfixturevalue(request.param)
    return stopped


@asynccontextmanager
async def spender(deployment: Deployment, user: str, **limits: str) -> AsyncIterator[Spender]:
    """A user of a service with these limits and without a worker."""
    async with (
        InProcessService.serving(deployment, **{**NO_LIMITS, **limits}) as service,
        service.client(user) as client,
    ):
        yield Spender(service, client, (await client.projects.create("Limits")).id)


async def test_of_twenty_calls_at_once_five_a_minute_are_accepted(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="5") as who:
        accepted, refused = await who.order_at_once(CALLS)

        assert (len(accepted), len(refused), who.started()) == (5, 15, 5)
        for error in refused:
            assert error.reason == "GENERATION_LIMIT"
            assert error.metadata == {"limit": "per_minute", "most": "5"}
            assert [violation.subject for violation in error.quota_violations] == ["per_minute"]
            assert error.retry_after is not None
            assert 30 < error.retry_after <= 60
        stats = await who.client.usage.stats()
        assert sum(state.generation_count for state in stats.generations) == 5
        await who.client.projects.delete(who.project_id)
        who.project_id = (await who.client.projects.create("Another")).id
        with pytest.raises(ResourceExhaustedError):
            await who.order()
        who.let_pass(timedelta(seconds=61))
        assert await who.order()


async def test_as_many_wait_or_run_as_may_and_what_ends_makes_room(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_CONCURRENT="3") as who:
        accepted, refused = await who.order_at_once(CALLS)

        assert (len(accepted), len(refused)) == (3, 17)
        assert {error.metadata["limit"] for error in refused} == {"concurrent"}
        await who.client.generations.cancel(accepted[0].id)
        again, refused = await who.order_at_once(2)
        assert (len(again), len(refused)) == (1, 1)


async def test_so_many_a_day_whatever_becomes_of_them(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_DAY="4") as who:
        for generation in (await who.order_at_once(4))[0]:
            await who.client.generations.cancel(generation.id)

        with pytest.raises(ResourceExhaustedError) as refusal:
            await who.order()
        assert refusal.value.metadata["limit"] == "per_day"
        who.let_pass(timedelta(hours=23))
        with pytest.raises(ResourceExhaustedError) as refusal:
            await who.order()
        assert 3500 < (refusal.value.retry_after or 0) <= 3600
        who.let_pass(timedelta(hours=25))
        assert await who.order()


async def test_variations_count_one_by_one_and_come_all_or_none(deployment: Deployment, user: str) -> None:
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="5") as who:
        made = await who.client.generations.create_variations(who.project_id, "a portrait", count=3)
        assert len(made) == 3
        with pytest.raises(ResourceExhaustedError):
            await who.client.generations.create_variations(who.project_id, "a portrait", count=3)
        assert who.started() == 3
        assert len(await who.client.generations.create_variations(who.project_id, "a portrait", count=2)) == 2


async def test_a_repeated_call_is_answered_and_not_counted(deployment: Deployment, user: str) -> None:
    request_id = "123e4567-e89b-12d3-a456-426614174000"
    async with spender(deployment, user, GENERATION_LIMIT_PER_MINUTE="1") as who:
        first = await who.order(request_id=request_id)
        again = await who.order(request_id=request_id)
        assert again.id == first.id
        with pytest.raises(ResourceExhaustedError):
            await who.order()


async def test_what_may_be_spent_is_reserved_at_creation_and_settled_at_the_end(
    deployment: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with spender(deployment, user, SPEND_LIMIT_PER_DAY="0.12") as who:
        accepted, refused = await who.order_at_once(CALLS)
        assert (len(accepted), len(refused)) == (3, 17)  # the fourth would make 0.14
        assert {error.metadata["limit"] for error in refused} == {"spend_per_day"}
        assert {error.metadata["most"] for error in refused} == {"120000"}

        async with who.service.working(provider):
            drawings = [await provider.next_drawing(), await provider.next_drawing()]
            drawings[0].succeed()
            drawings[1].fail(ProviderError("PROVIDER_REJECTED", "no", retryable=False, charged=False))
            drawings.append(await provider.next_drawing())
            drawings[2].fail(ProviderError("PROVIDER_NSFW", "no", retryable=False, charged=True))
            ended = [await _ended(who, generation.id) for generation in accepted]
        assert sorted(state.state for state in ended) == sorted([COMPLETED, FAILED, FAILED])
        assert sorted(state.price_micros for state in ended) == [0, PRICE, PRICE]

        # One was not charged, so there is room for one more and not for two.
        accepted, refused = await who.order_at_once(2)
        assert (len(accepted), len(refused)) == (1, 1)
        [spent] = (await who.client.usage.stats()).spending
        assert (spent.app_id, spent.price_micros, spent.attempt_count) == ("", 2 * PRICE, 2)


async def _ended(who: Spender, generation_id: str) -> Generation:
    async for state in who.client.generations.watch(generation_id, timeout=20.0):
        last = state
    return last

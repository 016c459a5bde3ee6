"""Whose turn it is: three priorities, and turns between users within each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from avatar_creator import GenerationPriority
from tests.support.generations import make_due
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider
from tests.support.studio import Studio

INTERACTIVE = GenerationPriority.GENERATION_PRIORITY_INTERACTIVE
NORMAL = GenerationPriority.GENERATION_PRIORITY_NORMAL
BULK = GenerationPriority.GENERATION_PRIORITY_BULK


class Town:
    """Users of one service, by a letter each."""

    def __init__(self, service: InProcessService, studios: dict[str, Studio]) -> None:
        self.service = service
        self.studios = studios
        self._names: dict[str, str] = {}

    async def order(self, *names: str, priority: GenerationPriority.ValueType = NORMAL) -> None:
        """One generation each; the first letter of its name is its user's."""
        for name in names:
            generation = await self.studios[name[0]].order(avatar_name=name, priority=priority)
            assert generation.priority == priority
            self._names[name] = generation.id

    def id_of(self, name: str) -> str:
        """The id of a generation."""
        return self._names[name]

    async def expected(self) -> list[str]:
        """The names of what is pending, by the place it is told to have."""
        places = [
            (generation.queue_position, generation.avatar_name)
            for studio in self.studios.values()
            async for generation in studio.client.generations.list()
            if generation.HasField("queue_position")
        ]
        return [name for _, name in sorted(places)]

    async def drawn(self) -> list[str]:
        """The names in the order in which a worker that draws one at a time takes them."""
        provider = ScriptedProvider()
        provider.max_concurrency = 1
        async with self.service.working(provider):
            for _ in self._names:
                (await provider.next_drawing()).succeed()
            for name, generation_id in self._names.items():
                await self.studios[name[0]].ended(generation_id)
        deployment = self.service.deployment
        by_id = {generation_id: name for name, generation_id in self._names.items()}
        attempts = sorted(deployment.rows("generation_attempts"), key=lambda row: row["start_time"])
        return [by_id[attempt["generation_id"]] for attempt in attempts]


@pytest.fixture(params=["embedded", "distributed"])
async def town(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Town]:
    """The users A to D of a service without a worker, on either database."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            InProcessService.serving(request.getfixturevalue(request.param))
        )
        studios = {}
        for letter in "ABCD":
            client = await stack.enter_async_context(service.client(f"{user}-{letter}"))
            studios[letter] = Studio(service, client, (await client.projects.create("Turns")).id)
        yield Town(service, studios)


async def test_users_take_turns_however_many_one_has_ordered(town: Town) -> None:
    await town.order("A1", "A2", "A3", "A4", "B1", "B2", "C1")
    turns = ["A1", "B1", "C1", "A2", "B2", "A3", "A4"]

    assert await town.expected() == turns
    assert await town.drawn() == turns


async def test_what_is_more_urgent_comes_first_and_turns_are_taken_within_it(town: Town) -> None:
    await town.order("A1", "A2", priority=BULK)
    await town.order("B1", "B2", "C1")
    await town.order("A3", "A4", "D1", priority=INTERACTIVE)
    turns = ["A3", "D1", "A4", "B1", "C1", "B2", "A1", "A2"]

    assert await town.expected() == turns
    assert await town.drawn() == turns


async def test_a_retry_does_not_wait_behind_what_its_user_ordered_later(town: Town) -> None:
    await town.order("A1")
    provider = ScriptedProvider()
    async with town.service.working(provider):
        (await provider.next_drawing()).fail(RuntimeError("once"))
        await town.studios["A"].retry_waits(town.id_of("A1"), 1)
    await town.order("A2", "A3")
    assert await town.expected() == ["A2", "A3", "A1"], "its time has not come"

    assert make_due(town.service.deployment, town.id_of("A1"), attempt=1)

    assert await town.expected() == ["A1", "A2", "A3"]


async def test_what_is_started_again_is_as_urgent_as_before(town: Town) -> None:
    await town.order("A1", priority=BULK)
    client = town.studios["A"].client
    await client.generations.cancel(town.id_of("A1"))

    assert (await client.generations.retry(town.id_of("A1"))).priority == BULK


async def test_who_was_written_by_a_version_without_turns_gets_one(town: Town) -> None:
    await town.order("B1", "B2", "B3", "B4", "B5", "B6", "A1")
    deployment = town.service.deployment
    [row] = deployment.execute("SELECT user_id FROM avatar_generations WHERE id = %s", town.id_of("A1"))
    deployment.execute("DELETE FROM claim_turns WHERE user_id = %s", row["user_id"])

    # A worker looks for such when it starts, beside its first claims.
    assert (await town.drawn()).index("A1") <= 3

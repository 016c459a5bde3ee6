"""The order of the queue: three priorities, and turns between users within each priority."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random

import pytest

from avatar_creator import GenerationPriority
from tests.support.generations import make_due
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider
from tests.support.studio import Studio

INTERACTIVE = GenerationPriority.INTERACTIVE
NORMAL = GenerationPriority.NORMAL
BULK = GenerationPriority.BULK

BULK_WAIT_SECONDS = 300.0


class Town:
    """Users of one service, each named by a letter."""

    def __init__(self, service: InProcessService, studios: dict[str, Studio]) -> None:
        self.service = service
        self.studios = studios
        self._names: dict[str, str] = {}

    async def create_generations(self, *names: str, priority: GenerationPriority = NORMAL) -> None:
        """Create a generation for each name. The first letter of a name is its user."""
        for name in names:
            generation = await self.studios[name[0]].create_generation(avatar_name=name, priority=priority)
            assert generation.priority == priority
            self._names[name] = generation.id

    def id_of(self, name: str) -> str:
        """Return the id of a generation."""
        return self._names[name]

    def created_count(self) -> int:
        """Return the number of generations."""
        return len(self._names)

    async def queued(self) -> list[str]:
        """Return the names of the pending generations, in the order of their queue positions."""
        positions = [
            (generation.queue_position, generation.avatar_name)
            for studio in self.studios.values()
            async for generation in studio.client.generations.list()
            if generation.queue_position is not None
        ]
        return [name for _, name in sorted(positions)]

    async def drawn(self) -> list[str]:
        """Run a worker that draws one picture at a time, and return the names in the order of its claims."""
        provider = ScriptedProvider()
        provider.max_concurrency = 1
        async with self.service.working(provider):
            for _ in self._names:
                (await provider.next_drawing()).succeed()
            await self.wait_for_all()
        return self.claimed()

    async def wait_for_all(self) -> None:
        """Wait until all generations have ended."""
        for name, generation_id in self._names.items():
            await self.studios[name[0]].wait_for_end(generation_id)

    def claimed(self) -> list[str]:
        """Return the names of the generations that were claimed, in the order of the claims."""
        by_id = {generation_id: name for name, generation_id in self._names.items()}
        attempts = self.service.deployment.rows("generation_attempts")
        return [
            by_id[attempt["generation_id"]] for attempt in sorted(attempts, key=lambda row: row["start_time"])
        ]

    def let_wait(self, letter: str, seconds: float) -> None:
        """Move the creation of a user's generations, none of which was claimed, into the past."""
        self.service.deployment.execute(
            "UPDATE avatar_generations SET create_time = %s WHERE project_id = %s",
            datetime.now(UTC) - timedelta(seconds=seconds),
            self.studios[letter].project_id,
        )


@pytest.fixture(params=["embedded", "distributed"])
async def town(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Town]:
    """The users A to D of a service without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            InProcessService.serving(request.getfixturevalue(request.param))
        )
        studios = {}
        for letter in "ABCD":
            client = await stack.enter_async_context(service.client(f"{user}-{letter}"))
            studios[letter] = Studio(service, client, (await client.projects.create("Turns")).id)
        yield Town(service, studios)


async def test_users_take_turns_even_if_one_has_many_generations(town: Town) -> None:
    await town.create_generations("A1", "A2", "A3", "A4", "B1", "B2", "C1")
    turns = ["A1", "B1", "C1", "A2", "B2", "A3", "A4"]

    assert await town.queued() == turns
    assert await town.drawn() == turns


async def test_urgent_generations_come_first_and_users_take_turns_within_a_priority(town: Town) -> None:
    await town.create_generations("A1", "A2", priority=BULK)
    await town.create_generations("B1", "B2", "C1")
    await town.create_generations("A3", "A4", "D1", priority=INTERACTIVE)
    turns = ["A3", "D1", "A4", "B1", "C1", "B2", "A1", "A2"]

    assert await town.queued() == turns
    assert await town.drawn() == turns


async def test_one_claim_of_four_goes_to_the_user_who_has_waited_longest_with_less_urgent_work(
    town: Town,
) -> None:
    await town.create_generations("D1", priority=BULK)
    await town.create_generations("A1", "A2", "A3", "A4", "A5", "A6", "A7", priority=INTERACTIVE)
    await town.create_generations("B1", "B2", "C1")
    turns = ["A1", "A2", "A3", "B1", "A4", "A5", "A6", "C1", "A7", "B2", "D1"]

    assert await town.queued() == turns
    assert await town.drawn() == turns


async def test_a_bulk_generation_has_its_turn_once_its_user_has_waited_for_five_minutes(town: Town) -> None:
    await town.create_generations("C1", "D1", "D2", priority=BULK)
    await town.create_generations("A1", "A2", "A3", "A4", "A5", "A6", "A7", priority=INTERACTIVE)
    await town.create_generations("B1")
    town.let_wait("D", BULK_WAIT_SECONDS + 1.0)
    turns = ["A1", "A2", "A3", "D1", "A4", "A5", "A6", "B1", "A7", "C1", "D2"]

    assert await town.queued() == turns
    assert await town.drawn() == turns


async def test_endless_interactive_generations_of_others_never_delay_a_users_first_one_beyond_the_bound(
    town: Town,
) -> None:
    """Create another interactive generation of A at each claim, so that its queue never ends."""
    names = iter(f"A{number}" for number in count(1))
    await town.create_generations(*islice(names, 6), priority=INTERACTIVE)
    await town.create_generations("B1", "C1")
    await town.create_generations("D1", priority=BULK)
    town.let_wait("D", BULK_WAIT_SECONDS + 1.0)
    claimed: list[str] = []

    provider = ScriptedProvider()
    provider.max_concurrency = 1
    async with town.service.working(provider):
        while not {"B1", "C1", "D1"} <= set(claimed):
            drawing = await provider.next_drawing()
            claimed = town.claimed()
            await town.create_generations(next(names), priority=INTERACTIVE)
            drawing.succeed()
        for _ in range(town.created_count() - len(claimed)):
            (await provider.next_drawing()).succeed()
        await town.wait_for_all()

    assert claimed == ["A1", "A2", "A3", "D1", "A4", "A5", "A6", "B1", "A7", "A8", "A9", "C1"]


async def test_a_retry_comes_before_later_generations_of_its_user(town: Town) -> None:
    await town.create_generations("A1")
    provider = ScriptedProvider()
    async with town.service.working(provider):
        (await provider.next_drawing()).fail(RuntimeError("once"))
        await town.studios["A"].wait_for_backoff(town.id_of("A1"), 1)
    await town.create_generations("A2", "A3")
    assert await town.queued() == ["A2", "A3", "A1"], "the delay of the retry is not over"

    assert make_due(town.service.deployment, town.id_of("A1"), attempt=1)

    assert await town.queued() == ["A1", "A2", "A3"]


async def test_a_retried_generation_keeps_its_priority(town: Town) -> None:
    await town.create_generations("A1", priority=BULK)
    client = town.studios["A"].client
    await client.generations.cancel(town.id_of("A1"))

    assert (await client.generations.retry(town.id_of("A1"))).generation.priority == BULK


async def test_a_user_written_by_a_version_without_turns_gets_a_turn(town: Town) -> None:
    await town.create_generations("B1", "B2", "B3", "B4", "B5", "B6", "A1")
    deployment = town.service.deployment
    [row] = deployment.execute("SELECT user_id FROM avatar_generations WHERE id = %s", town.id_of("A1"))
    deployment.execute("DELETE FROM claim_turns WHERE user_id = %s", row["user_id"])

    # A worker looks for users without a turn when it starts, in parallel with its first claims.
    assert (await town.drawn()).index("A1") <= 3


@pytest.mark.parametrize(
    ("town", "seed"),
    [("embedded", 0), ("distributed", 1), ("embedded", 2), ("distributed", 3)],
    indirect=["town"],
)
async def test_queue_positions_are_the_order_of_the_claims_for_any_mix_of_priorities(
    town: Town, seed: int
) -> None:
    random = Random(seed)
    for number in range(36):
        name = f"{random.choice('ABCD')}{number}"
        await town.create_generations(name, priority=random.choice([INTERACTIVE, NORMAL, BULK]))
    for letter in "AB":
        town.let_wait(letter, random.choice([0.0, 2 * BULK_WAIT_SECONDS]))

    queued, drawn = await town.queued(), await town.drawn()

    # A generation that has its turn early leaves a gap in the order of the priorities.
    assert [name for place, name in enumerate(queued) if abs(drawn.index(name) - place) > 1] == []

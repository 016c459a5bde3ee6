"""A long queue: answers share readings of it, and positions stay exact for generations that a reading has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from avatar_creator import AsyncAvatarCreator, Generation
from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.generations import queue_positions
from avatar_creator_server.generations.queue_positions import LONG_QUEUE
from tests.support.generations import SMALLEST
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.rows import copy_row
from tests.support.service import Deployment
from tests.support.studio import Studio

OTHERS = 20
"""Users with a queue of their own."""
EACH = LONG_QUEUE // OTHERS + 1


class LongQueue:
    """A user behind a long queue of others, and the readings of the queue."""

    def __init__(self, studio: Studio, other: AsyncAvatarCreator, readings: list[None]) -> None:
        self.studio = studio
        self.other = other
        self.readings = readings


@pytest.fixture
async def queue(
    databases: Deployment, user: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LongQueue]:
    """A long queue without a worker."""
    readings: list[None] = []
    read = queue_positions._read_queue

    def counted(*arguments: Any) -> Any:
        readings.append(None)
        return read(*arguments)

    monkeypatch.setattr(queue_positions, "_read_queue", counted)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(InProcessService.serving(databases))
        clients = [await stack.enter_async_context(service.client(f"{user}-{n}")) for n in range(2)]
        studios = [Studio(service, client, (await client.projects.create("Queue")).id) for client in clients]
        first = await studios[1].create_generation()
        fill(service.deployment, first.id)
        yield LongQueue(studios[0], clients[1], readings)


def fill(deployment: Deployment, generation_id: str) -> None:
    """Copy a pending generation to several users, so that the queue is long."""
    copies = [
        {"id": f"{generation_id[:-6]}{number:06d}", "user_id": f"other-{number % OTHERS}"}
        for number in range(OTHERS * EACH)
    ]
    copy_row(deployment, "avatar_generations", {"id": generation_id}, copies)


async def wait_for_next_reading(queue: LongQueue, generation_id: str) -> Generation:
    """Read the generation until its position comes from another reading, and return it."""
    before = len(queue.readings)
    while True:
        generation = await queue.studio.client.generations.get(generation_id)
        if len(queue.readings) > before + 1:
            return generation
        await asyncio.sleep(0.05)


async def test_all_answers_share_a_reading(queue: LongQueue) -> None:
    generation = await queue.studio.create_generation()
    get = queue.studio.client.generations.get
    await wait_for_next_reading(queue, generation.id)
    before = len(queue.readings)

    for _ in range(20):
        await asyncio.gather(*(get(generation.id) for _ in range(10)))
    before_end = len(queue.readings)

    assert before_end - before < 20, "one for each half second, and not one for each of 200 answers"


async def test_a_new_generation_has_the_position_that_a_reading_finds_later(queue: LongQueue) -> None:
    created = [await queue.studio.create_generation() for _ in range(3)]
    group = await queue.studio.client.generations.create_variations(
        queue.studio.project_id, "a portrait", 2, width=SMALLEST, height=SMALLEST
    )
    together = [handle.generation for handle in group]
    at_once = [generation.queue_position for generation in (*created, *together)]

    await wait_for_next_reading(queue, created[0].id)
    later = [
        (await queue.studio.client.generations.get(generation.id)).queue_position
        for generation in (*created, *together)
    ]

    # In turns with the other users: the first one is behind one generation of each of them, and so on. One of
    # the users has only one generation.
    assert later == [OTHERS * nth + 1 + nth - 1 for nth in range(1, 6)]
    assert at_once == later


async def test_new_generations_share_a_reading_of_the_queue_that_they_join(queue: LongQueue) -> None:
    await queue.studio.create_generation()
    before = len(queue.readings)

    created = [await queue.studio.create_generation() for _ in range(20)]

    assert len(queue.readings) - before < 20, "one for each second, and not one for each generation"
    positions = [present(generation.queue_position) for generation in created]
    assert positions == sorted(set(positions))


async def test_an_estimate_shares_the_reading(queue: LongQueue) -> None:
    generation = await queue.studio.create_generation()
    await wait_for_next_reading(queue, generation.id)
    before = len(queue.readings)

    for _ in range(20):
        await queue.studio.client.generations.estimate(queue.studio.project_id, "a portrait")

    assert len(queue.readings) - before <= 3


async def test_a_generation_is_answered_while_the_queue_cannot_be_read(
    queue: LongQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise UnavailableError("DATABASE_UNAVAILABLE", "the database is unavailable")

    monkeypatch.setattr(queue_positions, "_read_queue", fail)

    created = await queue.studio.create_generation()
    read = await queue.studio.client.generations.get(created.id)

    assert created.id == read.id
    assert created.queue_position is None
    assert created.expected_seconds is None

"""Queue positions: how many generations are ahead of a pending one, and when it will probably have ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from peewee import JOIN, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, ClaimTurn
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.generations.claims import (
    SAME_USER,
    Shares,
    order_by_claims,
    time_value,
    turn_time,
)
from avatar_creator_server.generations.durations import count_running, in_state, median_seconds
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.workers import LiveWorkers, Workers

_MAX_FILTERED_IDS = 500
"""Above this many ids, read the whole queue instead of filtering by id: a statement has a parameter limit."""


class QueuePositions:
    """Adds queue positions to generations.

    One position costs a read of the whole queue. Callers who arrive during a read share the next one, because
    after a restart thousands of watchers ask at once.
    """

    def __init__(self, database: Database, workers: Workers, shares: Shares) -> None:
        self._database = database
        self._workers = workers
        self._shares = shares
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[_Queue] | None = None
        self._requested: set[str] = set()

    async def with_positions(self, generations: Sequence[Generation]) -> list[Generation]:
        """Return the generations, with queue position and expected time on the pending ones.

        If no worker is alive, the pending ones have a warning instead of an expected time.
        """
        pending = [generation.id for generation in generations if generation.state == GenerationState.PENDING]
        if not pending:
            return list(generations)
        if self._next is None:
            self._next = asyncio.create_task(self._read_next(), name="queue-positions")
        self._requested.update(pending)
        queue = await asyncio.shield(self._next)
        workers = await self._workers.live()
        return [queue.with_position(generation, workers) for generation in generations]

    async def _read_next(self) -> _Queue:
        async with self._reading:
            requested, self._requested, self._next = self._requested, set(), None
            return await self._database.read(_read_queue, self._database, requested, self._shares)


@dataclass(frozen=True, slots=True)
class _Queue:
    """The queue at one moment."""

    positions: dict[str, int]
    median_seconds: float | None
    running: int
    now: datetime

    def with_position(self, generation: Generation, workers: LiveWorkers) -> Generation:
        """Return the generation with its position if it is pending."""
        if generation.state != GenerationState.PENDING:
            return generation
        # A generation that is missing was claimed since the read, so none was ahead of it.
        position = self.positions.get(generation.id, 0)
        if workers.warning:
            warnings = (*generation.warnings, workers.warning)
            return replace(generation, queue_position=position, warnings=warnings)
        expected = None
        if self.median_seconds is not None and generation.next_attempt_time is not None:
            waiting = max((generation.next_attempt_time - self.now).total_seconds(), 0.0)
            rounds = position // max(self.running, workers.slots) + 1
            expected = math.ceil(waiting + rounds * self.median_seconds)
        return replace(generation, queue_position=position, expected_seconds=expected)


def _read_queue(database: Database, generation_ids: set[str], shares: Shares) -> _Queue:
    now = database.now()
    positions = _positions(database, generation_ids, now, shares)
    return _Queue(positions, median_seconds(), count_running(), now)


def _positions(database: Database, generation_ids: set[str], now: datetime, shares: Shares) -> dict[str, int]:
    """Return the number of pending generations ahead of each; those that are not due yet come last."""
    row = AvatarGeneration
    ready = database.latest(row.due_time, time_value(now))
    nth = fn.ROW_NUMBER().over(partition_by=[ready, row.priority, row.user_id], order_by=[row.id])
    columns = (
        row.id,
        row.priority,
        ready.alias("ready"),
        nth.alias("nth"),
        turn_time(database).alias("turn"),
    )
    pending = (
        in_state(GenerationState.PENDING, *columns)
        .join(ClaimTurn, JOIN.LEFT_OUTER, on=SAME_USER)
        .alias("pending")
    )
    ordered = order_by_claims(pending.c, now, shares).from_(pending).alias("ordered")
    c = ordered.c
    place = fn.ROW_NUMBER().over(order_by=[c.ready, c.claim_place, c.urgency_place])
    queue = row.select(c.id, place.alias("place")).from_(ordered).alias("queue")
    places: Any = row.select(queue.c.id, queue.c.place).from_(queue).tuples()
    if len(generation_ids) <= _MAX_FILTERED_IDS:
        places = places.where(queue.c.id.in_(sorted(generation_ids)))
    return {generation_id: number - 1 for generation_id, number in places}

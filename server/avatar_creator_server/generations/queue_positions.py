"""Queue positions: how many generations are ahead of a pending one, and when it will probably have ended."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from typing import Any

import structlog
from peewee import JOIN, PeeweeException, fn

from avatar_creator_server.database.call_limits import start_shared
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, ClaimTurn
from avatar_creator_server.database.models.states import PRIORITIES, GenerationState
from avatar_creator_server.errors import AvatarCreatorError
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

log = structlog.get_logger()

LONG_QUEUE = 100
"""Number of pending generations above which answers share a reading that is up to `MAX_AGE_SECONDS` old."""
MAX_AGE_SECONDS = 1.0
"""Age of a reading, from its end, after which answers wait for the next one. A queue that takes more than
half of this time to read has twice the time that it takes instead."""

_PATIENCE_SECONDS = 2.0
"""Maximum time that an answer waits for a reading. Then it has the last one, or no position."""


class QueuePositions:
    """Adds queue positions to generations.

    A reading of the queue takes as long as the queue is. So answers share readings, and never is there more
    than one at a time. While the queue is short, a reading begins after the call, so that it has the effects
    of earlier calls. While the queue is long, a reading serves all answers of a second.
    """

    def __init__(self, database: Database, workers: Workers, shares: Shares) -> None:
        self._database = database
        self._workers = workers
        self._shares = shares
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[_Queue] | None = None
        self._next: asyncio.Task[_Queue] | None = None
        self._last: _Queue | None = None
        self._arrivals = _Arrivals()

    async def with_positions(self, generations: Sequence[Generation]) -> list[Generation]:
        """Return the generations, with queue position and expected time on the pending ones.

        If no worker is alive, the pending ones have a warning instead of an expected time. If the queue
        cannot be read in time, they have neither, because the answer has done its work already.
        """
        pending = [generation for generation in generations if generation.state == GenerationState.PENDING]
        if not pending:
            return list(generations)
        asked_at = time.monotonic()
        try:
            queue = await self._read(asked_at)
            workers = await self._workers.live()
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("queue_read_failed", error=repr(error))
            return list(generations)
        if queue is None:
            return list(generations)
        positions = queue.positions_of(pending, asked_at, self._arrivals)
        return [
            queue.with_position(generation, positions[generation.id], workers)
            if generation.id in positions
            else generation
            for generation in generations
        ]

    async def expected_seconds(
        self, user_id: str, priority: str, count: int, workers: LiveWorkers
    ) -> int | None:
        """Return the seconds until `count` new generations would end.

        Returns:
            None until one has completed, while no worker is alive, and if the queue cannot be read in time.
        """
        try:
            queue = await self._read(time.monotonic())
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("queue_read_failed", error=repr(error))
            return None
        if queue is None or workers.warning:
            return None
        last_position = queue.new_position(user_id, PRIORITIES.index(priority), count)
        return queue.expected_seconds(last_position, workers)

    async def _read(self, asked_at: float) -> _Queue | None:
        """Return a reading for a caller who asks now; None if there is none in time.

        Raises:
            AvatarCreatorError, PeeweeException: The queue cannot be read.
        """
        last = self._last
        if last is None or not last.is_long:
            reading = self._begin()
        elif last.age(asked_at) <= last.max_age_seconds:
            if last.age(asked_at) >= last.max_age_seconds / 2:
                self._join_or_begin()
            return last
        else:
            reading = self._join_or_begin()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.shield(reading)
        except TimeoutError:
            return self._last

    def _join_or_begin(self) -> asyncio.Task[_Queue]:
        return self._running or self._begin()

    def _begin(self) -> asyncio.Task[_Queue]:
        """Return the next reading. It begins after this moment, when the running one has ended."""
        if self._next is None:
            self._next = start_shared(self._read_next(), name="queue-positions")
        return self._next

    async def _read_next(self) -> _Queue:
        async with self._turn:
            self._running, self._next = self._next, None
            try:
                began_at = time.monotonic()
                found = await self._database.read(_read_queue, self._database, self._shares)
                self._last = replace(found, began_at=began_at, ended_at=time.monotonic())
                self._arrivals.forget(before=began_at)
                return self._last
            finally:
                self._running = None


@dataclass(frozen=True, slots=True)
class _Queue:
    """The queue at one moment."""

    positions: Mapping[str, int]
    """Number of generations ahead of each pending one, by id."""
    due_by_user: Mapping[int, Mapping[str, int]]
    """Number of due generations of each user, by priority."""
    ahead: Mapping[int, Sequence[int]]
    """Number of due generations that are at most the nth of their user, by priority and n."""
    median_seconds: float | None
    running: int
    now: datetime
    shares: Shares
    began_at: float = 0.0
    ended_at: float = 0.0

    @property
    def is_long(self) -> bool:
        """True if a reading takes too long for each answer to have its own."""
        return len(self.positions) > LONG_QUEUE

    @property
    def max_age_seconds(self) -> float:
        """Age at which the reading is too old. The next one begins at half of it, and so ends before."""
        return max(MAX_AGE_SECONDS, 2 * (self.ended_at - self.began_at))

    def age(self, now: float) -> float:
        """Return the time since the reading."""
        return now - self.ended_at

    def positions_of(
        self, pending: Sequence[Generation], read_at: float, arrivals: _Arrivals
    ) -> dict[str, int]:
        """Return the positions of generations that were pending at `read_at`."""
        found: dict[str, int] = {}
        for generation in sorted(pending, key=lambda each: each.id):
            position = self.positions.get(generation.id)
            if position is None:
                position = self._missing_position(generation, read_at, arrivals)
            found[generation.id] = position
        return found

    def _missing_position(self, generation: Generation, read_at: float, arrivals: _Arrivals) -> int:
        if self.began_at >= read_at:
            return 0  # Claimed between the two reads, so none was ahead of it.
        retry_time = generation.next_attempt_time
        if generation.attempt_number and retry_time is not None and retry_time > self.now:
            return len(self.positions)  # It waits for its retry, behind all that are due.
        nth = arrivals.rank(generation, read_at)
        return self.new_position(generation.user_id, PRIORITIES.index(generation.priority), nth)

    def new_position(self, user_id: str, priority: int, nth: int) -> int:
        """Return the position of the nth new generation of a user: it is the last of its user, and users
        take turns."""
        sooner = sum(sum(users.values()) for urgency, users in self.due_by_user.items() if urgency < priority)
        own = self.due_by_user.get(priority, {}).get(user_id, 0)
        place = own + nth
        ahead = self.ahead.get(priority, [0])
        of_others = ahead[min(place, len(ahead) - 1)] - own
        return self.shares.claims_before(
            priority,
            same=of_others + place - 1,
            more_urgent=sooner,
            less_urgent=sum(self.due_by_user.get(priority + 1, {}).values()),
        )

    def with_position(self, generation: Generation, position: int, workers: LiveWorkers) -> Generation:
        """Return the generation with its position and expected time."""
        if workers.warning:
            warnings = (*generation.warnings, workers.warning)
            return replace(generation, queue_position=position, warnings=warnings)
        expected = None
        if generation.next_attempt_time is not None:
            delay = max((generation.next_attempt_time - self.now).total_seconds(), 0.0)
            expected = self.expected_seconds(position, workers, delay)
        return replace(generation, queue_position=position, expected_seconds=expected)

    def expected_seconds(self, position: int, workers: LiveWorkers, delay: float = 0.0) -> int | None:
        """Return the seconds until the generation at a position ends; None until one has completed."""
        if self.median_seconds is None:
            return None
        rounds = position // max(self.running, workers.slots) + 1
        return math.ceil(delay + rounds * self.median_seconds)


class _Arrivals:
    """Generations that are newer than the last reading, and have had an answer."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], dict[str, float]] = {}

    def rank(self, generation: Generation, now: float) -> int:
        """Add a generation, and return the number of its user's new generations up to it."""
        times = self._times.setdefault((generation.user_id, generation.priority), {})
        times.setdefault(generation.id, now)
        return sum(generation_id <= generation.id for generation_id in times)

    def forget(self, *, before: float) -> None:
        """Remove those that a reading of this time has, if they are still pending."""
        self._times = {
            key: kept
            for key, times in self._times.items()
            if (kept := {each: arrival for each, arrival in times.items() if arrival >= before})
        }


def _read_queue(database: Database, shares: Shares) -> _Queue:
    now = database.now()
    due_by_user = _read_due(now)
    return _Queue(
        positions=_read_positions(database, now, shares),
        due_by_user=due_by_user,
        ahead={priority: _ahead(users) for priority, users in due_by_user.items()},
        median_seconds=median_seconds(),
        running=count_running(),
        now=now,
        shares=shares,
    )


def _read_due(now: datetime) -> dict[int, dict[str, int]]:
    row = AvatarGeneration
    counts = (
        in_state(GenerationState.PENDING, row.priority, row.user_id, fn.COUNT(row.id))
        .where(row.due_time <= now)
        .group_by(row.priority, row.user_id)
        .tuples()
    )
    due: dict[int, dict[str, int]] = {}
    for priority, user_id, number in counts:
        due.setdefault(priority, {})[user_id] = number
    return due


def _ahead(users: Mapping[str, int]) -> list[int]:
    """Return the number of generations that are at most the nth of their user, by n from 0."""
    with_number = Counter(users.values())
    most = max(with_number)
    # Number of users with at least n generations, for n from 1.
    at_least = list(accumulate(with_number[number] for number in range(most, 0, -1)))[::-1]
    return [0, *accumulate(at_least)]


def _read_positions(database: Database, now: datetime, shares: Shares) -> dict[str, int]:
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
    queue: Any = row.select(c.id).from_(ordered).order_by(c.ready, c.claim_place, c.urgency_place)
    # From the driver's cursor: peewee would take longer for the rows than PostgreSQL for the order.
    rows = database.peewee.execute(queue).fetchall()
    return {generation_id: number for number, (generation_id,) in enumerate(rows)}

"""The queue of generations: in which order they are taken, and when one will probably have ended."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, Case, Value, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import (
    AvatarGeneration,
    BackgroundJob,
    ClaimTurn,
    GenerationAttempt,
)
from avatar_creator_server.database.models.states import (
    LOST_OUTCOMES,
    PRIORITIES,
    AttemptOutcome,
    GenerationState,
)
from avatar_creator_server.generations.records import Generation

_RECENT_ATTEMPTS = 50
"""How many of the last successful attempts say how long one takes."""
_MOST_NAMED = 500
"""Of more than these the whole queue is read: a statement takes only so many parameters."""
_AN_HOUR = timedelta(hours=1)
_MIN_CONCURRENCY = 2
"""One worker runs this many at a time; more run where more are seen running."""


def take_next(database: Database, now: datetime) -> AvatarGeneration | None:
    """In the current transaction: lock the generation whose turn it is, and count the turn of its user.

    Of what is due the most urgent priority comes first; what a lost worker had begun is as urgent as can be.
    Within one, users take turns: next is who has waited longest since the last of theirs was taken, or was
    created if that is later; of their own the oldest. None when nothing is due that nobody is just taking.
    """
    due = AvatarGeneration.due_time <= now
    row = AvatarGeneration.select()
    urgent = AvatarGeneration.select(fn.MIN(_URGENCY)).where(due)
    # The turns are locked too, so that workers that claim side by side take from different users; and locked
    # first, because a row stays locked that is skipped for what it is joined with.
    most_urgent = row.join(ClaimTurn, on=_SAME_USER).where(due, urgent == _URGENCY)
    taken = _first(database, most_urgent, of=(ClaimTurn, AvatarGeneration))
    if taken is None:
        # All who have such work are being taken from, or a version without turns has written it.
        anybodys = row.join(ClaimTurn, JOIN.LEFT_OUTER, on=_SAME_USER).where(due)
        taken = _first(database, anybodys, of=(AvatarGeneration,))
    if taken is not None:
        _count_turn(database, taken.user_id, now)
    return taken


def enter_turns(user_id: str, now: datetime) -> None:
    """In the current transaction: the user takes turns from now on, if not before."""
    ClaimTurn.insert(user_id=user_id, claim_time=now).on_conflict(action="IGNORE").execute()


def enter_missing_turns() -> None:
    """In the current transaction: let those take turns whose work a version without turns has written."""
    waiting = (
        AvatarGeneration.select(AvatarGeneration.user_id, fn.MIN(AvatarGeneration.create_time))
        .join(ClaimTurn, JOIN.LEFT_OUTER, on=_SAME_USER)
        .where(AvatarGeneration.due_time.is_null(False), ClaimTurn.user_id.is_null())
        .group_by(AvatarGeneration.user_id)
    )
    ClaimTurn.insert_from(waiting, [ClaimTurn.user_id, ClaimTurn.claim_time]).on_conflict(
        action="IGNORE"
    ).execute()


class QueuePositions:
    """Tells generations their place in the queue.

    Finding one place is reading the whole queue, so callers who come while it is being read share the next
    reading: after a restart thousands of watchers ask at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[_Queue] | None = None
        self._asked: set[str] = set()

    async def with_positions(self, generations: Sequence[Generation]) -> list[Generation]:
        """The same generations, those that are pending with their place in the queue."""
        pending = [generation.id for generation in generations if generation.state == GenerationState.PENDING]
        if not pending:
            return list(generations)
        if self._next is None:
            self._next = asyncio.create_task(self._read_next(), name="queue-positions")
        self._asked.update(pending)
        queue = await asyncio.shield(self._next)
        return [queue.place(generation) for generation in generations]

    async def _read_next(self) -> _Queue:
        async with self._reading:
            asked, self._asked, self._next = self._asked, set(), None
            return await self._database.read(_read_queue, self._database, asked)


@dataclass(frozen=True, slots=True)
class _Queue:
    """The queue at one moment."""

    positions: dict[str, int]
    seconds_of_one: float | None
    concurrency: int
    now: datetime

    def place(self, generation: Generation) -> Generation:
        """The generation with its place, if it is pending."""
        if generation.state != GenerationState.PENDING:
            return generation
        # Not there any more: taken since it was read, so nobody was before it.
        position = self.positions.get(generation.id, 0)
        expected = None
        if self.seconds_of_one is not None and generation.next_attempt_time is not None:
            waiting = max((generation.next_attempt_time - self.now).total_seconds(), 0.0)
            turns = position // self.concurrency + 1
            expected = math.ceil(waiting + turns * self.seconds_of_one)
        return replace(generation, queue_position=position, expected_seconds=expected)


def seconds_of_one() -> float | None:
    """The median time of the last successful attempts; None without any."""
    durations = _recent_seconds(None)
    return statistics.median(durations) if durations else None


def seconds_by_route(route: str) -> tuple[float, float] | None:
    """How long half, and nine in ten, of the last successful attempts by a route took; None without any."""
    durations = _recent_seconds(route)
    if not durations:
        return None
    # Statisticians' nearest rank: an observed time, also where there are few.
    return durations[_rank(0.5, len(durations))], durations[_rank(0.9, len(durations))]


def seconds_if_created_now(user_id: str, priority: int, count: int) -> int | None:
    """In how many seconds so many new generations of a user would end; None while none has completed."""
    seconds = seconds_of_one()
    if seconds is None:
        return None
    waiting = fn.COUNT(AvatarGeneration.id)
    by_user = dict(
        _in_state(GenerationState.PENDING, AvatarGeneration.user_id, waiting)
        .where(AvatarGeneration.priority == priority)
        .group_by(AvatarGeneration.user_id)
        .tuples()
    )
    own = by_user.pop(user_id, 0) + count
    sooner = int(_in_state(GenerationState.PENDING).where(AvatarGeneration.priority < priority).count())
    last_place = sooner + own - 1 + sum(min(others, own) for others in by_user.values())
    return math.ceil((int(last_place) // _concurrency() + 1) * seconds)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How the queue stands, for operators."""

    depth: dict[tuple[str, str], int]
    """Pending generations by priority and whether they are `due` or `waiting` for the time of their retry."""
    oldest_due_seconds: dict[str, float]
    """By priority: for how long the oldest pending generation has been due; absent where none is."""
    live_leases: int
    """Generations that a worker is at."""
    expired_leases: int
    """Generations whose worker has not been heard of for longer than its lease."""
    lost_attempts: dict[str, int]
    """By outcome: attempts of the last hour whose worker, or whose submission's answer, was lost."""
    jobs_depth: int
    jobs_oldest_seconds: float
    """For how long the oldest has been to be done."""


def read_queue_figures(database: Database) -> QueueFigures:
    """How the queue stands now, for all users together."""
    now = database.now()
    row = AvatarGeneration
    due = Case(None, [(row.due_time <= now, 1)], 0)
    depth: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    leases = {True: 0, False: 0}
    groups: Any = (
        row.select(row.state, row.priority, due, fn.COUNT(row.id), fn.MIN(row.due_time))
        .where(row.due_time.is_null(False))
        .group_by(row.state, row.priority, due)
        .tuples()
    )
    for state, place, is_due, number, earliest in groups:
        if state == GenerationState.PROCESSING:
            leases[bool(is_due)] += number
            continue
        depth[PRIORITIES[place], "due" if is_due else "waiting"] = number
        if is_due:
            oldest[PRIORITIES[place]] = (now - earliest).total_seconds()
    attempt = GenerationAttempt
    lost: Any = (
        attempt.select(attempt.outcome, fn.COUNT(attempt.id))
        .where(attempt.outcome.in_(LOST_OUTCOMES), attempt.end_time > now - _AN_HOUR)
        .group_by(attempt.outcome)
        .tuples()
    )
    work: Any = BackgroundJob.select(fn.COUNT(BackgroundJob.id), fn.MIN(BackgroundJob.create_time)).tuples()
    [(jobs_depth, jobs_earliest)] = work
    return QueueFigures(
        depth=depth,
        oldest_due_seconds=oldest,
        live_leases=leases[False],
        expired_leases=leases[True],
        lost_attempts=dict.fromkeys(map(str, LOST_OUTCOMES), 0) | dict(lost),
        jobs_depth=jobs_depth,
        jobs_oldest_seconds=(now - (jobs_earliest or now)).total_seconds(),
    )


_SAME_USER = ClaimTurn.user_id == AvatarGeneration.user_id
_URGENCY = Case(None, [(AvatarGeneration.state == GenerationState.PROCESSING, 0)], AvatarGeneration.priority)
"""What is due while it is being processed has lost its worker, and may be paid for."""


def _first(database: Database, due: Any, *, of: Sequence[Any]) -> AvatarGeneration | None:
    order = (_URGENCY, _turn(database), AvatarGeneration.id)
    found: AvatarGeneration | None
    found = database.locked(due.order_by(*order).limit(1), of=of, skip_locked=True).first()
    return found


def _count_turn(database: Database, user_id: str, now: datetime) -> None:
    # Not waited for: two that take from each other's users would wait for each other.
    free = ClaimTurn.select(ClaimTurn.user_id).where(ClaimTurn.user_id == user_id)
    ClaimTurn.update(claim_time=now).where(
        ClaimTurn.user_id.in_(database.locked(free, skip_locked=True))
    ).execute()


def _turn(database: Database) -> Any:
    """Since when it has been waiting for its user's turn."""
    created = AvatarGeneration.create_time
    return database.latest(fn.COALESCE(ClaimTurn.claim_time, created), created)


def _read_queue(database: Database, generation_ids: set[str]) -> _Queue:
    now = database.now()
    return _Queue(_positions(database, generation_ids, now), seconds_of_one(), _concurrency(), now)


def _positions(database: Database, generation_ids: set[str], now: datetime) -> dict[str, int]:
    """How many of all that are pending come before each of these, what is not due yet last."""
    row = AvatarGeneration
    ready = database.latest(row.due_time, Value(now, converter=row.due_time.db_value))
    nth = fn.ROW_NUMBER().over(partition_by=[ready, row.priority, row.user_id], order_by=[row.id])
    columns = (row.id, row.priority, ready.alias("ready"), nth.alias("nth"), _turn(database).alias("turn"))
    waiting = (
        _in_state(GenerationState.PENDING, *columns)
        .join(ClaimTurn, JOIN.LEFT_OUTER, on=_SAME_USER)
        .alias("waiting")
    )
    c = waiting.c
    place = fn.ROW_NUMBER().over(order_by=[c.ready, c.priority, c.nth, c.turn, c.id])
    queue = row.select(c.id, place.alias("place")).from_(waiting).alias("queue")
    queue_positions: Any = row.select(queue.c.id, queue.c.place).from_(queue).tuples()
    if len(generation_ids) <= _MOST_NAMED:
        queue_positions = queue_positions.where(queue.c.id.in_(sorted(generation_ids)))
    return {generation_id: number - 1 for generation_id, number in queue_positions}


def _concurrency() -> int:
    return max(int(_in_state(GenerationState.PROCESSING).count()), _MIN_CONCURRENCY)


def _recent_seconds(route: str | None) -> list[float]:
    """How long each of the last successful attempts took, shortest first; of one route if named."""
    attempt = GenerationAttempt
    recent: Any = (
        attempt.select(attempt.start_time, attempt.end_time)
        .where(attempt.outcome == AttemptOutcome.SUCCEEDED)
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
        .tuples()
    )
    if route is not None:
        recent = recent.where(attempt.route == route)
    return sorted((end - start).total_seconds() for start, end in recent)


def _rank(part: float, length: int) -> int:
    return math.ceil(part * length) - 1


def _in_state(state: str, *columns: Any) -> Any:
    # What has ended has no due time: without this the index of due work could not be used.
    return AvatarGeneration.select(*columns).where(
        AvatarGeneration.due_time.is_null(False), AvatarGeneration.state == state
    )

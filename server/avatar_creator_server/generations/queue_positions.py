"""Queue positions: how many generations are ahead of a pending one, and when it will probably have ended."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from peewee import JOIN, Case, PeeweeException, Select, Tuple, fn

from avatar_creator_server.database.call_limits import start_shared
from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    by_name,
    compiled,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, UserQueue
from avatar_creator_server.database.models.generation import is_delayed, is_queued, is_running
from avatar_creator_server.database.models.states import PRIORITIES, GenerationState
from avatar_creator_server.database.records import with_values
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.claim_order import ClaimOrder, Lengths
from avatar_creator_server.generations.claims import (
    BULK,
    NORMAL,
    Shares,
    claim_times,
    long_ago,
    time_now,
)
from avatar_creator_server.generations.current_routes import CurrentRoutes
from avatar_creator_server.generations.durations import Durations, durations_of
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.routes import Routes
from avatar_creator_server.generations.workers import LiveWorkers, Workers

log = structlog.get_logger()

LONG_QUEUE = 100
"""Number of queued generations above which answers share a reading that is up to `MAX_AGE_SECONDS` old."""
MAX_AGE_SECONDS = 1.0
"""Age of a reading, from its end, after which answers wait for the next one."""

_PATIENCE_SECONDS = 2.0
"""Maximum time that an answer waits for a reading. Then it has the last one, or no position."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_AFTER_ALL_IDS = "g"
"""A text that sorts after every id, because ids have hexadecimal digits."""

QueueKey = tuple[str, int]
"""User and priority of a queue."""


class QueuePositions:
    """Adds queue positions to generations.

    Answers share readings of the queue, and never is there more than one at a time. A reading begins after
    the call, so that it has the effects of earlier calls. While the queue is long, a reading serves all
    answers of a second about the same generations, and about new ones behind the same user's.
    """

    def __init__(
        self, database: Database, workers: Workers, shares: Shares, current_routes: CurrentRoutes
    ) -> None:
        self._database = database
        self._workers = workers
        self._shares = shares
        self._current_routes = current_routes
        self._turn = asyncio.Lock()
        self._next: _Batch | None = None
        self._known: dict[str | QueueKey, _Queue] = {}
        """The last long reading about each generation and queue, oldest first."""

    async def with_positions(self, generations: Sequence[Generation]) -> list[Generation]:
        """Return the generations, with queue position and expected time on the pending ones.

        If no worker takes them, or if they wait for the end of a pause, the pending ones have a warning
        instead of an expected time. If the queue cannot be read in time, they have neither, because the
        answer has done its work already.
        """
        pending = [generation for generation in generations if generation.state == GenerationState.PENDING]
        if not pending:
            return list(generations)
        try:
            queues = await self._read([generation.id for generation in pending])
            workers = await self._workers.live()
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("queue_read_failed", error=repr(error))
            return list(generations)
        return [
            queue.with_position(generation, workers)
            if generation.state == GenerationState.PENDING and (queue := queues.get(generation.id))
            else generation
            for generation in generations
        ]

    async def with_new_positions(self, generations: Sequence[Generation]) -> list[Generation]:
        """Return what `with_positions` does, for generations of one user and priority that a call created.

        A call that was repeated may have created them earlier.
        """
        first = generations[0]
        queue = self._known.get((first.user_id, PRIORITIES.index(first.priority)))
        if queue is None or not queue.serves(time.monotonic()) or not queue.place_new(generations):
            return await self.with_positions(generations)
        try:
            workers = await self._workers.live()
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("queue_read_failed", error=repr(error))
            return list(generations)
        return [queue.with_position(generation, workers) for generation in generations]

    async def expected_seconds(
        self, user_id: str, priority: str, count: int, workers: LiveWorkers, *, route: str
    ) -> int | None:
        """Return the seconds until `count` new generations by a route would end.

        Returns:
            None until one has completed by this route with its model, while no worker takes generations,
            during a pause, and if the queue cannot be read in time.
        """
        key = user_id, PRIORITIES.index(priority)
        try:
            queue = (await self._read([key])).get(key)
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("queue_read_failed", error=repr(error))
            return None
        if queue is None or not workers.give_times:
            return None
        return queue.expected_seconds(queue.new_position(key, queue.added[key] + count), route, workers)

    async def _read(self, subjects: Collection[str | QueueKey]) -> Mapping[str | QueueKey, _Queue]:
        """Return a reading about each of these generations, by id, and queues; less if there is none in time.

        Raises:
            AvatarCreatorError, PeeweeException: The queue cannot be read.
        """
        known = {subject: self._known[subject] for subject in subjects if subject in self._known}
        now = time.monotonic()
        if len(known) == len(subjects) and all(queue.serves(now) for queue in known.values()):
            return known
        batch = self._next
        if batch is None:
            batch = self._next = _Batch()
            batch.reading = start_shared(self._read_next(batch), name="queue-positions")
        batch.subjects.update(subjects)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return dict.fromkeys(subjects, await asyncio.shield(batch.reading))
        except TimeoutError:
            return known

    async def _read_next(self, batch: _Batch) -> _Queue:
        """Read the queue for a batch. Callers join the batch until its reading begins."""
        async with self._turn:
            self._next = None
            ids = [subject for subject in batch.subjects if isinstance(subject, str)]
            keys = [subject for subject in batch.subjects if not isinstance(subject, str)]
            routes = await self._current_routes.current()
            found = await self._database.read(_read_queue, self._database, self._shares, routes, ids, keys)
            now = time.monotonic()
            queue = replace(found, ended_at=now)
            if queue.is_long:
                for subject in (*batch.subjects, *queue.queues):
                    self._known.pop(subject, None)
                    self._known[subject] = queue
            while self._known and not self._known[oldest := next(iter(self._known))].serves(now):
                del self._known[oldest]
            return queue


@dataclass
class _Batch:
    """Subjects of the next reading, which callers ask about."""

    subjects: set[str | QueueKey] = field(default_factory=set)
    reading: asyncio.Task[_Queue] = field(init=False)


@dataclass(frozen=True, slots=True)
class _Queue:
    """The queue at one moment, as far as the callers asked about it."""

    order: ClaimOrder
    positions: dict[str, int]
    """Number of generations ahead of each pending one, by id."""
    queues: Mapping[QueueKey, _UserQueue]
    routes: Routes
    durations: Durations
    """Durations by the names of `routes`."""
    running: int
    now: datetime
    end_time: datetime
    """The database's time at the end of the reading."""
    ended_at: float = 0.0
    added: Counter[QueueKey] = field(default_factory=Counter)
    """Number of generations that have joined each queue since."""

    @property
    def is_long(self) -> bool:
        """True if answers share the reading for a while."""
        return self.order.total > LONG_QUEUE

    def serves(self, now: float) -> bool:
        """Return whether the reading still answers a caller who asks now."""
        return now - self.ended_at <= MAX_AGE_SECONDS

    def place_new(self, generations: Sequence[Generation]) -> bool:
        """Add the positions of generations of one queue, unless they may have been there before the end.

        Returns:
            False if their positions need another reading.
        """
        if all(generation.id in self.positions for generation in generations):
            return True
        first = generations[0]
        key = first.user_id, PRIORITIES.index(first.priority)
        if first.attempt_number or first.create_time <= self.end_time or key not in self.queues:
            return False
        for generation in generations:
            self.added[key] += 1
            self.positions[generation.id] = self.new_position(key, self.added[key])
        return True

    def new_position(self, key: QueueKey, count: int) -> int:
        """Return the position of the last of `count` new generations of a user."""
        queue = self.queues.get(key)
        length = queue.length if queue else 0
        earlier = queue.earlier if queue else self.order.lengths.get(key[1], Lengths())
        head_id = queue.head_id if queue else ""
        return self.order.position(key[1], length + count, earlier, own=count - 1, head_id=head_id)

    def with_position(self, generation: Generation, workers: LiveWorkers) -> Generation:
        """Return a generation that was pending with its position and expected time."""
        # If the reading lacks it, it was claimed between the two reads, so none was ahead of it.
        position = self.positions.get(generation.id, 0)
        expected = None
        if workers.give_times and generation.next_attempt_time is not None:
            delay = max((generation.next_attempt_time - self.now).total_seconds(), 0.0)
            route = self.routes.route(has_reference=bool(generation.reference_avatar_ids))
            expected = self.expected_seconds(position, route.name if route else "", workers, delay)
        return with_values(
            generation,
            warnings=workers.warnings_of(generation),
            queue_position=position,
            expected_seconds=expected,
        )

    def expected_seconds(
        self, position: int, route: str, workers: LiveWorkers, delay: float = 0.0
    ) -> int | None:
        """Return the seconds until the generation at a position ends.

        Returns:
            None until one has completed by this route with its model.
        """
        own, of_all = self.durations.by_route.get(route), self.durations.of_all
        if own is None or of_all is None:
            return None
        earlier_rounds = position // max(self.running, workers.slots)
        return math.ceil(delay + earlier_rounds * of_all + own)


@dataclass(frozen=True, slots=True)
class _UserQueue:
    """A queue that a caller asked about."""

    length: int
    head_id: str
    earlier: Lengths
    """Lengths of the queues of the same priority whose turn is earlier."""


def _read_queue(
    database: Database, shares: Shares, routes: Routes, ids: Sequence[str], keys: Sequence[QueueKey]
) -> _Queue:
    """Read the positions of these generations, and these queues."""
    [totals] = _totals(database.is_postgresql).rows(**claim_times(database, shares))
    order = _read_order(database, shares, totals)
    asked = _asked(len(padded(ids))).rows(**numbered("id", padded(ids))) if ids else []
    queued = [row for row in asked if row.is_queued]
    users = sorted({*(user_id for user_id, _ in keys), *(row.user_id for row in queued)})
    queues = _read_queues(users, database.is_postgresql) if users else {}
    after: dict[QueueKey, int] = defaultdict(int)
    positions = {}
    for row in queued:
        key = row.user_id, row.priority
        after[key] += row.after
        nth = max(row.length - after[key], 1)
        queue = queues.get(key)
        positions[row.id] = order.position(
            row.priority, nth, queue.earlier if queue else Lengths(), head_id=row.head_id
        )
    if len(queued) < len(asked):
        delayed = padded([row.id for row in asked if not row.is_queued])
        for row in _delayed(len(delayed)).rows(**numbered("id", delayed)):
            positions[row.id] = order.total + row.ahead
    return _Queue(
        order=order,
        positions=positions,
        queues=queues,
        routes=routes,
        durations=durations_of(routes),
        running=totals.running,
        now=totals.now,
        end_time=database.now() if order.total > LONG_QUEUE else totals.now,
    )


def _read_order(database: Database, shares: Shares, totals: _Totals) -> ClaimOrder:
    counts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for priority, length, queues in totals.lengths:
        counts[priority].append((length, queues))
    heads = _waiting_heads(database.is_postgresql)
    return ClaimOrder(
        lengths={priority: Lengths(of_priority) for priority, of_priority in counts.items()},
        bulk_waiting=totals.bulk_waiting,
        waiting_heads=heads.rows(**claim_times(database, shares)) if totals.bulk_waiting else (),
        shares=shares,
    )


def _read_queues(users: Sequence[str], is_postgresql: bool) -> dict[QueueKey, _UserQueue]:
    earlier: dict[int, Counter[int]] = defaultdict(Counter)
    queues = {}
    asked = padded(users)
    for row in _queues(len(asked), is_postgresql).rows(**numbered("user", asked), beginning=_BEGINNING):
        # In the order of the turns, so each has all that the one before it has.
        between = row.between if isinstance(row.between, dict) else json.loads(row.between or "{}")
        earlier[row.priority].update({int(length): number for length, number in between.items()})
        key = row.user_id, row.priority
        queues[key] = _UserQueue(row.length, row.head_id, Lengths(earlier[row.priority].items()))
    return queues


@dataclass(frozen=True, slots=True)
class _Totals:
    """Numbers of the whole queue at one moment."""

    now: datetime
    lengths: list[tuple[int, int, int]]
    """Priority, length, and number of queues with both."""
    bulk_waiting: int
    """Number of bulk queues that are waiting; see `Shares`."""
    running: int
    """Number of generations that run, also in workers of a version that writes no row."""


@compiled
def _totals(is_postgresql: bool) -> CompiledQuery[_Totals]:
    """Return the query for the numbers of the whole queue, as one row that costs one round trip."""
    queue, row = UserQueue, AvatarGeneration
    groups = (
        queue.select(queue.priority, queue.length, fn.COUNT(queue.user_id).alias("queues"))
        .where(queue.head_id.is_null(False))
        .group_by(queue.priority, queue.length)
        .alias("groups")
    )
    group = groups.c.priority, groups.c.length, groups.c.queues
    lengths: Any = (
        fn.JSON_AGG(fn.JSON_BUILD_ARRAY(*group))
        if is_postgresql
        else fn.JSON_GROUP_ARRAY(fn.JSON_ARRAY(*group))
    )
    columns = [
        time_now(is_postgresql).alias("now"),
        queue.select(lengths).from_(groups).alias("lengths"),
        queue.select(fn.COUNT(queue.user_id)).where(_is_waiting_bulk(is_postgresql)).alias("bulk_waiting"),
        row.select(fn.COUNT(row.id)).where(is_running(row)).alias("running"),
    ]
    query = Select(columns=columns).bind(queue._meta.database)
    return CompiledQuery(query, by_name(_read_totals))


def _read_totals(row: Any) -> _Totals:
    now: Any = UserQueue.turn_time
    lengths = row.lengths if isinstance(row.lengths, list) else json.loads(row.lengths or "[]")
    return _Totals(now.python_value(row.now), lengths, row.bulk_waiting, row.running)


@compiled
def _waiting_heads(is_postgresql: bool) -> CompiledQuery[tuple[str, int]]:
    """Return the query for the heads of the normal queues, and of the bulk queues that are waiting."""
    queue = UserQueue
    is_normal = queue.head_id.is_null(False) & (queue.priority == NORMAL)
    query = queue.select(queue.head_id, queue.priority).where(is_normal | _is_waiting_bulk(is_postgresql))
    return CompiledQuery(query.order_by(queue.turn_time, queue.head_id), lambda _: tuple)


def _is_waiting_bulk(is_postgresql: bool) -> Any:
    queue = UserQueue
    waits_long = queue.turn_time <= long_ago(is_postgresql)
    return queue.head_id.is_null(False) & (queue.priority == BULK) & waits_long


@compiled
def _asked(count: int) -> CompiledQuery[Any]:
    """Return the query for pending generations, the last one first, with their queues.

    `after` is the number of queued generations after each one, up to and with the next one of the result.
    """
    row, queue, later = AvatarGeneration, UserQueue, AvatarGeneration.alias()
    queued = Case(None, [(is_queued(row), 1)], 0)
    of_queue = [row.user_id, row.priority, queued]
    asked = (
        row.select(
            row.id,
            row.user_id,
            row.priority,
            queued.alias("is_queued"),
            fn.LEAD(row.id, 1, _AFTER_ALL_IDS)
            .over(partition_by=of_queue, order_by=[row.id])
            .alias("next_id"),
        )
        .where(row.id.in_(parameters("id", count)), is_queued(row) | is_delayed(row))
        .alias("asked")
    )
    c = asked.c
    after = later.select(fn.COUNT(later.id)).where(
        is_queued(later),
        later.user_id == c.user_id,
        later.priority == c.priority,
        later.id > c.id,
        later.id <= c.next_id,
        c.is_queued == 1,
    )
    query = (
        queue.select(
            c.id, c.user_id, c.priority, c.is_queued, after.alias("after"), queue.length, queue.head_id
        )
        .from_(asked)
        .join(queue, JOIN.LEFT_OUTER, on=((queue.user_id == c.user_id) & (queue.priority == c.priority)))
        .order_by(c.id.desc())
    )
    return CompiledQuery(query, by_name(lambda row: row))


@compiled
def _delayed(count: int) -> CompiledQuery[Any]:
    """Return the query for generations that wait for their retry, with the number of those before each."""
    row, other = AvatarGeneration, AvatarGeneration.alias()
    ids = parameters("id", count)
    last = row.select(fn.MAX(row.due_time)).where(row.id.in_(ids), is_delayed(row))
    # One pass for all: a count for each would read those again that are due at the same time.
    ahead = fn.ROW_NUMBER().over(order_by=[other.due_time, other.id]) - 1
    in_order = other.select(other.id, ahead.alias("ahead")).where(is_delayed(other), other.due_time <= last)
    found = in_order.alias("found")
    query = row.select(found.c.id, found.c.ahead).from_(found).where(found.c.id.in_(ids))
    return CompiledQuery(query, by_name(lambda row: row))


@compiled
def _queues(count: int, is_postgresql: bool) -> CompiledQuery[Any]:
    """Return the query for the queues of users, in the order of their turns.

    `between` is the number of queues of each length whose turn is earlier, from the one before in the result.
    """
    queue, other = UserQueue, UserQueue.alias()
    turns = {"partition_by": [queue.priority], "order_by": [queue.turn_time, queue.head_id]}
    asked = (
        queue.select(
            queue.user_id,
            queue.priority,
            queue.length,
            queue.turn_time,
            queue.head_id,
            fn.LAG(queue.turn_time, 1, parameter("beginning", queue.turn_time)).over(**turns).alias("time"),
            fn.LAG(queue.head_id, 1, "").over(**turns).alias("before_id"),
        )
        .where(queue.head_id.is_null(False), queue.user_id.in_(parameters("user", count)))
        .alias("asked")
    )
    c = asked.c
    place = Tuple(other.turn_time, other.head_id)
    lengths = (
        other.select(other.length.cast("TEXT").alias("length"), fn.COUNT(other.user_id).alias("number"))
        .where(
            other.head_id.is_null(False),
            other.priority == c.priority,
            place >= Tuple(c.time, c.before_id),
            place < Tuple(c.turn_time, c.head_id),
        )
        .group_by(other.length)
        .alias("lengths")
    )
    # As one value, because PostgreSQL takes three times as long to join and group the queues.
    as_object = fn.JSON_OBJECT_AGG if is_postgresql else fn.JSON_GROUP_OBJECT
    between = queue.select(as_object(lengths.c.length, lengths.c.number)).from_(lengths)
    query = queue.select(c.user_id, c.priority, c.length, c.head_id, between.alias("between")).from_(asked)
    return CompiledQuery(query.order_by(c.turn_time, c.head_id), by_name(lambda row: row))

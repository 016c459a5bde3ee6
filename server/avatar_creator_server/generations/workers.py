"""Workers: one row for each, which the worker renews while it runs and deletes when it stops.

The rows say whether a generation can be drawn at all. Claims do not use them: a lease belongs to its worker
whether or not the worker's row is there.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from peewee import SQL, fn

from avatar_creator_server.database.call_limits import start_shared
from avatar_creator_server.database.compiled_queries import (
    Columns,
    CompiledQuery,
    Row,
    compiled,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt, RunningWorker
from avatar_creator_server.database.models.generation import is_running
from avatar_creator_server.database.models.states import PRIORITIES
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.pauses import Pause, Pauses, RouteNames, read_pauses
from avatar_creator_server.generations.records import Generation

RENEW_SECONDS = 10.0
"""Interval at which a worker renews its row."""
LOST_AFTER = timedelta(seconds=30)
"""Time without a renewal after which a worker counts as lost: three renewals did not arrive."""

_KEPT_AFTER = timedelta(days=1)
"""Time for which the row of a lost worker is kept, so that `doctor` can name the worker."""
_FRESH_SECONDS = 2.0
"""Time for which a server relies on its last look at the workers, if it found a live one."""
_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """The facts about a worker that do not change while it runs."""

    name: str
    """Host, process id and a random part: a restarted worker has a new name."""
    version: str
    host: str
    provider: str
    """`sketch`, `huggingface`, `replicate` or `diffusers`."""
    slots: int
    """Number of generations that the worker runs at once."""


class WorkerState(StrEnum):
    """The state of a worker."""

    LIVE = "live"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt that a worker runs."""

    worker: str
    generation_id: str
    user_id: str
    attempt_number: int
    stage: str
    """A `GenerationStage`."""
    progress_percent: int
    route: str
    """Route that draws; empty until the worker calls the provider."""
    start_time: datetime
    priority: str
    """A `GenerationPriority`."""


@dataclass(frozen=True, slots=True)
class WorkerRecord(WorkerIdentity):
    """A worker that runs or was lost."""

    start_time: datetime
    last_seen_time: datetime
    drain_time: datetime | None
    """Time since which the worker claims nothing; None unless an operator drains it."""
    unseen: timedelta
    """Time since the last renewal, by the database's clock."""

    @property
    def lost(self) -> bool:
        """True if the worker has not renewed its row for `LOST_AFTER`."""
        return self.unseen > LOST_AFTER

    @property
    def state(self) -> WorkerState:
        """The state of the worker."""
        if self.lost:
            return WorkerState.LOST
        return WorkerState.LIVE if self.drain_time is None else WorkerState.DRAINING


@dataclass(frozen=True, slots=True)
class WorkingWorker:
    """A worker, and what it runs."""

    worker: WorkerRecord
    running: tuple[RunningAttempt, ...]
    """Its attempts, first to last."""


@dataclass(frozen=True, slots=True)
class LiveWorkers:
    """The workers that take generations for the provider of this service, as a server last saw them."""

    slots: int
    """Number of generations that these workers run at once; 0 if no worker takes any."""
    warning: str
    """Sentence for callers that no worker takes generations; empty if one does."""
    pauses: Pauses
    """Pauses that keep these workers from some or all generations."""

    @property
    def give_times(self) -> bool:
        """True if the time of a generation can be expected. A pause ends when an operator decides it."""
        return not self.warning and not self.pauses.pauses

    def warnings_for(self, *, has_reference: bool) -> tuple[str, ...]:
        """Return the sentences about what keeps a generation with or without a reference waiting."""
        pause = self.pauses.pause_of(has_reference=has_reference)
        return tuple(filter(None, (self.warning, pause.sentence if pause else "")))

    def warnings_of(self, generation: Generation) -> tuple[str, ...]:
        """Return the warnings of a pending generation, with the sentences about what keeps it waiting."""
        found = self.warnings_for(has_reference=bool(generation.reference_avatar_ids))
        return (*generation.warnings, *found)


class Workers:
    """The workers of the service."""

    def __init__(self, database: Database, provider: str, routes: RouteNames) -> None:
        """Create the view of a process.

        Args:
            database: The database.
            provider: Provider of this process's settings. Workers that draw with another one do not count as
                alive.
            routes: Routes of this process's settings.
        """
        self._database = database
        self._provider = provider
        self._routes = routes
        self._looking = asyncio.Lock()
        self._look: _Look | None = None
        self._seen_at: dict[str, float] = {}
        self._left_at = _NEVER

    async def renew(self, worker: WorkerIdentity, start_time: datetime | None) -> datetime:
        """Write that the worker is alive now.

        Args:
            worker: The worker.
            start_time: The result of the worker's first renewal; None at the first.

        Returns:
            The time of the worker's first renewal.
        """
        return await self._database.write(self._renew, worker, start_time)

    async def remove(self, name: str) -> None:
        """Delete the row of a worker that stops."""
        await self._database.write(lambda: RunningWorker.delete().where(RunningWorker.name == name).execute())

    async def remove_all(self) -> None:
        """Delete all rows: the embedded service starts, and the process that ran its worker is gone."""
        await self._database.write(lambda: RunningWorker.delete().execute())

    async def list_all(self) -> list[WorkerRecord]:
        """Return the live and the lost workers of all providers, the one seen last first."""
        return await self._database.read(self.read_all)

    def read_all(self) -> list[WorkerRecord]:
        """Return what `list_all` returns, in a database job."""
        return _workers(self._database.is_postgresql).rows()

    def read_working(self, limit: int, after: str) -> list[WorkingWorker]:
        """Read the workers after this name, by name, with what they run, in a database job."""
        workers = _workers_after(self._database.is_postgresql).rows(after=after, limit=limit)
        return self._with_attempts(workers)

    async def drain(self, name: str) -> WorkingWorker:
        """Let a worker claim nothing from now on.

        Raises:
            NotFoundError: There is no such worker.
        """
        return await self._set_drained(name, drained=True)

    async def resume(self, name: str) -> WorkingWorker:
        """Let a drained worker take generations again.

        Raises:
            NotFoundError: There is no such worker.
        """
        return await self._set_drained(name, drained=False)

    async def live(self) -> LiveWorkers:
        """Return the workers of this service's provider that take generations.

        A look that found a live worker is good for two seconds, so calls cost no query. A look that found
        none is repeated, so that a new worker counts at once; callers who wait for a look share it.
        """
        asked_at = time.monotonic()
        look = self._look
        if look is None or not look.serves(asked_at):
            async with self._looking:
                look = self._look
                if look is None or not (look.serves(asked_at) or look.began_at >= asked_at):
                    look = await asyncio.shield(start_shared(self._look_again(), name="workers"))
        return self._live(look)

    def _live(self, look: _Look) -> LiveWorkers:
        return LiveWorkers(look.slots, "" if look.slots else self._warning(look), look.pauses)

    def note(self, workers: Sequence[WorkerRecord], pauses: Sequence[Pause], began_at: float) -> LiveWorkers:
        """Take the rows that someone has just read, and return the live workers as `live`.

        Args:
            workers: All workers.
            pauses: All pauses.
            began_at: Time of `time.monotonic` when the read began.
        """
        return self._live(self._take(workers, pauses, began_at))

    def forget(self) -> None:
        """Look again for the next caller, because this process has changed what a look finds."""
        self._look = None

    async def _look_again(self) -> _Look:
        began_at = time.monotonic()
        workers, pauses = await self._database.read(lambda: (self.read_all(), read_pauses()))
        return self._take(workers, pauses, began_at)

    def _take(self, workers: Sequence[WorkerRecord], pauses: Sequence[Pause], began_at: float) -> _Look:
        seen_at = {
            worker.name: began_at - worker.unseen.total_seconds()
            for worker in workers
            if worker.provider == self._provider
        }
        # Kept in memory, because a worker that stops deletes its row.
        left_at = [at for name, at in self._seen_at.items() if name not in seen_at]
        self._left_at = max([*left_at, self._left_at])
        self._seen_at = seen_at
        live = [worker for worker in workers if not worker.lost]
        ours = [worker for worker in live if worker.provider == self._provider]
        self._look = _Look(
            began_at,
            slots=sum(worker.slots for worker in ours if worker.state == WorkerState.LIVE),
            others_live=len(live) > 0,
            draining=len(ours),
            pauses=Pauses.among(pauses, self._routes),
        )
        return self._look

    def _warning(self, look: _Look) -> str:
        if look.draining:
            return "an operator drains all workers; generations wait until one is resumed or another starts"
        subject = f"no worker that draws with {self._provider}" if look.others_live else "no worker"
        seen_at = max([*self._seen_at.values(), self._left_at])
        seconds = time.monotonic() - seen_at
        since = f"for {seconds:,.0f} s" if seen_at > _NEVER else "since this server started"
        return f"{subject} has been seen {since}; generations wait until one starts"

    def _renew(self, worker: WorkerIdentity, start_time: datetime | None) -> datetime:
        now = self._database.now()
        start_time = start_time or now
        # A renewal keeps `drain_time`.
        # The row may be gone: the sweepers delete the row of a worker that was suspended for a day.
        RunningWorker.insert(**asdict(worker), start_time=start_time, last_seen_time=now).on_conflict(
            conflict_target=[RunningWorker.name], update={RunningWorker.last_seen_time: now}
        ).execute()
        return start_time

    async def _set_drained(self, name: str, *, drained: bool) -> WorkingWorker:
        worker = await self._database.write(self._write_drained, name, drained)
        self.forget()
        return worker

    def _write_drained(self, name: str, drained: bool) -> WorkingWorker:
        row = RunningWorker
        change = {row.drain_time: self._database.now() if drained else None}
        # Draining twice keeps the first time.
        row.update(change).where(row.name == name, row.drain_time.is_null(drained)).execute()
        found = _worker(self._database.is_postgresql).rows(name=name)
        if not found:
            raise NotFoundError("worker", name)
        return self._with_attempts(found)[0]

    def _with_attempts(self, workers: Sequence[WorkerRecord]) -> list[WorkingWorker]:
        running: defaultdict[str, list[RunningAttempt]] = defaultdict(list)
        if workers:
            names = padded([worker.name for worker in workers])
            for attempt in _running(len(names)).rows(**numbered("worker", names)):
                running[attempt.worker].append(attempt)
        return [WorkingWorker(worker, tuple(running[worker.name])) for worker in workers]


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of one look at the rows. Times are those of `time.monotonic`."""

    began_at: float
    slots: int
    others_live: bool
    """True if a worker is alive, maybe with another provider."""
    draining: int
    """Number of live workers of this provider; all of them are drained if there are no slots."""
    pauses: Pauses

    def serves(self, now: float) -> bool:
        """Return whether the look still answers a caller who asks now."""
        return self.slots > 0 and now - self.began_at < _FRESH_SECONDS


@compiled
def _workers(is_postgresql: bool) -> CompiledQuery[WorkerRecord]:
    row = RunningWorker
    query = row.select(*worker_columns(is_postgresql)).order_by(row.last_seen_time.desc(), row.name)
    return CompiledQuery(query, worker_reader, by_key=True)


@compiled
def _workers_after(is_postgresql: bool) -> CompiledQuery[WorkerRecord]:
    row = RunningWorker
    query = row.select(*worker_columns(is_postgresql)).where(row.name > parameter("after"))
    return CompiledQuery(query.order_by(row.name).limit(parameter("limit")), worker_reader, by_key=True)


@compiled
def _worker(is_postgresql: bool) -> CompiledQuery[WorkerRecord]:
    row = RunningWorker
    query = row.select(*worker_columns(is_postgresql)).where(row.name == parameter("name"))
    return CompiledQuery(query, worker_reader, by_key=True)


@compiled
def _running(workers: int) -> CompiledQuery[RunningAttempt]:
    """Return the query for the attempts that so many workers run, first to last."""
    row, attempt = AvatarGeneration, GenerationAttempt
    query = (
        row.select(
            attempt.worker,
            row.id.alias("generation_id"),
            row.user_id,
            row.attempt_number,
            row.stage,
            row.progress_percent,
            attempt.route,
            attempt.start_time,
            row.priority,
        )
        .join(attempt, on=((attempt.generation == row.id) & (attempt.attempt_number == row.attempt_number)))
        .where(is_running(row), attempt.worker.in_(parameters("worker", workers)))
        .order_by(attempt.start_time)
    )

    def reader(columns: Columns) -> Callable[[Row], RunningAttempt]:
        named = columns.named()

        def read(row: Row) -> RunningAttempt:
            values = named(row)._asdict()
            return RunningAttempt(**{**values, "priority": PRIORITIES[values["priority"]]})

        return read

    return CompiledQuery(query, reader)


def worker_columns(is_postgresql: bool) -> list[Any]:
    """Return the columns that `worker_reader` reads."""
    # SQLite has no clock of its own.
    now = fn.statement_timestamp() if is_postgresql else SQL("NULL")
    return [*RunningWorker._meta.sorted_fields, now.alias("now")]


def worker_reader(columns: Columns) -> Callable[[Row], WorkerRecord]:
    """Return the function that reads a worker from a row with `worker_columns`."""
    now, seen = columns.getter("now"), columns.getter("last_seen_time", RunningWorker)
    return columns.reader(
        WorkerRecord, RunningWorker, unseen=lambda row: (now(row) or datetime.now(UTC)) - seen(row)
    )


def delete_lost(now: datetime) -> None:
    """Delete the rows of workers that were lost a day ago, in the current transaction."""
    lost: Any = RunningWorker.last_seen_time < now - _KEPT_AFTER
    RunningWorker.delete().where(lost).execute()

"""Workers: one row for each, which the worker renews while it runs and deletes when it stops.

The rows say whether a generation can be drawn at all. Claims do not use them: a lease belongs to its worker
whether or not the worker's row is there.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import SQL, fn

from avatar_creator_server.database.call_limits import start_shared
from avatar_creator_server.database.compiled_queries import Columns, CompiledQuery, Row, compiled
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import RunningWorker

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


@dataclass(frozen=True, slots=True)
class WorkerRecord(WorkerIdentity):
    """A worker that runs or was lost."""

    start_time: datetime
    last_seen_time: datetime
    unseen: timedelta
    """Time since the last renewal, by the database's clock."""

    @property
    def lost(self) -> bool:
        """True if the worker has not renewed its row for `LOST_AFTER`."""
        return self.unseen > LOST_AFTER


@dataclass(frozen=True, slots=True)
class LiveWorkers:
    """The live workers that draw with the provider of this service, as a server last saw them."""

    slots: int
    """Number of generations that these workers run at once; 0 if no worker is alive."""
    warning: str
    """Sentence for callers that no worker is alive; empty if one is."""


class Workers:
    """The workers of the service."""

    def __init__(self, database: Database, provider: str) -> None:
        """Create the view of a process.

        Args:
            database: The database.
            provider: Provider of this process's settings. Workers that draw with another one do not count as
                alive.
        """
        self._database = database
        self._provider = provider
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

    async def live(self) -> LiveWorkers:
        """Return the live workers of this service's provider.

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
        return LiveWorkers(look.slots, "" if look.slots else self._warning(look))

    def note(self, workers: Sequence[WorkerRecord], began_at: float) -> LiveWorkers:
        """Take the rows of all workers that someone has just read, and return the live ones as `live`.

        Args:
            workers: The workers.
            began_at: Time of `time.monotonic` when the read began.
        """
        return self._live(self._take(workers, began_at))

    async def _look_again(self) -> _Look:
        began_at = time.monotonic()
        return self._take(await self._database.read(self.read_all), began_at)

    def _take(self, workers: Sequence[WorkerRecord], began_at: float) -> _Look:
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
        slots = sum(worker.slots for worker in live if worker.provider == self._provider)
        self._look = _Look(began_at, slots, others_live=len(live) > 0)
        return self._look

    def _warning(self, look: _Look) -> str:
        subject = f"no worker that draws with {self._provider}" if look.others_live else "no worker"
        seen_at = max([*self._seen_at.values(), self._left_at])
        seconds = time.monotonic() - seen_at
        since = f"for {seconds:,.0f} s" if seen_at > _NEVER else "since this server started"
        return f"{subject} has been seen {since}; generations wait until one starts"

    def _renew(self, worker: WorkerIdentity, start_time: datetime | None) -> datetime:
        now = self._database.now()
        start_time = start_time or now
        # The row may be gone: the sweepers delete the row of a worker that was suspended for a day.
        RunningWorker.insert(**asdict(worker), start_time=start_time, last_seen_time=now).on_conflict(
            conflict_target=[RunningWorker.name], update={RunningWorker.last_seen_time: now}
        ).execute()
        return start_time


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of one look at the rows. Times are those of `time.monotonic`."""

    began_at: float
    slots: int
    others_live: bool
    """True if a worker with another provider is alive."""

    def serves(self, now: float) -> bool:
        """Return whether the look still answers a caller who asks now."""
        return self.slots > 0 and now - self.began_at < _FRESH_SECONDS


@compiled
def _workers(is_postgresql: bool) -> CompiledQuery[WorkerRecord]:
    row = RunningWorker
    query = row.select(*worker_columns(is_postgresql)).order_by(row.last_seen_time.desc(), row.name)
    return CompiledQuery(query, worker_reader, by_key=True)


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

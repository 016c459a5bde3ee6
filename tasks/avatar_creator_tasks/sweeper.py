"""The sweeper: finds due jobs that no wake-up announced, and clears away what is left over.

A job can become due without a wake-up: its retry delay ends, its worker is lost, or the wake-up is lost. The
search for due jobs has a loop of its own, because clearing away can take minutes. The same statement tells
whether an operator drains this worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from peewee import SQL, Select, fn

from avatar_creator_server.database.compiled_queries import CompiledStatement, compiled, parameter
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, BackgroundJob, RunningWorker
from avatar_creator_server.database.models.base import database_proxy
from avatar_creator_server.database.models.generation import is_delayed
from avatar_creator_server.generations.claims import end_delays, enter_missing_turns
from avatar_creator_server.generations.spending import delete_old_starts
from avatar_creator_server.generations.workers import delete_lost
from avatar_creator_server.images.store import Files
from avatar_creator_server.metrics import SWEEPS
from avatar_creator_server.shared.idempotency import delete_old_keys
from avatar_creator_tasks.slots import Slots

log = structlog.get_logger()

SWEEP_SECONDS = 1.0
"""Interval at which a worker looks for due jobs."""
TIDY_SECONDS = 60.0
"""Interval at which a worker releases abandoned files and deletes expired rows."""
FILE_SWEEP_SECONDS = 3600.0
"""Interval at which a worker looks through a local storage for files of killed processes."""
TIDY_ROWS = 500
"""Maximum number of rows that one transaction of a worker's sweeper changes or deletes."""


class Sweeper:
    """Wakes the slots of its own worker, so that jobs run even while Redis is unavailable."""

    def __init__(
        self, database: Database, files: Files, worker: str, generations: Slots, background_jobs: Slots
    ) -> None:
        """Create the sweeper.

        Args:
            database: The database.
            files: The files of the service.
            worker: Name of the worker.
            generations: The worker's slots for generations.
            background_jobs: Its slots for background jobs.
        """
        self._database = database
        self._worker = worker
        self._files = files
        self._generations = generations
        self._background_jobs = background_jobs

    async def run(self) -> None:
        """Sweep until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for sweep, seconds in (
                (self._wake_slots, SWEEP_SECONDS),
                (self._tidy, TIDY_SECONDS),
                (self._sweep_files, FILE_SWEEP_SECONDS),
            ):
                loops.create_task(_repeat(sweep, seconds))

    async def _wake_slots(self) -> None:
        generation_due, job_due, retry_due, drained = await self._database.read(self._due)
        if self._generations.set_drained(drained):
            if drained:
                log.info("worker_drained", worker=self._worker)
            else:
                log.info("worker_resumed", worker=self._worker)
        if retry_due:
            while await self._database.write(self._end_delays) >= TIDY_ROWS:
                pass
        if generation_due:
            self._generations.wake_soon()
        if job_due:
            self._background_jobs.wake_soon()

    def _due(self) -> tuple[bool, bool, bool, bool]:
        query = _due_query(self._database.is_postgresql)
        cursor = query.run(now=datetime.now(UTC), worker=self._worker)
        generation_due, job_due, retry_due, drained = cursor.fetchone()
        return bool(generation_due), bool(job_due), bool(retry_due), bool(drained)

    def _end_delays(self) -> int:
        return end_delays(self._database, self._database.now(), TIDY_ROWS)

    async def _sweep_files(self) -> None:
        removed = await self._files.remove_temporary()
        if removed:
            log.info("temporary_files_removed", files=removed)

    async def _tidy(self) -> None:
        await self._database.write(enter_missing_turns)
        await self._database.write(lambda: delete_lost(self._database.now()))
        # Each batch is a transaction of its own, so that nothing waits long for its locks.
        for tidy_batch in (
            lambda: self._files.release_orphans(TIDY_ROWS),
            lambda: delete_old_keys(self._database.now(), TIDY_ROWS),
            lambda: delete_old_starts(self._database.now(), TIDY_ROWS),
        ):
            while await self._database.write(tidy_batch) >= TIDY_ROWS:
                pass


@compiled
def _due_query(is_postgresql: bool) -> CompiledStatement:
    # One statement with the clock of PostgreSQL, which all processes share.
    now = fn.statement_timestamp() if is_postgresql else parameter("now", AvatarGeneration.due_time)
    generations = AvatarGeneration.select(SQL("1")).where(AvatarGeneration.due_time <= now)
    background_jobs = BackgroundJob.select(SQL("1")).where(BackgroundJob.due_time <= now)
    retries = AvatarGeneration.select(SQL("1")).where(
        is_delayed(AvatarGeneration), AvatarGeneration.due_time <= now
    )
    row: Any = RunningWorker
    drained = row.select(SQL("1")).where(row.name == parameter("worker"), row.drain_time.is_null(False))
    query = Select(columns=[fn.EXISTS(each) for each in (generations, background_jobs, retries, drained)])
    return CompiledStatement(query.bind(database_proxy))


async def _repeat(sweep: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await sweep()
            SWEEPS.labels("ok").inc()
        except Exception as error:  # The next sweep may succeed.
            SWEEPS.labels("failed").inc()
            log.warning("sweep_failed", error=repr(error))
        await asyncio.sleep(seconds)

"""The sweeper: looks for due work no wake-up told of: retries, lost workers, lost wake-ups."""

from __future__ import annotations

import asyncio

import structlog
from peewee import SQL, Select, fn

from server.database import Database
from server.domain.files import Files
from server.domain.idempotency import forget_old_keys
from server.domain.queue import enter_missing_turns
from server.domain.spending import forget_old_starts
from server.metrics import SWEEPS
from server.models import AvatarGeneration, QuickWork
from tasks.slots import Slots

log = structlog.get_logger()

SWEEP_SECONDS = 1.0
"""How often a worker looks for due work."""
TIDY_SECONDS = 60.0
"""How often it gives up abandoned files and forgets what is kept for a time only."""


class Sweeper:
    """Wakes this worker's own slots, so that work moves even while Redis is away."""

    def __init__(self, database: Database, files: Files, generations: Slots, quick_work: Slots) -> None:
        self._database = database
        self._files = files
        self._generations = generations
        self._quick_work = quick_work

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time()
        while True:
            try:
                generation_due, quick_work_due = await self._database.read(self._due)
                if generation_due:
                    self._generations.wake_soon()
                if quick_work_due:
                    self._quick_work.wake_soon()
                if loop.time() >= tidy_at:
                    tidy_at = loop.time() + TIDY_SECONDS
                    await self._database.write(self._tidy)
                SWEEPS.labels("ok").inc()
            except Exception as error:  # whatever it is, the next sweep may go well
                SWEEPS.labels("failed").inc()
                log.warning("sweep_failed", error=repr(error))
            await asyncio.sleep(SWEEP_SECONDS)

    def _due(self) -> tuple[bool, bool]:
        now = self._database.now()
        generations = AvatarGeneration.select(SQL("1")).where(AvatarGeneration.due_time <= now)
        quick_work = QuickWork.select(SQL("1")).where(QuickWork.due_time <= now)
        query = Select(columns=[fn.EXISTS(generations), fn.EXISTS(quick_work)]).tuples()
        ((generation_due, quick_work_due),) = query.execute(self._database.peewee)
        return bool(generation_due), bool(quick_work_due)

    def _tidy(self) -> None:
        self._files.let_orphans_go()
        enter_missing_turns()
        now = self._database.now()
        forget_old_keys(now)
        forget_old_starts(now)

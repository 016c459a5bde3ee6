"""The presence of a worker: the row that says that the worker is alive."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

import structlog

from avatar_creator_server.generations.workers import RENEW_SECONDS, WorkerIdentity, Workers

log = structlog.get_logger()

_RETRY_SECONDS = 1.0
"""Delay after a renewal that failed."""


class Presence:
    """Writes the row of one worker, renews it, and deletes it at a clean stop."""

    def __init__(self, workers: Workers, worker: WorkerIdentity) -> None:
        self._workers = workers
        self._worker = worker
        self._start_time: datetime | None = None
        self._stopping = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the row and keep renewing it. Without the database, a later renewal writes it."""
        written = await self._renew()
        self._renewing = asyncio.create_task(self._renew_until_stopped(written), name="presence")

    async def stop(self) -> None:
        """Stop renewing and delete the row. If that fails, the worker counts as lost after 30 seconds."""
        self._stopping.set()
        if self._renewing is not None:
            # A renewal in progress cannot be cancelled: it would write the row again after the deletion.
            await self._renewing
        try:
            await self._workers.remove(self._worker.name)
        except Exception as error:  # a worker without its database must stop too
            log.warning("presence_not_removed", worker=self._worker.name, error=repr(error))

    async def _renew_until_stopped(self, written: bool) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS if written else _RETRY_SECONDS):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            written = await self._renew()

    async def _renew(self) -> bool:
        try:
            self._start_time = await self._workers.renew(self._worker, self._start_time)
        except Exception as error:  # the next renewal may succeed
            log.warning("presence_not_renewed", worker=self._worker.name, error=repr(error))
            return False
        return True

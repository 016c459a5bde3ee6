"""Worker slots: the number of jobs of one kind that a worker runs at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from avatar_creator_server.metrics import BUSY_SLOTS

log = structlog.get_logger()

RunOne = Callable[[], Awaitable[bool]]
"""Claims one job and runs it; returns False when no job was due."""


class Slots:
    """A bounded number of slots, each of which runs jobs until none is due."""

    def __init__(self, name: str, size: int, run_one: RunOne) -> None:
        self._name = name
        self._free = size
        self._run_one = run_one
        self._woken = False
        self._stopping = False
        self._drained = False
        self._working: set[asyncio.Task[None]] = set()
        self._waking: set[asyncio.Task[None]] = set()

    async def wake(self) -> None:
        """Let a free slot run jobs until none is due; jobs may have become due.

        If no slot is free, the first slot that finds no due job looks once more, so no wake-up is lost.
        """
        if self._stopping or self._drained:
            return
        if self._free == 0:
            self._woken = True
            return
        self._free -= 1
        BUSY_SLOTS.labels(self._name).inc()
        task = asyncio.create_task(self._work(), name=f"slot-{self._name}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        # Shielded: cancelling a receiver must not cancel the job that it started.
        await asyncio.shield(task)

    def wake_soon(self) -> None:
        """Wake every free slot without waiting for its jobs."""
        for _ in range(self._free):
            waking = asyncio.create_task(self.wake())
            self._waking.add(waking)
            waking.add_done_callback(self._waking.discard)

    def set_drained(self, drained: bool) -> bool:
        """Start no new job while drained; running jobs go on. Return whether this is a change."""
        changed = drained != self._drained
        self._drained = drained
        return changed

    async def stop(self, grace_seconds: float) -> None:
        """Start no new job; let running jobs finish within the grace period, then cancel them."""
        self._stopping = True
        if self._working:
            await asyncio.wait(self._working, timeout=grace_seconds)
        if self._working:
            log.info("slots_cancelled", slot=self._name, count=len(self._working))
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while not (self._stopping or self._drained):
                self._woken = False
                if not await self._run_one() and not self._woken:
                    return
        except Exception as error:
            # The claim itself failed, for example because the database is unavailable. The sweeper wakes
            # this slot again.
            log.warning("slot_interrupted", slot=self._name, error=repr(error))
        finally:
            self._free += 1
            BUSY_SLOTS.labels(self._name).dec()

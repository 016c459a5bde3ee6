"""Slots: how many pieces of one kind of work a worker does at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from avatar_creator_server.metrics import BUSY_SLOTS

log = structlog.get_logger()

RunOne = Callable[[], Awaitable[bool]]
"""Claims one piece of work and does it; tells whether there was one."""


class Slots:
    """A bounded number of slots, each of which works until nothing is due."""

    def __init__(self, name: str, size: int, run_one: RunOne) -> None:
        self._name = name
        self._free = size
        self._run_one = run_one
        self._woken = False
        self._stopping = False
        self._working: set[asyncio.Task[None]] = set()
        self._waking: set[asyncio.Task[None]] = set()

    async def wake(self) -> None:
        """There may be work: let a free slot do it until nothing is due.

        With no slot free, the first one that finds nothing due looks once more, so no wake-up is lost.
        """
        if self._stopping:
            return
        if self._free == 0:
            self._woken = True
            return
        self._free -= 1
        BUSY_SLOTS.labels(self._name).inc()
        task = asyncio.create_task(self._work(), name=f"slot-{self._name}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        # Shielded: a receiver that is torn down must not tear down work that is under way.
        await asyncio.shield(task)

    def wake_soon(self) -> None:
        """Wake every free slot without waiting for the work."""
        for _ in range(self._free):
            waking = asyncio.create_task(self.wake())
            self._waking.add(waking)
            waking.add_done_callback(self._waking.discard)

    async def stop(self, grace_seconds: float) -> None:
        """Take nothing new; let running work end within the grace period, then cancel it."""
        self._stopping = True
        if self._working:
            await asyncio.wait(self._working, timeout=grace_seconds)
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while not self._stopping:
                self._woken = False
                if not await self._run_one() and not self._woken:
                    return
        except Exception as error:
            # The claim itself failed, for example because the database is away. The sweeper wakes us again.
            log.warning("slot_interrupted", slot=self._name, error=repr(error))
        finally:
            self._free += 1
            BUSY_SLOTS.labels(self._name).dec()

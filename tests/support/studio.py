"""A user with a project, who orders generations and waits for what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from avatar_creator import AsyncAvatarCreator, Generation, GenerationAttempt
from tests.support.generations import PENDING, SMALLEST, make_due
from tests.support.in_process import InProcessService
from tests.support.waiting import wait_until


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    project_id: str

    async def order(self, **wishes: Any) -> Generation:
        """A new generation of a small picture."""
        return await self.client.generations.create(
            self.project_id, "a portrait", width=SMALLEST, height=SMALLEST, **wishes
        )

    async def caught(self, generation_id: str, condition: Callable[[Generation], bool]) -> Generation:
        """The first state from now on for which `condition` holds."""
        async for state in self.client.generations.watch(generation_id, timeout=20.0):
            if condition(state):
                return state
        raise AssertionError(f"{state} was the end, and the condition never held")

    async def ended(self, generation_id: str) -> Generation:
        """The last state of a generation, which is waited for."""
        return await self.caught(generation_id, lambda state: state.HasField("end_time"))

    async def retry_waits(self, generation_id: str, attempt: int) -> tuple[Generation, timedelta]:
        """A generation that waits for a retry after this attempt, and how long after that failure."""
        waiting = await self.caught(
            generation_id, lambda state: state.state == PENDING and state.attempt_number == attempt
        )
        failed = (await self.client.generations.attempts(generation_id))[attempt - 1]
        return waiting, waiting.next_attempt_time.ToDatetime() - failed.end_time.ToDatetime()

    async def attempts(self, generation_id: str) -> list[GenerationAttempt]:
        """The attempts at a generation, first to last."""
        return list(await self.client.generations.attempts(generation_id))

    async def eventually(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition`, which may look into the database, holds."""
        await asyncio.to_thread(wait_until, condition, 10.0)

    async def retry_now(self, generation_id: str, *, attempt: int) -> None:
        """Let the wait after this attempt be over."""
        assert make_due(self.service.deployment, generation_id, attempt=attempt)
        await self.service.wake_workers()

    async def take_over(self, generation_id: str, *, attempt: int) -> None:
        """Let the lease of this attempt end; a free slot then takes the generation over."""
        assert make_due(self.service.deployment, generation_id, attempt=attempt)
        await self.service.wake_workers()
        # A heartbeat may renew the lease in between, so it is moved back until another attempt has begun.
        await self.eventually(lambda: not make_due(self.service.deployment, generation_id, attempt=attempt))

    def stored(self) -> tuple[int, list[str]]:
        """How many pictures are stored, and the states of the files the database knows."""
        deployment = self.service.deployment
        return len(deployment.files()), sorted(row["state"] for row in deployment.rows("files"))

    async def nothing_stored(self) -> None:
        """Wait until no picture remains in the storage or the database."""
        await self.eventually(lambda: self.stored() == (0, []))
        assert self.service.deployment.rows("avatars") == []

"""A user with a project, who creates generations and waits for their states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from avatar_creator import AsyncAvatarCreator, Generation, GenerationAttempt
from tests.support.generations import PENDING, SMALLEST, make_due
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.waiting import wait_until


@dataclass
class Studio:
    """A user with a project, and the service they call."""

    service: InProcessService
    client: AsyncAvatarCreator
    project_id: str

    async def create_generation(self, **options: Any) -> Generation:
        """Create a generation of a small picture."""
        return (
            await self.client.generations.create(
                self.project_id, "a portrait", width=SMALLEST, height=SMALLEST, **options
            )
        ).generation

    async def wait_for(self, generation_id: str, condition: Callable[[Generation], bool]) -> Generation:
        """Wait for a state that meets `condition`, and return it."""
        async for state in self.client.generations.watch(generation_id, timeout=20.0):
            if condition(state):
                return state
        raise AssertionError(f"the generation ended, and no state met the condition: {state}")

    async def wait_for_end(self, generation_id: str) -> Generation:
        """Wait until a generation has ended, and return its last state."""
        return await self.wait_for(generation_id, lambda state: state.end_time is not None)

    async def wait_for_backoff(self, generation_id: str, attempt: int) -> tuple[Generation, timedelta]:
        """Wait until this attempt has failed. Return the generation and the delay of its retry."""
        waiting = await self.wait_for(
            generation_id, lambda state: state.state == PENDING and state.attempt_number == attempt
        )
        failed = (await self.client.generations.attempts(generation_id))[attempt - 1]
        return waiting, present(waiting.next_attempt_time) - present(failed.end_time)

    async def attempts(self, generation_id: str) -> list[GenerationAttempt]:
        """Return the attempts at a generation, first to last."""
        return list(await self.client.generations.attempts(generation_id))

    async def eventually(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds. It may query the database."""
        await asyncio.to_thread(wait_until, condition, 10.0)

    async def retry_now(self, generation_id: str, *, attempt: int) -> None:
        """End the delay after this attempt now."""
        assert make_due(self.service.deployment, generation_id, attempt=attempt)
        await self.service.wake_workers()

    async def take_over(self, generation_id: str, *, attempt: int) -> None:
        """Expire the lease of this attempt, and wait until a free slot has taken over the generation."""
        assert make_due(self.service.deployment, generation_id, attempt=attempt)
        await self.service.wake_workers()
        # A heartbeat may renew the lease, so expire it again until the next attempt has begun.
        await self.eventually(lambda: not make_due(self.service.deployment, generation_id, attempt=attempt))

    def stored(self) -> tuple[int, list[str]]:
        """Return the number of stored pictures, and the states of the files in the database."""
        deployment = self.service.deployment
        return len(deployment.files()), sorted(row["state"] for row in deployment.rows("files"))

    async def wait_until_nothing_is_stored(self) -> None:
        """Wait until the storage and the database have no picture."""
        await self.eventually(lambda: self.stored() == (0, []))
        assert self.service.deployment.rows("avatars") == []

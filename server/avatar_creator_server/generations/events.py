"""Events about generations: hints that one has changed, published on the bus after the commit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from avatar_creator_server.generations.records import Generation
from avatar_creator_server.shared.event_bus import GENERATION_CANCELLED, GENERATION_CHANGED, EventBus

_MAX_HINT_BYTES = 330
"""Size of the longest hint: three ids, of which a user's has at most 128 characters, and a number."""


@dataclass(frozen=True, slots=True)
class ChangeHint:
    """The payload of `GENERATION_CHANGED`: the generation that may have changed.

    It has no state, because anything with access to Redis can publish. Subscribers read the database.
    """

    generation_id: str
    project_id: str
    user_id: str
    revision: int

    def encode(self) -> bytes:
        """Return the payload."""
        return f"{self.generation_id}\n{self.project_id}\n{self.user_id}\n{self.revision}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> ChangeHint:
        """Return the hint in a payload.

        Raises:
            ValueError: The payload is not a hint.
        """
        if len(payload) > _MAX_HINT_BYTES:
            raise ValueError(
                f"a hint has at most {_MAX_HINT_BYTES} bytes, and the payload has {len(payload)}"
            )
        generation_id, project_id, user_id, revision = payload.decode().split("\n")
        return cls(generation_id, project_id, user_id, int(revision))


class GenerationEvents:
    """Publishes changes of generations to the other processes."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def publish_changed(self, generation: Generation) -> None:
        """Publish that a generation has a new revision."""
        hint = ChangeHint(generation.id, generation.project_id, generation.user_id, generation.revision)
        await self._bus.publish(GENERATION_CHANGED, hint.encode())

    async def publish_cancelled(self, generation: Generation) -> None:
        """Publish that a generation was cancelled, so that its worker stops."""
        await asyncio.gather(
            self.publish_changed(generation),
            self._bus.publish(GENERATION_CANCELLED, generation.id.encode()),
        )

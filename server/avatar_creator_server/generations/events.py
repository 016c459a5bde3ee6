"""Events about generations: the state after each change, published on the bus after the commit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from avatar_creator_server.generations.records import Generation
from avatar_creator_server.shared.event_bus import GENERATION_CANCELLED, GENERATION_CHANGED, EventBus


@dataclass(frozen=True, slots=True)
class GenerationUpdate:
    """One state of a generation on its way to a watcher."""

    generation_id: str
    project_id: str
    revision: int
    ended: bool
    message: Any
    """The state in the form that watchers receive. Only the codec knows the type."""


class GenerationCodec(Protocol):
    """Converts generations to the form that travels on the bus and on a watch.

    The contract's messages are outside the domain, so the domain receives the codec from `core`.
    """

    def update(self, generation: Generation) -> GenerationUpdate:
        """Return the update that carries this state."""

    def encode(self, generation: Generation) -> bytes:
        """Return the payload for the bus."""

    def decode(self, payload: bytes) -> GenerationUpdate:
        """Return the update from a payload of the bus."""


class GenerationEvents:
    """Publishes changes of generations to the other processes."""

    def __init__(self, bus: EventBus, codec: GenerationCodec) -> None:
        self._bus = bus
        self._codec = codec

    async def publish_changed(self, generation: Generation) -> None:
        """Publish the new revision of a generation."""
        await self._bus.publish(GENERATION_CHANGED, self._codec.encode(generation))

    async def publish_cancelled(self, generation: Generation) -> None:
        """Publish that a generation was cancelled, so that its worker stops."""
        await asyncio.gather(
            self.publish_changed(generation),
            self._bus.publish(GENERATION_CANCELLED, generation.id.encode()),
        )

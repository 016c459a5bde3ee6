"""Announcements: what domain code tells the other processes over the bus, after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from avatar_creator_server.contract import mapping as wire
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.shared.event_bus import (
    GENERATION_CANCELLED,
    GENERATION_CHANGED,
    PROJECT_DELETED,
    THUMBNAIL_READY,
    EventBus,
)


class Announcements:
    """Puts what happened on the bus, in the bus's encoding."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def generation_changed(self, generation: Generation) -> None:
        """The generation has a new revision."""
        await self._bus.publish(GENERATION_CHANGED, wire.generation_to_proto(generation).SerializeToString())

    async def generation_cancelled(self, generation: Generation) -> None:
        """The generation was cancelled: whoever works at it may stop."""
        await asyncio.gather(
            self.generation_changed(generation),
            self._bus.publish(GENERATION_CANCELLED, generation.id.encode()),
        )

    async def project_deleted(self, project_id: str, generation_ids: Sequence[str]) -> None:
        """The project is gone, and its generations with it."""
        await self._bus.publish(PROJECT_DELETED, "\n".join((project_id, *generation_ids)).encode())

    async def thumbnail_ready(self, avatar_id: str) -> None:
        """The avatar has its thumbnail."""
        await self._bus.publish(THUMBNAIL_READY, avatar_id.encode())

"""Runs one background job: make a thumbnail, remove a file or cancel a provider's request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from avatar_creator_server.avatars.service import Avatars
from avatar_creator_server.database.models.states import JobKind
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.images.store import Files
from avatar_creator_server.metrics import JOBS
from avatar_creator_server.shared.background_jobs import (
    BackgroundJobQueue,
)
from avatar_creator_server.shared.event_bus import THUMBNAIL_READY, EventBus
from avatar_creator_tasks.providers.base import Provider

log = structlog.get_logger()


class JobRunner:
    """Claims background jobs and runs them."""

    def __init__(
        self,
        queue: BackgroundJobQueue,
        avatars: Avatars,
        files: Files,
        decoders: Decoders,
        bus: EventBus,
        provider: Provider,
    ) -> None:
        self._queue = queue
        self._avatars = avatars
        self._files = files
        self._decoders = decoders
        self._bus = bus
        self._handlers: dict[str, Callable[[str], Awaitable[None]]] = {
            JobKind.THUMBNAIL: self._make_thumbnail,
            JobKind.REMOVE_FILE: files.remove,
            JobKind.CANCEL_REQUEST: provider.cancel,
        }

    async def run_one(self) -> bool:
        """Claim the job that has been due longest and run it; return False if no job is due."""
        job = await self._queue.claim()
        if job is None:
            return False
        try:
            await self._handlers[job.kind](job.subject_id)
        except Exception as error:  # The job stays in the queue until it succeeds.
            log.warning("background_job_failed", kind=job.kind, subject=job.subject_id, error=repr(error))
            JOBS.labels(job.kind, "failed").inc()
            await self._queue.failed(job)
        else:
            JOBS.labels(job.kind, "done").inc()
            await self._queue.done(job)
        return True

    async def _make_thumbnail(self, avatar_id: str) -> None:
        image = await self._avatars.image_without_thumbnail(avatar_id)
        if image is None:
            return
        data = await self._files.read_whole(image.file)
        thumbnail = await self._decoders.thumbnail(image.user_id, data)
        staged = await self._files.stage(image.user_id, thumbnail)
        if await self._avatars.set_thumbnail(avatar_id, staged):
            await self._bus.publish(THUMBNAIL_READY, avatar_id.encode())
        else:
            await self._files.discard([staged.id])

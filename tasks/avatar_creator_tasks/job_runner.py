"""Runs one background job: a thumbnail, a batch of a removal, or the cancellation of a provider's request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from avatar_creator_server.avatars.service import Avatars
from avatar_creator_server.database.models.states import JobKind
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.generations.project_deletion import ProjectDeletion
from avatar_creator_server.images.decoding.decoders import Decoders, DecodingFailedError
from avatar_creator_server.images.processing import plain_thumbnail
from avatar_creator_server.images.store import Files
from avatar_creator_server.metrics import JOBS
from avatar_creator_server.shared.background_jobs import BackgroundJobQueue, ClaimedJob
from avatar_creator_server.shared.event_bus import THUMBNAIL_READY, EventBus
from avatar_creator_tasks.providers.base import Provider

log = structlog.get_logger()


BULK_SLOTS = 1
"""Slots of a worker that may run bulk jobs at the same time. The other slots are free for urgent jobs."""


class JobRunner:
    """Claims background jobs and runs them."""

    def __init__(
        self,
        queue: BackgroundJobQueue,
        avatars: Avatars,
        files: Files,
        decoders: Decoders,
        project_deletion: ProjectDeletion,
        bus: EventBus,
        provider: Provider,
    ) -> None:
        self._queue = queue
        self._avatars = avatars
        self._files = files
        self._decoders = decoders
        self._project_deletion = project_deletion
        self._bus = bus
        self._bulk_slots = BULK_SLOTS
        self._handlers: dict[str, Callable[[str], Awaitable[bool | None]]] = {
            JobKind.THUMBNAIL: self._make_thumbnail,
            JobKind.CANCEL_REQUEST: provider.cancel,
            JobKind.REMOVE_FILES: files.remove_released,
            JobKind.REMOVE_FILE: files.remove_released_with,
            JobKind.REMOVE_PROJECT: self._remove_project,
        }
        """Each returns True if its job has to run again: a job does one batch at a time."""

    async def run_one(self) -> bool:
        """Claim the next due job and run it; return False if no job is due for this slot."""
        # Taken before the claim, so that two slots cannot both claim a bulk job.
        with_bulk = self._bulk_slots > 0
        self._bulk_slots -= with_bulk
        try:
            job = await self._queue.claim(with_bulk=with_bulk)
            if job is not None and not job.is_bulk:
                self._bulk_slots += with_bulk
                with_bulk = False
            if job is not None:
                await self._run(job)
        finally:
            self._bulk_slots += with_bulk
        return job is not None

    async def _run(self, job: ClaimedJob) -> None:
        try:
            remains = await self._handlers[job.kind](job.subject_id)
        except Exception as error:  # The job stays in the queue until it succeeds.
            log.warning("background_job_failed", kind=job.kind, subject=job.subject_id, error=repr(error))
            JOBS.labels(job.kind, "failed").inc()
            if not await self._queue.failed(job):
                log.error("background_job_given_up", kind=job.kind, subject=job.subject_id)
        else:
            JOBS.labels(job.kind, "done").inc()
            await (self._queue.again(job) if remains else self._queue.done(job))

    async def _remove_project(self, project_id: str) -> bool:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        remains = await self._project_deletion.remove_batch(project_id)
        # As long as the batch took: SQLite has one writer at a time, and no queue of those who wait for it.
        await asyncio.sleep(loop.time() - started_at)
        return remains

    async def _make_thumbnail(self, avatar_id: str) -> None:
        image = await self._avatars.image_without_thumbnail(avatar_id)
        if image is None:
            return
        data = await self._files.read_whole(image.file)
        try:
            thumbnail = await self._decoders.thumbnail(image.user_id, data)
        except (InvalidArgumentError, DecodingFailedError) as error:
            # It would fail again, and cost as much each time.
            log.warning("thumbnail_is_plain", avatar=avatar_id, error=repr(error))
            thumbnail = await asyncio.to_thread(plain_thumbnail)
        staged = await self._files.stage(image.user_id, thumbnail)
        if await self._avatars.set_thumbnail(avatar_id, staged):
            await self._bus.publish(THUMBNAIL_READY, avatar_id.encode())
        else:
            await self._files.discard([staged.id])

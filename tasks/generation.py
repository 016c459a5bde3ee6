"""Running one generation, from the claim to its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import structlog

from server.domain import images
from server.domain.errors import AvatarCreatorError, NotFoundError, UnavailableError
from server.domain.files import Files
from server.domain.images import Picture
from server.domain.leases import (
    DRAWING_PERCENT,
    FINISHING_PERCENT,
    HEARTBEAT_SECONDS,
    SAVING_PERCENT,
    Failure,
    GenerationLeases,
    Lease,
    LeaseLostError,
)
from server.domain.records import StoredFile
from server.domain.vocabulary import shown_age_range
from tasks.providers.provider import PortraitRequest, Provider, ProviderError, Reports

log = structlog.get_logger()

_DATABASE_RETRY_SECONDS = 1.0

T = TypeVar("T")


class GenerationRunner:
    """Claims generations for one worker and runs them with one provider."""

    def __init__(self, worker: str, leases: GenerationLeases, files: Files, provider: Provider) -> None:
        self._worker = worker
        self._leases = leases
        self._files = files
        self._provider = provider

    async def run_one(self) -> bool:
        """Claim the generation that has been due longest and run it; False when none is due."""
        lease = await self._leases.claim(self._worker)
        if lease is None:
            return False
        generation = lease.generation
        with structlog.contextvars.bound_contextvars(
            generation=generation.id, attempt=generation.attempt_number
        ):
            log.info("generation_claimed")
            await self._run(lease)
        return True

    async def _run(self, lease: Lease) -> None:
        """Run one attempt and write down how it ended."""
        staged: list[StoredFile] = []
        try:
            await self._while_renewing(lease, staged)
            log.info("generation_completed")
            return
        except asyncio.CancelledError:
            await self._files.discard([file.id for file in staged])
            await self._settle(self._leases.release(lease))
            log.info("generation_released")
            raise
        except (LeaseLostError, NotFoundError):
            log.info("generation_lost")
            failure = None
        except ProviderError as error:
            failure = Failure(error.reason, error.message, error.retryable, error.retry_after)
        except UnavailableError as error:
            failure = Failure(error.reason, error.message, True, timedelta(seconds=error.retry_after or 0))
        except Exception:
            incident_id = uuid.uuid4().hex
            log.exception("incident", incident_id=incident_id)
            failure = Failure("INTERNAL", f"internal error, incident {incident_id}", True)
        await self._files.discard([file.id for file in staged])
        if failure is not None:
            log.warning("generation_attempt_failed", reason=failure.reason, error=failure.message)
            settled = failure
            await self._settle(_through_outage(lambda: self._leases.fail(lease, settled)))

    async def _while_renewing(self, lease: Lease, staged: list[StoredFile]) -> None:
        """Work and renew the lease side by side; whichever fails first stops the other."""
        work = asyncio.create_task(self._work(lease, staged))
        heartbeat = asyncio.create_task(self._renew_for_ever(lease))
        try:
            await asyncio.wait({work, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await heartbeat
            await work
        finally:
            for task in (work, heartbeat):
                task.cancel()
            await asyncio.gather(work, heartbeat, return_exceptions=True)

    async def _work(self, lease: Lease, staged: list[StoredFile]) -> None:
        progress = _Progress(self._leases, lease)
        picture = await self._draw(lease, progress)
        await progress.reach(SAVING_PERCENT[0], "saving")
        thumbnail = await asyncio.to_thread(images.make_thumbnail, picture.data)
        user_id = lease.generation.user_id
        staged.append(await _through_outage(lambda: self._files.stage(user_id, picture)))
        await progress.reach(sum(SAVING_PERCENT) // 2, "saving")
        staged.append(await _through_outage(lambda: self._files.stage(user_id, thumbnail)))
        await progress.reach(FINISHING_PERCENT, "finishing")
        await _through_outage(lambda: self._leases.complete(lease, *staged))

    async def _draw(self, lease: Lease, progress: _Progress) -> Picture:
        generation, provider = lease.generation, self._provider
        prompt = provider.prompt_for(generation.enhanced_prompt)
        await _through_outage(
            lambda: self._leases.submitting(
                lease,
                provider=provider.name,
                provider_prompt=prompt,
                estimated=provider.estimates_progress,
                possibly_charged=provider.charges and not lease.resume_request_id,
            )
        )
        start, end = DRAWING_PERCENT

        async def submitted(provider_request_id: str) -> None:
            await _through_outage(lambda: self._leases.submitted(lease, provider_request_id))

        async def drawn(part: float) -> None:
            percent = start + int((end - start) * min(max(part, 0.0), 1.0))
            await progress.reach(percent, "drawing", estimated=provider.estimates_progress)

        return await provider.generate(
            PortraitRequest(
                prompt=prompt,
                attributes=replace(
                    generation.attributes,
                    age_range=shown_age_range(generation.attributes.age_range, generation.persona.age),
                ),
                seed=generation.seed_used,
                width=generation.options.width,
                height=generation.options.height,
                resume_request_id=lease.resume_request_id,
            ),
            Reports(submitted, drawn),
        )

    async def _renew_for_ever(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._leases.renew(lease)
            except UnavailableError as error:
                # The lease is ours until somebody takes it, and the database may be back before that.
                log.warning("lease_not_renewed", error=error.message)

    @staticmethod
    async def _settle(transition: Awaitable[None]) -> None:
        try:
            await transition
        except LeaseLostError:
            log.info("generation_lost")
        except AvatarCreatorError as error:
            # The lease runs out and another worker takes over.
            log.warning("generation_not_settled", error=error.message)


class _Progress:
    """Tells how far an attempt is, never going back."""

    def __init__(self, leases: GenerationLeases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease
        self._told = (0, "")

    async def reach(self, percent: int, stage: str, *, estimated: bool = False) -> None:
        """It is this far now. While the database is away nobody can be told, which stops no work."""
        if percent >= self._told[0] and (percent, stage) != self._told:
            self._told = (percent, stage)
            try:
                await self._leases.progress(self._lease, percent, stage, estimated=estimated)
            except UnavailableError as error:
                log.warning("progress_not_told", error=error.message)


async def _through_outage(write: Callable[[], Awaitable[T]]) -> T:
    """Repeat a write until the database takes it: what has been drawn may be paid for and is kept.

    The lease may run out meanwhile, but while the database is away nobody else can take the generation.
    """
    while True:
        try:
            return await write()
        except UnavailableError as error:
            if error.reason != "DATABASE_UNAVAILABLE":
                raise
            log.warning("database_waited_for", error=error.message)
        await asyncio.sleep(_DATABASE_RETRY_SECONDS)

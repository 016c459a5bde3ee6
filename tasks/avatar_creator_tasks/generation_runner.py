"""Running one generation, from the claim to its end."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import structlog
from PIL import Image

from avatar_creator_server.core import Core
from avatar_creator_server.database.models.states import GenerationStage
from avatar_creator_server.errors import AvatarCreatorError, NotFoundError, UnavailableError
from avatar_creator_server.generations.circuit_breaker import OPENING_REASONS
from avatar_creator_server.generations.lease_records import AttemptResult, Failure, Lease, LeaseLostError
from avatar_creator_server.generations.leases import (
    DRAWING_PERCENT,
    FINISHING_PERCENT,
    HEARTBEAT_SECONDS,
    SAVING_PERCENT,
    GenerationLeases,
)
from avatar_creator_server.generations.prompt import NEGATIVE_PROMPT
from avatar_creator_server.generations.recipes.embedding import png_with_recipe
from avatar_creator_server.generations.recipes.recipe import (
    Recipe,
    colour_difference,
    pixels_sha256,
    this_software,
)
from avatar_creator_server.generations.records import (
    DEFAULT_GUIDANCE_SCALE,
    DEFAULT_REFERENCE_STRENGTH,
    DEFAULT_STEPS,
    Generation,
    Reproduction,
)
from avatar_creator_server.images import processing as images
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.people.vocabulary import shown_age_range
from avatar_creator_server.shared.caller import Caller
from avatar_creator_tasks.providers.base import (
    Portrait,
    PortraitRequest,
    Provider,
    ProviderError,
    Reference,
    Reports,
)

log = structlog.get_logger()

_DATABASE_RETRY_SECONDS = 1.0

T = TypeVar("T")


class GenerationRunner:
    """Claims generations for one worker and runs them with one provider."""

    def __init__(self, worker: str, core: Core, provider: Provider) -> None:
        self._worker = worker
        self._leases = core.leases
        self._avatars = core.avatars
        self._files = core.files
        self._circuit_breakers = core.circuit_breakers
        self._cancellations = core.cancellations
        self._routes = core.routes
        self._provider = provider

    async def run_one(self) -> bool:
        """Claim the generation whose turn it is and run it; False when none is due."""
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
            log.info("lease_ended")
            failure = None
        except ProviderError as error:
            failure = Failure(
                error.reason,
                error.message,
                error.retryable,
                error.retry_after,
                charged=error.charged,
                submit_unknown=error.submit_unknown,
                resumable=error.request_alive,
            )
        except UnavailableError as error:
            failure = Failure(error.reason, error.message, True, timedelta(seconds=error.retry_after or 0))
        except Exception:
            incident_id = uuid.uuid4().hex
            log.exception("incident_recorded", incident_id=incident_id)
            failure = Failure(
                "INTERNAL", f"internal error: report the incident {incident_id} to the operator", True
            )
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
                log.info("drawing_stopped")
                await heartbeat
            await work
        finally:
            for task in (work, heartbeat):
                task.cancel()
            await asyncio.gather(work, heartbeat, return_exceptions=True)

    async def _work(self, lease: Lease, staged: list[StoredFile]) -> None:
        progress = _Progress(self._leases, lease)
        drawing = await _through_outage(lambda: self._prepare(lease))
        portrait = await self._draw(drawing, progress)
        await progress.reach(SAVING_PERCENT[0], GenerationStage.SAVING)
        recipe = await asyncio.to_thread(_recipe_of, lease.generation, drawing, portrait)
        shown = None if lease.generation.options.omit_recipe else recipe
        picture = await asyncio.to_thread(png_with_recipe, portrait.image, shown)
        thumbnail = await asyncio.to_thread(images.make_thumbnail, picture.data)
        user_id = lease.generation.user_id
        staged.append(await _through_outage(lambda: self._files.stage(user_id, picture)))
        await progress.reach(sum(SAVING_PERCENT) // 2, GenerationStage.SAVING)
        staged.append(await _through_outage(lambda: self._files.stage(user_id, thumbnail)))
        reproduction = await _through_outage(lambda: self._compare(lease, portrait, recipe))
        await progress.reach(FINISHING_PERCENT, GenerationStage.FINISHING)
        image, small = staged
        made = AttemptResult(image, small, recipe, portrait.warnings, reproduction)
        await _through_outage(lambda: self._leases.complete(lease, made))

    async def _prepare(self, lease: Lease) -> _Drawing:
        """What is to be asked of the provider, and by which route.

        Raises:
            ProviderError: the service makes no pictures from references any more, or the reference is gone.
        """
        generation = lease.generation
        options = generation.options
        has_reference = bool(generation.reference_avatar_id)
        route = self._routes.route(has_reference=has_reference)
        if route is None:
            raise _not_asked(
                lease, "PROVIDER_REJECTED", "the route in use makes no pictures from a reference"
            )
        if lease.resume_request_id and lease.resume_route != route.name:
            lease = await self._leases.drop_request(lease)
        reference, reference_sha256 = None, ""
        if has_reference:
            image, reference_sha256 = await self._reference_of(lease)
            reference = Reference(image, options.reference_strength or DEFAULT_REFERENCE_STRENGTH)
        negative_prompt = options.negative_prompt if "negative_prompt" in route.supports else ""
        request = PortraitRequest(
            route=route,
            prompt=route.prompt_for(generation.enhanced_prompt),
            negative_prompt=negative_prompt or (NEGATIVE_PROMPT if route.default_negative_prompt else ""),
            attributes=replace(
                generation.attributes,
                age_range=shown_age_range(generation.attributes.age_range, generation.persona.age),
            ),
            seed=generation.seed_used,
            width=options.width,
            height=options.height,
            steps=max(options.steps or DEFAULT_STEPS, route.least_steps),
            guidance_scale=options.guidance_scale or DEFAULT_GUIDANCE_SCALE,
            reference=reference,
            resume_request_id=lease.resume_request_id,
            expected_seconds=await self._leases.seconds_by(route),
        )
        return _Drawing(lease, request, reference_sha256)

    async def _reference_of(self, lease: Lease) -> tuple[Image.Image, str]:
        generation = lease.generation
        try:
            avatar = await self._avatars.get(Caller(generation.user_id), generation.reference_avatar_id)
            data = await self._files.read_whole(avatar.image)
        except NotFoundError as error:
            raise _not_asked(
                lease, "REFERENCE_GONE", "the avatar it was to start from has been deleted"
            ) from error
        return await asyncio.to_thread(images.decode, data), avatar.image.sha256

    async def _draw(self, drawing: _Drawing, progress: _Progress) -> Portrait:
        lease, request, provider = drawing.lease, drawing.request, self._provider
        begun = lease.generation.update_time
        route = request.route
        resumes = bool(request.resume_request_id)
        # What was asked for before is fetched whatever is refused now: it may be paid for.
        circuit = None if resumes else await _through_outage(lambda: self._circuit_breakers.allow(route.name))
        if circuit is not None:
            raise _not_asked(
                lease,
                circuit.reason,
                f"{circuit.message}; the route {route.name} is tried again from "
                f"{circuit.probe_time:%Y-%m-%d %H:%M:%S} UTC on",
            )
        await _through_outage(
            lambda: self._leases.submitting(
                lease,
                route,
                provider_prompt=request.prompt,
                estimated=provider.estimates_progress,
                price_micros=0 if resumes else route.price(request.width, request.height),
            )
        )
        start, end = DRAWING_PERCENT

        async def submitted(provider_request_id: str) -> None:
            await _through_outage(lambda: self._leases.submitted(lease, provider_request_id))
            await _through_outage(lambda: self._circuit_breakers.record_success(route.name, since=begun))

        async def drawn(part: float) -> None:
            percent = start + int((end - start) * min(max(part, 0.0), 1.0))
            await progress.reach(percent, GenerationStage.DRAWING, estimated=provider.estimates_progress)

        try:
            portrait = await provider.generate(request, Reports(submitted, drawn))
        except ProviderError as error:
            if error.reason in OPENING_REASONS:
                refusal = error
                await _through_outage(
                    lambda: self._circuit_breakers.record_failure(
                        route.name, refusal.reason, refusal.message, since=None if resumes else begun
                    )
                )
            raise
        if not resumes:
            await _through_outage(lambda: self._circuit_breakers.record_success(route.name, since=begun))
        return portrait

    async def _compare(self, lease: Lease, portrait: Portrait, recipe: Recipe) -> Reproduction | None:
        """How the picture compares with the one whose recipe it was made by."""
        reproduced = await self._leases.reproduced(lease)
        if reproduced is None:
            return None
        difference = None
        if reproduced.image is not None:
            with contextlib.suppress(NotFoundError):
                data = await self._files.read_whole(reproduced.image)
                difference = await asyncio.to_thread(
                    lambda: colour_difference(images.decode(data), portrait.image)
                )
        return Reproduction(recipe.pixels_sha256 == reproduced.pixels_sha256, difference)

    async def _renew_for_ever(self, lease: Lease) -> None:
        async with self._cancellations.expect(lease.generation.id) as cancelled:
            while True:
                # A cancelled generation has no lease to renew: the renewal tells, here or at the next beat.
                await cancelled(HEARTBEAT_SECONDS)
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
            log.info("lease_ended")
        except AvatarCreatorError as error:
            # The lease runs out and another worker takes over.
            log.warning("generation_not_settled", error=error.message)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What the provider is asked for."""

    lease: Lease
    """Without the request to be resumed, if that was given up."""
    request: PortraitRequest
    reference_sha256: str
    """Of the reference's file; empty without one."""


def _not_asked(lease: Lease, reason: str, message: str) -> ProviderError:
    """The attempt ends before the provider is asked; what was asked for before still stands."""
    stands = bool(lease.resume_request_id)
    return ProviderError(reason, message, retryable=False, charged=stands, request_alive=stands)


def _recipe_of(generation: Generation, drawing: _Drawing, portrait: Portrait) -> Recipe:
    request = drawing.request
    route, lora, reference = request.route, request.route.lora, request.reference
    return Recipe(
        provider=route.provider,
        route=route.name,
        model=route.model,
        model_revision=route.model_revision,
        lora=lora.repository if lora else "",
        lora_weight_file=lora.weight_file if lora else "",
        lora_revision=lora.revision if lora else "",
        lora_scale=lora.scale if lora else 0.0,
        seed=request.seed,
        width=portrait.image.width,
        height=portrait.image.height,
        steps=request.steps if "steps" in route.supports else 0,
        guidance_scale=request.guidance_scale if "guidance_scale" in route.supports else 0.0,
        enhanced_prompt=generation.enhanced_prompt,
        provider_prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        reference_avatar_id=generation.reference_avatar_id,
        reference_sha256=drawing.reference_sha256,
        reference_strength=(
            reference.strength if reference and "reference_strength" in route.supports else 0.0
        ),
        provider_facts=portrait.facts,
        pixels_sha256=pixels_sha256(portrait.image),
        software=this_software(),
    )


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


async def _through_outage(access: Callable[[], Awaitable[T]]) -> T:
    """Repeat what needs the database until it answers: what has been drawn may be paid for and is kept.

    The lease may run out meanwhile, but while the database is away nobody else can take the generation.
    """
    while True:
        try:
            return await access()
        except UnavailableError as error:
            if error.reason != "DATABASE_UNAVAILABLE":
                raise
            log.warning("database_waited_for", error=error.message)
        await asyncio.sleep(_DATABASE_RETRY_SECONDS)

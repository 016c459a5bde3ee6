"""Runs one attempt at a generation, from the claim to the end of the attempt."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from PIL import Image

from avatar_creator_server.core import Core
from avatar_creator_server.database.models.states import GenerationStage
from avatar_creator_server.errors import (
    AvatarCreatorError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from avatar_creator_server.generations.circuit_breaker import OPENING_REASONS
from avatar_creator_server.generations.lease_records import AttemptResult, Failure, Lease, LeaseLostError
from avatar_creator_server.generations.leases import (
    DRAWING_PERCENT,
    FINISHING_PERCENT,
    HEARTBEAT_SECONDS,
    SAVING_PERCENT,
    GenerationLeases,
)
from avatar_creator_server.generations.limitations import limitations
from avatar_creator_server.generations.prompt import NEGATIVE_PROMPT
from avatar_creator_server.generations.provider_prompt import provider_prompt_of
from avatar_creator_server.generations.recipes.comparison import color_difference, pixels_sha256
from avatar_creator_server.generations.recipes.embedding import png_with_recipe
from avatar_creator_server.generations.recipes.recipe import Recipe, this_software
from avatar_creator_server.generations.records import (
    DEFAULT_REFERENCE_STRENGTH,
    Generation,
    Reproduction,
    RouteChoice,
)
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.images.decoding.decoders import DecodingFailedError
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.images.processing import fitted, thumbnail_of
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.people.person import shown_attributes
from avatar_creator_server.shared.caller import Caller
from avatar_creator_tasks.database_outage import retry_through_outage
from avatar_creator_tasks.picture_moderation import CheckedPortrait, PictureModerator
from avatar_creator_tasks.providers.base import (
    Portrait,
    PortraitRequest,
    Provider,
    ProviderError,
    Reference,
    Reports,
)

log = structlog.get_logger()

STORAGE_SECONDS = 45.0
"""Time for which a worker repeats to store a picture while the storage is away. The default of
`SHUTDOWN_GRACE_SECONDS` is longer."""
_STORAGE_PAUSES_SECONDS = (1.0, 8.0)
"""First and longest pause between two such tries. Each pause is twice as long as the one before."""
_FALSE_HINT_PAUSE_SECONDS = 0.1
"""Minimum time between two renewals of a lease that hints of a cancellation cause."""


class GenerationRunner:
    """Claims generations for one worker and runs them with one provider."""

    def __init__(
        self,
        worker: str,
        core: Core,
        provider: Provider,
        moderator: PictureModerator,
        *,
        storage_seconds: float = STORAGE_SECONDS,
    ) -> None:
        self._storage_seconds = storage_seconds
        self._worker = worker
        self._leases = core.leases
        self._avatars = core.avatars
        self._files = core.files
        self._decoders = core.decoders
        self._circuit_breakers = core.circuit_breakers
        self._cancellations = core.cancellations
        self._routes = core.current_routes.if_all_offered
        self._current_routes = core.current_routes
        self._provider = provider
        self._moderator = moderator
        self._claims: set[asyncio.Task[Lease | None]] = set()
        """The claims that have not ended."""

    async def run_one(self) -> bool:
        """Claim the next due generation and run it; return False if no generation is due."""
        claim = asyncio.create_task(self._leases.claim(self._worker))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        try:
            lease = await asyncio.shield(claim)
        except asyncio.CancelledError:
            # The claim goes on. Without a release, no worker would draw until the lease ends.
            with contextlib.suppress(AvatarCreatorError):
                lease = await claim
                if lease is not None:
                    await self._release(lease)
            raise
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
        """Run the attempt and record how it ended."""
        held = _Held()
        try:
            await self._work_and_renew(lease, held)
            log.info("generation_completed")
            return
        except asyncio.CancelledError:
            await self._files.discard([file.id for file in held.files])
            stopped = held.failure_at_stop()
            if stopped is None:
                await self._release(lease)
                log.info("generation_released")
            else:
                log.warning("generation_attempt_failed", reason=stopped.reason, error=stopped.message)
                await self._settle(self._leases.fail(lease, stopped))
            raise
        except (LeaseLostError, NotFoundError):
            log.info("lease_ended")
            failure = None
        except ProviderError as error:
            failure = held.failure(_failure_of(error))
        except UnavailableError as error:
            retry_after = timedelta(seconds=error.retry_after or 0)
            failure = held.failure(Failure(error.reason, error.message, True, retry_after))
        except Exception:
            incident_id = uuid.uuid4().hex
            log.exception("incident_recorded", incident_id=incident_id)
            message = f"internal error: report the incident {incident_id} to the operator"
            failure = held.failure(Failure("INTERNAL", message, True))
        await self._files.discard([file.id for file in held.files])
        if failure is not None:
            log.warning("generation_attempt_failed", reason=failure.reason, error=failure.message)
            recorded = failure
            await self._settle(retry_through_outage(lambda: self._leases.fail(lease, recorded)))

    async def _work_and_renew(self, lease: Lease, held: _Held) -> None:
        """Work and renew the lease at the same time; if one of them fails, the other one stops."""
        work = asyncio.create_task(self._work(lease, held))
        heartbeat = asyncio.create_task(self._renew_forever(lease))
        try:
            await asyncio.wait({work, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("drawing_stopped")
                await heartbeat
            await work
        finally:
            for task in (work, heartbeat):
                task.cancel()
            held.end, _ = await asyncio.gather(work, heartbeat, return_exceptions=True)

    async def _work(self, lease: Lease, held: _Held) -> None:
        progress = _Progress(self._leases, lease)
        prepared = await retry_through_outage(lambda: self._prepare(lease))
        lease = prepared.lease
        checked = await self._draw(prepared, progress, held)
        portrait = checked.portrait
        await progress.reach(SAVING_PERCENT[0], GenerationStage.SAVING)
        recipe, picture, thumbnail = await asyncio.to_thread(_encoded, lease.generation, prepared, checked)
        user_id = lease.generation.user_id
        until = asyncio.get_running_loop().time() + self._storage_seconds
        held.files.append(await self._stage(user_id, picture, until))
        await progress.reach(sum(SAVING_PERCENT) // 2, GenerationStage.SAVING)
        held.files.append(await self._stage(user_id, thumbnail, until))
        reproduction = await retry_through_outage(lambda: self._compare(lease, portrait, recipe))
        await progress.reach(FINISHING_PERCENT, GenerationStage.FINISHING)
        staged_picture, staged_thumbnail = held.files
        result = AttemptResult(
            staged_picture,
            staged_thumbnail,
            recipe,
            (*prepared.warnings, *portrait.warnings),
            reproduction,
            checked.verdict,
        )
        await retry_through_outage(lambda: self._leases.complete(lease, result))

    async def _stage(self, user_id: str, picture: Picture, until: float) -> StoredFile:
        """Store a picture. Repeat it while the storage is away, until this moment of the event loop.

        The worker may have the only copy of a picture that is paid for.

        Raises:
            UnavailableError: The storage is still away.
        """
        pause, longest = _STORAGE_PAUSES_SECONDS
        while True:
            try:
                return await retry_through_outage(lambda: self._files.stage(user_id, picture))
            except UnavailableError as error:
                if asyncio.get_running_loop().time() >= until:
                    raise
                log.warning("picture_storage_retried", error=error.message)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _prepare(self, lease: Lease) -> _PreparedRequest:
        """Build the request for the provider.

        Raises:
            ProviderError: There is no route for the generation, or a reference has been deleted.
        """
        lease, route = await self._route_of(lease)
        generation = lease.generation
        options = generation.options
        references: tuple[Reference, ...] = ()
        warnings: tuple[str, ...] = ()
        if lease.resume_request_id:
            # The provider has the pictures. A portrait that is paid for must not depend on them any longer.
            sha256s, warnings = await self._sha256s_of_references(lease)
        else:
            count = len(generation.reference_avatar_ids)
            if count > route.max_references:
                raise _error_before_request("PROVIDER_REJECTED", route.too_many_references(count))
            references, sha256s = await self._read_references(lease)
        negative_prompt = options.negative_prompt if "negative_prompt" in route.supports else ""
        request = PortraitRequest(
            route=route,
            prompt=await self._provider_prompt(lease, route),
            negative_prompt=negative_prompt or (NEGATIVE_PROMPT if route.default_negative_prompt else ""),
            caller_prompt=generation.prompt,
            attributes=shown_attributes(generation.attributes, generation.persona),
            seed=generation.seed_used,
            width=options.width,
            height=options.height,
            steps=route.steps_for(options.steps),
            guidance_scale=route.guidance_scale_for(options.guidance_scale),
            references=references,
            resume_request_id=lease.resume_request_id,
            expected_seconds=await self._leases.seconds_by(route),
        )
        return _PreparedRequest(lease, request, sha256s, warnings)

    async def _provider_prompt(self, lease: Lease, route: Route) -> str:
        """Return the prompt to send: that of the recipe if the generation runs one again.

        For a request that was made already, it is the prompt that was sent.
        """
        if lease.resume_request_id and lease.generation.provider_prompt:
            return lease.generation.provider_prompt
        source = await self._leases.reproduced(lease)
        if source is not None:
            return source.provider_prompt
        return provider_prompt_of(route, lease.generation, lease.generation.enhanced_prompt)

    async def _read_references(self, lease: Lease) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
        """Return the references and the SHA-256 of each one's file, in the order of the request."""
        generation, strength = lease.generation, _reference_strength(lease.generation)
        references, sha256s = [], []
        for avatar_id in generation.reference_avatar_ids:
            image, sha256 = await self._read_reference(lease, avatar_id)
            if len(generation.reference_avatar_ids) > 1:
                # Several whole photographs would take hundreds of megabytes until the portrait is drawn.
                size = generation.options.width, generation.options.height
                image = await asyncio.to_thread(fitted, image, size)
            references.append(Reference(image, strength))
            sha256s.append(sha256)
        return tuple(references), tuple(sha256s)

    async def _sha256s_of_references(self, lease: Lease) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the SHA-256 of each reference's file, and warnings about those that are gone."""
        generation = lease.generation
        ids = generation.reference_avatar_ids
        found = {each.id: each for each in await self._avatars.batch_get(Caller(generation.user_id), ids)}
        warnings = (
            f"the reference avatar {avatar_id} was deleted while the provider drew the picture, so the "
            "recipe has no SHA-256 of its file"
            for avatar_id in ids
            if avatar_id not in found
        )
        return tuple(found[each].image.sha256 if each in found else "" for each in ids), tuple(warnings)

    async def _route_of(self, lease: Lease) -> tuple[Lease, Route]:
        """Return the route of the request to resume, or the chosen one, or a new one.

        Raises:
            ProviderError: No route draws from a reference, or the new one drops an option of a strict
                request.
        """
        generation = lease.generation
        has_reference = bool(generation.reference_avatar_ids)
        choice = generation.route_choice
        if lease.resume_request_id:
            submitted_by = self._route_of_request(lease)
            if submitted_by is not None:
                # Without a look at `strict`: the picture is ordered, and may be paid for.
                return await self._written(lease, submitted_by), submitted_by
            # A request of another app would return a picture that does not fit the recipe.
            lease = await self._leases.drop_request(lease)
        route = self._routes.chosen(choice, has_reference=has_reference) if choice else None
        if route is not None:
            return lease, route
        route = (await self._current_routes.current()).route(has_reference=has_reference)
        if route is None:
            raise _error_before_request(
                "PROVIDER_REJECTED",
                "the service cannot draw from a reference avatar: create a generation without one",
            )
        if route.choice == choice:
            return lease, route
        dropped = [violation.description for violation in limitations(route, generation)]
        if dropped and generation.options.strict:
            raise _error_before_request("OPTION_NOT_SUPPORTED", "; ".join(dropped))
        changed = _changed_choice(choice, route) if choice is not None else ""
        warnings = [changed, *dropped, route.notice]
        return await self._leases.choose_again(lease, route, [each for each in warnings if each]), route

    def _route_of_request(self, lease: Lease) -> Route | None:
        """Return the route that submitted the request to resume; None if the settings do not have it."""
        has_reference = bool(lease.generation.reference_avatar_ids)
        if lease.resume_choice is not None:
            route = self._routes.chosen(lease.resume_choice, has_reference=has_reference)
        else:
            # A route without apps, or a version without choices: it counted all apps as offered.
            route = self._routes.route(has_reference=has_reference)
        return route if route is not None and route.name == lease.resume_route else None

    async def _written(self, lease: Lease, route: Route) -> Lease:
        """Write the route of the request to resume as the choice of the generation, if it has another one."""
        choice = lease.generation.route_choice
        if route.choice == choice:
            return lease
        ordered = f"a worker of an earlier version ordered the picture from {route.app_name}"
        warnings = (f"{ordered}, which draws it in place of {choice.app}",) if choice else ()
        return await self._leases.choose_again(lease, route, warnings)

    async def _read_reference(self, lease: Lease, avatar_id: str) -> tuple[Image.Image, str]:
        generation = lease.generation
        try:
            avatar = await self._avatars.get(Caller(generation.user_id), avatar_id)
            data = await self._files.read_whole(avatar.image)
        except NotFoundError as error:
            raise _error_before_request(
                "REFERENCE_GONE",
                f"the reference avatar {avatar_id} has been deleted: choose another reference",
            ) from error
        options = generation.options
        try:
            image = await self._decoders.reference(generation.user_id, data, options.width, options.height)
        except InvalidArgumentError as error:
            raise _error_before_request(
                error.reason,
                f"the picture of the reference avatar {avatar_id} takes too much memory or time to decode: "
                "choose another reference",
            ) from error
        return image, avatar.image.sha256

    async def _draw(self, prepared: _PreparedRequest, progress: _Progress, held: _Held) -> CheckedPortrait:
        """Let the provider draw the portrait, and the moderator check it."""
        lease, request, provider = prepared.lease, prepared.request, self._provider
        route, resumes = request.route, bool(request.resume_request_id)
        if not resumes:
            # An earlier request is fetched even from a route with an open circuit: it may have been charged.
            await self._require_closed_circuit(route)
        await retry_through_outage(
            lambda: self._leases.submitting(
                lease,
                route,
                provider_prompt=request.prompt,
                estimated=provider.estimates_progress,
                price_micros=0
                if resumes
                else route.price(request.width, request.height, references=len(request.references)),
            )
        )
        attempt_start = lease.generation.update_time
        stored_id = request.resume_request_id
        held.only_copy = route.is_hosted and not stored_id

        async def accepted() -> None:
            await retry_through_outage(
                lambda: self._circuit_breakers.record_success(route.name, since=attempt_start)
            )

        async def submitted(provider_request_id: str) -> None:
            nonlocal stored_id
            await retry_through_outage(lambda: self._leases.submitted(lease, provider_request_id))
            stored_id, held.only_copy = provider_request_id, False
            await accepted()

        async def drawn(part: float) -> None:
            start, end = DRAWING_PERCENT
            percent = start + int((end - start) * min(max(part, 0.0), 1.0))
            await progress.reach(percent, GenerationStage.DRAWING, estimated=provider.estimates_progress)

        try:
            portrait = await provider.generate(request, Reports(submitted, drawn))
        except ProviderError as error:
            # The provider gave no picture, and the error says whether another request may follow.
            held.only_copy = False
            await self._record_refusal(route, error, since=None if resumes else attempt_start)
            raise
        held.is_drawn = True
        if not resumes:
            await accepted()
        return await self._moderator.check(portrait, fetchable=bool(stored_id))

    async def _require_closed_circuit(self, route: Route) -> None:
        """Raise a `ProviderError` if the circuit breaker of the route does not allow a request now."""
        circuit = await retry_through_outage(lambda: self._circuit_breakers.allow(route.name))
        if circuit is not None:
            raise _error_before_request(
                circuit.reason,
                f"{circuit.message}; the route {route.name} allows the next request at "
                f"{circuit.probe_time:%Y-%m-%d %H:%M:%S} UTC",
            )

    async def _record_refusal(self, route: Route, error: ProviderError, *, since: datetime | None) -> None:
        """Open the route's circuit if the provider refused the service itself, not just this request.

        A refused query about an earlier request does not count: the provider has accepted that request, and a
        proxy may have refused the query.
        """
        if error.reason in OPENING_REASONS and not error.request_alive:
            await retry_through_outage(
                lambda: self._circuit_breakers.record_failure(
                    route.name, error.reason, error.message, since=since
                )
            )

    async def _compare(self, lease: Lease, portrait: Portrait, recipe: Recipe) -> Reproduction | None:
        """Compare the picture with the one that it reproduces; return None if it reproduces none."""
        source = await self._leases.reproduced(lease)
        if source is None:
            return None
        difference = None
        if source.image is not None:
            original = await self._original(lease.generation.user_id, source.image, portrait.image.size)
            if original is not None:
                difference = await asyncio.to_thread(color_difference, original, portrait.image)
        return Reproduction(recipe.pixels_sha256 == source.pixels_sha256, difference)

    async def _original(self, user_id: str, file: StoredFile, size: tuple[int, int]) -> Image.Image | None:
        """Return the picture that was reproduced; None if it cannot be read now."""
        try:
            data = await self._files.read_whole(file)
            return await self._decoders.reference(user_id, data, *size)
        except (AvatarCreatorError, DecodingFailedError) as error:
            # The comparison is an extra: without it, the picture that is paid for is still complete.
            log.warning("reproduction_not_compared", error=repr(error))
            return None

    async def _renew_forever(self, lease: Lease) -> None:
        async with self._cancellations.expect(lease.generation.id) as cancelled:
            while True:
                # A cancelled generation has no lease, so the renewal fails, now or at the next heartbeat.
                hinted = await cancelled(HEARTBEAT_SECONDS)
                try:
                    await self._leases.renew(lease)
                except UnavailableError as error:
                    # No other worker can claim the generation while the database is unavailable.
                    log.warning("lease_renewal_failed", error=error.message)
                if hinted:  # A true hint has ended the loop, and many forged ones must cost few renewals.
                    await asyncio.sleep(_FALSE_HINT_PAUSE_SECONDS)

    async def _release(self, lease: Lease) -> None:
        """Return a generation to the queue, after the claims of other slots: none of them must take it."""
        if self._claims:
            await asyncio.wait(self._claims)
        await self._settle(self._leases.release(lease))

    @staticmethod
    async def _settle(transition: Awaitable[None]) -> None:
        try:
            await transition
        except LeaseLostError:
            log.info("lease_ended")
        except AvatarCreatorError as error:
            # The lease expires and another worker takes over.
            log.warning("attempt_end_not_recorded", error=error.message)


@dataclass(slots=True)
class _Held:
    """The parts of an attempt that only its worker has."""

    files: list[StoredFile] = field(default_factory=list)
    """Staged files, which no row uses yet."""
    only_copy: bool = False
    """True if a hosted provider may have drawn a picture that cannot be fetched again, because no id of the
    request is stored."""
    is_drawn: bool = False
    """True if the provider has returned the picture."""
    end: BaseException | None = None
    """Error with which the work ended, also if the worker was stopping it; None if it succeeded."""

    def failure(self, failure: Failure) -> Failure:
        """Return the failure of an attempt, without a retry that would pay again for a picture.

        Only the provider's own error allows that: it clears `only_copy`.
        """
        if not (self.only_copy and failure.retryable):
            return failure
        lost = f"{failure.message}; a picture that may be paid for is lost, so the service does not retry"
        return replace(failure, message=lost, retryable=False, resumable=False)

    def failure_at_stop(self) -> Failure | None:
        """Return the failure of an attempt that its worker stops; None if the next one can go on.

        A refusal may arrive while the worker stops. It says whether the provider charges.
        """
        if isinstance(self.end, ProviderError):
            return self.failure(_failure_of(self.end))
        if not (self.only_copy and self.is_drawn):
            return None
        return self.failure(
            Failure("WORKER_LOST", "the worker stopped before it had stored the picture", True)
        )


@dataclass(frozen=True, slots=True)
class _PreparedRequest:
    """A request for the provider, and the lease under which it is made."""

    lease: Lease
    """The lease, without an earlier request that was dropped because it used another route, and with the
    route that was chosen."""
    request: PortraitRequest
    reference_sha256s: tuple[str, ...]
    """SHA-256 of each reference's file; empty for one that was deleted after the request was made."""
    warnings: tuple[str, ...]
    """Problems found while preparing, as sentences for people."""


def _changed_choice(choice: RouteChoice, route: Route) -> str:
    drawn_by = route.app_name or route.model or route.provider
    return (
        f"the settings of the workers no longer have {choice.app} with "
        f"{f'the LoRA {choice.lora}' if choice.lora else 'no LoRA'}, as they were when the generation was "
        f"accepted: {drawn_by} draws the picture"
    )


def _error_before_request(reason: str, message: str) -> ProviderError:
    """Return the error of an attempt that makes no request."""
    return ProviderError(reason, message, retryable=False)


def _failure_of(error: ProviderError) -> Failure:
    return Failure(
        error.reason,
        error.message,
        error.retryable,
        error.retry_after,
        charged=error.charged,
        submit_unknown=error.submit_unknown,
        resumable=error.request_alive,
    )


def _reference_strength(generation: Generation) -> float:
    return generation.options.reference_strength or DEFAULT_REFERENCE_STRENGTH


def _encoded(
    generation: Generation, prepared: _PreparedRequest, checked: CheckedPortrait
) -> tuple[Recipe, Picture, Picture]:
    """Return the recipe, the file of the picture and its thumbnail."""
    image = checked.portrait.image
    recipe = _recipe_of(generation, prepared, checked)
    picture = png_with_recipe(image, recipe, omit_recipe=generation.options.omit_recipe)
    return recipe, picture, thumbnail_of(image)


def _recipe_of(generation: Generation, prepared: _PreparedRequest, checked: CheckedPortrait) -> Recipe:
    request, portrait, verdict = prepared.request, checked.portrait, checked.verdict
    route, lora = request.route, request.route.lora
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
        steps=request.steps or 0,
        guidance_scale=request.guidance_scale or 0.0,
        enhanced_prompt=generation.enhanced_prompt,
        provider_prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        reference_avatar_ids=generation.reference_avatar_ids,
        reference_sha256s=prepared.reference_sha256s,
        reference_strength=(
            _reference_strength(generation)
            if generation.reference_avatar_ids and "reference_strength" in route.supports
            else 0.0
        ),
        speed=route.speed,
        provider_facts=portrait.facts,
        pixels_sha256=pixels_sha256(portrait.image),
        software=this_software(),
        picture_classifier=checked.classifier,
        picture_score=verdict.score if verdict else 0.0,
        blurred=bool(verdict and verdict.blurred),
    )


class _Progress:
    """Reports the progress of one attempt, which never goes back."""

    def __init__(self, leases: GenerationLeases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease
        self._last_reported = (0, "")

    async def reach(self, percent: int, stage: GenerationStage, *, estimated: bool = False) -> None:
        """Report a percentage and a stage. A report that fails does not stop the work."""
        if percent >= self._last_reported[0] and (percent, stage) != self._last_reported:
            self._last_reported = (percent, stage)
            try:
                await self._leases.progress(self._lease, percent, stage, estimated=estimated)
            except UnavailableError as error:
                log.warning("progress_report_failed", error=error.message)

"""The state machine of a generation on the worker's side: leases and every transition that a worker makes.

Each transition is one UPDATE whose WHERE clause is the guard. If no row changes, another party won: the user
cancelled, the project was deleted, or another worker took over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from avatar_creator_server import metrics
from avatar_creator_server.avatars.service import NewAvatar, insert_avatar
from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    CompiledQuery,
    CompiledStatement,
    compiled,
    parameter,
    run_later,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt, new_id
from avatar_creator_server.database.models.states import (
    AttemptOutcome,
    GenerationStage,
    GenerationState,
    JobKind,
    SourceType,
)
from avatar_creator_server.database.records import field_values
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import (
    choice_of_request,
    close_lost_attempt,
    is_unanswered,
    paying_attempt,
    request_to_resume,
)
from avatar_creator_server.generations.claims import Shares, take_next
from avatar_creator_server.generations.durations import seconds_by_route
from avatar_creator_server.generations.events import GenerationEvents
from avatar_creator_server.generations.guarded_writes import (
    owned,
    read_attempt,
    update_attempt,
    update_generation,
)
from avatar_creator_server.generations.lease_records import (
    AttemptEnd,
    AttemptResult,
    Failure,
    Lease,
    LeaseLostError,
)
from avatar_creator_server.generations.pauses import RouteNames
from avatar_creator_server.generations.queries import all_generations, compiled_generations
from avatar_creator_server.generations.recipes.reproduction import (
    ReproductionSource,
    keep_recipe,
    read_source,
)
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.routes import Route, current_name
from avatar_creator_server.images.store import Files
from avatar_creator_server.projects.service import ProjectLock, lock_project
from avatar_creator_server.shared.background_jobs import enqueue_jobs
from avatar_creator_server.statistics import counters as statistics

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
"""Time for which a worker owns a generation after a heartbeat."""
HEARTBEAT_SECONDS = 1.5
"""Interval of lease renewals, and maximum delay of a cancellation whose event was lost."""
RETRY_DELAYS = (timedelta(seconds=10), timedelta(seconds=100), timedelta(seconds=1000))
"""Delays before the first, second and third retry."""
MAX_LOST_WORKERS = 3
"""A generation fails after losing this many workers: it may be the cause."""

CLAIMED_PERCENT = 10
DRAWING_PERCENT = (20, 70)
SAVING_PERCENT = (70, 90)
FINISHING_PERCENT = 90


class GenerationLeases:
    """Claims generations and carries them through the state machine."""

    def __init__(
        self,
        database: Database,
        events: GenerationEvents,
        files: Files,
        shares: Shares,
        routes: RouteNames,
    ) -> None:
        self._database = database
        self._events = events
        self._files = files
        self._shares = shares
        self._routes = routes
        self._claim_count = 0

    async def claim(self, worker: str) -> Lease | None:
        """Claim the next due generation; return None if none is due."""
        while True:
            for_waiting = self._shares.is_for_waiting(self._claim_count)
            # Counted before the claim, so that claims at the same time have different numbers.
            self._claim_count += 1
            lease = await self._database.write(self._claim, worker, for_waiting)
            if lease is None:
                self._claim_count -= 1
                return None
            if lease.lost_attempt:
                log.warning(
                    "worker_lost",
                    generation=lease.generation.id,
                    worker=lease.lost_worker,
                    outcome=lease.lost_attempt,
                )
                metrics.ATTEMPTS.labels(lease.lost_attempt, "WORKER_LOST").inc()
            generation = lease.generation
            await self._events.publish_changed(generation)
            if not generation.ended:
                if generation.attempt_number == 1:
                    waited = (generation.update_time - generation.create_time).total_seconds()
                    metrics.QUEUE_WAIT_SECONDS.labels(generation.priority).observe(waited)
                return lease

    async def expire_all(self) -> None:
        """Expire every lease, when the only process of an embedded service starts.

        The previous process is dead, so its generations can be claimed immediately.
        """

        def transition() -> None:
            AvatarGeneration.update(due_time=self._database.now()).where(
                AvatarGeneration.state == GenerationState.PROCESSING, AvatarGeneration.due_time.is_null(False)
            ).execute()

        await self._database.write(transition)

    async def renew(self, lease: Lease) -> None:
        """Renew a lease for another `LEASE`.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        def transition() -> None:
            renewed = (
                AvatarGeneration.update(due_time=self._database.begin_time() + LEASE)
                .where(*owned(lease))
                .execute()
            )
            if not renewed and self._ended_before(lease) is None:
                raise LeaseLostError

        await self._database.write(transition)

    async def progress(
        self, lease: Lease, percent: int, stage: GenerationStage, *, estimated: bool = False
    ) -> None:
        """Record the progress, 0 to 100 percent, and publish it.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        def transition() -> Generation:
            return update_generation(
                lease,
                self._database.begin_time(),
                stage=stage,
                progress_percent=percent,
                progress_estimated=estimated,
            )

        await self._publish(transition)

    async def submitting(
        self, lease: Lease, route: Route, *, provider_prompt: str, estimated: bool, price_micros: int
    ) -> None:
        """Record that the provider is about to be called and that drawing begins, before the call.

        `price_micros` is the price of the request; 0 if an earlier request is resumed. From now on a new
        request to a hosted provider counts as possibly charged, also without a price. A repeated call adds
        nothing.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        def transition() -> Generation:
            is_repeated = read_attempt(lease).outcome == AttemptOutcome.SUBMITTING
            generation = update_generation(
                lease,
                self._database.begin_time(),
                stage=GenerationStage.DRAWING,
                progress_percent=DRAWING_PERCENT[0],
                progress_estimated=estimated,
                provider=route.provider,
                provider_prompt=provider_prompt,
                added={"price_micros": 0 if is_repeated else price_micros},
            )
            update_attempt(
                lease,
                outcome=AttemptOutcome.SUBMITTING,
                provider=route.provider,
                route=route.name,
                route_choice=field_values(route.choice) if route.choice else None,
                possibly_charged=route.is_hosted and not lease.resume_request_id,
                price_micros=price_micros,
            )
            spending.reserve_at_least(generation.id, generation.price_micros)
            return generation

        await self._publish(transition)

    async def submitted(self, lease: Lease, provider_request_id: str) -> None:
        """Record the provider's id of the request.

        Raises:
            LeaseLostError: The worker no longer owns the generation. A background job cancels the request.
        """

        def transition() -> bool:
            try:
                update_attempt(lease, provider_request_id=provider_request_id)
            except LeaseLostError:
                enqueue_jobs(
                    JobKind.CANCEL_REQUEST,
                    lease.generation.user_id,
                    [provider_request_id],
                    self._database.now(),
                )
                return False
            return True

        if not await self._database.write(transition):
            raise LeaseLostError

    async def drop_request(self, lease: Lease) -> Lease:
        """Give up the request to resume, because the service no longer has its route.

        A background job cancels the request. A repeated call changes nothing.

        Returns:
            The lease without the request.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        def transition() -> None:
            if read_attempt(lease).provider_request_id:
                update_attempt(lease, provider_request_id="", route="")
                enqueue_jobs(
                    JobKind.CANCEL_REQUEST,
                    lease.generation.user_id,
                    [lease.resume_request_id],
                    self._database.now(),
                )

        await self._database.write(transition)
        return replace(lease, resume_request_id="", resume_route="")

    async def choose_again(self, lease: Lease, route: Route, warnings: Sequence[str]) -> Lease:
        """Write another choice of the route on the generation, before it is drawn. A repeated call adds
        nothing.

        Returns:
            The lease with the changed generation.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        def transition() -> Generation:
            return update_generation(
                lease,
                self._database.now(),
                route_choice=field_values(route.choice) if route.choice else None,
                warnings=list(dict.fromkeys((*lease.generation.warnings, *warnings))),
            )

        generation = await self._database.write(transition)
        await self._events.publish_changed(generation)
        # The time of the claim is the beginning of the attempt.
        generation = replace(generation, update_time=lease.generation.update_time)
        return replace(lease, generation=generation)

    async def seconds_by(self, route: Route) -> float | None:
        """Return the median duration of recent attempts by a route with its model; None if there are none."""
        seconds = await self._database.read(seconds_by_route, route)
        return seconds[0] if seconds else None

    async def reproduced(self, lease: Lease) -> ReproductionSource | None:
        """Return the picture whose recipe the generation runs again; None if there is none or it is gone."""

        generation = lease.generation
        if not generation.reproduce_of:
            return None
        return await self._database.read(read_source, generation.user_id, generation.reproduce_of)

    async def complete(self, lease: Lease, result: AttemptResult) -> None:
        """Insert the avatar and complete the generation, in one transaction. A repeated call changes nothing.

        Raises:
            LeaseLostError: The worker no longer owns the generation; nothing was written.
            NotFoundError: The project was deleted; nothing was written.
        """

        await self._end(lease, lambda: self._complete(lease, result))

    async def fail(self, lease: Lease, failure: Failure) -> None:
        """End the attempt. Retry the generation later or fail it. A repeated call changes nothing.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        await self._end(lease, lambda: self._fail(lease, failure))

    async def release(self, lease: Lease) -> None:
        """Return a generation to the queue at shutdown. It is due at once, and no retry is spent.

        A repeated call changes nothing.

        Raises:
            LeaseLostError: The worker no longer owns the generation.
        """

        await self._end(lease, lambda: self._release(lease))

    async def _publish(self, transition: Callable[[], Generation]) -> None:
        await self._events.publish_changed(await self._database.write(transition))

    async def _end(self, lease: Lease, transition: Callable[[], AttemptEnd]) -> None:
        ended = await self._database.write(lambda: self._ended_before(lease) or transition())
        await self._events.publish_changed(ended.generation)
        metrics.ATTEMPTS.labels(ended.outcome, ended.reason).inc()
        took = (ended.generation.update_time - lease.generation.update_time).total_seconds()
        metrics.ATTEMPT_SECONDS.labels(ended.outcome).observe(took)

    def _claim(self, worker: str, for_waiting: bool) -> Lease | None:
        claimed = take_next(self._database, self._shares, self._routes, for_waiting=for_waiting)
        if claimed is None:
            return None
        row, now = claimed
        row.epoch += 1
        row.revision += 1
        row.update_time = now
        resume_request_id, resume_route, price_micros = "", "", 0
        lost_attempt = lost_worker = ""
        if row.state == GenerationState.PROCESSING:
            lost = close_lost_attempt(self._database, row)
            resume_request_id, resume_route = lost.provider_request_id, lost.route
            price_micros, lost_attempt, lost_worker = lost.price_micros, lost.outcome, lost.worker
            row.worker_lost_count += 1
            if row.worker_lost_count >= MAX_LOST_WORKERS:
                row.state, row.stage = GenerationState.FAILED, GenerationStage.ENDED
                row.due_time, row.end_time = None, now
                row.error_reason = "WORKER_LOST"
                row.error_message = f"the generation lost its worker {MAX_LOST_WORKERS} times"
                row.save()
                if resume_request_id:
                    enqueue_jobs(JobKind.CANCEL_REQUEST, row.user_id, [resume_request_id], now)
                spending.settle(row.id, row.price_micros)
                spending.spend(row.user_id, row.app_id, price_micros, now)
                statistics.count_move(row.user_id, GenerationState.PROCESSING, GenerationState.FAILED)
                failed = Generation.from_row(row, None)
                return Lease(failed, row.epoch, "", lost_attempt=lost_attempt, lost_worker=lost_worker)
        elif row.attempt_number:
            resume_request_id, resume_route = request_to_resume(row)
        resume_route = current_name(resume_route)
        resume_choice = choice_of_request(row.id, resume_request_id) if resume_request_id else None
        state_before = row.state
        row.state = GenerationState.PROCESSING
        row.stage = GenerationStage.CLAIMED
        row.progress_percent = CLAIMED_PERCENT
        row.progress_estimated = False
        row.attempt_number += 1
        row.error_reason = row.error_message = ""
        row.start_time = row.start_time or now
        row.due_time = now + LEASE
        run_later(
            _claimed().given(of_id=row.id, **{name: getattr(row, name) for name in _CHANGED_BY_A_CLAIM}),
            _attempt().given(
                generation_id=row.id,
                attempt_number=row.attempt_number,
                outcome=AttemptOutcome.RUNNING,
                worker=worker,
                provider_request_id=resume_request_id,
                route=resume_route,
                start_time=now,
            ),
        )
        spending.spend(row.user_id, row.app_id, price_micros, now)
        statistics.count_move(row.user_id, state_before, GenerationState.PROCESSING)
        return Lease(
            Generation.from_row(row, None),
            row.epoch,
            resume_request_id,
            resume_route,
            lost_attempt,
            lost_worker,
            resume_choice,
        )

    def _complete(self, lease: Lease, result: AttemptResult) -> AttemptEnd:
        before = lease.generation
        lock_project(self._database, before.user_id, before.project_id, ProjectLock.CHANGE)
        now = self._database.now()
        completed = update_generation(
            lease,
            now,
            state=GenerationState.COMPLETED,
            stage=GenerationStage.ENDED,
            progress_percent=100,
            due_time=None,
            end_time=now,
            warnings=list(dict.fromkeys((*before.warnings, *result.warnings))),
            reproduction=field_values(result.reproduction) if result.reproduction else None,
            picture_moderation=field_values(result.picture_moderation) if result.picture_moderation else None,
        )
        update_attempt(lease, outcome=AttemptOutcome.SUCCEEDED, end_time=now)
        keep_recipe(before.id, result.recipe)
        avatar_id = new_id()
        insert_avatar(
            NewAvatar(
                id=avatar_id,
                user_id=before.user_id,
                project_id=before.project_id,
                name=before.avatar_name,
                image_file_id=result.image.id,
                thumbnail_file_id=result.thumbnail.id,
                source_type=_source_type(before),
                persona=before.persona,
                attributes=before.attributes,
                generation_prompt=before.prompt,
                seed_used=before.seed_used,
                generation_id=before.id,
                reference_avatar_ids=before.reference_avatar_ids,
                picture_moderation=result.picture_moderation,
            ),
            now,
        )
        self._files.attach(result.image.id, result.thumbnail.id)
        self._spend(lease, completed, now)
        statistics.count(
            before.user_id,
            avatars=1,
            generations={GenerationState.PROCESSING: -1, GenerationState.COMPLETED: 1},
        )
        return AttemptEnd(replace(completed, avatar_id=avatar_id), AttemptOutcome.SUCCEEDED)

    def _release(self, lease: Lease) -> AttemptEnd:
        now = self._database.now()
        generation = update_generation(
            lease,
            now,
            state=GenerationState.PENDING,
            stage=GenerationStage.QUEUED,
            progress_percent=0,
            due_time=now,
            added={"release_count": 1},
        )
        outcome = (
            AttemptOutcome.SUBMIT_UNKNOWN if is_unanswered(read_attempt(lease)) else AttemptOutcome.RELEASED
        )
        update_attempt(lease, outcome=outcome, resumable=True, end_time=now)
        self._spend(lease, generation, now)
        statistics.count_move(generation.user_id, GenerationState.PROCESSING, GenerationState.PENDING)
        return AttemptEnd(generation, outcome)

    def _fail(self, lease: Lease, failure: Failure) -> AttemptEnd:
        now = self._database.now()
        retries_spent = lease.generation.retry_count
        if failure.retryable and retries_spent < len(RETRY_DELAYS):
            wait = max(RETRY_DELAYS[retries_spent], failure.retry_after)
            next_state = {
                "state": GenerationState.PENDING,
                "stage": GenerationStage.WAITING_TO_RETRY,
                "progress_percent": 0,
                "retry_count": retries_spent + 1,
                "due_time": now + wait,
            }
        else:
            next_state = {
                "state": GenerationState.FAILED,
                "stage": GenerationStage.ENDED,
                "due_time": None,
                "end_time": now,
            }
        attempt = read_attempt(lease)
        not_charged = not (failure.charged or failure.resumable)
        refunded = attempt.price_micros if not_charged else 0
        payer = paying_attempt(attempt) if not_charged else None
        refunded_earlier = payer.price_micros if payer else 0
        generation = update_generation(
            lease,
            now,
            **next_state,
            added={"price_micros": -refunded - refunded_earlier},
            error_reason=failure.reason,
            error_message=failure.message,
        )
        update_attempt(
            lease,
            outcome=failure.outcome,
            possibly_charged=attempt.possibly_charged and not not_charged,
            price_micros=attempt.price_micros - refunded,
            resumable=failure.resumable,
            error_reason=failure.reason,
            error_message=failure.message,
            end_time=now,
        )
        if payer:
            payer.price_micros, payer.possibly_charged = 0, False
            payer.save()
        if generation.ended and failure.resumable and attempt.provider_request_id:
            enqueue_jobs(JobKind.CANCEL_REQUEST, generation.user_id, [attempt.provider_request_id], now)
        self._spend(lease, generation, now)
        if payer and refunded_earlier:
            spending.refund(generation.user_id, generation.app_id, refunded_earlier, payer.end_time)
        statistics.count_move(generation.user_id, GenerationState.PROCESSING, generation.state)
        return AttemptEnd(generation, failure.outcome, failure.reason)

    def _ended_before(self, lease: Lease) -> AttemptEnd | None:
        """Return how the worker itself has already ended the lease; None if it has not.

        That happens when the answer to its commit was lost. Any other party raises the epoch when it ends a
        lease.
        """
        ended = _ended().first(of_id=lease.generation.id, of_epoch=lease.epoch)
        if ended is None:
            return None
        attempt = read_attempt(lease)
        return AttemptEnd(ended, attempt.outcome, attempt.error_reason)

    def _spend(self, lease: Lease, generation: Generation, now: datetime) -> None:
        """Count the price of the ended attempt, in the current transaction just before the statistics."""
        if generation.ended:
            spending.settle(generation.id, generation.price_micros)
        spending.spend(generation.user_id, generation.app_id, read_attempt(lease).price_micros, now)


_CHANGED_BY_A_CLAIM = (
    "epoch",
    "revision",
    "update_time",
    "worker_lost_count",
    "state",
    "stage",
    "progress_percent",
    "progress_estimated",
    "attempt_number",
    "error_reason",
    "error_message",
    "start_time",
    "due_time",
)


@compiled
def _claimed() -> CompiledStatement:
    """Return the UPDATE of a generation that is claimed, whose row is locked."""
    row, fields = AvatarGeneration, AvatarGeneration._meta.fields
    changes = {fields[name]: parameter(name, fields[name]) for name in _CHANGED_BY_A_CLAIM}
    return CompiledStatement(row.update(changes).where(row.id == parameter("of_id")), by_key=True)


@compiled
def _ended() -> CompiledQuery[Generation]:
    row = AvatarGeneration
    ended = all_generations().where(
        row.id == parameter("of_id"),
        row.epoch == parameter("of_epoch"),
        row.state != GenerationState.PROCESSING,
    )
    return compiled_generations(ended, by_key=True)


@compiled
def _attempt() -> CompiledInsert:
    return CompiledInsert(GenerationAttempt)


def _source_type(generation: Generation) -> str:
    if generation.reference_avatar_ids:
        return SourceType.FROM_REFERENCE
    return SourceType.FROM_PRESET if generation.preset_id else SourceType.TEXT_TO_IMAGE

"""Generations as their workers see them: every transition of the state machine that a worker makes.

Each transition is one UPDATE whose WHERE is the guard. When it changes no row, somebody else has won: the
user cancelled, the project is gone, or another worker took over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from peewee import JOIN

from avatar_creator_server import metrics
from avatar_creator_server.avatars.service import NewAvatar, insert_avatar
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarGeneration, File, GenerationAttempt, new_id
from avatar_creator_server.database.models.states import (
    AttemptOutcome,
    GenerationStage,
    GenerationState,
    JobKind,
    SourceType,
)
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.queue import seconds_by_route, take_next
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.recipes.reproduction import keep_recipe, read_recipe
from avatar_creator_server.generations.records import Generation, Reproduction
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.images.store import Files
from avatar_creator_server.projects.service import lock_project
from avatar_creator_server.shared.background_jobs import enqueue_job
from avatar_creator_server.shared.event_publisher import Announcements
from avatar_creator_server.statistics import counters as statistics

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
"""How long a worker owns a generation after its last heartbeat."""
HEARTBEAT_SECONDS = 1.5
"""How often a worker renews its lease, and so how soon it learns of a cancel that the bus did not tell."""
RETRY_DELAYS = (timedelta(seconds=10), timedelta(seconds=100), timedelta(seconds=1000))
"""Waits before the first, second and third retry."""
LOST_WORKERS_CAP = 3
"""A generation whose worker is lost this often fails: it may be what kills them."""

CLAIMED_PERCENT = 10
DRAWING_PERCENT = (20, 70)
SAVING_PERCENT = (70, 90)
FINISHING_PERCENT = 90


class LeaseLostError(Exception):
    """The generation is not this worker's any more; what it made is to be thrown away."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to one attempt at a generation."""

    generation: Generation
    epoch: int
    resume_request_id: str
    """The provider's id of the request an earlier attempt made and did not see the end of; empty if none."""
    resume_route: str = ""
    """The route that request was made by."""
    lost_attempt: str = ""
    """How the attempt of the lost worker was closed whose generation this takes over; empty if none."""
    lost_worker: str = ""
    """That worker."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    reason: str
    """Name of an `ErrorReason`."""
    message: str
    """For people; has no secrets in it."""
    retryable: bool
    """Whether another try may mend it."""
    retry_after: timedelta = timedelta(0)
    """Least wait before the next try."""
    charged: bool = True
    """Whether the provider may have charged for a request that was made."""
    submit_unknown: bool = False
    """Whether the provider's answer to the submission was lost."""
    resumable: bool = True
    """Whether a request that was made still stands at the provider, so that the next attempt asks for it."""

    @property
    def outcome(self) -> str:
        """How the attempt ends, in the words of `AttemptOutcome`."""
        if self.submit_unknown:
            return AttemptOutcome.SUBMIT_UNKNOWN
        return AttemptOutcome.RETRYABLE if self.retryable else AttemptOutcome.FATAL


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt has made: files that are staged, and how."""

    image: StoredFile
    thumbnail: StoredFile
    recipe: Recipe
    warnings: tuple[str, ...]
    """What turned out while drawing, in sentences for a person."""
    reproduction: Reproduction | None
    """How the picture compares with the one whose recipe it was made by; None if there is none."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt has ended, and what that made of its generation."""

    generation: Generation
    outcome: str
    """In the words of `AttemptOutcome`."""
    reason: str = ""
    """Name of an `ErrorReason`; empty if it did not fail."""


@dataclass(frozen=True, slots=True)
class ReproductionSource:
    """The picture whose recipe is run again."""

    pixels_sha256: str
    image: StoredFile | None
    """None when its avatar is gone."""


class GenerationLeases:
    """Claims generations and carries them through the state machine."""

    def __init__(self, database: Database, announcements: Announcements, files: Files) -> None:
        self._database = database
        self._announcements = announcements
        self._files = files

    async def claim(self, worker: str) -> Lease | None:
        """Take the generation whose turn it is, or None when none is due."""
        while True:
            lease = await self._database.write(self._claim, worker)
            if lease is None:
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
            await self._announcements.generation_changed(generation)
            if not generation.ended:
                if generation.attempt_number == 1:
                    waited = (generation.update_time - generation.create_time).total_seconds()
                    metrics.QUEUE_WAIT_SECONDS.labels(generation.priority).observe(waited)
                return lease

    async def expire_all(self) -> None:
        """Let every lease run out now: for the only process of an embedded service, when it starts.

        Whoever held them is gone, and nobody need wait for `LEASE` to find out.
        """

        def transition() -> None:
            AvatarGeneration.update(due_time=self._database.now()).where(
                AvatarGeneration.state == GenerationState.PROCESSING
            ).execute()

        await self._database.write(transition)

    async def renew(self, lease: Lease) -> None:
        """Keep a generation for another `LEASE`.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        def transition() -> None:
            renewed = (
                AvatarGeneration.update(due_time=self._database.now() + LEASE).where(*_owned(lease)).execute()
            )
            if not renewed and self._left_before(lease) is None:
                raise LeaseLostError

        await self._database.write(transition)

    async def progress(self, lease: Lease, percent: int, stage: str, *, estimated: bool = False) -> None:
        """Tell the watchers how far it is, 0 to 100.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        def transition() -> Generation:
            return self._change(
                lease,
                self._database.now(),
                stage=stage,
                progress_percent=percent,
                progress_estimated=estimated,
            )

        await self._publish(transition)

    async def submitting(
        self, lease: Lease, route: Route, *, provider_prompt: str, estimated: bool, price_micros: int
    ) -> None:
        """Write down that the provider is about to be called, before it is, and that drawing begins.

        `price_micros` is what a request costs that is about to be made, and 0 when none is: from here on
        it may be charged for. Doing it again adds nothing.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        def transition() -> Generation:
            told_before = self._attempt(lease).outcome == AttemptOutcome.SUBMITTING
            generation = self._change(
                lease,
                self._database.now(),
                stage=GenerationStage.DRAWING,
                progress_percent=DRAWING_PERCENT[0],
                progress_estimated=estimated,
                provider=route.provider,
                provider_prompt=provider_prompt,
                price_micros=AvatarGeneration.price_micros + (0 if told_before else price_micros),
            )
            self._note(
                lease,
                outcome=AttemptOutcome.SUBMITTING,
                provider=route.provider,
                route=route.name,
                possibly_charged=price_micros > 0,
                price_micros=price_micros,
            )
            spending.reserve_at_least(generation.id, generation.price_micros)
            return generation

        await self._publish(transition)

    async def submitted(self, lease: Lease, provider_request_id: str) -> None:
        """Write down the provider's id of the request as soon as it is known.

        Raises:
            LeaseLostError: it is not this worker's any more; the provider will be told to drop the request.
        """

        def transition() -> bool:
            try:
                self._note(lease, provider_request_id=provider_request_id)
            except LeaseLostError:
                enqueue_job(JobKind.CANCEL_REQUEST, provider_request_id, self._database.now())
                return False
            return True

        if not await self._database.write(transition):
            raise LeaseLostError

    async def drop_request(self, lease: Lease) -> Lease:
        """Give up the request that was to be resumed, by whose route the service does not draw any more.

        Doing it again changes nothing.
        Returns the lease without it; the provider will be told.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        def transition() -> None:
            if self._attempt(lease).provider_request_id:
                self._note(lease, provider_request_id="", route="")
                enqueue_job(JobKind.CANCEL_REQUEST, lease.resume_request_id, self._database.now())

        await self._database.write(transition)
        return replace(lease, resume_request_id="", resume_route="")

    async def seconds_by(self, route: Route) -> float | None:
        """How long half of the recent attempts by a route took at most; None without any."""
        seconds = await self._database.read(seconds_by_route, route.name)
        return seconds[0] if seconds else None

    async def reproduced(self, lease: Lease) -> ReproductionSource | None:
        """What the generation runs the recipe of again; None if it does not, or that is gone."""

        def query() -> ReproductionSource | None:
            recipe = read_recipe(lease.generation.reproduce_of)
            if recipe is None:
                return None
            avatar = (
                Avatar.select(Avatar, File)
                .join(File, on=(Avatar.image_file == File.id))
                .where(
                    Avatar.generation == lease.generation.reproduce_of,
                    Avatar.user_id == lease.generation.user_id,
                )
                .first()
            )
            return ReproductionSource(
                recipe.pixels_sha256, StoredFile.from_row(avatar.image_file) if avatar else None
            )

        return await self._database.read(query) if lease.generation.reproduce_of else None

    async def complete(self, lease: Lease, made: AttemptResult) -> None:
        """Write the avatar and end the generation, in one transaction. Doing it again changes nothing.

        Raises:
            LeaseLostError: it is not this worker's any more; nothing was written.
            NotFoundError: the project is gone; nothing was written.
        """

        await self._end(lease, lambda: self._complete(lease, made))

    async def fail(self, lease: Lease, failure: Failure) -> None:
        """End the attempt, and the generation too unless it may be retried. Doing it again changes nothing.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        await self._end(lease, lambda: self._fail(lease, failure))

    async def release(self, lease: Lease) -> None:
        """Hand a generation back at shutdown: another worker may take it at once, and no retry is spent.

        Doing it again changes nothing.

        Raises:
            LeaseLostError: it is not this worker's any more.
        """

        await self._end(lease, lambda: self._release(lease))

    async def _publish(self, transition: Callable[[], Generation]) -> None:
        await self._announcements.generation_changed(await self._database.write(transition))

    async def _end(self, lease: Lease, transition: Callable[[], AttemptEnd]) -> None:
        ended = await self._database.write(lambda: self._left_before(lease) or transition())
        await self._announcements.generation_changed(ended.generation)
        metrics.ATTEMPTS.labels(ended.outcome, ended.reason).inc()
        took = (ended.generation.update_time - lease.generation.update_time).total_seconds()
        metrics.ATTEMPT_SECONDS.labels(ended.outcome).observe(took)

    def _claim(self, worker: str) -> Lease | None:
        now = self._database.now()
        row = take_next(self._database, now)
        if row is None:
            return None
        row.epoch += 1
        row.revision += 1
        row.update_time = now
        resume_request_id, resume_route, price_micros = "", "", 0
        lost_attempt = lost_worker = ""
        if row.state == GenerationState.PROCESSING:
            lost = self._close_lost_attempt(row)
            resume_request_id, resume_route = lost.provider_request_id, lost.route
            price_micros, lost_attempt, lost_worker = lost.price_micros, lost.outcome, lost.worker
            row.worker_lost_count += 1
            if row.worker_lost_count >= LOST_WORKERS_CAP:
                row.state, row.stage = GenerationState.FAILED, GenerationStage.ENDED
                row.due_time, row.end_time = None, now
                row.error_reason = "WORKER_LOST"
                row.error_message = f"the workers that ran it were lost {LOST_WORKERS_CAP} times"
                row.save()
                if resume_request_id:
                    enqueue_job(JobKind.CANCEL_REQUEST, resume_request_id, now)
                spending.settle(row.id, row.price_micros)
                spending.spend(row.user_id, row.app_id, price_micros, now)
                statistics.count_move(row.user_id, GenerationState.PROCESSING, GenerationState.FAILED)
                failed = Generation.from_row(row, None)
                return Lease(failed, row.epoch, "", lost_attempt=lost_attempt, lost_worker=lost_worker)
        elif row.attempt_number:
            resume_request_id, resume_route = self._request_left_unfinished(row)
        state_before = row.state
        row.state = GenerationState.PROCESSING
        row.stage = GenerationStage.CLAIMED
        row.progress_percent = CLAIMED_PERCENT
        row.progress_estimated = False
        row.attempt_number += 1
        row.error_reason = row.error_message = ""
        row.start_time = row.start_time or now
        row.due_time = now + LEASE
        row.save()
        GenerationAttempt.create(
            generation=row.id,
            attempt_number=row.attempt_number,
            outcome=AttemptOutcome.RUNNING,
            worker=worker,
            provider_request_id=resume_request_id,
            route=resume_route,
            start_time=now,
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
        )

    def _close_lost_attempt(self, row: AvatarGeneration) -> GenerationAttempt:
        """Close a lost worker's attempt, whose request passes to the next."""
        query = GenerationAttempt.select().where(
            GenerationAttempt.generation == row.id,
            GenerationAttempt.attempt_number == row.attempt_number,
        )
        # Locked, because its owner may be writing down a request id at this moment.
        lost: GenerationAttempt = self._database.locked(query).get()
        lost.outcome = AttemptOutcome.SUBMIT_UNKNOWN if _is_unanswered(lost) else AttemptOutcome.WORKER_LOST
        lost.error_reason = "WORKER_LOST"
        lost.error_message = "its worker went away"
        lost.end_time = row.update_time
        lost.save()
        return lost

    @staticmethod
    def _request_left_unfinished(row: AvatarGeneration) -> tuple[str, str]:
        """The provider request of the last attempt and its route, if it still stands: it is paid for."""
        last = GenerationAttempt.get(
            GenerationAttempt.generation == row.id,
            GenerationAttempt.attempt_number == row.attempt_number,
        )
        return (str(last.provider_request_id), str(last.route)) if last.resumable else ("", "")

    def _complete(self, lease: Lease, made: AttemptResult) -> AttemptEnd:
        ordered = lease.generation
        lock_project(self._database, ordered.user_id, ordered.project_id)
        now = self._database.now()
        completed = self._change(
            lease,
            now,
            state=GenerationState.COMPLETED,
            stage=GenerationStage.ENDED,
            progress_percent=100,
            due_time=None,
            end_time=now,
            warnings=list(dict.fromkeys((*ordered.warnings, *made.warnings))),
            reproduction=asdict(made.reproduction) if made.reproduction else None,
        )
        self._note(lease, outcome=AttemptOutcome.SUCCEEDED, end_time=now)
        keep_recipe(ordered.id, made.recipe)
        avatar_id = new_id()
        insert_avatar(
            NewAvatar(
                id=avatar_id,
                user_id=ordered.user_id,
                project_id=ordered.project_id,
                name=ordered.avatar_name,
                image_file_id=made.image.id,
                thumbnail_file_id=made.thumbnail.id,
                source_type=_source_type(ordered),
                persona=ordered.persona,
                attributes=ordered.attributes,
                generation_prompt=ordered.prompt,
                seed_used=ordered.seed_used,
                generation_id=ordered.id,
                reference_avatar_id=ordered.reference_avatar_id,
            ),
            now,
        )
        self._files.attach(made.image.id, made.thumbnail.id)
        self._spend(lease, completed, now)
        statistics.count(
            ordered.user_id,
            avatars=1,
            generations={GenerationState.PROCESSING: -1, GenerationState.COMPLETED: 1},
        )
        return AttemptEnd(replace(completed, avatar_id=avatar_id), AttemptOutcome.SUCCEEDED)

    def _release(self, lease: Lease) -> AttemptEnd:
        now = self._database.now()
        generation = self._change(
            lease,
            now,
            state=GenerationState.PENDING,
            stage=GenerationStage.QUEUED,
            progress_percent=0,
            release_count=AvatarGeneration.release_count + 1,
            due_time=now,
        )
        outcome = (
            AttemptOutcome.SUBMIT_UNKNOWN if _is_unanswered(self._attempt(lease)) else AttemptOutcome.RELEASED
        )
        self._note(lease, outcome=outcome, resumable=True, end_time=now)
        self._spend(lease, generation, now)
        statistics.count_move(generation.user_id, GenerationState.PROCESSING, GenerationState.PENDING)
        return AttemptEnd(generation, outcome)

    def _fail(self, lease: Lease, failure: Failure) -> AttemptEnd:
        now = self._database.now()
        retries_spent = lease.generation.retry_count
        if failure.retryable and retries_spent < len(RETRY_DELAYS):
            wait = max(RETRY_DELAYS[retries_spent], failure.retry_after)
            fate = {
                "state": GenerationState.PENDING,
                "stage": GenerationStage.WAITING_TO_RETRY,
                "progress_percent": 0,
                "retry_count": retries_spent + 1,
                "due_time": now + wait,
            }
        else:
            fate = {
                "state": GenerationState.FAILED,
                "stage": GenerationStage.ENDED,
                "due_time": None,
                "end_time": now,
            }
        attempt = self._attempt(lease)
        certainly_free = not (failure.charged or failure.resumable)
        refunded = attempt.price_micros if certainly_free else 0
        made_by = self._made_request_of(lease, attempt) if certainly_free else None
        refunded_before = made_by.price_micros if made_by else 0
        generation = self._change(
            lease,
            now,
            **fate,
            price_micros=AvatarGeneration.price_micros - refunded - refunded_before,
            error_reason=failure.reason,
            error_message=failure.message,
        )
        self._note(
            lease,
            outcome=failure.outcome,
            possibly_charged=attempt.possibly_charged and not certainly_free,
            price_micros=attempt.price_micros - refunded,
            resumable=failure.resumable,
            error_reason=failure.reason,
            error_message=failure.message,
            end_time=now,
        )
        if made_by:
            made_by.price_micros, made_by.possibly_charged = 0, False
            made_by.save()
        if generation.ended and failure.resumable and attempt.provider_request_id:
            enqueue_job(JobKind.CANCEL_REQUEST, attempt.provider_request_id, now)
        self._spend(lease, generation, now)
        if made_by:
            spending.take_back(generation.user_id, generation.app_id, refunded_before, made_by.end_time)
        statistics.count_move(generation.user_id, GenerationState.PROCESSING, generation.state)
        return AttemptEnd(generation, failure.outcome, failure.reason)

    @staticmethod
    def _made_request_of(lease: Lease, attempt: GenerationAttempt) -> GenerationAttempt | None:
        """The earlier attempt that made, at a price, the request which this one asked for."""
        if not attempt.provider_request_id:
            return None
        found: GenerationAttempt | None = (
            GenerationAttempt.select()
            .where(
                GenerationAttempt.generation == lease.generation.id,
                GenerationAttempt.attempt_number < lease.generation.attempt_number,
                GenerationAttempt.provider_request_id == attempt.provider_request_id,
                GenerationAttempt.price_micros > 0,
            )
            .first()
        )
        return found

    def _left_before(self, lease: Lease) -> AttemptEnd | None:
        """How the lease's owner has ended it already, in a commit whose answer did not come; else None.

        Whoever else ends a lease raises the epoch.
        """
        row = (
            AvatarGeneration.select(AvatarGeneration, Avatar.id.alias("avatar_id"))
            .join(Avatar, JOIN.LEFT_OUTER, on=(Avatar.generation == AvatarGeneration.id))
            .where(
                AvatarGeneration.id == lease.generation.id,
                AvatarGeneration.epoch == lease.epoch,
                AvatarGeneration.state != GenerationState.PROCESSING,
            )
            .objects()
            .first()
        )
        if row is None:
            return None
        attempt = self._attempt(lease)
        return AttemptEnd(Generation.from_row(row, row.avatar_id), attempt.outcome, attempt.error_reason)

    @staticmethod
    def _attempt(lease: Lease) -> GenerationAttempt:
        found: GenerationAttempt | None = GenerationAttempt.get_or_none(
            GenerationAttempt.generation == lease.generation.id,
            GenerationAttempt.attempt_number == lease.generation.attempt_number,
        )
        if found is None:
            raise LeaseLostError
        return found

    def _spend(self, lease: Lease, generation: Generation, now: datetime) -> None:
        """In the current transaction, just before the statistics: the attempt has ended at its price."""
        if generation.ended:
            spending.settle(generation.id, generation.price_micros)
        spending.spend(generation.user_id, generation.app_id, self._attempt(lease).price_micros, now)

    @staticmethod
    def _change(lease: Lease, now: datetime, **changes: Any) -> Generation:
        """Write to the generation if it is still this worker's, and raise its revision."""
        changed = list(
            AvatarGeneration.update(**changes, revision=AvatarGeneration.revision + 1, update_time=now)
            .where(*_owned(lease))
            .returning(AvatarGeneration)
            .execute()
        )
        if not changed:
            raise LeaseLostError
        return Generation.from_row(changed[0], None)

    @staticmethod
    def _note(lease: Lease, **changes: Any) -> None:
        """Write to the attempt if it is still open."""
        noted = (
            GenerationAttempt.update(**changes)
            .where(
                GenerationAttempt.generation == lease.generation.id,
                GenerationAttempt.attempt_number == lease.generation.attempt_number,
                GenerationAttempt.end_time.is_null(),
            )
            .execute()
        )
        if not noted:
            raise LeaseLostError


def _is_unanswered(attempt: GenerationAttempt) -> bool:
    """Whether the provider may have taken a request of which nobody here knows the id."""
    return bool(
        attempt.outcome == AttemptOutcome.SUBMITTING
        and attempt.possibly_charged
        and not attempt.provider_request_id
    )


def _source_type(ordered: Generation) -> str:
    if ordered.reference_avatar_id:
        return SourceType.FROM_REFERENCE
    return SourceType.FROM_PRESET if ordered.preset_id else SourceType.TEXT_TO_IMAGE


def _owned(lease: Lease) -> tuple[Any, ...]:
    """The guard. A lease that has expired is still the owner's until somebody takes the generation over."""
    return (
        AvatarGeneration.id == lease.generation.id,
        AvatarGeneration.epoch == lease.epoch,
        AvatarGeneration.state == GenerationState.PROCESSING,
    )

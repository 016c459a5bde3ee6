"""Generations as their users see them: started, read, listed and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import JOIN

from avatar_creator_server import metrics
from avatar_creator_server.avatars.service import require_avatar
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import (
    Avatar,
    AvatarGeneration,
    AvatarProject,
    GenerationAttempt,
    new_id,
)
from avatar_creator_server.database.models.states import (
    ENDED_STATES,
    PRIORITIES,
    AttemptOutcome,
    GenerationStage,
    GenerationState,
)
from avatar_creator_server.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon
from avatar_creator_server.generations.moderation import Moderation
from avatar_creator_server.generations.prompt import NEGATIVE_PROMPT, cut_warning, enhance
from avatar_creator_server.generations.queue import (
    QueuePositions,
    enter_turns,
    seconds_by_route,
    seconds_if_created_now,
)
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.recipes.reproduction import read_recipe, require_reproducible
from avatar_creator_server.generations.records import Attempt, Generation
from avatar_creator_server.generations.request import (
    GenerationRequest,
    count_choices,
    filled_from_presets,
    name_for,
    request_from,
)
from avatar_creator_server.generations.routes import Route, Routes
from avatar_creator_server.generations.spending import Limits
from avatar_creator_server.projects.service import lock_project, require_project
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_publisher import Announcements
from avatar_creator_server.shared.idempotency import RequestKey, get_or_reserve, is_repeated
from avatar_creator_server.shared.job_notifier import JobNotifier
from avatar_creator_server.shared.paging import Page, PageTokens, page_size
from avatar_creator_server.statistics import counters as statistics

SEEDS = 2**32
"""Seeds are 0 to one less."""

LATE_COMMITS = timedelta(seconds=30)
"""A change is read at most this long after the time it bears: no transaction may take longer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an request would cost and take."""

    route: Route
    price_micros: int
    """One attempt at each generation, in millionths of a US dollar."""
    seconds: tuple[float, float] | None
    """Half, and nine in ten, of the recent ones by this route took at most so long; None without any."""
    expected_seconds: int | None
    """When all would probably have ended; None while none has completed yet."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProjectSnapshot:
    """The generations of a project as a watch begins with them."""

    read_time: datetime
    """When this was read, by the database's clock."""
    complete_since: datetime
    """Whatever is committed later than this was read bears a later time than this."""
    to_tell: list[Generation]
    """What has not ended, and what changed since the time asked for."""
    ended_before: list[Generation]
    """What had ended before, but bears a time that what is committed later may bear too."""


@dataclass(frozen=True, slots=True)
class ProjectChanges:
    """What has changed in some projects."""

    read_time: datetime
    """When this was read, by the database's clock."""
    project_ids: frozenset[str]
    """Those of the projects that exist."""
    revisions: list[tuple[str, str, int]]
    """Project, generation and revision of what has changed."""


class Generations:
    """The generations of all users; every call is about one user's own."""

    def __init__(
        self,
        database: Database,
        announcements: Announcements,
        notifier: JobNotifier,
        page_tokens: PageTokens,
        new_seed: Callable[[], int],
        routes: Routes,
        limits: Limits,
        moderation: Moderation,
        queue_positions: QueuePositions,
    ) -> None:
        self._database = database
        self._announcements = announcements
        self._notifier = notifier
        self._page_tokens = page_tokens
        self._new_seed = new_seed
        self._routes = routes
        self._limits = limits
        self._moderation = moderation
        self._queue_positions = queue_positions

    async def create(
        self, caller: Caller, key: RequestKey, request: GenerationRequest, count: int = 1
    ) -> list[Generation]:
        """Accept an request for `count` variations as durable rows, or find those this request made before.

        Raises:
            NotFoundError: the user has no such project, reference avatar or generation to reproduce, or there
                is no such preset or persona example.
            InvalidArgumentError: words are refused, or options cannot be honoured.
            FailedPreconditionError: the recipe cannot be run request_from.
            ResourceExhaustedError: the user is over a limit.
            UnavailableError: the words cannot be screened.
        """
        # What was made before is answered as it is, whoever has been asked about its words since.
        if self._moderation.is_active and not await self._database.read(is_repeated, key):
            words = request.words
            self._moderation.refuse_denied(words)
            await self._moderation.refuse_flagged("\n".join(words.values()))
        return await self._tell(await self._database.write(self._create, caller, key, request, count))

    async def estimate(self, caller: Caller, request: GenerationRequest, count: int = 1) -> Estimate:
        """Say what `create` would cost and take. Nothing is created, and limits and moderation are not asked.

        Raises:
            As `create`, but for limits and the moderation service.
        """

        def query() -> Estimate:
            require_project(caller, request.project_id)
            filled = self._completed(caller, request)
            self._require_supported(filled)
            self._moderation.refuse_denied(filled.words if request.reproduce_of else request.words)
            route = self._route_of(filled)
            return Estimate(
                route=route,
                price_micros=count * route.price(filled.options.width, filled.options.height),
                seconds=seconds_by_route(route.name),
                expected_seconds=seconds_if_created_now(
                    caller.user_id, PRIORITIES.index(request.priority), count
                ),
                warnings=self._warnings(filled),
            )

        return await self._database.read(query)

    async def retry(self, caller: Caller, key: RequestKey, generation_id: str) -> Generation:
        """GenerationRequest a failed or cancelled generation request_from, or find the one this request made before.

        Raises:
            NotFoundError: the user has no such generation.
            FailedPreconditionError: it has neither failed nor been cancelled.
            InvalidArgumentError, ResourceExhaustedError: as `create`; moderation is not asked request_from.
        """
        [generation] = await self._tell([await self._database.write(self._retry, caller, key, generation_id)])
        return generation

    async def get(self, caller: Caller, generation_id: str) -> Generation:
        """Read a generation.

        Raises:
            NotFoundError: the user has no such generation.
        """

        [generation] = await self._queue_positions.with_positions(
            [await self._database.read(self._get, caller, generation_id)]
        )
        return generation

    async def batch_get(self, caller: Caller, generation_ids: Sequence[str]) -> list[Generation]:
        """Read generations, all of which must be the user's, in the request of the ids.

        Raises:
            NotFoundError: the user has no such generation; names the first.
        """

        def query() -> list[Generation]:
            rows = _generations_of(caller).where(AvatarGeneration.id.in_(generation_ids)).objects()
            found = {row.id: Generation.from_row(row, row.avatar_id) for row in rows}
            for generation_id in generation_ids:
                if generation_id not in found:
                    raise NotFoundError("generation", generation_id)
            return [found[generation_id] for generation_id in generation_ids]

        return await self._queue_positions.with_positions(await self._database.read(query))

    async def get_with_history(
        self, caller: Caller, generation_id: str
    ) -> tuple[Generation, list[Attempt], Recipe | None]:
        """Read a generation, its attempts, first to last, and the recipe of a completed one.

        Raises:
            NotFoundError: the user has no such generation.
        """

        def query() -> tuple[Generation, list[Attempt], Recipe | None]:
            generation = self._get(caller, generation_id)
            # One that began between the two reads is left out, so that both tell the same.
            attempts = self._attempts(generation_id)[: generation.attempt_number]
            recipe = read_recipe(generation_id) if generation.state == GenerationState.COMPLETED else None
            return generation, attempts, recipe

        generation, attempts, recipe = await self._database.read(query)
        [generation] = await self._queue_positions.with_positions([generation])
        return generation, attempts, recipe

    async def page(
        self,
        caller: Caller,
        *,
        project_id: str,
        group_id: str,
        states: Sequence[str],
        created_from: datetime | None,
        created_before: datetime | None,
        size: int,
        page_token: str,
    ) -> Page[Generation]:
        """A page of the user's generations, newest first. All filters given must hold.

        Raises:
            NotFoundError: the user has no such project.
        """
        scope = (
            caller.user_id,
            caller.sees_all,
            "generations",
            project_id,
            group_id,
            sorted(states),
            str(created_from),
            str(created_before),
        )
        cursor = self._page_tokens.read(scope, page_token)
        size = page_size(size)
        found = await self._database.read(
            self._list, caller, project_id, group_id, states, created_from, created_before, size + 1, cursor
        )
        found = await self._queue_positions.with_positions(found)
        return self._page_tokens.page(scope, found, size, lambda last: [last.id])

    async def cancel(self, caller: Caller, generation_id: str) -> Generation:
        """Cancel a generation that has not ended; one that was cancelled before stays as it is.

        Raises:
            NotFoundError: the user has no such generation.
            FailedPreconditionError: it completed or failed.
        """
        generation, stopped = await self._database.write(self._cancel, caller, generation_id)
        if stopped:
            metrics.ATTEMPTS.labels(AttemptOutcome.CANCELLED, "").inc()
        await asyncio.gather(
            self._notifier.notify_job(), self._announcements.generation_cancelled(generation)
        )
        return generation

    async def ids_of_group(self, caller: Caller, group_id: str) -> list[str]:
        """The generations of a group, in the request they were created.

        Raises:
            NotFoundError: the user has no such group.
        """

        def query() -> list[str]:
            rows = caller.found(
                AvatarGeneration.select(AvatarGeneration.id).where(
                    AvatarGeneration.group_id == group_id, AvatarGeneration.group_id != ""
                ),
                AvatarGeneration.user_id,
            )
            ids = [row.id for row in rows.order_by(AvatarGeneration.id)]
            if not ids:
                raise NotFoundError("group", group_id)
            return ids

        return await self._database.read(query)

    async def snapshot_of_project(
        self, caller: Caller, project_id: str, changed_since: datetime | None
    ) -> ProjectSnapshot:
        """What of a project has not ended, and what changed at or after `changed_since`.

        Raises:
            NotFoundError: the user has no such project.
        """

        def query() -> ProjectSnapshot:
            require_project(caller, project_id)
            now = self._database.now()
            told_since = now if changed_since is None else _before(changed_since)
            complete_since = min(_before(now), told_since)
            rows = _generations_of(caller).where(
                AvatarGeneration.project == project_id,
                AvatarGeneration.due_time.is_null(False) | (AvatarGeneration.update_time >= complete_since),
            )
            found = [
                Generation.from_row(row, row.avatar_id)
                for row in rows.order_by(AvatarGeneration.update_time, AvatarGeneration.id).objects()
            ]
            ended_before = [
                generation for generation in found if generation.ended and generation.update_time < told_since
            ]
            passed_over = {generation.id for generation in ended_before}
            to_tell = [generation for generation in found if generation.id not in passed_over]
            return ProjectSnapshot(now, complete_since, to_tell, ended_before)

        snapshot = await self._database.read(query)
        return replace(snapshot, to_tell=await self._queue_positions.with_positions(snapshot.to_tell))

    async def revisions(self, generation_ids: Sequence[str]) -> dict[str, int]:
        """The current revision of each of these generations that exists, whoever owns it."""

        def query() -> dict[str, int]:
            rows = AvatarGeneration.select(AvatarGeneration.id, AvatarGeneration.revision).where(
                AvatarGeneration.id.in_(generation_ids)
            )
            return {row.id: row.revision for row in rows}

        return await self._database.read(query)

    async def changes_in(self, project_ids: Sequence[str], since: datetime) -> ProjectChanges:
        """What has changed in these projects since the last time they were asked about, whoever owns them."""

        def query() -> ProjectChanges:
            now = self._database.now()
            projects = AvatarProject.select(AvatarProject.id).where(AvatarProject.id.in_(project_ids))
            changed = AvatarGeneration.select(
                AvatarGeneration.id, AvatarGeneration.project, AvatarGeneration.revision
            ).where(
                AvatarGeneration.project.in_(project_ids),
                AvatarGeneration.update_time >= _before(since),
            )
            return ProjectChanges(
                now,
                frozenset(row.id for row in projects),
                [(row.project_id, row.id, row.revision) for row in changed],
            )

        return await self._database.read(query)

    async def get_many_unscoped(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Those of these generations that exist, whoever owns them, in the request of their changes."""

        def query() -> list[Generation]:
            rows = _everybodys_generations().where(AvatarGeneration.id.in_(generation_ids)).objects()
            in_order = rows.order_by(AvatarGeneration.update_time, AvatarGeneration.id)
            return [Generation.from_row(row, row.avatar_id) for row in in_order]

        return await self._database.read(query)

    async def _tell(self, ordered: list[Generation]) -> list[Generation]:
        """Tell workers and watchers of an request, side by side because each may take half a second.

        Its place in the queue is looked up after the commit: nobody is to wait for that at a lock.
        """
        await asyncio.gather(
            *(self._notifier.notify_generation() for _ in ordered),
            *(self._announcements.generation_changed(generation) for generation in ordered),
        )
        return await self._queue_positions.with_positions(ordered)

    def _create(
        self, caller: Caller, key: RequestKey, request: GenerationRequest, count: int
    ) -> list[Generation]:
        now = self._database.now()
        first_id = new_id()
        made_before = get_or_reserve(key, first_id, now)
        if made_before is not None:
            return self._made_by(caller, made_before)
        lock_project(self._database, caller.user_id, request.project_id)
        request = self._completed(caller, request)
        if request.reproduce_of:
            # They were another call's, and may have been denied since.
            self._moderation.refuse_denied(request.words)
        self._require_supported(request)
        count_choices(request)
        group_id = first_id if count > 1 else ""
        ids = [first_id, *(new_id() for _ in range(count - 1))]
        self._insert(caller.user_id, ids, request, app_id=caller.app_id, group_id=group_id)
        return [self._get(caller, generation_id) for generation_id in ids]

    def _made_by(self, caller: Caller, first_id: str) -> list[Generation]:
        """What the call made whose first generation is this one, as it is now; its retries are not of it."""
        first = self._get(caller, first_id)
        if not first.group_id:
            return [first]
        others = _generations_of(caller).where(
            AvatarGeneration.group_id == first.group_id,
            AvatarGeneration.retry_of == "",
            AvatarGeneration.id != first.id,
        )
        rows = others.order_by(AvatarGeneration.id).objects()
        return [first, *(Generation.from_row(row, row.avatar_id) for row in rows)]

    def _retry(self, caller: Caller, key: RequestKey, generation_id: str) -> Generation:
        now = self._database.now()
        new_generation_id = new_id()
        made_before = get_or_reserve(key, new_generation_id, now)
        if made_before is not None:
            return self._get(caller, made_before)
        before = self._get(caller, generation_id)
        if before.state not in (GenerationState.FAILED, GenerationState.CANCELLED):
            raise FailedPreconditionError(
                "GENERATION_NOT_RETRYABLE",
                f"the generation is {before.state}; only one that failed or was cancelled can be retried",
                metadata={"state": before.state.upper()},
            )
        lock_project(self._database, before.user_id, before.project_id)
        request = request_from(before)
        self._moderation.refuse_denied(request.words)
        self._require_supported(request)
        self._insert(
            before.user_id,
            [new_generation_id],
            request,
            app_id=before.app_id,
            group_id=before.group_id,
            retry_of=before.id,
        )
        return self._get(caller, new_generation_id)

    def _insert(
        self,
        user_id: str,
        ids: Sequence[str],
        request: GenerationRequest,
        *,
        app_id: str,
        group_id: str,
        retry_of: str = "",
    ) -> None:
        """In the current transaction, which holds the project's lock: write generations that are due now.

        They have seeds one after the other.

        Raises:
            ResourceExhaustedError: the user is over a limit; nothing of the transaction may stay.
        """
        now = self._database.now()
        options = request.options
        first_seed = self._new_seed() if options.seed is None else options.seed
        warnings = list(self._warnings(request))
        for number, generation_id in enumerate(ids):
            AvatarGeneration.create(
                id=generation_id,
                user_id=user_id,
                app_id=app_id,
                project=request.project_id,
                state=GenerationState.PENDING,
                stage=GenerationStage.QUEUED,
                priority=PRIORITIES.index(request.priority),
                avatar_name=name_for(request),
                prompt=request.prompt,
                persona=asdict(request.persona),
                attributes=asdict(request.attributes),
                options=asdict(options),
                enhanced_prompt=_enhanced(request),
                negative_prompt=options.negative_prompt or NEGATIVE_PROMPT,
                seed_used=(first_seed + number) % SEEDS,
                warnings=warnings,
                preset=request.preset_id or None,
                persona_example=request.persona_example_id or None,
                reference_avatar_id=request.reference_avatar_id,
                reproduce_of=request.reproduce_of,
                group_id=group_id,
                retry_of=retry_of,
                due_time=now,
                create_time=now,
                update_time=now,
            )
        enter_turns(user_id, now)
        spending.reserve(user_id, ids, self._route_of(request).price(options.width, options.height), now)
        statistics.count(user_id, generations={GenerationState.PENDING: len(ids)})
        spending.require_within(self._limits, user_id, now)

    def _completed(self, caller: Caller, request: GenerationRequest) -> GenerationRequest:
        """The request with everything it refers to filled in.

        Raises:
            NotFoundError: there is no such preset or persona example, or the user has no such avatar or
                generation.
            FailedPreconditionError: the recipe cannot be run request_from.
        """
        if request.reproduce_of:
            request = self._reproduced(caller, request)
        if request.reference_avatar_id:
            require_avatar(caller, request.reference_avatar_id)
        return filled_from_presets(request)

    def _reproduced(self, caller: Caller, request: GenerationRequest) -> GenerationRequest:
        """The request that runs a recipe request_from: that of the generation which made it, with its seed.

        Raises:
            NotFoundError: the user has no such generation.
            FailedPreconditionError: the recipe cannot be run request_from.
        """
        before = self._get(caller, request.reproduce_of)
        recipe = read_recipe(before.id) if before.state == GenerationState.COMPLETED else None
        require_reproducible(before, recipe, self._routes)
        same = replace(request_from(before), enhanced_prompt=before.enhanced_prompt, reproduce_of=before.id)
        return replace(
            same,
            priority=request.priority,
            project_id=request.project_id,
            avatar_name=request.avatar_name if request.avatar_name.strip() else before.avatar_name,
            options=replace(before.options, seed=before.seed_used),
            preset_id="",
            persona_example_id="",
        )

    def _route_of(self, request: GenerationRequest) -> Route:
        route = self._routes.route(has_reference=bool(request.reference_avatar_id))
        if route is None:
            raise self._unsupported_error(
                self._routes.from_text,
                [
                    FieldViolation(
                        "reference_avatar_id", "the service's route makes no pictures from a reference"
                    )
                ],
            )
        return route

    def _require_supported(self, request: GenerationRequest) -> None:
        """Refuse what cannot be honoured, where the caller asks for that.

        Raises:
            InvalidArgumentError: names the fields.
        """
        route = self._route_of(request)
        if request.options.strict:
            violations = list(
                route.unsupported_options(request.options, has_reference=bool(request.reference_avatar_id))
            )
            if violations:
                raise self._unsupported_error(route, violations)

    @staticmethod
    def _unsupported_error(route: Route, violations: Sequence[FieldViolation]) -> InvalidArgumentError:
        return InvalidArgumentError(
            "OPTION_NOT_HONOURED",
            "; ".join(f"{violation.field}: {violation.description}" for violation in violations),
            metadata={"provider": route.provider, "route": route.name},
            violations=violations,
        )

    def _warnings(self, request: GenerationRequest) -> tuple[str, ...]:
        route = self._route_of(request)
        left_out = route.unsupported_options(request.options, has_reference=bool(request.reference_avatar_id))
        warnings = [violation.description for violation in left_out]
        if "prompt" in route.supports:
            cut = cut_warning(route.prompt_for(_enhanced(request)))
            warnings += [cut] if cut else []
        return tuple(warnings)

    @staticmethod
    def _get(caller: Caller, generation_id: str) -> Generation:
        row = _generations_of(caller).where(AvatarGeneration.id == generation_id).objects().first()
        if row is None:
            raise NotFoundError("generation", generation_id)
        return Generation.from_row(row, row.avatar_id)

    @staticmethod
    def _attempts(generation_id: str) -> list[Attempt]:
        rows = (
            GenerationAttempt.select()
            .where(GenerationAttempt.generation == generation_id)
            .order_by(GenerationAttempt.attempt_number)
        )
        return [
            Attempt(
                attempt_number=row.attempt_number,
                outcome=row.outcome,
                worker=row.worker,
                provider=row.provider,
                route=row.route,
                provider_request_id=row.provider_request_id,
                possibly_charged=bool(row.possibly_charged),
                price_micros=row.price_micros,
                error_reason=row.error_reason,
                error_message=row.error_message,
                start_time=row.start_time,
                end_time=row.end_time,
            )
            for row in rows
        ]

    def _list(
        self,
        caller: Caller,
        project_id: str,
        group_id: str,
        states: Sequence[str],
        created_from: datetime | None,
        created_before: datetime | None,
        limit: int,
        cursor: list[str] | None,
    ) -> list[Generation]:
        query = _generations_of(caller).order_by(AvatarGeneration.id.desc()).limit(limit)
        if project_id:
            require_project(caller, project_id)
            query = query.where(AvatarGeneration.project == project_id)
        if group_id:
            query = query.where(AvatarGeneration.group_id == group_id)
        if states:
            query = query.where(AvatarGeneration.state.in_(states))
        if created_from is not None:
            query = query.where(AvatarGeneration.create_time >= created_from)
        if created_before is not None:
            query = query.where(AvatarGeneration.create_time < created_before)
        if cursor is not None:
            query = query.where(AvatarGeneration.id < cursor[0])
        return [Generation.from_row(row, row.avatar_id) for row in query.objects()]

    def _cancel(self, caller: Caller, generation_id: str) -> tuple[Generation, bool]:
        """The generation as it is then, and whether an attempt at it was stopped."""
        query = AvatarGeneration.select().where(AvatarGeneration.id == generation_id)
        # Locked, because the statistics have to know which state it leaves.
        row = self._database.locked(caller.found(query, AvatarGeneration.user_id)).first()
        if row is None:
            raise NotFoundError("generation", generation_id)
        if row.state == GenerationState.CANCELLED:
            return self._get(caller, generation_id), False
        if row.state in ENDED_STATES:
            raise FailedPreconditionError(
                "GENERATION_FINISHED",
                f"the generation has {row.state} and cannot be cancelled",
                metadata={"state": row.state.upper()},
            )
        now = self._database.now()
        AvatarGeneration.update(
            state=GenerationState.CANCELLED,
            stage=GenerationStage.ENDED,
            epoch=AvatarGeneration.epoch + 1,
            revision=AvatarGeneration.revision + 1,
            error_reason="",
            error_message="",
            due_time=None,
            end_time=now,
            update_time=now,
        ).where(AvatarGeneration.id == generation_id).execute()
        price = abandon(self._database, generation_id, now)
        spending.settle(generation_id, row.price_micros)
        spending.spend(row.user_id, row.app_id, price, now)
        statistics.count_move(row.user_id, row.state, GenerationState.CANCELLED)
        return self._get(caller, generation_id), row.state == GenerationState.PROCESSING


def _before(instant: datetime) -> datetime:
    """As long before an instant as a commit may be late, if there is such a time."""
    return instant - min(LATE_COMMITS, instant - datetime.min.replace(tzinfo=UTC))


def _everybodys_generations() -> Any:
    return AvatarGeneration.select(AvatarGeneration, Avatar.id.alias("avatar_id")).join(
        Avatar, JOIN.LEFT_OUTER, on=(Avatar.generation == AvatarGeneration.id)
    )


def _generations_of(caller: Caller) -> Any:
    return caller.found(_everybodys_generations(), AvatarGeneration.user_id)


def _enhanced(request: GenerationRequest) -> str:
    return request.enhanced_prompt or enhance(request.prompt, request.persona, request.attributes)

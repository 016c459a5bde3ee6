"""Generations as users see them: created, estimated, read, listed, retried and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from avatar_creator_server import metrics
from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    compiled,
    run_later,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, new_id, reference_columns
from avatar_creator_server.database.models.generation import is_delayed
from avatar_creator_server.database.models.states import (
    ENDED_STATES,
    PRIORITIES,
    AttemptOutcome,
    GenerationStage,
    GenerationState,
)
from avatar_creator_server.database.records import field_values
from avatar_creator_server.errors import FailedPreconditionError, NotFoundError
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon, read_attempts
from avatar_creator_server.generations.claims import entered_turns
from avatar_creator_server.generations.current_routes import CurrentRoutes
from avatar_creator_server.generations.durations import seconds_by_route
from avatar_creator_server.generations.events import GenerationEvents
from avatar_creator_server.generations.lists import GenerationFilter, is_retried, list_generations
from avatar_creator_server.generations.moderation import Moderation
from avatar_creator_server.generations.planning import GenerationPlanner
from avatar_creator_server.generations.prompt import NEGATIVE_PROMPT
from avatar_creator_server.generations.queries import (
    generations_of,
    read_generation,
    read_rows,
)
from avatar_creator_server.generations.queue_positions import QueuePositions
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.recipes.reproduction import read_recipe
from avatar_creator_server.generations.records import Attempt, Generation
from avatar_creator_server.generations.request import (
    GenerationRequest,
    count_choices,
    name_for,
    request_from,
)
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.generations.spending import Limits
from avatar_creator_server.generations.workers import Workers
from avatar_creator_server.projects.service import (
    ProjectLock,
    in_no_deleted_project,
    lock_project,
    require_project,
)
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.idempotency import RequestKey, get_or_reserve, is_repeated
from avatar_creator_server.shared.paging import Page, Pager
from avatar_creator_server.shared.worker_notifier import WorkerNotifier
from avatar_creator_server.statistics import counters as statistics

SEED_COUNT = 2**32
"""Seeds are 0 to one less than this."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected price and time of a request."""

    route: Route
    price_micros: int
    """Price of one attempt at each generation, in millionths of a US dollar."""
    seconds: tuple[float, float] | None
    """Median and 90th percentile of recent durations by this route; None if there are none."""
    expected_seconds: int | None
    """Seconds until all would probably have ended; None until the first generation has completed, while no
    worker takes generations, and during a pause."""
    warnings: tuple[str, ...]


class Generations:
    """The generations of all users. Every call is about the generations of one caller."""

    def __init__(
        self,
        database: Database,
        events: GenerationEvents,
        notifier: WorkerNotifier,
        pager: Pager,
        new_seed: Callable[[], int],
        routes: CurrentRoutes,
        prompt_style: str,
        limits: Limits,
        moderation: Moderation,
        queue_positions: QueuePositions,
        workers: Workers,
    ) -> None:
        self._database = database
        self._events = events
        self._notifier = notifier
        self._pager = pager
        self._new_seed = new_seed
        self._routes = routes
        self._prompt_style = prompt_style
        self._limits = limits
        self._moderation = moderation
        self._queue_positions = queue_positions
        self._workers = workers

    async def create(
        self, caller: Caller, key: RequestKey, request: GenerationRequest, count: int = 1
    ) -> list[Generation]:
        """Store `count` variations of a request, or return those that this call created before.

        Raises:
            NotFoundError: The user has no such project, reference avatar or generation to reproduce, or there
                is no such preset or persona example.
            InvalidArgumentError: A text is refused, or an option is not supported.
            FailedPreconditionError: The recipe cannot be run again.
            ResourceExhaustedError: The user is over a limit.
            UnavailableError: The moderation service does not answer.
        """
        # A repeated call returns the earlier result without moderation: the rules may have changed since.
        if self._moderation.is_active and not await self._database.read(is_repeated, key):
            texts = request.texts
            self._moderation.refuse_denied(texts)
            await self._moderation.refuse_flagged("\n".join(texts.values()))
        planner = await self._planner()
        created = await self._database.write(self._create, planner, caller, key, request, count)
        return await self._announce(created)

    async def estimate(self, caller: Caller, request: GenerationRequest, count: int = 1) -> Estimate:
        """Return the price, time and warnings of `create`, without limits and the moderation service.

        Raises:
            NotFoundError, InvalidArgumentError, FailedPreconditionError: As `create`.
        """

        workers = await self._workers.live()
        planner = await self._planner()

        def query() -> Estimate:
            require_project(caller, request.project_id)
            complete = planner.complete(caller, request)
            planner.require_supported(complete)
            self._moderation.refuse_denied(complete.texts if request.reproduce_of else request.texts)
            route = planner.route_of(complete)
            return Estimate(
                route=route,
                price_micros=count * planner.price_of(complete),
                seconds=seconds_by_route(route),
                expected_seconds=None,
                warnings=(
                    *planner.warnings(complete),
                    *filter(None, (route.price_warning,)),
                    *workers.warnings_for(has_reference=bool(complete.reference_avatar_ids)),
                ),
            )

        estimate = await self._database.read(query)
        seconds = await self._queue_positions.expected_seconds(
            caller.user_id, request.priority, count, workers, route=estimate.route.name
        )
        return replace(estimate, expected_seconds=seconds)

    async def retry(self, caller: Caller, key: RequestKey, generation_id: str) -> Generation:
        """Start a failed or cancelled generation again, or return the one that this call created before.

        Raises:
            NotFoundError: The user has no such generation.
            FailedPreconditionError: The generation did not fail and was not cancelled, or the recipe that it
                reproduces cannot be run again.
            InvalidArgumentError, ResourceExhaustedError: As `create`. The moderation service is not asked.
        """
        planner = await self._planner()
        created = await self._database.write(self._retry, planner, caller, key, generation_id)
        [generation] = await self._announce([created])
        return generation

    async def get(self, caller: Caller, generation_id: str) -> Generation:
        """Read a generation.

        Raises:
            NotFoundError: The user has no such generation.
        """
        found = await self._database.read(read_generation, caller, generation_id)
        [generation] = await self._queue_positions.with_positions([found])
        return generation

    async def get_with_history(
        self, caller: Caller, generation_id: str
    ) -> tuple[Generation, list[Attempt], Recipe | None]:
        """Read a generation, its attempts in order, and the recipe if it has completed.

        Raises:
            NotFoundError: The user has no such generation.
        """

        def query() -> tuple[Generation, list[Attempt], Recipe | None]:
            generation = read_generation(caller, generation_id)
            # An attempt that started between the two reads is left out, so that both agree.
            attempts = read_attempts(generation_id, generation.attempt_number)
            recipe = read_recipe(generation_id) if generation.state == GenerationState.COMPLETED else None
            return generation, attempts, recipe

        generation, attempts, recipe = await self._database.read(query)
        [generation] = await self._queue_positions.with_positions([generation])
        return generation, attempts, recipe

    async def list_page(
        self, caller: Caller, filters: GenerationFilter, *, page_size: int, page_token: str
    ) -> Page[Generation]:
        """Read a page of the user's generations.

        Raises:
            NotFoundError: The user has no such project.
            InvalidArgumentError: The page token does not belong to this list.
        """
        scope = (
            caller.user_id,
            caller.sees_all,
            "generations",
            filters.project_id,
            filters.group_id,
            sorted(filters.states),
            str(filters.created_from),
            str(filters.created_before),
            sorted(filters.error_reasons),
            sorted(filters.priorities),
            filters.oldest_first,
        )
        page = await self._pager.read(
            scope,
            lambda limit, cursor: list_generations(caller, filters, limit, cursor),
            lambda last: [last.id],
            page_size=page_size,
            page_token=page_token,
        )
        return replace(page, items=await self._queue_positions.with_positions(page.items))

    async def cancel(self, caller: Caller, generation_id: str) -> Generation:
        """Cancel an unfinished generation. A cancelled generation stays as it is.

        Raises:
            NotFoundError: The user has no such generation.
            FailedPreconditionError: The generation has completed or failed.
        """
        cancelled = await self._cancel_and_announce(caller, generation_id, None)
        assert cancelled is not None  # only a filter leaves one out
        return cancelled

    async def cancel_matching(
        self, caller: Caller, generation_id: str, filters: GenerationFilter
    ) -> Generation | None:
        """Do as `cancel`, or return None if the state or the reason no longer matches the filter.

        Nothing else of the filter can have changed since the generation was found.

        Raises:
            NotFoundError: The user has no such generation.
        """
        return await self._cancel_and_announce(caller, generation_id, filters)

    async def _cancel_and_announce(
        self, caller: Caller, generation_id: str, filters: GenerationFilter | None
    ) -> Generation | None:
        found = await self._database.write(self._cancel, caller, generation_id, filters)
        if found is None:
            return None
        generation, stopped = found
        if stopped:
            metrics.ATTEMPTS.labels(AttemptOutcome.CANCELLED, "").inc()
        await asyncio.gather(self._notifier.notify_job(), self._events.publish_cancelled(generation))
        return generation

    async def retry_once(self, caller: Caller, generation_id: str) -> Generation | None:
        """Do as `retry`, or return None if any call has retried the generation before.

        Raises:
            As `retry`.
        """
        planner = await self._planner()
        created = await self._database.write(self._retry_once, planner, caller, generation_id)
        if created is None:
            return None
        [generation] = await self._announce([created])
        return generation

    async def retry_now(self, caller: Caller, generation_id: str) -> Generation:
        """Make a pending generation due that waits for its retry. One that is due or runs stays as it is.

        Raises:
            NotFoundError: The user has no such generation.
            FailedPreconditionError: The generation has ended.
        """
        # Unchanged if it runs: a worker may claim it before a lost answer makes the client ask again.
        found = await self._database.write(self._retry_now, caller, generation_id)
        await asyncio.gather(self._notifier.notify_generation(), self._events.publish_changed(found))
        [generation] = await self._queue_positions.with_positions([found])
        return generation

    async def _planner(self) -> GenerationPlanner:
        """Return a planner for the routes of this moment."""
        return GenerationPlanner(await self._routes.current(), self._prompt_style)

    async def _announce(self, created: list[Generation]) -> list[Generation]:
        """Notify workers and watchers, all at once because each notification may take half a second.

        Queue positions are read after the commit, so that no transaction holds locks while they are computed.
        """
        await asyncio.gather(
            *(self._notifier.notify_generation() for _ in created),
            *(self._events.publish_changed(generation) for generation in created),
        )
        return await self._queue_positions.with_new_positions(created)

    def _create(
        self,
        planner: GenerationPlanner,
        caller: Caller,
        key: RequestKey,
        request: GenerationRequest,
        count: int,
    ) -> list[Generation]:
        first_id = new_id()
        earlier_id = get_or_reserve(self._database, key, first_id)
        if earlier_id is not None:
            return _created_together(caller, earlier_id)
        now = lock_project(self._database, caller.user_id, request.project_id, ProjectLock.ADD)
        request = planner.complete(caller, request)
        if request.reproduce_of:
            # The texts come from another call, and the deny list may have changed since.
            self._moderation.refuse_denied(request.texts)
        planner.require_supported(request)
        count_choices(request)
        group_id = first_id if count > 1 else ""
        ids = [first_id, *(new_id() for _ in range(count - 1))]
        return self._insert(
            planner, caller.user_id, ids, request, now, app_id=caller.app_id, group_id=group_id
        )

    def _retry(
        self, planner: GenerationPlanner, caller: Caller, key: RequestKey, generation_id: str
    ) -> Generation:
        new_generation_id = new_id()
        earlier_id = get_or_reserve(self._database, key, new_generation_id)
        if earlier_id is not None:
            return read_generation(caller, earlier_id)
        before, now = self._lock_retryable(caller, generation_id)
        return self._insert_retry(planner, caller, before, new_generation_id, now)

    def _retry_once(
        self, planner: GenerationPlanner, caller: Caller, generation_id: str
    ) -> Generation | None:
        before, now = self._lock_retryable(caller, generation_id)
        if is_retried(before.id):
            return None
        return self._insert_retry(planner, caller, before, new_id(), now)

    def _lock_retryable(self, caller: Caller, generation_id: str) -> tuple[Generation, datetime]:
        """Return a generation that can be retried, and the time since which its project is locked.

        The generation is locked too, so that `_retry_once` waits for other retries of it and finds them.
        """
        before = read_generation(caller, generation_id)
        if before.state not in (GenerationState.FAILED, GenerationState.CANCELLED):
            raise FailedPreconditionError(
                "GENERATION_NOT_RETRYABLE",
                f"the generation is {before.state}; only one that failed or was cancelled can be retried",
                metadata={"state": before.state.upper()},
            )
        now = lock_project(self._database, before.user_id, before.project_id, ProjectLock.ADD)
        row = AvatarGeneration
        self._database.locked(row.select(row.id).where(row.id == before.id)).first()
        return before, now

    def _insert_retry(
        self,
        planner: GenerationPlanner,
        caller: Caller,
        before: Generation,
        new_generation_id: str,
        now: datetime,
    ) -> Generation:
        """Insert a retry of a locked generation, and return the retry. Arguments and errors as `_insert`."""
        request = request_from(before)
        self._moderation.refuse_denied(request.texts)
        planner.require_still_reproducible(caller, request)
        planner.require_supported(request)
        [created] = self._insert(
            planner,
            before.user_id,
            [new_generation_id],
            request,
            now,
            app_id=before.app_id,
            group_id=before.group_id,
            retry_of=before.id,
        )
        return created

    def _insert(
        self,
        planner: GenerationPlanner,
        user_id: str,
        ids: Sequence[str],
        request: GenerationRequest,
        now: datetime,
        *,
        app_id: str,
        group_id: str,
        retry_of: str = "",
    ) -> list[Generation]:
        """Insert generations that are due at `now`, with consecutive seeds, and return them.

        Runs in the current transaction, which has held the project's lock since `now`.

        Raises:
            ResourceExhaustedError: The user is over a limit. The caller must roll the transaction back.
        """
        options = request.options
        first_seed = self._new_seed() if options.seed is None else options.seed
        choice = planner.route_of(request).choice
        shared = {
            "user_id": user_id,
            "app_id": app_id,
            "project_id": request.project_id,
            "state": GenerationState.PENDING,
            "stage": GenerationStage.QUEUED,
            "priority": PRIORITIES.index(request.priority),
            "avatar_name": name_for(request),
            "prompt": request.prompt,
            "persona": field_values(request.persona),
            "attributes": field_values(request.attributes),
            "options": field_values(options),
            "enhanced_prompt": planner.enhanced_prompt_of(request),
            "negative_prompt": options.negative_prompt or NEGATIVE_PROMPT,
            "warnings": list(planner.warnings(request)),
            "route_choice": field_values(choice) if choice else None,
            "preset_id": request.preset_id or None,
            "persona_example_id": request.persona_example_id or None,
            "reproduce_of": request.reproduce_of,
            "group_id": group_id,
            "retry_of": retry_of,
            "due_time": now,
            "create_time": now,
            "update_time": now,
            **reference_columns(request.reference_avatar_ids),
        }
        price = planner.price_of(request)
        created = []
        insert = _insert_generation()
        for number, generation_id in enumerate(ids):
            seed = (first_seed + number) % SEED_COUNT
            row = insert.row(**shared, id=generation_id, seed_used=seed)
            run_later(insert.of_row(row), spending.reserved(user_id, generation_id, price, now))
            created.append(Generation.from_row(row, avatar_id=None))
        run_later(
            entered_turns(user_id, now),
            statistics.counted(user_id, generations={GenerationState.PENDING: len(ids)}),
        )
        spending.require_within(self._limits, user_id, now, count=len(ids), price_micros=len(ids) * price)
        return created

    def _retry_now(self, caller: Caller, generation_id: str) -> Generation:
        row = AvatarGeneration
        read_generation(caller, generation_id)  # fails if the caller may not find it
        now = self._database.now()
        waiting = (row.id == generation_id) & is_delayed(row)
        row.update(
            stage=GenerationStage.QUEUED, due_time=now, update_time=now, revision=row.revision + 1
        ).where(waiting).execute()
        found = read_generation(caller, generation_id)
        if found.state in ENDED_STATES:
            raise FailedPreconditionError(
                "GENERATION_NOT_WAITING",
                f"the generation is {found.state}; only one that waits for its retry can start now",
                metadata={"state": found.state.upper()},
            )
        return found

    def _cancel(
        self, caller: Caller, generation_id: str, filters: GenerationFilter | None
    ) -> tuple[Generation, bool] | None:
        """Return the cancelled generation, and whether that stopped an attempt; None if it does not match."""
        query = AvatarGeneration.select().where(
            AvatarGeneration.id == generation_id, in_no_deleted_project(AvatarGeneration.project, caller)
        )
        # Locked, because the statistics need the state that the generation leaves.
        row = self._database.locked(caller.found(query, AvatarGeneration.user_id)).first()
        if row is None:
            raise NotFoundError("generation", generation_id)
        if filters is not None and not filters.still_matches(row.state, row.error_reason):
            return None
        if row.state == GenerationState.CANCELLED:
            return read_generation(caller, generation_id), False
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
        prices = abandon(self._database, row.user_id, [generation_id], now)
        spending.settle(generation_id, row.price_micros)
        spending.spend(row.user_id, row.app_id, prices.get(generation_id, 0), now)
        statistics.count_move(row.user_id, row.state, GenerationState.CANCELLED)
        return read_generation(caller, generation_id), row.state == GenerationState.PROCESSING


def _created_together(caller: Caller, first_id: str) -> list[Generation]:
    """Return the generations that one call created, as they are now, without their retries."""
    first = read_generation(caller, first_id)
    if not first.group_id:
        return [first]
    others = generations_of(caller).where(
        AvatarGeneration.group_id == first.group_id,
        AvatarGeneration.retry_of == "",
        AvatarGeneration.id != first.id,
    )
    return [first, *read_rows(others.order_by(AvatarGeneration.id))]


@compiled
def _insert_generation() -> CompiledInsert:
    return CompiledInsert(AvatarGeneration)

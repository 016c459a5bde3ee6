"""Generations as their users see them: started, read, listed and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import JOIN

from server.database import Database
from server.domain import statistics
from server.domain.announcements import Announcements
from server.domain.caller import Caller
from server.domain.errors import FailedPreconditionError, NotFoundError
from server.domain.idempotency import RequestKey, resource_already_made
from server.domain.paging import Page, PageTokens, page_size
from server.domain.people import Attributes, Persona
from server.domain.projects import lock_project, require_project
from server.domain.prompt import NEGATIVE_PROMPT, enhance
from server.domain.queue import placed
from server.domain.records import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    PENDING,
    Attempt,
    Generation,
    Options,
    attributes_from_json,
    persona_from_json,
)
from server.models import (
    Avatar,
    AvatarGeneration,
    AvatarPreset,
    AvatarProject,
    GenerationAttempt,
    PersonaExample,
    new_id,
)
from server.wakeups import WakeUps

MAXIMUM_NAME_CHARACTERS = 120

LATE_COMMITS = timedelta(seconds=30)
"""A change is read at most this long after the time it bears: no transaction may take longer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user asks to be generated."""

    project_id: str
    prompt: str
    avatar_name: str
    persona: Persona
    attributes: Attributes
    options: Options
    preset_id: str
    persona_example_id: str


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
        wake_ups: WakeUps,
        page_tokens: PageTokens,
        new_seed: Callable[[], int],
    ) -> None:
        self._database = database
        self._announcements = announcements
        self._wake_ups = wake_ups
        self._page_tokens = page_tokens
        self._new_seed = new_seed

    async def create(self, caller: Caller, key: RequestKey, order: Order) -> Generation:
        """Accept an order as a durable row, or find the generation this request made before.

        Raises:
            NotFoundError: the user has no such project, or there is no such preset or persona example.
        """
        return await self._tell(await self._database.write(self._create, caller, key, order))

    async def retry(self, caller: Caller, key: RequestKey, generation_id: str) -> Generation:
        """Order a failed or cancelled generation again, or find the one this request made before.

        Raises:
            NotFoundError: the user has no such generation.
            FailedPreconditionError: it has neither failed nor been cancelled.
        """
        return await self._tell(await self._database.write(self._retry, caller, key, generation_id))

    async def get(self, caller: Caller, generation_id: str) -> Generation:
        """Read a generation.

        Raises:
            NotFoundError: the user has no such generation.
        """

        def query() -> Generation:
            return self._placed(self._get(caller, generation_id))

        return await self._database.read(query)

    async def get_several(self, caller: Caller, generation_ids: Sequence[str]) -> list[Generation]:
        """Read generations, all of which must be the user's, in the order of the ids.

        Raises:
            NotFoundError: the user has no such generation; names the first.
        """

        def query() -> list[Generation]:
            rows = _generations_of(caller).where(AvatarGeneration.id.in_(generation_ids)).objects()
            found = {row.id: Generation.from_row(row, row.avatar_id) for row in rows}
            for generation_id in generation_ids:
                if generation_id not in found:
                    raise NotFoundError("generation", generation_id)
            return placed([found[generation_id] for generation_id in generation_ids], self._database.now())

        return await self._database.read(query)

    async def get_with_attempts(self, caller: Caller, generation_id: str) -> tuple[Generation, list[Attempt]]:
        """Read a generation and its attempts, first to last.

        Raises:
            NotFoundError: the user has no such generation.
        """

        def query() -> tuple[Generation, list[Attempt]]:
            generation = self._placed(self._get(caller, generation_id))
            # One that began between the two reads is left out, so that both tell the same.
            attempts = self._attempts(generation_id)[: generation.attempt_number]
            return generation, attempts

        return await self._database.read(query)

    async def page(
        self,
        caller: Caller,
        *,
        project_id: str,
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
            sorted(states),
            str(created_from),
            str(created_before),
        )
        cursor = self._page_tokens.read(scope, page_token)
        size = page_size(size)
        found = await self._database.read(
            self._list, caller, project_id, states, created_from, created_before, size + 1, cursor
        )
        return self._page_tokens.page(scope, found, size, lambda last: [last.id])

    async def cancel(self, caller: Caller, generation_id: str) -> Generation:
        """Cancel a generation that has not ended; one that was cancelled before stays as it is.

        Raises:
            NotFoundError: the user has no such generation.
            FailedPreconditionError: it completed or failed.
        """
        generation = await self._database.write(self._cancel, caller, generation_id)
        await self._announcements.generation_changed(generation)
        return generation

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
            return ProjectSnapshot(now, complete_since, placed(to_tell, now), ended_before)

        return await self._database.read(query)

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

    async def read_all(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Those of these generations that exist, whoever owns them, in the order of their changes."""

        def query() -> list[Generation]:
            rows = _everybodys_generations().where(AvatarGeneration.id.in_(generation_ids)).objects()
            in_order = rows.order_by(AvatarGeneration.update_time, AvatarGeneration.id)
            return [Generation.from_row(row, row.avatar_id) for row in in_order]

        return await self._database.read(query)

    async def _tell(self, ordered: Generation) -> Generation:
        """Tell workers and watchers of an order, side by side because each may take half a second.

        Its place in the queue is looked up after the commit: nobody is to wait for that at a lock.
        """
        await asyncio.gather(self._wake_ups.for_generation(), self._announcements.generation_changed(ordered))
        return await self._database.read(self._placed, ordered)

    def _create(self, caller: Caller, key: RequestKey, order: Order) -> Generation:
        now = self._database.now()
        generation_id = new_id()
        made_before = resource_already_made(key, generation_id, now)
        if made_before is not None:
            return self._get(caller, made_before)
        lock_project(self._database, caller.user_id, order.project_id)
        self._insert(generation_id, caller.user_id, _filled_from_gallery(order))
        return self._get(caller, generation_id)

    def _retry(self, caller: Caller, key: RequestKey, generation_id: str) -> Generation:
        now = self._database.now()
        new_generation_id = new_id()
        made_before = resource_already_made(key, new_generation_id, now)
        if made_before is not None:
            return self._get(caller, made_before)
        before = self._get(caller, generation_id)
        if before.state not in (FAILED, CANCELLED):
            raise FailedPreconditionError(
                "GENERATION_NOT_RETRYABLE",
                f"the generation is {before.state}; only one that failed or was cancelled can be retried",
                metadata={"state": before.state.upper()},
            )
        lock_project(self._database, before.user_id, before.project_id)
        again = Order(
            project_id=before.project_id,
            prompt=before.prompt,
            avatar_name=before.avatar_name,
            persona=before.persona,
            attributes=before.attributes,
            options=before.options,
            preset_id=before.preset_id,
            persona_example_id=before.persona_example_id,
        )
        self._insert(new_generation_id, before.user_id, again, retry_of=before.id)
        return self._get(caller, new_generation_id)

    def _insert(self, generation_id: str, user_id: str, order: Order, *, retry_of: str = "") -> None:
        """In the current transaction, which holds the project's lock: write a generation that is due now."""
        now = self._database.now()
        seed = order.options.seed
        AvatarGeneration.create(
            id=generation_id,
            user_id=user_id,
            project=order.project_id,
            state=PENDING,
            stage="queued",
            avatar_name=order.avatar_name if order.avatar_name.strip() else _name_for(order),
            prompt=order.prompt,
            persona=asdict(order.persona),
            attributes=asdict(order.attributes),
            options=asdict(order.options),
            enhanced_prompt=enhance(order.prompt, order.persona, order.attributes),
            negative_prompt=NEGATIVE_PROMPT,
            seed_used=self._new_seed() if seed is None else seed,
            preset=order.preset_id or None,
            persona_example=order.persona_example_id or None,
            retry_of=retry_of,
            due_time=now,
            create_time=now,
            update_time=now,
        )
        statistics.count(user_id, generations={PENDING: 1})

    @staticmethod
    def _get(caller: Caller, generation_id: str) -> Generation:
        row = _generations_of(caller).where(AvatarGeneration.id == generation_id).objects().first()
        if row is None:
            raise NotFoundError("generation", generation_id)
        return Generation.from_row(row, row.avatar_id)

    def _placed(self, generation: Generation) -> Generation:
        [with_place] = placed([generation], self._database.now())
        return with_place

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
                provider_request_id=row.provider_request_id,
                possibly_charged=bool(row.possibly_charged),
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
        if states:
            query = query.where(AvatarGeneration.state.in_(states))
        if created_from is not None:
            query = query.where(AvatarGeneration.create_time >= created_from)
        if created_before is not None:
            query = query.where(AvatarGeneration.create_time < created_before)
        if cursor is not None:
            query = query.where(AvatarGeneration.id < cursor[0])
        found = [Generation.from_row(row, row.avatar_id) for row in query.objects()]
        return placed(found, self._database.now())

    def _cancel(self, caller: Caller, generation_id: str) -> Generation:
        query = AvatarGeneration.select(
            AvatarGeneration.id, AvatarGeneration.user_id, AvatarGeneration.state
        ).where(AvatarGeneration.id == generation_id)
        # Locked, because the statistics have to know which state it leaves.
        row = self._database.locked(caller.found(query, AvatarGeneration.user_id)).first()
        if row is None:
            raise NotFoundError("generation", generation_id)
        if row.state == CANCELLED:
            return self._get(caller, generation_id)
        if row.state in ENDED_STATES:
            raise FailedPreconditionError(
                "GENERATION_FINISHED",
                f"the generation has {row.state} and cannot be cancelled",
                metadata={"state": row.state.upper()},
            )
        now = self._database.now()
        AvatarGeneration.update(
            state=CANCELLED,
            stage="ended",
            epoch=AvatarGeneration.epoch + 1,
            revision=AvatarGeneration.revision + 1,
            error_reason="",
            error_message="",
            due_time=None,
            end_time=now,
            update_time=now,
        ).where(AvatarGeneration.id == generation_id).execute()
        GenerationAttempt.update(outcome="cancelled", end_time=now).where(
            GenerationAttempt.generation == generation_id, GenerationAttempt.end_time.is_null()
        ).execute()
        statistics.count_move(row.user_id, row.state, CANCELLED)
        return self._get(caller, generation_id)


def _before(instant: datetime) -> datetime:
    """As long before an instant as a commit may be late, if there is such a time."""
    return instant - min(LATE_COMMITS, instant - datetime.min.replace(tzinfo=UTC))


def _everybodys_generations() -> Any:
    return AvatarGeneration.select(AvatarGeneration, Avatar.id.alias("avatar_id")).join(
        Avatar, JOIN.LEFT_OUTER, on=(Avatar.generation == AvatarGeneration.id)
    )


def _generations_of(caller: Caller) -> Any:
    return caller.found(_everybodys_generations(), AvatarGeneration.user_id)


def _filled_from_gallery(order: Order) -> Order:
    """What the request leaves out comes from preset, then persona example; both count the use."""
    if order.preset_id:
        preset: AvatarPreset | None = AvatarPreset.get_or_none(AvatarPreset.id == order.preset_id)
        if preset is None:
            raise NotFoundError("preset", order.preset_id)
        AvatarPreset.update(popularity=AvatarPreset.popularity + 1).where(
            AvatarPreset.id == preset.id
        ).execute()
        order = replace(
            order,
            prompt=order.prompt or preset.prompt,
            persona=_filled(order.persona, persona_from_json(preset.persona)),
            attributes=_filled(order.attributes, attributes_from_json(preset.attributes)),
        )
    if order.persona_example_id:
        example: PersonaExample | None = PersonaExample.get_or_none(
            PersonaExample.id == order.persona_example_id
        )
        if example is None:
            raise NotFoundError("persona example", order.persona_example_id)
        PersonaExample.update(use_count=PersonaExample.use_count + 1).where(
            PersonaExample.id == example.id
        ).execute()
        order = replace(order, persona=_filled(order.persona, persona_from_json(example.persona)))
    return order


def _filled(given: Any, defaults: Any) -> Any:
    return replace(defaults, **{name: value for name, value in asdict(given).items() if value})


def _name_for(order: Order) -> str:
    if order.persona.name.strip():
        return order.persona.name
    name = ""
    for word in order.prompt.split():
        longer = f"{name} {word}".strip()
        if len(longer) > MAXIMUM_NAME_CHARACTERS:
            break
        name = longer
    return name or order.prompt.strip()[:MAXIMUM_NAME_CHARACTERS] or "Avatar"

"""Projects: folders of avatars."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from peewee import fn

from avatar_creator_server import metrics
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarGeneration, AvatarProject, new_id
from avatar_creator_server.database.models.states import AttemptOutcome, GenerationState
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon
from avatar_creator_server.images.store import Files
from avatar_creator_server.projects.records import Project
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_publisher import Announcements
from avatar_creator_server.shared.idempotency import RequestKey, get_or_reserve
from avatar_creator_server.shared.job_notifier import JobNotifier
from avatar_creator_server.shared.paging import Page, PageTokens, page_size
from avatar_creator_server.statistics import counters as statistics


def lock_project(database: Database, user_id: str, project_id: str) -> None:
    """In the current transaction: keep the project from changing or going until the transaction ends.

    Everything that adds to or takes from a project locks it first, so that all locks are taken in one
    order: project, then generation, then avatar, then files, and the user's statistics last.

    Raises:
        NotFoundError: the user has no such project.
    """
    query = AvatarProject.select(AvatarProject.id).where(
        AvatarProject.id == project_id, AvatarProject.user_id == user_id
    )
    if database.locked(query).first() is None:
        raise NotFoundError("project", project_id)


def require_project(caller: Caller, project_id: str) -> None:
    """Refuse a project that the caller may not find.

    Raises:
        NotFoundError: the user has no such project.
    """
    query = AvatarProject.select(AvatarProject.id).where(AvatarProject.id == project_id)
    if not caller.found(query, AvatarProject.user_id).exists():
        raise NotFoundError("project", project_id)


def count_avatars(project_id: str, change: int) -> None:
    """In the current transaction: the project holds `change` more avatars."""
    AvatarProject.update(avatar_count=AvatarProject.avatar_count + change).where(
        AvatarProject.id == project_id
    ).execute()


class Projects:
    """The projects of all users; every call is about one user's own."""

    def __init__(
        self,
        database: Database,
        files: Files,
        announcements: Announcements,
        notifier: JobNotifier,
        page_tokens: PageTokens,
    ) -> None:
        self._database = database
        self._files = files
        self._announcements = announcements
        self._notifier = notifier
        self._page_tokens = page_tokens

    async def create(self, caller: Caller, key: RequestKey, *, name: str, description: str) -> Project:
        """Make a project, or find the one this request made before."""
        return await self._database.write(self._create, caller, key, name, description)

    async def get(self, caller: Caller, project_id: str) -> Project:
        """Read a project.

        Raises:
            NotFoundError: the user has no such project.
        """
        return await self._database.read(self._get, caller, project_id)

    async def page(self, caller: Caller, *, size: int, page_token: str) -> Page[Project]:
        """A page of the user's projects, newest first."""
        scope = (caller.user_id, caller.sees_all, "projects")
        cursor = self._page_tokens.read(scope, page_token)
        size = page_size(size)
        found = await self._database.read(self._list, caller, size + 1, cursor)
        return self._page_tokens.page(scope, found, size, lambda last: [last.id])

    async def update(self, caller: Caller, project_id: str, changes: Mapping[str, str]) -> Project:
        """Write `name`, `description` or both.

        Raises:
            NotFoundError: the user has no such project.
        """
        return await self._database.write(self._update, caller, project_id, changes)

    async def delete(self, caller: Caller, project_id: str) -> None:
        """Delete a project with its avatars and generations; their files are removed soon after.

        Raises:
            NotFoundError: the user has no such project.
        """
        generation_ids, stopped = await self._database.write(self._delete, caller, project_id)
        metrics.ATTEMPTS.labels(AttemptOutcome.CANCELLED, "").inc(stopped)
        await asyncio.gather(
            self._notifier.notify_job(), self._announcements.project_deleted(project_id, generation_ids)
        )

    def _create(self, caller: Caller, key: RequestKey, name: str, description: str) -> Project:
        now = self._database.now()
        project_id = new_id()
        made_before = get_or_reserve(key, project_id, now)
        if made_before is None:
            AvatarProject.create(
                id=project_id,
                user_id=caller.user_id,
                name=name,
                description=description,
                create_time=now,
                update_time=now,
            )
        return self._get(caller, made_before or project_id)

    @staticmethod
    def _get(caller: Caller, project_id: str) -> Project:
        row = _projects_of(caller).where(AvatarProject.id == project_id).first()
        if row is None:
            raise NotFoundError("project", project_id)
        return Project.from_row(row)

    @staticmethod
    def _list(caller: Caller, limit: int, cursor: list[str] | None) -> list[Project]:
        query = _projects_of(caller).order_by(AvatarProject.id.desc()).limit(limit)
        if cursor is not None:
            query = query.where(AvatarProject.id < cursor[0])
        return [Project.from_row(row) for row in query]

    def _update(self, caller: Caller, project_id: str, changes: Mapping[str, str]) -> Project:
        lock_project(self._database, caller.user_id, project_id)
        if changes:
            AvatarProject.update(**changes, update_time=self._database.now()).where(
                AvatarProject.id == project_id
            ).execute()
        return self._get(caller, project_id)

    def _delete(self, caller: Caller, project_id: str) -> tuple[list[str], int]:
        """The generations that went with it, and how many attempts were stopped."""
        lock_project(self._database, caller.user_id, project_id)
        now = self._database.now()
        generation = AvatarGeneration
        query = generation.select(
            generation.id, generation.state, generation.app_id, generation.price_micros, generation.due_time
        ).where(generation.project == project_id)
        generations = list(self._database.locked(query))
        unfinished = [row for row in generations if row.due_time is not None]
        spent = [(row, abandon(self._database, row.id, now)) for row in unfinished]
        # The files are those of the rows as they went: a thumbnail may have been added a moment before.
        avatars = list(Avatar.delete().where(Avatar.project == project_id).returning(Avatar).execute())
        self._files.release_files_of(avatars)
        AvatarGeneration.delete().where(AvatarGeneration.project == project_id).execute()
        AvatarProject.delete().where(AvatarProject.id == project_id).execute()
        for row, _ in spent:
            spending.settle(row.id, row.price_micros)
        # In one order, in which another deletion of the user's comes to the same rows.
        for row, price_micros in sorted(spent, key=lambda each: each[0].app_id):
            spending.spend(caller.user_id, row.app_id, price_micros, now)
        statistics.count_gone(caller.user_id, avatars, Counter(row.state for row in generations))
        stopped = sum(row.state == GenerationState.PROCESSING for row in generations)
        return [row.id for row in generations], stopped


def _projects_of(caller: Caller) -> Any:
    newest_avatar = Avatar.select(fn.MAX(Avatar.id)).where(Avatar.project == AvatarProject.id)
    everybodys = AvatarProject.select(AvatarProject, newest_avatar.alias("cover_avatar_id")).objects()
    return caller.found(everybodys, AvatarProject.user_id)

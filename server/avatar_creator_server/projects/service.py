"""Projects: folders of avatars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from peewee import fn

from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    CompiledQuery,
    CompiledStatement,
    by_name,
    compiled,
    parameter,
    run_last,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarProject, IdempotencyKey, new_id
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.projects.records import Project
from avatar_creator_server.shared.caller import Caller, caller_of_form
from avatar_creator_server.shared.idempotency import RequestKey, earlier_resource_id, reservation
from avatar_creator_server.shared.paging import Page, Pager

IS_NOT_DELETED = AvatarProject.delete_time.is_null()
"""Condition of a query of projects. A deleted project has a row until a background job has removed its
contents."""

_DELETED = AvatarProject.select(AvatarProject.id).where(AvatarProject.delete_time.is_null(False))


def in_no_deleted_project(project: Any, caller: Caller | None = None) -> Any:
    """Return the condition that a row does not belong to a deleted project.

    Args:
        project: The row's column with the project.
        caller: The caller to whose rows the query is restricted; None if it is restricted to no user. It
            makes the query cheaper, because only this user's deleted projects are read.
    """
    return project.not_in(_DELETED if caller is None else caller.found(_DELETED, AvatarProject.user_id))


class ProjectLock(StrEnum):
    """A transaction's lock on a project, by what it does to it. The values are PostgreSQL's locks."""

    ADD = "FOR KEY SHARE"
    """Adds rows without a change of the project's own. Excludes only the deletion."""
    CHANGE = "FOR NO KEY UPDATE"
    """Changes the project's row, for example its number of avatars. Excludes other changes and the deletion.
    It waits for no addition, because PostgreSQL lets new additions pass a lock that waits."""
    DELETE = "FOR UPDATE"
    """Deletes the project. Excludes everything else."""


def lock_project(database: Database, user_id: str, project_id: str, lock: ProjectLock) -> datetime:
    """Lock a project until the current transaction ends, and return the time after that.

    Every transaction that adds to a project or removes from it locks the project first. So all locks are
    taken in one order: project, generation, avatar, files, and the user's statistics last.

    Raises:
        NotFoundError: The user has no such project.
    """
    locked = _locked(lock if database.is_postgresql else None)
    lock_time = locked.first(user_id=user_id, project_id=project_id)
    if lock_time is None:
        raise NotFoundError("project", project_id)
    return lock_time


@compiled
def _locked(lock: ProjectLock | None) -> CompiledQuery[datetime]:
    query: Any = AvatarProject.select(AvatarProject.id).where(
        AvatarProject.id == parameter("project_id"),
        AvatarProject.user_id == parameter("user_id"),
        IS_NOT_DELETED,
    )
    if lock is None:
        return CompiledQuery(query, by_name(lambda _: datetime.now(UTC)), by_key=True)
    # Outside the locking query, which would read the clock before it waits for the lock.
    locked = query.for_update(lock.value).cte("locked", materialized=True)
    return CompiledQuery(
        locked.select_from(fn.clock_timestamp().alias("time")),
        by_name(lambda row: row.time.astimezone(UTC)),
        by_key=True,
    )


def require_project(caller: Caller, project_id: str) -> None:
    """Refuse a project that the caller may not see.

    Raises:
        NotFoundError: The user has no such project.
    """
    if _existing(caller.sees_all).first(user_id=caller.user_id, project_id=project_id) is None:
        raise NotFoundError("project", project_id)


@compiled
def _existing(sees_all: bool) -> CompiledQuery[str]:
    query = AvatarProject.select(AvatarProject.id).where(
        AvatarProject.id == parameter("project_id"), IS_NOT_DELETED
    )
    caller = caller_of_form(sees_all, parameter("user_id"))
    query = caller.found(query, AvatarProject.user_id)
    return CompiledQuery(query, by_name(lambda row: str(row.id)), by_key=True)


def count_avatars(project_id: str, change: int) -> None:
    """Add `change` to the number of avatars in a project, in the current transaction."""
    AvatarProject.update(avatar_count=AvatarProject.avatar_count + change).where(
        AvatarProject.id == project_id
    ).execute()


class Projects:
    """The projects of all users. Every call is about the projects of one caller."""

    def __init__(self, database: Database, pager: Pager) -> None:
        self._database = database
        self._pager = pager

    async def create(self, caller: Caller, key: RequestKey, *, name: str, description: str) -> Project:
        """Create a project, or return the one that this call created before."""
        return await self._database.write(self._create, caller, key, name, description)

    async def get(self, caller: Caller, project_id: str) -> Project:
        """Read a project.

        Raises:
            NotFoundError: The user has no such project.
        """
        return await self._database.read(self._get, caller, project_id)

    async def list_page(self, caller: Caller, *, page_size: int, page_token: str) -> Page[Project]:
        """Read a page of the user's projects, newest first.

        Raises:
            InvalidArgumentError: The page token does not belong to this list.
        """
        return await self._pager.read(
            (caller.user_id, caller.sees_all, "projects"),
            lambda limit, cursor: _list(caller, limit, cursor),
            lambda last: [last.id],
            page_size=page_size,
            page_token=page_token,
        )

    async def update(self, caller: Caller, project_id: str, changes: Mapping[str, str]) -> Project:
        """Change `name`, `description` or both.

        Raises:
            NotFoundError: The user has no such project.
        """
        return await self._database.write(self._update, caller, project_id, changes)

    def _create(self, caller: Caller, key: RequestKey, name: str, description: str) -> Project:
        project_id, database = new_id(), self._database
        values = {
            "id": project_id,
            "user_id": caller.user_id,
            "name": name,
            "description": description,
        }
        if key.request_id:
            inserted = run_last(
                reservation(database, key, project_id),
                _insert_reserved().given(**values, method=key.method, request_id=key.request_id),
            )
        elif database.is_postgresql:
            inserted = run_last(_insert(is_postgresql=True).given(**values))
        else:
            now = database.begin_time()
            inserted = run_last(
                _insert(is_postgresql=False).given(**values, create_time=now, update_time=now)
            )
        row = inserted.fetchone()
        if row is None:
            return self._get(caller, earlier_resource_id(key))
        time = AvatarProject.create_time.python_value(row[0])
        assert time is not None, "the column is not null"
        return Project(
            project_id, caller.user_id, name, description, 0, "", create_time=time, update_time=time
        )

    @staticmethod
    def _get(caller: Caller, project_id: str) -> Project:
        project = _project(caller.sees_all).first(user_id=caller.user_id, project_id=project_id)
        if project is None:
            raise NotFoundError("project", project_id)
        return project

    def _update(self, caller: Caller, project_id: str, changes: Mapping[str, str]) -> Project:
        lock_project(self._database, caller.user_id, project_id, ProjectLock.CHANGE)
        if changes:
            AvatarProject.update(**changes, update_time=self._database.now()).where(
                AvatarProject.id == project_id
            ).execute()
        return self._get(caller, project_id)


def _list(caller: Caller, limit: int, cursor: Sequence[str] | None) -> list[Project]:
    query = _page(caller.sees_all, is_first=cursor is None)
    return query.rows(user_id=caller.user_id, limit=limit, last_id=cursor[0] if cursor is not None else "")


@compiled
def _insert(*, is_postgresql: bool) -> CompiledInsert:
    now = {"create_time": fn.now(), "update_time": fn.now()} if is_postgresql else {}
    return CompiledInsert(AvatarProject, lambda query: query.returning(AvatarProject.create_time), **now)


@compiled
def _insert_reserved() -> CompiledStatement:
    """Return the INSERT of a project for which its call has reserved a key; no row if it has not."""
    project, reserved = AvatarProject, IdempotencyKey
    values: dict[Any, Any] = {
        project.id: parameter("id"),
        project.user_id: parameter("user_id"),
        project.name: parameter("name"),
        project.description: parameter("description"),
        project.avatar_count: 0,
        project.create_time: reserved.create_time,
        project.update_time: reserved.create_time,
    }
    row = reserved.select(*values.values()).where(
        reserved.user_id == parameter("user_id"),
        reserved.method == parameter("method"),
        reserved.request_id == parameter("request_id"),
        reserved.resource_id == parameter("id"),
    )
    insert = project.insert_from(row, list(values)).returning(project.create_time)
    return CompiledStatement(insert, by_key=True)


@compiled
def _project(sees_all: bool) -> CompiledQuery[Project]:
    query = _projects(sees_all).where(AvatarProject.id == parameter("project_id"))
    return CompiledQuery(query, by_name(Project.from_row), by_key=True)


@compiled
def _page(sees_all: bool, *, is_first: bool) -> CompiledQuery[Project]:
    query = _projects(sees_all).order_by(AvatarProject.id.desc()).limit(parameter("limit"))
    if not is_first:
        query = query.where(AvatarProject.id < parameter("last_id"))
    return CompiledQuery(query, by_name(Project.from_row))


def _projects(sees_all: bool) -> Any:
    newest_avatar = Avatar.select(fn.MAX(Avatar.id)).where(Avatar.project == AvatarProject.id)
    all_projects = AvatarProject.select(AvatarProject, newest_avatar.alias("cover_avatar_id"))
    caller = caller_of_form(sees_all, parameter("user_id"))
    return caller.found(all_projects, AvatarProject.user_id).where(IS_NOT_DELETED)

"""Queries for generations that several modules share. All run in a database job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import JOIN

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    by_name,
    compiled,
    in_no_index,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.models import Avatar, AvatarGeneration, AvatarProject
from avatar_creator_server.database.models.states import ACTIVE_STATES
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project
from avatar_creator_server.shared.caller import Caller, caller_of_form


def all_generations() -> Any:
    """Return the query for the generations of all users, each with the id of its avatar."""
    return with_avatars().where(in_no_deleted_project(AvatarGeneration.project))


def generations_of(caller: Caller, owner: Any = AvatarGeneration.user_id) -> Any:
    """Return the query for the generations that the caller may read; `owner` is the user id of one."""
    return caller.found(with_avatars(), owner).where(in_no_deleted_project(AvatarGeneration.project, caller))


def active_ids(caller: Caller, project_id: str) -> Any:
    """Return the query for the ids of the waiting and running generations of one of the caller's projects."""
    # An index has the states of each user's generations.
    return active_ids_of_user(owner_of(caller, project_id)).where(AvatarGeneration.project == project_id)


def active_ids_of_user(user_id: Any) -> Any:
    """Return the query for the ids of a user's waiting and running generations."""
    row = AvatarGeneration
    return row.select(row.id).where(row.user_id == user_id, row.state.in_(ACTIVE_STATES))


def owner_of(caller: Caller, project_id: Any) -> Any:
    """Return the user id, or the query for it, of the owner of a project that the caller may read."""
    project = AvatarProject
    if not caller.sees_all:
        return caller.user_id
    return project.select(project.user_id).where(project.id == project_id)


def compiled_generations(query: Any, *, by_key: bool = False) -> CompiledQuery[Generation]:
    """Compile a query made from `all_generations` or `generations_of`; `by_key` as in `CompiledQuery`."""
    return CompiledQuery(query, by_name(lambda row: Generation.from_row(row, row.avatar_id)), by_key=by_key)


def read_rows(query: Any) -> list[Generation]:
    """Run a query made from `all_generations` or `generations_of`."""
    # Not compiled: that pays off only for a query that runs again.
    return [Generation.from_row(row, row.avatar_id) for row in query.objects()]


def read_generation(caller: Caller, generation_id: str) -> Generation:
    """Read one generation.

    Raises:
        NotFoundError: The caller has no such generation.
    """
    found = read_generations(caller, [generation_id])
    if not found:
        raise NotFoundError("generation", generation_id)
    return found[0]


def read_generations(caller: Caller, generation_ids: Sequence[str]) -> list[Generation]:
    """Read those of these generations that the caller may read, in any order."""
    if not generation_ids:
        return []
    ids = padded(generation_ids)
    query = _generations(caller.sees_all, len(ids))
    return query.rows(user_id=caller.user_id, **numbered("id", ids))


@compiled
def _generations(sees_all: bool, count: int) -> CompiledQuery[Generation]:
    caller = caller_of_form(sees_all, parameter("user_id"))
    query = generations_of(caller, in_no_index(AvatarGeneration.user_id)).where(
        AvatarGeneration.id.in_(parameters("id", count))
    )
    return compiled_generations(query, by_key=True)


def with_avatars() -> Any:
    """Return the query for all generations, also of deleted projects, each with the id of its avatar."""
    return AvatarGeneration.select(AvatarGeneration, Avatar.id.alias("avatar_id")).join(
        Avatar, JOIN.LEFT_OUTER, on=(Avatar.generation == AvatarGeneration.id)
    )

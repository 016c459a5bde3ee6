"""Queries for generations that several modules share. All run on a database thread."""

from __future__ import annotations

from typing import Any

from peewee import JOIN

from avatar_creator_server.database.models import Avatar, AvatarGeneration
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project
from avatar_creator_server.shared.caller import Caller


def all_generations() -> Any:
    """Return the query for the generations of all users, each with the id of its avatar."""
    return _with_avatars().where(in_no_deleted_project(AvatarGeneration.project))


def generations_of(caller: Caller) -> Any:
    """Return the query for the generations that the caller may read."""
    return caller.found(_with_avatars(), AvatarGeneration.user_id).where(
        in_no_deleted_project(AvatarGeneration.project, caller)
    )


def _with_avatars() -> Any:
    return AvatarGeneration.select(AvatarGeneration, Avatar.id.alias("avatar_id")).join(
        Avatar, JOIN.LEFT_OUTER, on=(Avatar.generation == AvatarGeneration.id)
    )


def read_rows(query: Any) -> list[Generation]:
    """Run a query made from `all_generations` or `generations_of`."""
    return [Generation.from_row(row, row.avatar_id) for row in query.objects()]


def read_generation(caller: Caller, generation_id: str) -> Generation:
    """Read one generation.

    Raises:
        NotFoundError: The caller has no such generation.
    """
    found = read_rows(generations_of(caller).where(AvatarGeneration.id == generation_id))
    if not found:
        raise NotFoundError("generation", generation_id)
    return found[0]

"""Lists of generations. Each reads a range of an index for each state, however much else the user has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from peewee import SQL

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    compiled,
    numbered,
    parameter,
)
from avatar_creator_server.database.models import AvatarGeneration, least_id
from avatar_creator_server.database.models.states import ENDED_STATES
from avatar_creator_server.generations.queries import compiled_generations, with_avatars
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project, require_project
from avatar_creator_server.shared.caller import Caller, caller_of_form

_CLOCK_DIFFERENCE = timedelta(days=1)
"""More than the difference between the time in an id and the creation time of the row. The clock of a server
gives the first, before the transaction; the clock of the database gives the second."""


@dataclass(frozen=True, slots=True)
class GenerationFilter:
    """The filters of a list of generations. Empty fields filter nothing; all others must match."""

    project_id: str = ""
    group_id: str = ""
    states: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None


def list_generations(
    caller: Caller, filters: GenerationFilter, limit: int, cursor: Sequence[str] | None
) -> list[Generation]:
    """Read a page of the caller's generations, newest first.

    Args:
        caller: The caller.
        filters: The filters.
        limit: Maximum number of generations.
        cursor: Id of the generation before the page; None for the first page.

    Raises:
        NotFoundError: The user has no such project.
    """
    if filters.project_id:
        require_project(caller, filters.project_id)
    since, until = filters.created_from, filters.created_before
    values = {
        "project_id": filters.project_id,
        "group_id": filters.group_id,
        "created_from": since,
        "first_id": least_id(since, -_CLOCK_DIFFERENCE) if since else None,
        "created_before": until,
        "id_before": least_id(until, _CLOCK_DIFFERENCE) if until else None,
        "last_id": cursor[0] if cursor is not None else None,
    }
    given = {name: value for name, value in values.items() if value}
    states = sorted(set(filters.states), key=lambda state: (state in ENDED_STATES, state))
    form = tuple(state in ENDED_STATES for state in states)
    query = _query(caller.sees_all, tuple(given), form)
    return query.rows(user_id=caller.user_id, limit=limit, **given, **numbered("state", states))


@compiled
def _query(sees_all: bool, given: tuple[str, ...], states: tuple[bool, ...]) -> CompiledQuery[Generation]:
    """Return the query for a list.

    Args:
        sees_all: True for an operator.
        given: Names of the conditions that the list has; see `_conditions`.
        states: Whether each of the wanted states is one of `ENDED_STATES`; empty for all states.
    """
    row, caller = AvatarGeneration, caller_of_form(sees_all, parameter("user_id"))
    if len(states) <= 1:
        ended = states[0] if states else None
        return compiled_generations(_newest(_matching(with_avatars(), caller, given, ended)))
    # The database reads the newest of each state in order, because no single range of an index has them all.
    newest = [
        _newest(_matching(row.select(row.id), caller, given, ended, number)).alias(f"of_state_{number}")
        for number, ended in enumerate(states)
    ]
    branches: list[Any] = [row.select(SQL("id")).from_(branch) for branch in newest]
    found = row.id.in_(reduce(lambda some, more: some.union_all(more), branches))
    return compiled_generations(_newest(with_avatars().where(found)))


def _matching(query: Any, caller: Caller, given: Sequence[str], ended: bool | None, number: int = 0) -> Any:
    """Restrict a query to the generations of a list in one state, or in any if `ended` is None."""
    row = AvatarGeneration
    query = query.where(in_no_deleted_project(row.project, caller), *_conditions(given))
    if ended is not None:
        query = query.where(row.state == parameter(f"state{number}"))
    # All of a project belong to one user, so the project is enough where an index of the project fits.
    if not caller.sees_all and ("project_id" not in given or ended is False):
        return caller.found(query, row.user_id)
    # Without a user, only partial indexes have the states, and the query must repeat their condition.
    return query if ended is None else query.where(row.due_time.is_null(ended))


def _conditions(given: Sequence[str]) -> list[Any]:
    row = AvatarGeneration
    conditions = {
        "project_id": row.project == parameter("project_id"),
        "group_id": row.group_id == parameter("group_id"),
        "created_from": row.create_time >= parameter("created_from", row.create_time),
        "created_before": row.create_time < parameter("created_before", row.create_time),
        # Ids sort by time, so these make a range of an index out of the two above.
        "first_id": row.id >= parameter("first_id"),
        "id_before": row.id < parameter("id_before"),
        "last_id": row.id < parameter("last_id"),
    }
    return [conditions[name] for name in given]


def _newest(query: Any) -> Any:
    return query.order_by(AvatarGeneration.id.desc()).limit(parameter("limit"))

"""Lists of generations. Each reads a range of an index for each state, however much else the user has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import product
from typing import Any

from peewee import SQL, fn

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    compiled,
    numbered,
    parameter,
    parameters,
)
from avatar_creator_server.database.models import CLOCK_DIFFERENCE, AvatarGeneration, least_id
from avatar_creator_server.database.models.states import (
    ENDED_STATES,
    PRIORITIES,
    GenerationPriority,
    GenerationState,
)
from avatar_creator_server.generations.queries import compiled_generations, with_avatars
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project, require_project
from avatar_creator_server.shared.caller import Caller, caller_of_form


@dataclass(frozen=True, slots=True)
class GenerationFilter:
    """The filters of a list of generations. Empty fields filter nothing; all others must match."""

    project_id: str = ""
    group_id: str = ""
    states: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    error_reasons: tuple[str, ...] = ()
    """Names of `ErrorReason`s. Without `states`, only FAILED and PENDING generations are listed."""
    priorities: tuple[str, ...] = ()
    oldest_first: bool = False
    """Order of the list, by creation time."""
    not_retried: bool = False
    """True leaves out generations that have been retried."""

    def still_matches(self, state: str, error_reason: str) -> bool:
        """Return whether a generation that matched before still does with this state and reason."""
        of_state = not self.states or state in self.states
        return of_state and (not self.error_reasons or error_reason in self.error_reasons)


_STATES_WITH_REASON = (GenerationState.PENDING, GenerationState.FAILED)


def list_generations(
    caller: Caller, filters: GenerationFilter, limit: int, cursor: Sequence[str] | None
) -> list[Generation]:
    """Read a page of the caller's generations.

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
        "first_id": least_id(since, -CLOCK_DIFFERENCE) if since else None,
        "created_before": until,
        "id_before": least_id(until, CLOCK_DIFFERENCE) if until else None,
        "last_id": cursor[0] if cursor is not None else None,
    }
    given = {name: value for name, value in values.items() if value}
    reasons = sorted(set(filters.error_reasons))
    states = set(filters.states or (_STATES_WITH_REASON if reasons else ()))
    in_order = sorted(states, key=lambda state: (state in ENDED_STATES, state))
    priorities = [PRIORITIES.index(GenerationPriority(word)) for word in sorted(set(filters.priorities))]
    form = _Form(
        caller.sees_all,
        given=tuple(given),
        states=tuple(state in ENDED_STATES for state in in_order),
        reasons=len(reasons),
        priorities=len(priorities),
        oldest_first=filters.oldest_first,
        not_retried=filters.not_retried,
    )
    return _query(form).rows(
        user_id=caller.user_id,
        limit=limit,
        **given,
        **numbered("state", in_order),
        **numbered("reason", reasons),
        **numbered("priority", priorities),
    )


def is_retried(generation_id: str) -> bool:
    """Return whether a generation has been retried. Runs in a database job."""
    row = AvatarGeneration
    return bool(row.select().where(_is_retry_of(row, generation_id)).exists())


@dataclass(frozen=True, slots=True)
class _Form:
    """The parts of a list that decide the text of its query."""

    sees_all: bool
    """True for an operator."""
    given: tuple[str, ...]
    """Names of the conditions that the list has; see `_conditions`."""
    states: tuple[bool, ...]
    """True for each wanted state that is one of `ENDED_STATES`; empty for all states."""
    reasons: int
    """Number of wanted reasons; 0 for all."""
    priorities: int
    """Number of wanted priorities; 0 for all."""
    oldest_first: bool
    not_retried: bool

    @property
    def parts(self) -> list[tuple[int | None, int | None]]:
        """The places of state and reason in each range of an index that the list reads; None for any."""
        states = range(len(self.states)) if self.states else (None,)
        reasons = range(self.reasons) if self.reasons else (None,)
        return list(product(states, reasons))


@compiled
def _query(form: _Form) -> CompiledQuery[Generation]:
    """Return the query for a list."""
    row, [first, *more] = AvatarGeneration, form.parts
    # Oldest first is the order of an index of avatars, which PostgreSQL would read from its beginning.
    if not (more or form.oldest_first):
        return compiled_generations(_in_order(_matching(with_avatars(), form, *first), form))
    # The database reads the first of each state and reason in order, because no single range of an index has
    # them all.
    parts = [
        _in_order(_matching(row.select(row.id), form, *part), form, part[0]).alias(f"part_{number}")
        for number, part in enumerate(form.parts)
    ]
    branches: list[Any] = [row.select(SQL("id")).from_(part) for part in parts]
    found = row.id.in_(reduce(lambda some, others: some.union_all(others), branches))
    return compiled_generations(_in_order(with_avatars().where(found), form))


def _matching(query: Any, form: _Form, state: int | None, reason: int | None) -> Any:
    """Restrict a query to the generations of a list in one state and with one reason, or in any for None."""
    row, caller = AvatarGeneration, caller_of_form(form.sees_all, parameter("user_id"))
    given, ended = form.given, None if state is None else form.states[state]
    query = query.where(in_no_deleted_project(row.project, caller), *_conditions(form))
    if state is not None:
        query = query.where(row.state == parameter(f"state{state}"))
    if reason is not None:
        query = query.where(row.error_reason == parameter(f"reason{reason}"), row.error_reason != SQL("''"))
    # All of a project belong to one user, so the project is enough where an index of the project fits.
    if not caller.sees_all and ("project_id" not in given or ended is False):
        return caller.found(query, row.user_id)
    # Without a user, only partial indexes have the states, and the query must repeat their condition.
    return query if ended is None else query.where(row.due_time.is_null(ended))


def _conditions(form: _Form) -> list[Any]:
    row, retry = AvatarGeneration, AvatarGeneration.alias()
    conditions = {
        "project_id": row.project == parameter("project_id"),
        "group_id": row.group_id == parameter("group_id"),
        "created_from": row.create_time >= parameter("created_from", row.create_time),
        "created_before": row.create_time < parameter("created_before", row.create_time),
        # Ids sort by time, so these make a range of an index out of the two above.
        "first_id": row.id >= parameter("first_id"),
        "id_before": row.id < parameter("id_before"),
        "last_id": (row.id > parameter("last_id")) if form.oldest_first else (row.id < parameter("last_id")),
    }
    found = [conditions[name] for name in form.given]
    if form.priorities:
        found.append(row.priority.in_(parameters("priority", form.priorities)))
    if form.not_retried:
        found.append(~fn.EXISTS(retry.select(SQL("1")).where(_is_retry_of(retry, row.id))))
    return found


def _is_retry_of(retry: Any, generation_id: Any) -> Any:
    # The second condition is that of the index.
    return (retry.retry_of == generation_id) & (retry.retry_of != SQL("''"))


def _in_order(query: Any, form: _Form, state: int | None = None) -> Any:
    place: Any = AvatarGeneration.id
    if state is not None and form.sees_all and form.oldest_first and not form.states[state]:
        # The oldest unfinished generations are near the end of the ids: by their index, PostgreSQL would read
        # all that have ended before them.
        place = fn.COALESCE(place, "")
    return query.order_by(place if form.oldest_first else place.desc()).limit(parameter("limit"))

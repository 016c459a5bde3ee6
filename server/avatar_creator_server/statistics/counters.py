"""Counters of a user's avatars, generations and uses.

The writes that change the numbers also update the counters, so a read takes the same time for every user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from peewee import EXCLUDED, Case, fn

from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    Statement,
    compiled,
    parameter,
    run_later,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarGeneration, DailyUploads, UserStatistics
from avatar_creator_server.database.models.states import GenerationState, SourceType
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.statistics.records import Statistics

RECENT_DAYS = 7
"""Number of days, up to the current UTC day, whose uploads are recent."""


def count(
    user_id: str,
    *,
    avatars: int = 0,
    usages: int = 0,
    generations: Mapping[str, int] | None = None,
    uploads: Mapping[str, int] | None = None,
) -> None:
    """Add to a user's counters, as the last write of the current transaction.

    It must be the last write because all transactions of a user lock the same row: a transaction that holds
    this lock must not wait for another one.

    Args:
        user_id: The user.
        avatars: Change of the number of avatars.
        usages: Change of the number of uses.
        generations: Changes of the number of generations, by state.
        uploads: Changes of the number of uploaded avatars, by UTC day (`2026-01-31`).
    """
    if uploads:
        _add_uploads(user_id, uploads)
    run_later(counted(user_id, avatars=avatars, usages=usages, generations=generations))


def counted(
    user_id: str, *, avatars: int = 0, usages: int = 0, generations: Mapping[str, int] | None = None
) -> Statement:
    """Return the statement that adds to a user's counters; see `count`."""
    changes = {"avatar_count": avatars, "usage_count": usages}
    changes |= {f"{state}_count": change for state, change in (generations or {}).items()}
    changes = {name: change for name, change in changes.items() if change}
    return _add(tuple(changes)).given(user_id=user_id, **changes)


def count_move(user_id: str, before: str, after: str) -> None:
    """Count a generation that has changed its state, as the last write of the current transaction."""
    if before != after:
        count(user_id, generations={before: -1, after: 1})


def count_upload(user_id: str, now: datetime) -> None:
    """Count an uploaded avatar, as the last write of the current transaction."""
    count(user_id, avatars=1, uploads={_day(now): 1})


def count_gone(user_id: str, avatar: Avatar) -> None:
    """Subtract a deleted avatar, as the last write of the current transaction."""
    uploaded = avatar.source_type == SourceType.UPLOADED
    count(
        user_id,
        avatars=-1,
        usages=-avatar.usage_count,
        uploads={_day(avatar.create_time): -1} if uploaded else None,
    )


@dataclass(frozen=True, slots=True)
class ProjectNumbers:
    """The numbers of a project that its user's statistics include."""

    avatars: int
    usages: int
    """Number of uses of the avatars."""
    uploads: Mapping[str, int]
    """Number of uploaded avatars, by UTC day (`2026-01-31`)."""
    generations: Mapping[str, int]
    """Number of generations, by state."""


def read_project_numbers(database: Database, project_id: str) -> ProjectNumbers:
    """Count the rows of a project, with one query for the avatars and one for the generations."""
    avatar, generation = Avatar, AvatarGeneration
    day: Any = (
        fn.TO_CHAR(fn.TIMEZONE("UTC", avatar.create_time), "YYYY-MM-DD")
        if database.is_postgresql
        else fn.SUBSTR(avatar.create_time, 1, 10)
    )
    uploaded = Case(None, [(avatar.source_type == SourceType.UPLOADED, day)], "")
    by_day: Any = (
        avatar.select(uploaded, fn.COUNT(avatar.id), fn.SUM(avatar.usage_count))
        .where(avatar.project == project_id)
        .group_by(uploaded)
        .tuples()
    )
    rows = [(str(name), int(avatars), int(usages)) for name, avatars, usages in by_day]
    by_state: Any = (
        generation.select(generation.state, fn.COUNT(generation.id))
        .where(generation.project == project_id)
        .group_by(generation.state)
        .tuples()
    )
    return ProjectNumbers(
        avatars=sum(avatars for _, avatars, _ in rows),
        usages=sum(usages for _, _, usages in rows),
        uploads={name: avatars for name, avatars, _ in rows if name},
        generations=dict(by_state),
    )


def count_project_gone(user_id: str, numbers: ProjectNumbers) -> None:
    """Subtract the numbers of a deleted project, as the last write of the current transaction."""
    count(
        user_id,
        avatars=-numbers.avatars,
        usages=-numbers.usages,
        generations={state: -number for state, number in numbers.generations.items()},
        uploads={day: -number for day, number in numbers.uploads.items()},
    )


def read_statistics(caller: Caller, now: datetime) -> Statistics:
    """Return the numbers of the caller, or of all users together for a caller who sees all."""
    names = ["avatar_count", "usage_count", *(f"{state}_count" for state in GenerationState)]
    sums = UserStatistics.select(*(fn.SUM(getattr(UserStatistics, name)) for name in names))
    recent = DailyUploads.select(fn.SUM(DailyUploads.upload_count)).where(
        DailyUploads.day > _day(now - timedelta(days=RECENT_DAYS))
    )
    [row] = cast(list[tuple[Any, ...]], list(caller.found(sums, UserStatistics.user_id).tuples()))
    figures = {name: int(value or 0) for name, value in zip(names, row, strict=True)}
    return Statistics(
        avatar_count=figures["avatar_count"],
        recent_upload_count=int(caller.found(recent, DailyUploads.user_id).scalar() or 0),
        usage_count=figures["usage_count"],
        generations={state: figures[f"{state}_count"] for state in GenerationState},
    )


@compiled
def _add(names: tuple[str, ...]) -> CompiledInsert:
    """Return the statement that adds to these columns of a user's row, or inserts the row."""
    row = UserStatistics
    added = {getattr(row, name): getattr(row, name) + parameter(name) for name in names}
    # Without a change too: the row must exist, and the transaction must hold its lock.
    return CompiledInsert(
        row,
        lambda query: query.on_conflict(
            conflict_target=[row.user_id], update=added or {row.user_id: row.user_id}
        ),
    )


def _add_uploads(user_id: str, uploads: Mapping[str, int]) -> None:
    """Add to the numbers of all days with one statement, in an order in which all transactions lock them."""
    DailyUploads.insert_many(
        [{"user_id": user_id, "day": day, "upload_count": change} for day, change in sorted(uploads.items())]
    ).on_conflict(
        conflict_target=[DailyUploads.user_id, DailyUploads.day],
        update={DailyUploads.upload_count: DailyUploads.upload_count + EXCLUDED.upload_count},
    ).execute()


def _day(instant: datetime) -> str:
    return instant.date().isoformat()

"""A user's figures: kept by the writes that change them, so that reading them costs the same however many
things there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from peewee import fn

from avatar_creator_server.database.models import Avatar, DailyUploads, UserStatistics
from avatar_creator_server.database.models.states import GenerationState, SourceType
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.statistics.records import DailySpend, Statistics

RECENT_DAYS = 7
"""Uploads of this UTC day and the six before it are recent."""


def count(
    user_id: str,
    *,
    avatars: int = 0,
    usages: int = 0,
    generations: Mapping[str, int] | None = None,
    uploads: Mapping[str, int] | None = None,
) -> None:
    """In the current transaction, as the last thing it writes: the user has so many more of these.

    The last, because every transaction of a user comes to the same row: whoever has it locked waits for
    nothing else. `generations` are by state, `uploads` by day.
    """
    for day, change in sorted((uploads or {}).items()):
        _add(DailyUploads, {"user_id": user_id, "day": day}, {"upload_count": change})
    changes = {"avatar_count": avatars, "usage_count": usages}
    changes |= {f"{state}_count": change for state, change in (generations or {}).items()}
    _add(UserStatistics, {"user_id": user_id}, changes)


def count_move(user_id: str, before: str, after: str) -> None:
    """In the current transaction, as the last thing it writes: a generation has left a state for another."""
    if before != after:
        count(user_id, generations={before: -1, after: 1})


def count_upload(user_id: str, now: datetime) -> None:
    """In the current transaction, as the last thing it writes: the user has one more, uploaded avatar."""
    count(user_id, avatars=1, uploads={_day(now): 1})


def count_gone(user_id: str, avatars: Iterable[Avatar], generations: Mapping[str, int] | None = None) -> None:
    """In the current transaction, as the last thing it writes: these avatars of the user's are gone.

    So are as many generations in each state as `generations` says.
    """
    gone = list(avatars)
    uploads = Counter(
        _day(avatar.create_time) for avatar in gone if avatar.source_type == SourceType.UPLOADED
    )
    count(
        user_id,
        avatars=-len(gone),
        usages=-sum(avatar.usage_count for avatar in gone),
        generations={state: -number for state, number in (generations or {}).items()},
        uploads={day: -number for day, number in uploads.items()},
    )


def read_statistics(caller: Caller, now: datetime, spending: tuple[DailySpend, ...]) -> Statistics:
    """The figures of the caller, or of all users together for one who sees all."""
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
        spending=spending,
    )


def _add(table: Any, key: dict[str, str], changes: Mapping[str, int]) -> None:
    """Add to the columns of a row, which is made if need be."""
    table.insert(**key, **changes).on_conflict(
        conflict_target=[getattr(table, name) for name in key],
        update={getattr(table, name): getattr(table, name) + change for name, change in changes.items()},
    ).execute()


def _day(instant: datetime) -> str:
    return instant.date().isoformat()

"""Uses of avatars by apps, and the sums of these uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import OP, SQL, Expression, Tuple, fn

from avatar_creator_server.avatars.service import lock_avatar, require_avatar
from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    CompiledQuery,
    CompiledStatement,
    Statement,
    by_name,
    compiled,
    parameter,
    run_later,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarAppAction, AvatarAppUsage, AvatarUsage, new_id
from avatar_creator_server.database.records import field_values
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.spending import read_spending
from avatar_creator_server.projects.service import in_no_deleted_project
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.idempotency import RequestKey, get_or_reserve
from avatar_creator_server.shared.paging import Page, Pager
from avatar_creator_server.statistics import counters as statistics
from avatar_creator_server.statistics.records import DailySpend, Statistics
from avatar_creator_server.usage.records import AppUsage, UsageRecord, UsageTotals

MAX_APPS = 1000
"""Maximum number of apps on a page of sums, and the number without a page size."""
MAX_ACTIONS = 100
"""Maximum number of actions in the sums of an app."""

MAX_SPENDING = 5000
"""Maximum number of entries on a page of spending."""


@dataclass(frozen=True, slots=True)
class Use:
    """A use of an avatar that an app reports."""

    avatar_id: str
    app_id: str
    app_name: str
    """Name of the app for display; if empty or blank, the id of the app is shown."""
    action: str
    reference_id: str
    reference_type: str
    metadata: dict[str, Any]
    """Any JSON object."""

    @property
    def names_app(self) -> bool:
        """True if the app has a name."""
        return bool(self.app_name.strip())

    @property
    def shown_app_name(self) -> str:
        """The name of the app, or its id if it has no name."""
        return self.app_name if self.names_app else self.app_id


class Usage:
    """Records and reads the uses of avatars. Each call covers the avatars of one user."""

    def __init__(self, database: Database, pager: Pager) -> None:
        self._database = database
        self._pager = pager

    async def record(self, caller: Caller, key: RequestKey, use: Use) -> tuple[UsageRecord, int]:
        """Record a use, or return the use that an earlier call with the same key recorded.

        Returns:
            The use, and the current number of uses of the avatar.

        Raises:
            NotFoundError: The user has no such avatar.
        """
        return await self._database.write(self._record, caller, key, use)

    async def list_page(
        self, caller: Caller, avatar_id: str, *, app_id: str, action: str, page_size: int, page_token: str
    ) -> Page[UsageRecord]:
        """Read a page of an avatar's uses, newest first. All given filters must match.

        Raises:
            NotFoundError: The user has no such avatar.
            InvalidArgumentError: The page token does not belong to this list.
        """
        filters = {"app_id": app_id, "action": action}
        return await self._pager.read(
            (caller.user_id, "usages", avatar_id, app_id, action),
            lambda limit, cursor: self._list(caller, avatar_id, filters, limit, cursor),
            lambda last: [last.create_time.isoformat(), last.id],
            page_size=page_size,
            page_token=page_token,
        )

    async def summarize(
        self, caller: Caller, avatar_id: str, *, page_size: int, page_token: str
    ) -> tuple[Page[AppUsage], UsageTotals]:
        """Read a page of the sums of an avatar's uses by app, most used first, and the totals of all apps.

        Raises:
            NotFoundError: The user has no such avatar.
            InvalidArgumentError: The page token does not belong to this list.
        """
        totals = UsageTotals(0, 0)

        def query(limit: int, cursor: Sequence[str] | None) -> list[AppUsage]:
            nonlocal totals
            require_avatar(caller, avatar_id)
            totals = _read_totals(avatar_id)
            return _summarize(avatar_id, limit, cursor)

        page = await self._pager.read(
            (caller.user_id, "apps", avatar_id),
            query,
            lambda last: [str(last.usage_count), last.app_id],
            page_size=page_size,
            page_token=page_token,
            default_size=MAX_APPS,
            max_size=MAX_APPS,
        )
        return page, totals

    async def statistics(self, caller: Caller, *, page_token: str) -> tuple[Statistics, Page[DailySpend]]:
        """Return the numbers of the caller, or of all users together for a caller who sees all.

        The spending comes in pages, newest day first.

        Raises:
            InvalidArgumentError: The page token does not belong to this list.
        """
        numbers: Statistics

        def query(limit: int, cursor: Sequence[str] | None) -> list[DailySpend]:
            nonlocal numbers
            now = self._database.now()
            numbers = statistics.read_statistics(caller, now)
            return read_spending(caller, now, limit, cursor)

        page = await self._pager.read(
            (caller.user_id, caller.sees_all, "spending"),
            query,
            lambda last: [last.day, last.app_id],
            page_size=0,
            page_token=page_token,
            default_size=MAX_SPENDING,
            max_size=MAX_SPENDING,
        )
        return numbers, page

    def _record(self, caller: Caller, key: RequestKey, use: Use) -> tuple[UsageRecord, int]:
        usage_id = new_id()
        earlier_id = get_or_reserve(self._database, key, usage_id)
        if earlier_id is not None:
            return self._recorded(caller, earlier_id)
        # The time after the lock, so that the time of the last use never goes back.
        avatar = lock_avatar(self._database, caller, use.avatar_id)
        record = UsageRecord(
            id=usage_id,
            user_id=caller.user_id,
            create_time=avatar.lock_time,
            **(field_values(use) | {"app_name": use.shown_app_name}),
        )
        run_later(
            _insert_use().given(**field_values(record)),
            _count_of_avatar().given(avatar_id=use.avatar_id, now=avatar.lock_time),
            *_counts_by_app(use, avatar.lock_time),
            statistics.counted(caller.user_id, usages=1),
        )
        return record, avatar.usage_count + 1

    @staticmethod
    def _recorded(caller: Caller, usage_id: str) -> tuple[UsageRecord, int]:
        row = (
            AvatarUsage.select(AvatarUsage, Avatar.usage_count.alias("count_of_avatar"))
            .join(Avatar, on=(AvatarUsage.avatar == Avatar.id))
            .where(
                AvatarUsage.id == usage_id,
                AvatarUsage.user_id == caller.user_id,
                in_no_deleted_project(Avatar.project, caller),
            )
            .objects()
            .first()
        )
        if row is None:
            raise NotFoundError("usage record", usage_id)
        return UsageRecord.from_row(row), row.count_of_avatar

    @staticmethod
    def _list(
        caller: Caller,
        avatar_id: str,
        filters: dict[str, str],
        limit: int,
        cursor: Sequence[str] | None,
    ) -> list[UsageRecord]:
        require_avatar(caller, avatar_id)
        given = {name: value for name, value in filters.items() if value}
        query = _list_query(tuple(given), is_first=cursor is None)
        time, last_id = (None, None) if cursor is None else (datetime.fromisoformat(cursor[0]), cursor[1])
        return query.rows(avatar_id=avatar_id, last_time=time, last_id=last_id, limit=limit, **given)


@compiled
def _list_query(filtered: tuple[str, ...], *, is_first: bool) -> CompiledQuery[UsageRecord]:
    """Return the query for a page of an avatar's uses, with these columns compared."""
    row, action = AvatarUsage, AvatarAppAction
    query = row.select().where(row.avatar == parameter("avatar_id"))
    for name in filtered:
        query = query.where(getattr(row, name) == parameter(name))
    if "action" in filtered:
        # The sums know at once that no use matches.
        sums = action.select(SQL("1")).where(
            action.avatar == parameter("avatar_id"), action.action == parameter("action")
        )
        query = query.where(fn.EXISTS(sums))
    if not is_first:
        last = Tuple(parameter("last_time", row.create_time), parameter("last_id"))
        query = query.where(Expression(Tuple(row.create_time, row.id), OP.LT, last))
    # By time and not by id, because the id is made before the wait for the avatar's lock.
    query = query.order_by(row.create_time.desc(), row.id.desc()).limit(parameter("limit"))
    return CompiledQuery(query, by_name(UsageRecord.from_row))


def _read_totals(avatar_id: str) -> UsageTotals:
    app_count = AvatarAppUsage.select().where(AvatarAppUsage.avatar == avatar_id).count()
    usage_count = Avatar.select(Avatar.usage_count).where(Avatar.id == avatar_id).scalar() or 0
    return UsageTotals(app_count, usage_count)


def _summarize(avatar_id: str, limit: int, cursor: Sequence[str] | None) -> list[AppUsage]:
    app, action = AvatarAppUsage, AvatarAppAction
    query = app.select().where(app.avatar == avatar_id)
    if cursor is not None:
        number, last_id = int(cursor[0]), cursor[1]
        query = query.where(
            (app.usage_count < number) | ((app.usage_count == number) & (app.app_id > last_id))
        )
    apps = list(query.order_by(app.usage_count.desc(), app.app_id).limit(limit))
    nth = fn.ROW_NUMBER().over(
        partition_by=[action.app_id], order_by=[action.usage_count.desc(), action.action]
    )
    number_of_app = fn.COUNT(action.action).over(partition_by=[action.app_id])
    ranked: Any = (
        action.select(
            action.app_id,
            action.action,
            action.usage_count,
            nth.alias("nth"),
            number_of_app.alias("number_of_app"),
        )
        .where(action.avatar == avatar_id, action.app_id.in_([row.app_id for row in apps]))
        .alias("ranked")
    )
    c = ranked.c
    most_frequent: Any = action.select(c.app_id, c.action, c.usage_count, c.number_of_app).from_(ranked)
    actions: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    counts: dict[str, int] = {}
    for app_id, name, usage_count, count in (
        most_frequent.where(c.nth <= MAX_ACTIONS).order_by(c.nth).tuples()
    ):
        actions[app_id].append((name, usage_count))
        counts[app_id] = count
    return [AppUsage.from_row(row, actions[row.app_id], counts.get(row.app_id, 0)) for row in apps]


@compiled
def _insert_use() -> CompiledInsert:
    return CompiledInsert(AvatarUsage)


@compiled
def _count_of_avatar() -> CompiledStatement:
    return CompiledStatement(
        Avatar.update(
            usage_count=Avatar.usage_count + 1, last_used_time=parameter("now", Avatar.last_used_time)
        ).where(Avatar.id == parameter("avatar_id")),
        by_key=True,
    )


def _counts_by_app(use: Use, now: datetime) -> list[Statement]:
    """Return the statements that count a use by app and action, for a transaction with the avatar's lock."""
    by_app = _count_by_app(names_app=use.names_app).given(
        avatar_id=use.avatar_id,
        app_id=use.app_id,
        app_name=use.shown_app_name,
        usage_count=1,
        first_used_time=now,
        last_used_time=now,
    )
    by_action = _count_by_action().given(
        avatar_id=use.avatar_id, app_id=use.app_id, action=use.action, usage_count=1
    )
    return [by_app, by_action]


@compiled
def _count_by_app(*, names_app: bool) -> CompiledInsert:
    row = AvatarAppUsage
    return CompiledInsert(
        row,
        lambda query: query.on_conflict(
            conflict_target=[row.avatar, row.app_id],
            # A use without a name keeps the known name of the app.
            preserve=[row.last_used_time, *([row.app_name] if names_app else [])],
            update={row.usage_count: row.usage_count + 1},
        ),
    )


@compiled
def _count_by_action() -> CompiledInsert:
    row = AvatarAppAction
    return CompiledInsert(
        row,
        lambda query: query.on_conflict(
            conflict_target=[row.avatar, row.app_id, row.action],
            update={row.usage_count: row.usage_count + 1},
        ),
    )

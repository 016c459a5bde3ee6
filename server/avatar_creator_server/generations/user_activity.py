"""Activity of users: who waits, fails and spends most, for operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from peewee import fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import (
    CLOCK_DIFFERENCE,
    AvatarGeneration,
    DailySpend,
    UserQueue,
    UserStatistics,
    least_id,
)
from avatar_creator_server.database.models.generation import has_failed_since
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.shared.paging import Page, Pager

DEFAULT_PERIOD = timedelta(days=1)
"""Length of the period up to now for failures and spending, if the operator names none."""


class UserOrder(StrEnum):
    """Order of a list of users."""

    QUEUE_DEPTH = "queue_depth"
    FAILURES = "failures"
    SPENDING = "spending"


@dataclass(frozen=True, slots=True)
class UserActivity:
    """The work of a user in the queue, and the failures and spending of the period."""

    user_id: str
    due: int
    """Number of pending generations that a worker can start now."""
    pending: int
    """Number of all pending generations, including those that wait for the time of their retry."""
    processing: int
    failed: int
    """Number of generations that were created in the period and failed."""
    price_micros: int
    """Price of the attempts that ended in the period, in whole UTC days, in millionths of a US dollar."""


class UserRanking:
    """The users with the most of something."""

    def __init__(self, database: Database, pager: Pager) -> None:
        self._database = database
        self._pager = pager

    async def list_page(
        self, operator: str, order: UserOrder, since: datetime | None, *, page_size: int, page_token: str
    ) -> Page[UserActivity]:
        """Read a page of users, the largest number first.

        Args:
            operator: Id of the caller.
            order: Number that decides.
            since: Beginning of the period; None means `DEFAULT_PERIOD`.
            page_size: Maximum number of users; 0 for the default.
            page_token: Empty for the first page.

        Raises:
            InvalidArgumentError: The page token does not belong to this list.
        """
        return await self._pager.read(
            (operator, "users", order, str(since)),
            lambda limit, cursor: self._read(order, since, limit, cursor),
            lambda last: [str(_NUMBERS[order](last)), last.user_id],
            page_size=page_size,
            page_token=page_token,
        )

    def _read(
        self, order: UserOrder, since: datetime | None, limit: int, cursor: Sequence[str] | None
    ) -> list[UserActivity]:
        start = since or self._database.now() - DEFAULT_PERIOD
        ranked = _ranked(order, start, limit, cursor)
        users = list(ranked)
        counts = {order: ranked} | {
            other: dict(_numbers(other, start, users).tuples()) for other in UserOrder if other != order
        }
        row = UserStatistics
        stored: Any = row.select(row.user_id, row.pending_count, row.processing_count)
        waiting = {
            user: (pending, processing)
            for user, pending, processing in stored.where(row.user_id.in_(users)).tuples()
        }
        return [
            UserActivity(
                user,
                int(counts[UserOrder.QUEUE_DEPTH].get(user, 0)),
                *waiting.get(user, (0, 0)),
                int(counts[UserOrder.FAILURES].get(user, 0)),
                int(counts[UserOrder.SPENDING].get(user, 0)),
            )
            for user in users
        ]


_NUMBERS: dict[UserOrder, Callable[[UserActivity], int]] = {
    UserOrder.QUEUE_DEPTH: lambda activity: activity.due,
    UserOrder.FAILURES: lambda activity: activity.failed,
    UserOrder.SPENDING: lambda activity: activity.price_micros,
}


def _ranked(order: UserOrder, since: datetime, limit: int, cursor: Sequence[str] | None) -> dict[str, int]:
    """Return the number of each user, the largest first, after the number and the user of a cursor."""
    user, number = _columns(order)
    query = _numbers(order, since, None).having(number > 0)
    if cursor is not None:
        least, last = int(cursor[0]), cursor[1]
        query = query.having((number < least) | ((number == least) & (user > last)))
    return dict(query.order_by(number.desc(), user).limit(limit).tuples())


def _columns(order: UserOrder) -> tuple[Any, Any]:
    """Return the column of the user, and the number that an order ranks."""
    match order:
        case UserOrder.QUEUE_DEPTH:
            return UserQueue.user_id, fn.SUM(UserQueue.length)
        case UserOrder.FAILURES:
            return AvatarGeneration.user_id, fn.COUNT(AvatarGeneration.id)
        case UserOrder.SPENDING:
            return DailySpend.user_id, fn.SUM(DailySpend.price_micros)


def _numbers(order: UserOrder, since: datetime, users: Sequence[str] | None) -> Any:
    """Return the query for the number of each of these users, or of all."""
    user, number = _columns(order)
    query: Any = user.model.select(user, number).group_by(user)
    if users is not None:
        query = query.where(user.in_(users))
    row = AvatarGeneration
    match order:
        case UserOrder.QUEUE_DEPTH:
            return query.where(UserQueue.head_id.is_null(False))
        case UserOrder.FAILURES:
            first_id = least_id(since, -CLOCK_DIFFERENCE)
            # The index that fits has the users first, or does not have them.
            of_users = (row.state == GenerationState.FAILED) & row.due_time.is_null() & (row.id >= first_id)
            failed = has_failed_since(row, first_id) if users is None else of_users
            return query.where(failed, row.create_time >= since)
        case UserOrder.SPENDING:
            return query.where(DailySpend.day >= since.astimezone(UTC).date().isoformat())

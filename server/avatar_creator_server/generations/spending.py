"""Spending: what users start and spend, kept by the writes that change it, and the limits on both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from peewee import JOIN, SQL, Case, Join, Select, fn

from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    CompiledStatement,
    Statement,
    compiled,
    parameter,
    run_later,
)
from avatar_creator_server.database.models import DailySpend as DailySpendRow
from avatar_creator_server.database.models import GenerationStart, UserLimits, UserStatistics, least_id
from avatar_creator_server.database.records import field_values
from avatar_creator_server.errors import QuotaViolation, ResourceExhaustedError
from avatar_creator_server.generations.durations import median_seconds
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.statistics.records import DailySpend

SPENDING_DAYS = 30
"""Statistics cover the current UTC day and the 29 days before it."""

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_UNKNOWN_SECONDS = 10.0
"""Retry delay while too many generations run and no duration is known."""

_LIMITED = {
    "concurrent": "generations that wait or run at the same time",
    "per_minute": "generations started within a minute",
    "per_day": "generations started within 24 hours",
    "spend_per_day": "spending within 24 hours",
}
"""Words for what each limit counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what one user may generate. 0 means no limit."""

    concurrent: int
    """Generations that are waiting or running."""
    per_minute: int
    """Generations started within a minute."""
    per_day: int
    """Generations started within 24 hours."""
    spend_per_day_micros: int
    """Price of the generations started within 24 hours, in millionths of a US dollar."""


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """Limits that an operator has set for one user; see `Limits`. None means the limit of the settings."""

    concurrent: int | None = None
    per_minute: int | None = None
    per_day: int | None = None
    spend_per_day_micros: int | None = None

    def over(self, defaults: Limits) -> Limits:
        """Return the limits in effect."""
        own = {name: value for name, value in field_values(self).items() if value is not None}
        return replace(defaults, **own)


@dataclass(frozen=True, slots=True)
class UsedAmounts:
    """Amounts that a user has used of the limits with the same names."""

    concurrent: int
    per_minute: int
    per_day: int
    spend_per_day_micros: int


@dataclass(frozen=True, slots=True)
class Use:
    """Amounts that a user has used, and the user's own limits."""

    used: UsedAmounts
    own: OwnLimits


def reserved(user_id: str, generation_id: str, price_micros: int, now: datetime) -> Statement:
    """Return the statement that counts a new generation, and reserves the price of one attempt at it."""
    return _reserve().given(
        generation_id=generation_id, user_id=user_id, price_micros=price_micros, create_time=now
    )


@compiled
def _reserve() -> CompiledInsert:
    return CompiledInsert(GenerationStart)


def require_within(limits: Limits, user_id: str, now: datetime, *, count: int, price_micros: int) -> None:
    """Refuse what the current transaction starts if it exceeds a limit. Call this after the last write.

    The last write locks the user's statistics, so of concurrent transactions each sees what the earlier ones
    have started.

    Args:
        limits: The limits of the settings; the user's own limits replace them.
        user_id: The user.
        now: The current time.
        count: Number of generations that the transaction starts.
        price_micros: Their price, in millionths of a US dollar.

    Raises:
        ResourceExhaustedError: Names the limit. It says when to retry, unless the transaction alone exceeds
            the limit, so that a retry would never succeed.
    """
    since = _since(limits, now)
    use = _read_use(user_id, now, since)
    limits = use.own.over(limits)
    if _since(limits, now) < since:
        # The limits of the settings do not need so much, and the user's own ones do.
        use = _read_use(user_id, now, _since(limits, now))
    used = use.used
    for name, most, asked in (
        ("concurrent", limits.concurrent, count),
        ("per_minute", limits.per_minute, count),
        ("per_day", limits.per_day, count),
        ("spend_per_day", limits.spend_per_day_micros, price_micros),
    ):
        if most and asked > most:
            raise _too_much(name, most, asked)
    if limits.concurrent and used.concurrent > limits.concurrent:
        seconds = median_seconds() or _UNKNOWN_SECONDS
        raise _over("concurrent", limits.concurrent, used.concurrent, seconds)
    for name, most, window, started in (
        ("per_minute", limits.per_minute, _MINUTE, used.per_minute),
        ("per_day", limits.per_day, _DAY, used.per_day),
    ):
        if most and started > most:
            oldest = _started(user_id, now - window, GenerationStart.create_time)
            blocking = oldest.order_by(GenerationStart.create_time).offset(started - most - 1).first()
            seconds = (blocking.create_time + window - now).total_seconds()
            raise _over(name, most, started, seconds)
    spent = used.spend_per_day_micros
    if limits.spend_per_day_micros and spent > limits.spend_per_day_micros:
        seconds = _until_spent_less(user_id, spent - limits.spend_per_day_micros, now)
        raise _over("spend_per_day", limits.spend_per_day_micros, spent, seconds)


def read_use(user_id: str, now: datetime) -> Use:
    """Read what a user has used of all limits, and the user's own limits."""
    return _read_use(user_id, now, now - _DAY)


def _since(limits: Limits, now: datetime) -> datetime:
    """Return the time of the first start that counts for one of the limits."""
    if limits.per_day or limits.spend_per_day_micros:
        return now - _DAY
    return now - _MINUTE if limits.per_minute else now


def _read_use(user_id: str, now: datetime, since: datetime) -> Use:
    """Read what a user has used of the limits. Starts before `since` are left out."""
    cursor = _used().run(user_id=user_id, a_minute_ago=now - _MINUTE, since=since)
    [running, minute, day, spent, *own] = cursor.fetchone()
    return Use(UsedAmounts(running or 0, minute, day, int(spent)), OwnLimits(*own))


@compiled
def _used() -> CompiledStatement:
    """Return the query for what a user has used of the limits.

    The columns are the unfinished generations, those started within a minute, those started after `since`,
    the price of the latter, and the user's own limits.
    """
    row, start, own = UserStatistics, GenerationStart, UserLimits
    user_id = parameter("user_id")
    running = row.select(row.pending_count + row.processing_count).where(row.user_id == user_id)
    in_minute = Case(None, [(start.create_time > parameter("a_minute_ago", start.create_time), 1)])
    # One pass over the index alone, which has all columns of it: a user may have started thousands in a day.
    started: Any = (
        start.select(
            fn.COUNT(in_minute).alias("in_minute"),
            fn.COUNT(SQL("*")).alias("in_all"),
            fn.COALESCE(fn.SUM(start.price_micros), 0).alias("spent"),
        )
        .where(start.user_id == user_id, start.create_time > parameter("since", start.create_time))
        .alias("started")
    )
    c = started.c
    tables: Any = Join(started, own, JOIN.LEFT_OUTER, on=(own.user_id == user_id))
    limits = [own.concurrent, own.per_minute, own.per_day, own.spend_per_day_micros]
    query = Select(from_list=[tables], columns=[running, c.in_minute, c.in_all, c.spent, *limits])
    return CompiledStatement(query.bind(start._meta.database))


def reserve_at_least(generation_id: str, price_micros: int) -> None:
    """Raise the reservation of a generation to what its attempts may cost, in the current transaction."""
    run_later(_change_price(only_more=True).given(of_id=generation_id, price_micros=price_micros))


def settle(generation_id: str, price_micros: int) -> None:
    """Replace the reservation of an ended generation by its price, in the current transaction."""
    run_later(_change_price(only_more=False).given(of_id=generation_id, price_micros=price_micros))


@compiled
def _change_price(*, only_more: bool) -> CompiledStatement:
    """Return the statement that changes the reservation of a generation, or only raises it."""
    start, price = GenerationStart, parameter("price_micros")
    changed = start.update({start.price_micros: price}).where(start.generation_id == parameter("of_id"))
    return CompiledStatement(changed.where(start.price_micros < price) if only_more else changed, by_key=True)


def settle_all(prices: Mapping[str, int]) -> None:
    """Replace the reservations of ended generations by their prices: one statement for each price."""
    ids_by_price: defaultdict[int, list[str]] = defaultdict(list)
    for generation_id, price_micros in prices.items():
        ids_by_price[price_micros].append(generation_id)
    for price_micros, generation_ids in ids_by_price.items():
        GenerationStart.update(price_micros=price_micros).where(
            GenerationStart.generation_id.in_(generation_ids)
        ).execute()


def spend_all(user_id: str, prices: Iterable[tuple[str, int]], now: datetime) -> None:
    """Count the prices of ended attempts, given with their apps, in the current transaction just before the
    statistics: one statement for each app, in an order in which all transactions lock the rows."""
    by_app: defaultdict[str, list[int]] = defaultdict(list)
    for app_id, price_micros in prices:
        if price_micros:
            by_app[app_id].append(price_micros)
    for app_id, spent in sorted(by_app.items()):
        _add(user_id, app_id, sum(spent), len(spent), now)


def spend(user_id: str, app_id: str, price_micros: int, now: datetime) -> None:
    """Count the price of an ended attempt, in the current transaction just before the statistics."""
    if price_micros:
        _add(user_id, app_id, price_micros, 1, now)


def refund(user_id: str, app_id: str, price_micros: int, end_time: datetime) -> None:
    """Refund an attempt that ended at `end_time`, in the current transaction just before the statistics."""
    _add(user_id, app_id, -price_micros, -1, end_time)


def read_spending(
    caller: Caller, now: datetime, limit: int, cursor: Sequence[str] | None
) -> list[DailySpend]:
    """Return the caller's spending by day and app, newest first; for an operator, the sum of all users.

    Args:
        caller: The user, or an operator.
        now: The current time.
        limit: Maximum number of entries.
        cursor: Day and app of the entry before the first; None begins with the newest day.
    """
    row = DailySpendRow
    query: Any = (
        row.select(row.day, row.app_id, fn.SUM(row.price_micros), fn.SUM(row.attempt_count))
        .where(row.day > (now - timedelta(days=SPENDING_DAYS)).date().isoformat())
        .group_by(row.day, row.app_id)
        .order_by(row.day.desc(), row.app_id)
        .limit(limit)
    )
    if cursor is not None:
        day, app_id = cursor
        query = query.where((row.day < day) | ((row.day == day) & (row.app_id > app_id)))
    return [
        DailySpend(day, app_id, int(price), int(attempts))
        for day, app_id, price, attempts in caller.found(query, row.user_id).tuples()
    ]


def delete_old_starts(now: datetime, limit: int) -> int:
    """Delete up to `limit` starts that no longer count against a limit, and return their number."""
    row = GenerationStart
    old = (
        row.select(row.generation_id)
        # Ids sort by time, so the oldest starts are the first ones of the table's key.
        .where(row.generation_id < least_id(now, -2 * _DAY), row.create_time < now - 2 * _DAY)
        .order_by(row.generation_id)
        .limit(limit)
    )
    ids = [each.generation_id for each in old]
    GenerationStart.delete().where(GenerationStart.generation_id.in_(ids)).execute()
    return len(ids)


def _add(user_id: str, app_id: str, price_micros: int, attempts: int, end_time: datetime) -> None:
    row = DailySpendRow
    row.insert(
        user_id=user_id,
        day=end_time.date().isoformat(),
        app_id=app_id,
        price_micros=price_micros,
        attempt_count=attempts,
    ).on_conflict(
        conflict_target=[row.user_id, row.day, row.app_id],
        update={
            row.price_micros: row.price_micros + price_micros,
            row.attempt_count: row.attempt_count + attempts,
        },
    ).execute()


def dollars(micros: int) -> str:
    """Format an amount for people, such as `$0.035`."""
    return f"${micros / 1_000_000:,.6f}".rstrip("0").rstrip(".")


def _started(user_id: str, since: datetime, *columns: Any) -> Any:
    return GenerationStart.select(*columns).where(
        GenerationStart.user_id == user_id, GenerationStart.create_time > since
    )


def _until_spent_less(user_id: str, excess: int, now: datetime) -> float:
    """Return the seconds until enough of the oldest starts are a day old."""
    time: Any = GenerationStart.create_time
    price = GenerationStart.price_micros
    freed = fn.SUM(price).over(order_by=[time])
    oldest: Any = _started(user_id, now - _DAY, time, freed.alias("freed")).alias("oldest")
    enough = GenerationStart.select(oldest.c.create_time).from_(oldest).where(oldest.c.freed >= excess)
    row = enough.order_by(oldest.c.create_time).limit(1).tuples().first()
    if row is None:
        return _DAY.total_seconds()
    return float((time.python_value(row[0]) + _DAY - now).total_seconds())


def _over(limit: str, most: int, used: int, seconds: float) -> ResourceExhaustedError:
    seconds = max(seconds, 1.0)
    finding = f"this call would make it {_shown(limit, used)}"
    return _limit_error(limit, most, finding, f"try again in {_for_people(seconds)}", retry_after=seconds)


def _for_people(seconds: float) -> str:
    """Return a time to wait, rounded up: in hours from two hours on, in minutes from two minutes on."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds > 2 * length:
            return f"{ceil(seconds / length)} {unit}"
    return f"{ceil(seconds)} s"


def _too_much(limit: str, most: int, asked: int) -> ResourceExhaustedError:
    """Return the error for a call that exceeds a limit alone, also if the user waits."""
    verb = "costs" if limit == "spend_per_day" else "starts"
    finding = f"this call alone {verb} {_shown(limit, asked)}"
    advice = "waiting does not help: ask for less in one call, or the operator for a higher limit"
    return _limit_error(limit, most, finding, advice, retry_after=None)


def _limit_error(
    limit: str, most: int, finding: str, advice: str, *, retry_after: float | None
) -> ResourceExhaustedError:
    sentence = f"the limit of {_LIMITED[limit]} is {_shown(limit, most)}, and {finding}"
    return ResourceExhaustedError(
        "GENERATION_LIMIT",
        f"{sentence}; {advice}",
        metadata={"limit": limit, "most": str(most)},
        quota=QuotaViolation(limit, sentence),
        retry_after=retry_after,
    )


def _shown(limit: str, amount: int) -> str:
    return dollars(amount) if limit == "spend_per_day" else f"{amount:,}"

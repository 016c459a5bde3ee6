"""Claim order: which due generation a worker takes next. Users take turns within a priority.

Urgent generations go first, but not always: a share of the claims goes to the user who has waited longest
with a less urgent one. So no priority can delay another one without end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, SQL, Case, NodeList, fn

from avatar_creator_server.database.compiled_queries import (
    Columns,
    CompiledInsert,
    CompiledQuery,
    CompiledStatement,
    Row,
    Statement,
    compiled,
    parameter,
    run_later,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, ClaimTurn, UserQueue
from avatar_creator_server.database.models.generation import is_delayed, is_queued, is_running
from avatar_creator_server.database.models.states import PRIORITIES, GenerationPriority
from avatar_creator_server.generations.pauses import RouteNames, is_a_route_open, is_not_paused
from avatar_creator_server.projects.service import in_no_deleted_project

SAME_USER = ClaimTurn.user_id == AvatarGeneration.user_id
"""Join condition between a generation and the turn of its user."""

INTERACTIVE = PRIORITIES.index(GenerationPriority.INTERACTIVE)
NORMAL = PRIORITIES.index(GenerationPriority.NORMAL)
BULK = PRIORITIES.index(GenerationPriority.BULK)

_CLAIM_TIMES = (ClaimTurn.claim_time, ClaimTurn.normal_claim_time, ClaimTurn.bulk_claim_time)
"""Time of a user's last claim, for each of `PRIORITIES`."""

_CANDIDATES = 50
"""Number of queues from which a claim chooses: other workers may hold some turns."""


_Claimed = tuple[AvatarGeneration, datetime]
"""Row of a generation, and the time of its claim."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the claims between urgent and less urgent generations.

    After `urgent_claims` claims in the order of the priorities, a worker makes one claim for a *waiting*
    user: the one who has waited longest with a normal generation, or with a bulk one for `bulk_wait` or more.
    """

    urgent_claims: int
    """Number of claims in the order of the priorities before each claim for a waiting user."""
    bulk_wait: timedelta
    """Time after which the first bulk generation of a user counts as waiting."""

    def is_for_waiting(self, claim_number: int) -> bool:
        """Return whether a process makes its claim of this number, from 0, for a waiting user."""
        return claim_number % (self.urgent_claims + 1) == self.urgent_claims

    def claims_before(self, priority: int, *, same: int, more_urgent: int, less_urgent: int) -> int:
        """Return the number of claims before that of a new generation.

        Args:
            priority: Index into `PRIORITIES`.
            same: Number of generations of this priority that come before it.
            more_urgent: Number of more urgent generations.
            less_urgent: Number of less urgent generations whose users are waiting.
        """
        if priority == INTERACTIVE:
            return same + min(less_urgent, same // self.urgent_claims)
        if priority == BULK:
            return same + more_urgent
        return same + min(more_urgent, (same + 1) * self.urgent_claims)


def take_next(
    database: Database, shares: Shares, routes: RouteNames, *, for_waiting: bool = False
) -> _Claimed | None:
    """Lock the next due generation and record its user's turn, in the current transaction.

    The most urgent priority comes first; work of a lost worker is as urgent as possible. Within a priority,
    users take turns: next is the user who has waited longest since their last claim in this priority, or
    since the creation of the generation if that is later. A user's own generations go in the order of their
    creation.

    Args:
        database: The database.
        shares: Shares of the claims.
        routes: Routes of this process. Work of a paused route is not taken.
        for_waiting: True takes from the user who has waited longest, if one is waiting; see `Shares`.

    Returns:
        The locked row and the time of the claim; None if no unlocked generation is due.
    """
    is_postgresql = database.is_postgresql
    given = claim_times(database, shares) | routes.values()
    found = None
    if for_waiting:
        found = _next_waiting(is_postgresql).first(**given)
    if found is None:
        found = _next_urgent(is_postgresql).first(**given)
    if found is None:
        # Other workers hold all turns, or a version without turns wrote the work.
        found = _take_of_any_user(is_postgresql, given)
    if found is not None:
        taken, claim_time = found
        run_later(_turn(is_postgresql, taken.priority).given(user_id=taken.user_id, now=claim_time))
    return found


def claim_times(database: Database, shares: Shares) -> dict[str, Any]:
    """Return the values of `time_now` and `long_ago`."""
    if database.is_postgresql:
        return {"bulk_wait": shares.bulk_wait}
    now = database.now()
    return {"now": now, "long_ago": now - shares.bulk_wait}


def time_now(is_postgresql: bool) -> Any:
    """Return the time of the claim.

    For PostgreSQL it is the beginning of the transaction, so no round trip has to ask for the time before. A
    claim is the first statement of its transaction and waits for no row, so the time is that of the claim.
    """
    return fn.NOW() if is_postgresql else parameter("now", ClaimTurn.claim_time)


def long_ago(is_postgresql: bool) -> Any:
    """Return the time before which a bulk generation must have come to its turn to count as waiting."""
    if is_postgresql:
        return fn.NOW() - parameter("bulk_wait").cast("INTERVAL")
    return parameter("long_ago", ClaimTurn.claim_time)


def end_delays(database: Database, now: datetime, limit: int) -> int:
    """Queue up to `limit` generations whose retry is due, in the current transaction; return their number."""
    row, queue = AvatarGeneration, UserQueue
    due: Any = row.select(row.id, row.user_id).where(is_delayed(row), row.due_time <= now)
    rows = list(database.locked(due.order_by(row.due_time).limit(limit), skip_locked=True))
    if rows:
        # The queues change at the commit. Locked in one order, or two sweepers could deadlock.
        queues = queue.select(queue.priority).where(queue.user_id.in_({each.user_id for each in rows}))
        list(database.locked(queues.order_by(queue.user_id, queue.priority)))
        row.update(delay_over=True).where(row.id.in_([each.id for each in rows])).execute()
    return len(rows)


def entered_turns(user_id: str, now: datetime) -> Statement:
    """Return the statement that lets the user take turns from now on. No effect if they already do."""
    return _enter_turns().given(user_id=user_id, claim_time=now)


@compiled
def _enter_turns() -> CompiledInsert:
    return CompiledInsert(ClaimTurn, lambda query: query.on_conflict(action="IGNORE"))


def enter_missing_turns() -> None:
    """Let users take turns whose work was written by a version without turns, in the current transaction."""
    waiting = (
        UserQueue.select(UserQueue.user_id, fn.MIN(UserQueue.turn_time))
        .join(ClaimTurn, JOIN.LEFT_OUTER, on=(ClaimTurn.user_id == UserQueue.user_id))
        .where(UserQueue.head_id.is_null(False), ClaimTurn.user_id.is_null())
        .group_by(UserQueue.user_id)
    )
    ClaimTurn.insert_from(waiting, [ClaimTurn.user_id, ClaimTurn.claim_time]).on_conflict(
        action="IGNORE"
    ).execute()


def _turn_time(is_postgresql: bool, priority: Any, created: Any) -> Any:
    claimed = Case(priority, list(enumerate(_CLAIM_TIMES)))
    latest = fn.GREATEST if is_postgresql else fn.MAX
    return latest(fn.COALESCE(claimed, created), created)


@compiled
def _next_urgent(is_postgresql: bool) -> CompiledQuery[_Claimed]:
    """Return the query that locks the first generation of the most urgent queues.

    A generation in PROCESSING that is due has lost its worker, and may be paid for: it is as urgent as
    possible.
    """
    row, queue = AvatarGeneration, UserQueue
    turn = _turn_time(is_postgresql, row.priority, row.create_time)
    is_lost = _is_lost(row, is_postgresql)
    lost = row.select(row.id, turn.alias("turn")).join(ClaimTurn, on=SAME_USER).where(is_lost)
    first = queue.select(fn.MIN(queue.priority)).where(queue.head_id.is_null(False))
    urgency = Case(None, [(fn.EXISTS(row.select(row.id).where(is_lost)), INTERACTIVE)], first)
    return _first_of(_everyone(lost) + _heads(queue.priority == urgency, is_postgresql), is_postgresql)


@compiled
def _next_waiting(is_postgresql: bool) -> CompiledQuery[_Claimed]:
    """Return the query that locks the first generation of the user who has waited longest; see `Shares`."""
    queue = UserQueue
    # Not one condition for both: each is a range of the index in the order of the turns.
    waits_long = queue.turn_time <= long_ago(is_postgresql)
    bulk = _heads((queue.priority == BULK) & waits_long, is_postgresql)
    return _first_of(_heads(queue.priority == NORMAL, is_postgresql) + bulk, is_postgresql)


def _is_lost(row: Any, is_postgresql: bool) -> Any:
    return is_running(row) & (row.due_time <= time_now(is_postgresql)) & is_not_paused(row)


def _heads(which: Any, is_postgresql: bool) -> Any:
    """Return the query for the first generations of these queues, in the order of their turns."""
    queue, head = UserQueue, _first_open(is_postgresql)
    return _everyone(
        queue.select(head.alias("id"), queue.turn_time.alias("turn"))
        .where(queue.head_id.is_null(False), is_a_route_open(), which, _is_found(head))
        .order_by(queue.turn_time, queue.head_id)
        .limit(_CANDIDATES)
    )


def _first_open(is_postgresql: bool) -> Any:
    """Return the expression for the id of a queue's first generation that can be claimed, or null.

    It need not be `head_id`: the project of that one may be deleted, and its removal has not ended it yet. It
    is no join, so PostgreSQL cannot plan it as one that reads all due generations.
    """
    queue, first = UserQueue, AvatarGeneration.alias()
    of_queue = (first.user_id == queue.user_id) & (first.priority == queue.priority)
    is_first = _in_no_index(_is_open(first, is_postgresql))
    return first.select(first.id).where(of_queue, is_queued(first), is_first).order_by(first.id).limit(1)


def _is_found(value: Any) -> Any:
    return NodeList((value, SQL("IS NOT NULL")))


def _in_no_index(condition: Any) -> Any:
    """Return a condition that chooses no index.

    PostgreSQL would take the index of all due generations, and read all of it, when its statistics are older
    than the queue and say that few are due.
    """
    return fn.COALESCE(condition, False)


def _everyone(query: Any) -> Any:
    """Return a query as a part of a compound: SQLite has no order and no limit in the parts themselves."""
    inner = query.alias("inner")
    return AvatarGeneration.select(inner.c.id, inner.c.turn).from_(inner)


def _is_open(row: Any, is_postgresql: bool) -> Any:
    """Return the condition that a generation may be claimed.

    It is due, its route is not paused, and its project is not deleted: the removal of a project ends its
    generations.
    """
    is_due = row.due_time <= time_now(is_postgresql)
    return is_due & is_not_paused(row) & in_no_deleted_project(row.project)


def _first_of(candidates: Any, is_postgresql: bool) -> CompiledQuery[_Claimed]:
    """Return the query that locks the first candidate that no other worker has locked, with its turn.

    The turn is locked too, so that concurrent workers take from different users. It is locked first, because
    a row stays locked when SKIP LOCKED skips the row it is joined with.
    """
    # In order, so PostgreSQL looks for the rows of one candidate after the other, and stops at the first.
    in_order = candidates.order_by(SQL("turn"), SQL("id"))
    row, candidate = AvatarGeneration, in_order.alias("candidate")
    is_claimable = _is_open(row, is_postgresql) & (is_queued(row) | is_running(row))
    query = (
        row.select(row, time_now(is_postgresql).alias("now"))
        .join(candidate, on=(candidate.c.id == row.id))
        .join(ClaimTurn, on=SAME_USER)
        .where(_in_no_index(is_claimable))
        .order_by(candidate.c.turn, row.id)
    )
    return _locking(query, is_postgresql, ClaimTurn, row)


def _locking(query: Any, is_postgresql: bool, *tables: Any) -> CompiledQuery[_Claimed]:
    """Return the query for the first row that is not locked, with a lock on the rows of these tables.

    It finds the row by indexes whose order is the claim order, so one plan is the best for all times.
    """
    query = query.limit(1)
    if is_postgresql:
        query = query.for_update(of=tables, skip_locked=True)
    return CompiledQuery(query, _read_row, by_key=True)


def _read_row(columns: Columns) -> Callable[[Row], _Claimed]:
    fields: Any = AvatarGeneration._meta
    getters = {
        field.name: columns.getter(field.column_name, AvatarGeneration) for field in fields.sorted_fields
    }
    get_now = columns.getter("now")
    decode: Any = fields.fields["due_time"].python_value
    return lambda row: (
        AvatarGeneration(**{name: get(row) for name, get in getters.items()}),
        decode(get_now(row)),
    )


def _take_of_any_user(is_postgresql: bool, given: Mapping[str, Any]) -> _Claimed | None:
    """Lock the next generation of any user, even if another worker holds the turn of that user."""
    taken = _next_lost(is_postgresql).first(**given)
    for user_id, priority in () if taken else _first_queues(is_postgresql).rows(**given):
        taken = _next_in_queue(is_postgresql).first(**given, user_id=user_id, priority=priority)
        if taken is not None:
            break
    return taken


@compiled
def _next_lost(is_postgresql: bool) -> CompiledQuery[_Claimed]:
    row, now = AvatarGeneration, time_now(is_postgresql).alias("now")
    query = row.select(row, now).where(_is_open(row, is_postgresql), is_running(row)).order_by(row.due_time)
    return _locking(query, is_postgresql, row)


@compiled
def _first_queues(is_postgresql: bool) -> CompiledQuery[Row]:
    queue = UserQueue
    # Without the last condition, queues of which nothing can be claimed could keep all others waiting.
    is_open = is_a_route_open() & _is_found(_first_open(is_postgresql))
    query = queue.select(queue.user_id, queue.priority).where(queue.head_id.is_null(False), is_open)
    in_order = query.order_by(queue.priority, queue.turn_time, queue.head_id).limit(_CANDIDATES)
    return CompiledQuery(in_order, lambda _: tuple)


@compiled
def _next_in_queue(is_postgresql: bool) -> CompiledQuery[_Claimed]:
    row, now = AvatarGeneration, time_now(is_postgresql).alias("now")
    of_queue = (row.user_id == parameter("user_id")) & (row.priority == parameter("priority"))
    is_open = _in_no_index(_is_open(row, is_postgresql))
    query = row.select(row, now).where(of_queue, is_queued(row), is_open)
    query = query.order_by(row.id)
    return _locking(query, is_postgresql, row)


@compiled
def _turn(is_postgresql: bool, priority: int) -> CompiledStatement:
    """Return the statement that records a user's claim of this priority.

    It skips a turn that another worker has locked, or two workers that take from each other's users would
    deadlock.
    """
    turn = ClaimTurn
    free = turn.select(turn.user_id).where(turn.user_id == parameter("user_id"))
    if is_postgresql:
        free = free.for_update(skip_locked=True)
    now = parameter("now", turn.claim_time)
    query = turn.update({_CLAIM_TIMES[priority]: now}).where(turn.user_id.in_(free))
    return CompiledStatement(query, by_key=True)

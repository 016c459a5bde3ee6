"""Claim order: which due generation a worker takes next. Users take turns within a priority.

Urgent generations go first, but not always: a share of the claims goes to the user who has waited longest
with a less urgent one. So no priority can delay another one without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, Case, Value, fn

from avatar_creator_server.database.compiled_queries import CompiledInsert, Statement, compiled
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, ClaimTurn
from avatar_creator_server.database.models.states import PRIORITIES, GenerationPriority, GenerationState
from avatar_creator_server.projects.service import in_no_deleted_project

SAME_USER = ClaimTurn.user_id == AvatarGeneration.user_id
"""Join condition between a generation and the turn of its user."""

_INTERACTIVE = PRIORITIES.index(GenerationPriority.INTERACTIVE)
_BULK = PRIORITIES.index(GenerationPriority.BULK)

_CLAIM_TIMES = (ClaimTurn.claim_time, ClaimTurn.normal_claim_time, ClaimTurn.bulk_claim_time)
"""Time of a user's last claim, for each of `PRIORITIES`."""

_CANDIDATES = 50
"""Number of users from which a claim for a waiting user chooses: other workers may hold some turns."""

_URGENCY = Case(None, [(AvatarGeneration.state == GenerationState.PROCESSING, 0)], AvatarGeneration.priority)
"""A due generation in PROCESSING has lost its worker, and may be paid for: it is as urgent as possible."""


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
        if priority == _INTERACTIVE:
            return same + min(less_urgent, same // self.urgent_claims)
        if priority == _BULK:
            return same + more_urgent
        return same + min(more_urgent, (same + 1) * self.urgent_claims)


def take_next(
    database: Database, now: datetime, shares: Shares, *, for_waiting: bool = False
) -> AvatarGeneration | None:
    """Lock the next due generation and record its user's turn, in the current transaction.

    The most urgent priority comes first; work of a lost worker is as urgent as possible. Within a priority,
    users take turns: next is the user who has waited longest since their last claim in this priority, or
    since the creation of the generation if that is later. A user's own generations go in the order of their
    creation.

    Args:
        database: The database.
        now: The current time.
        shares: Shares of the claims.
        for_waiting: True takes from the user who has waited longest, if one is waiting; see `Shares`.

    Returns:
        The locked row; None if no unlocked generation is due.
    """
    # Without the work of a deleted project, which its removal ends.
    due = (AvatarGeneration.due_time <= now) & in_no_deleted_project(AvatarGeneration.project)
    taken = _take_waiting(database, due, now, shares) if for_waiting else None
    if taken is None:
        taken = _take_most_urgent(database, due)
    if taken is not None:
        _record_turn(database, taken, now)
    return taken


def entered_turns(user_id: str, now: datetime) -> Statement:
    """Return the statement that lets the user take turns from now on. No effect if they already do."""
    return _enter_turns().given(user_id=user_id, claim_time=now)


@compiled
def _enter_turns() -> CompiledInsert:
    return CompiledInsert(ClaimTurn, lambda query: query.on_conflict(action="IGNORE"))


def enter_missing_turns() -> None:
    """Let users take turns whose work was written by a version without turns, in the current transaction."""
    waiting = (
        AvatarGeneration.select(AvatarGeneration.user_id, fn.MIN(AvatarGeneration.create_time))
        .join(ClaimTurn, JOIN.LEFT_OUTER, on=SAME_USER)
        .where(AvatarGeneration.due_time.is_null(False), ClaimTurn.user_id.is_null())
        .group_by(AvatarGeneration.user_id)
    )
    ClaimTurn.insert_from(waiting, [ClaimTurn.user_id, ClaimTurn.claim_time]).on_conflict(
        action="IGNORE"
    ).execute()


def turn_time(database: Database) -> Any:
    """Return the SQL expression for the time since which a generation has waited for its user's turn."""
    return _turn_time(database, AvatarGeneration.priority, AvatarGeneration.create_time)


def order_by_claims(pending: Any, now: datetime, shares: Shares) -> Any:
    """Return the query for the order in which one worker would claim pending generations.

    Args:
        pending: Columns of the pending generations: `id`, `priority`, `ready` (due time, or `now` if it is
            past), `nth` (rank among those of the same user, priority and `ready`) and `turn` (`turn_time`).
        now: The current time.
        shares: Shares of the claims.

    Returns:
        `id`, `ready`, `urgency_place` and `claim_place`. Sorted by `ready`, then by `claim_place` and then by
        `urgency_place`, the rows are in the order of the claims.
    """
    c = pending
    # After its first claim, a user's next bulk generation is no longer waiting.
    first = (c.priority < _BULK) | (c.nth == 1)
    is_in_turn = (c.ready == time_value(now)) & first & _is_waiting(c.priority, c.turn, now, shares)
    waiting = Case(None, [(is_in_turn, 1)], 0)
    urgency_place = fn.ROW_NUMBER().over(order_by=[c.ready, c.priority, c.nth, c.turn, c.id])
    waiting_place = fn.ROW_NUMBER().over(partition_by=[waiting], order_by=[c.nth, c.turn, c.id])
    # Doubled, so that the first claim for a waiting user lies between two whole places: after
    # `urgent_claims` others.
    by_urgency, by_waiting = urgency_place * 2, waiting_place * (2 * shares.urgent_claims) + 1
    claim_place = Case(None, [((waiting == 1) & (by_waiting < by_urgency), by_waiting)], by_urgency)
    return AvatarGeneration.select(
        c.id, c.ready, urgency_place.alias("urgency_place"), claim_place.alias("claim_place")
    )


def _turn_time(database: Database, priority: Any, created: Any) -> Any:
    claimed = Case(priority, list(enumerate(_CLAIM_TIMES)))
    return database.latest(fn.COALESCE(claimed, created), created)


def _is_waiting(priority: Any, turn: Any, now: datetime, shares: Shares) -> Any:
    """Return the SQL condition for the first pending generation of a user to be waiting; see `Shares`."""
    waits_long = turn <= time_value(now - shares.bulk_wait)
    return (priority > _INTERACTIVE) & ((priority < _BULK) | waits_long)


def time_value(instant: datetime) -> Any:
    """Return an instant as an SQL value that compares with times of generations."""
    return Value(instant, converter=AvatarGeneration.due_time.db_value)


def _take_waiting(database: Database, due: Any, now: datetime, shares: Shares) -> AvatarGeneration | None:
    row = AvatarGeneration
    # The first generation of each user and priority, which is much less to join and sort than all due work.
    firsts: Any = (
        row.select(
            fn.MIN(row.id).alias("id"),
            row.user_id,
            row.priority,
            fn.MIN(row.create_time).alias("create_time"),
        )
        .where(due, row.state == GenerationState.PENDING, row.priority > _INTERACTIVE)
        .group_by(row.user_id, row.priority)
        .alias("firsts")
    )
    turn = _turn_time(database, firsts.c.priority, firsts.c.create_time)
    longest_waiting = (
        row.select(firsts.c.id)
        .from_(firsts)
        .join(ClaimTurn, on=(ClaimTurn.user_id == firsts.c.user_id))
        .where(_is_waiting(firsts.c.priority, turn, now, shares))
        .order_by(turn, firsts.c.id)
        .limit(_CANDIDATES)
    )
    rows = row.select().join(ClaimTurn, on=SAME_USER).where(due, row.id.in_(longest_waiting))
    return _first(database, rows, (turn_time(database), row.id), of=(ClaimTurn, row))


def _take_most_urgent(database: Database, due: Any) -> AvatarGeneration | None:
    order = (_URGENCY, turn_time(database), AvatarGeneration.id)
    row = AvatarGeneration.select()
    urgent = AvatarGeneration.select(fn.MIN(_URGENCY)).where(due)
    # The turn is locked too, so that concurrent workers take from different users. It is locked first,
    # because a row stays locked when SKIP LOCKED skips the row it is joined with.
    most_urgent = row.join(ClaimTurn, on=SAME_USER).where(due, urgent == _URGENCY)
    taken = _first(database, most_urgent, order, of=(ClaimTurn, AvatarGeneration))
    if taken is None:
        # Other workers hold all turns, or a version without turns wrote the work.
        any_user = row.join(ClaimTurn, JOIN.LEFT_OUTER, on=SAME_USER).where(due)
        taken = _first(database, any_user, order, of=(AvatarGeneration,))
    return taken


def _first(
    database: Database, rows: Any, order: Sequence[Any], *, of: Sequence[Any]
) -> AvatarGeneration | None:
    found: AvatarGeneration | None
    found = database.locked(rows.order_by(*order).limit(1), of=of, skip_locked=True).first()
    return found


def _record_turn(database: Database, taken: AvatarGeneration, now: datetime) -> None:
    # SKIP LOCKED, or two workers that take from each other's users would deadlock.
    free = ClaimTurn.select(ClaimTurn.user_id).where(ClaimTurn.user_id == taken.user_id)
    ClaimTurn.update({_CLAIM_TIMES[taken.priority]: now}).where(
        ClaimTurn.user_id.in_(database.locked(free, skip_locked=True))
    ).execute()

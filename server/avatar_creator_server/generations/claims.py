"""Claim order: which due generation a worker takes next. Users take turns within a priority."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peewee import JOIN, Case, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, ClaimTurn
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.projects.service import in_no_deleted_project

SAME_USER = ClaimTurn.user_id == AvatarGeneration.user_id
"""Join condition between a generation and the turn of its user."""

_URGENCY = Case(None, [(AvatarGeneration.state == GenerationState.PROCESSING, 0)], AvatarGeneration.priority)
"""A due generation in PROCESSING has lost its worker, and may be paid for: it is as urgent as possible."""


def take_next(database: Database, now: datetime) -> AvatarGeneration | None:
    """Lock the next due generation and record its user's turn, in the current transaction.

    The most urgent priority comes first; work of a lost worker is as urgent as possible. Within a priority,
    users take turns: next is the user who has waited longest since their last claim, or since the creation
    of the generation if that is later. A user's own generations go in the order of creation.

    Returns:
        The locked row; None if no unlocked generation is due.
    """
    # Without the work of a deleted project, which its removal ends.
    due = (AvatarGeneration.due_time <= now) & in_no_deleted_project(AvatarGeneration.project)
    row = AvatarGeneration.select()
    urgent = AvatarGeneration.select(fn.MIN(_URGENCY)).where(due)
    # The turn is locked too, so that concurrent workers take from different users. It is locked first,
    # because a row stays locked when SKIP LOCKED skips the row it is joined with.
    most_urgent = row.join(ClaimTurn, on=SAME_USER).where(due, urgent == _URGENCY)
    taken = _first(database, most_urgent, of=(ClaimTurn, AvatarGeneration))
    if taken is None:
        # Other workers hold all turns, or a version without turns wrote the work.
        any_user = row.join(ClaimTurn, JOIN.LEFT_OUTER, on=SAME_USER).where(due)
        taken = _first(database, any_user, of=(AvatarGeneration,))
    if taken is not None:
        _record_turn(database, taken.user_id, now)
    return taken


def enter_turns(user_id: str, now: datetime) -> None:
    """Let the user take turns from now on, in the current transaction. No effect if they already do."""
    ClaimTurn.insert(user_id=user_id, claim_time=now).on_conflict(action="IGNORE").execute()


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
    created = AvatarGeneration.create_time
    return database.latest(fn.COALESCE(ClaimTurn.claim_time, created), created)


def _first(database: Database, due: Any, *, of: Sequence[Any]) -> AvatarGeneration | None:
    order = (_URGENCY, turn_time(database), AvatarGeneration.id)
    found: AvatarGeneration | None
    found = database.locked(due.order_by(*order).limit(1), of=of, skip_locked=True).first()
    return found


def _record_turn(database: Database, user_id: str, now: datetime) -> None:
    # SKIP LOCKED, or two workers that take from each other's users would deadlock.
    free = ClaimTurn.select(ClaimTurn.user_id).where(ClaimTurn.user_id == user_id)
    ClaimTurn.update(claim_time=now).where(
        ClaimTurn.user_id.in_(database.locked(free, skip_locked=True))
    ).execute()

"""Queue metrics: the figures about the queue that operators watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Case, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import (
    AvatarGeneration,
    BackgroundJob,
    GenerationAttempt,
    UserQueue,
)
from avatar_creator_server.database.models.generation import is_delayed, is_queued, is_running
from avatar_creator_server.database.models.states import LOST_OUTCOMES, PRIORITIES, GenerationState

_LOST_SINCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The figures about the queue, for operators."""

    depth: dict[tuple[str, str], int]
    """Number of pending generations, by priority and by `due` or `waiting_to_retry`."""
    oldest_due_seconds: dict[str, float]
    """Seconds that the oldest pending generation has been due, by priority; no entry where none is due."""
    live_leases: int
    """Number of generations that a worker is running."""
    expired_leases: int
    """Number of generations whose worker has not renewed its lease."""
    lost_attempts: dict[str, int]
    """Number of attempts of the last hour that lost their worker or an answer, by outcome."""
    jobs_depth: int
    """Number of background jobs that are not done."""
    jobs_oldest_seconds: float
    """Age of the oldest background job, in seconds."""


def read_queue_figures(database: Database) -> QueueFigures:
    """Read the figures for all users together, in a database job."""
    now = database.now()
    depth, oldest, leases = _read_unfinished(now)
    attempt = GenerationAttempt
    lost: Any = (
        attempt.select(attempt.outcome, fn.COUNT(attempt.id))
        .where(attempt.outcome.in_(LOST_OUTCOMES), attempt.end_time > now - _LOST_SINCE)
        .group_by(attempt.outcome)
        .tuples()
    )
    jobs: Any = BackgroundJob.select(fn.COUNT(BackgroundJob.id), fn.MIN(BackgroundJob.create_time)).tuples()
    [(jobs_depth, oldest_job)] = jobs
    return QueueFigures(
        depth=depth,
        oldest_due_seconds=oldest,
        live_leases=leases[False],
        expired_leases=leases[True],
        lost_attempts=dict.fromkeys(map(str, LOST_OUTCOMES), 0) | dict(lost),
        jobs_depth=jobs_depth,
        jobs_oldest_seconds=(now - (oldest_job or now)).total_seconds(),
    )


def count_wrong_queues() -> int:
    """Return the number of the users' queues whose length is not that of their generations.

    None is wrong, unless rows were restored or copied without the triggers that keep the queues.
    """
    queue, row = UserQueue, AvatarGeneration
    kept = queue.select(queue.user_id, queue.priority, queue.length.alias("number"))
    counted = row.select(row.user_id, row.priority, fn.COUNT(row.id) * -1).where(is_queued(row))
    both: Any = (kept + counted.group_by(row.user_id, row.priority)).alias("both")
    wrong: Any = queue.select(both.c.user_id).from_(both).group_by(both.c.user_id, both.c.priority)
    return int(wrong.having(fn.SUM(both.c.number) != 0).count())


def _read_unfinished(
    now: datetime,
) -> tuple[dict[tuple[str, str], int], dict[str, float], dict[bool, int]]:
    """Return depth, age of the oldest due, and number of leases by whether they have expired."""
    row, queue = AvatarGeneration, UserQueue
    depth: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    queued: Any = queue.select(queue.priority, fn.SUM(queue.length)).where(queue.head_id.is_null(False))
    for priority, number in queued.group_by(queue.priority).tuples():
        depth[PRIORITIES[priority], "due"] = number
    for priority, is_due, number in _count_due(now, is_delayed(row), row.priority):
        key = PRIORITIES[priority], "due" if is_due else "waiting_to_retry"
        depth[key] = depth.get(key, 0) + number
    for priority, name in enumerate(PRIORITIES):
        if (name, "due") in depth:
            # Not MIN, for which SQLite reads all rows: the first row in the order of the index.
            pending = (row.due_time <= now) & (row.state == GenerationState.PENDING)
            due = row.select(row.due_time).where(pending, row.priority == priority)
            first = due.order_by(row.due_time).first()
            oldest |= {name: (now - first.due_time).total_seconds()} if first else {}
    leases = {True: 0, False: 0}
    for is_due, number in _count_due(now, is_running(row)):
        leases[bool(is_due)] += number
    return depth, oldest, leases


def _count_due(now: datetime, which: Any, *groups: Any) -> Any:
    """Return the query for numbers of generations, by these columns and by whether they are due."""
    row = AvatarGeneration
    due = Case(None, [(row.due_time <= now, 1)], 0)
    return row.select(*groups, due, fn.COUNT(row.id)).where(which).group_by(*groups, due).tuples()

"""Queue metrics: the figures about the queue that operators watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Case, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, BackgroundJob, GenerationAttempt
from avatar_creator_server.database.models.states import LOST_OUTCOMES, PRIORITIES, GenerationState

_LOST_SINCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The figures about the queue, for operators."""

    depth: dict[tuple[str, str], int]
    """Number of pending generations, by priority and by `due` or `waiting` (for the time of the retry)."""
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


def _read_unfinished(
    now: datetime,
) -> tuple[dict[tuple[str, str], int], dict[str, float], dict[bool, int]]:
    """Return depth, age of the oldest due, and number of leases by whether they have expired."""
    row = AvatarGeneration
    due = Case(None, [(row.due_time <= now, 1)], 0)
    depth: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    leases = {True: 0, False: 0}
    groups: Any = (
        row.select(row.state, row.priority, due, fn.COUNT(row.id), fn.MIN(row.due_time))
        .where(row.due_time.is_null(False))
        .group_by(row.state, row.priority, due)
        .tuples()
    )
    for state, priority, is_due, number, earliest in groups:
        if state == GenerationState.PROCESSING:
            leases[bool(is_due)] += number
            continue
        depth[PRIORITIES[priority], "due" if is_due else "waiting"] = number
        if is_due:
            oldest[PRIORITIES[priority]] = (now - earliest).total_seconds()
    return depth, oldest, leases

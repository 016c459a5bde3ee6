"""Durations: how long recent attempts took, and how many generations run."""

from __future__ import annotations

import math
import statistics
from typing import Any

from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt
from avatar_creator_server.database.models.states import AttemptOutcome, GenerationState

_RECENT_ATTEMPTS = 50
"""Number of recent successful attempts that estimates are based on."""


def median_seconds() -> float | None:
    """Return the median duration of recent successful attempts; None if there are none."""
    durations = _recent_seconds(None)
    return statistics.median(durations) if durations else None


def seconds_by_route(route: str) -> tuple[float, float] | None:
    """Return the median and the 90th percentile of a route's recent successful attempts; None without any.

    Both are nearest-rank percentiles, so each is an observed duration even if there are few.
    """
    durations = _recent_seconds(route)
    if not durations:
        return None
    return durations[_rank(0.5, len(durations))], durations[_rank(0.9, len(durations))]


def count_running() -> int:
    """Return the number of generations that run now, also in workers of a version that writes no row."""
    return int(in_state(GenerationState.PROCESSING).count())


def in_state(state: GenerationState, *columns: Any) -> Any:
    """Return the query for unfinished generations in a state."""
    # An ended row has no due time; without this condition the partial index of due work cannot be used.
    return AvatarGeneration.select(*columns).where(
        AvatarGeneration.due_time.is_null(False), AvatarGeneration.state == state
    )


def _recent_seconds(route: str | None) -> list[float]:
    """Return the durations of recent successful attempts, shortest first; of one route if named."""
    attempt = GenerationAttempt
    recent: Any = (
        attempt.select(attempt.start_time, attempt.end_time)
        .where(attempt.outcome == AttemptOutcome.SUCCEEDED)
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
        .tuples()
    )
    if route is not None:
        recent = recent.where(attempt.route == route)
    return sorted((end - start).total_seconds() for start, end in recent)


def _rank(part: float, length: int) -> int:
    return math.ceil(part * length) - 1

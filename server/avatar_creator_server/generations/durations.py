"""Durations: how long recent attempts took, and how many generations run."""

from __future__ import annotations

import math
import statistics

from peewee import SQL

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    by_name,
    compiled,
    parameter,
)
from avatar_creator_server.database.models import GenerationAttempt
from avatar_creator_server.database.models.states import AttemptOutcome

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


def _recent_seconds(route: str | None) -> list[float]:
    """Return the durations of recent successful attempts, shortest first; of one route if named."""
    return sorted(_recent(of_route=route is not None).rows(**({"route": route} if route is not None else {})))


@compiled
def _recent(of_route: bool) -> CompiledQuery[float]:
    attempt = GenerationAttempt
    recent = (
        attempt.select(attempt.start_time, attempt.end_time)
        .where(attempt.outcome == SQL(f"'{AttemptOutcome.SUCCEEDED}'"))
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
    )
    if of_route:
        recent = recent.where(attempt.route == parameter("route"))
    return CompiledQuery(recent, by_name(lambda row: (row.end_time - row.start_time).total_seconds()))


def _rank(part: float, length: int) -> int:
    return math.ceil(part * length) - 1

"""Durations: how long recent attempts took.

A duration says nothing about another model, so a change of the settings begins without durations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from peewee import JOIN, SQL

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    by_name,
    compiled,
    parameter,
)
from avatar_creator_server.database.models import GenerationAttempt, GenerationRecipe
from avatar_creator_server.database.models.states import AttemptOutcome
from avatar_creator_server.generations.routes import Route, Routes

_RECENT_ATTEMPTS = 50
"""Number of recent successful attempts that estimates are based on."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Median durations of recent attempts with the provider and the models of a service, in seconds."""

    by_route: dict[str, float]
    """Medians by name of the route; a route without recent attempts is missing."""
    of_all: float | None
    """Median of all routes together; None without recent attempts."""


def median_seconds() -> float | None:
    """Return the median duration of recent successful attempts of any route; None if there are none."""
    durations = _recent().rows()
    return statistics.median(durations) if durations else None


def durations_of(routes: Routes) -> Durations:
    """Return the durations of recent successful attempts by these routes."""
    drawn = {name: _drawn_by(route) for name, route in routes.named().items()}
    newest = sorted(chain.from_iterable(drawn.values()), key=lambda each: each.end_time)
    return Durations(
        {name: _median(attempts) for name, attempts in drawn.items() if attempts},
        _median(newest[-_RECENT_ATTEMPTS:]) if newest else None,
    )


def seconds_by_route(route: Route) -> tuple[float, float] | None:
    """Return the median and the 90th percentile of a route's recent successful attempts; None without any.

    Both are nearest-rank percentiles, so each is an observed duration even if there are few.
    """
    durations = sorted(each.seconds for each in _drawn_by(route))
    if not durations:
        return None
    return durations[_rank(0.5, len(durations))], durations[_rank(0.9, len(durations))]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A successful attempt."""

    provider: str
    model: str
    seconds: float
    end_time: datetime


def _median(attempts: Sequence[_Drawn]) -> float:
    return statistics.median(each.seconds for each in attempts)


def _drawn_by(route: Route) -> list[_Drawn]:
    """Return the recent successful attempts of a route with its provider and its model."""
    # The query reads the last attempts of the route, also those of another model. A query for one model alone
    # would read all attempts after a change of the model.
    return [
        each
        for each in _recent_of_route().rows(route=route.name)
        if (each.provider, each.model) == (route.provider, route.model)
    ]


@compiled
def _recent() -> CompiledQuery[float]:
    attempt = GenerationAttempt
    recent = (
        attempt.select(attempt.start_time, attempt.end_time)
        .where(attempt.outcome == SQL(f"'{AttemptOutcome.SUCCEEDED}'"))
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
    )
    return CompiledQuery(recent, by_name(_seconds))


@compiled
def _recent_of_route() -> CompiledQuery[_Drawn]:
    attempt, recipe = GenerationAttempt, GenerationRecipe
    recent = (
        attempt.select(
            attempt.provider,
            attempt.start_time,
            attempt.end_time,
            # Only the recipe has the model of every route.
            recipe.recipe["model"].as_text().alias("model"),
        )
        .join(recipe, JOIN.INNER, on=(recipe.generation == attempt.generation))
        .where(attempt.outcome == SQL(f"'{AttemptOutcome.SUCCEEDED}'"), attempt.route == parameter("route"))
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
    )
    return CompiledQuery(
        recent, by_name(lambda row: _Drawn(row.provider, row.model or "", _seconds(row), row.end_time))
    )


def _seconds(row: Any) -> float:
    duration: timedelta = row.end_time - row.start_time
    return duration.total_seconds()


def _rank(part: float, length: int) -> int:
    return math.ceil(part * length) - 1

"""The queue of generations: how many are due before one, and when it will probably have ended."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from peewee import fn

from server.domain.records import PENDING, PROCESSING, Generation
from server.models import AvatarGeneration, GenerationAttempt

CLAIM_ORDER = (AvatarGeneration.due_time, AvatarGeneration.id)
"""Workers take what is due in this order."""

_RECENT_ATTEMPTS = 50
"""How many of the last successful attempts say how long one takes."""
_MOST_NAMED = 500
"""Of more than these the whole queue is read: a statement takes only so many parameters."""
_FEWEST_LANES = 2
"""One worker runs this many at a time; more run where more are seen running."""


def placed(generations: Sequence[Generation], now: datetime) -> list[Generation]:
    """The same generations, those that are pending with their place in the queue."""
    pending = [generation.id for generation in generations if generation.state == PENDING]
    if not pending:
        return list(generations)
    positions = _positions(pending)
    seconds = seconds_of_one()
    lanes = _lanes()

    def with_place(generation: Generation) -> Generation:
        if generation.state != PENDING:
            return generation
        # Not there any more: taken since it was read, so nobody was before it.
        position = positions.get(generation.id, 0)
        expected = None
        if seconds is not None and generation.next_attempt_time is not None:
            waiting = max((generation.next_attempt_time - now).total_seconds(), 0.0)
            turns = position // lanes + 1
            expected = math.ceil(waiting + turns * seconds)
        return replace(generation, queue_position=position, expected_seconds=expected)

    return [with_place(generation) for generation in generations]


def _positions(generation_ids: Sequence[str]) -> dict[str, int]:
    """How many of all that are pending come before each of these."""
    place = fn.ROW_NUMBER().over(order_by=list(CLAIM_ORDER)).alias("place")
    queue = _in_state(PENDING, AvatarGeneration.id, place).alias("queue")
    places: Any = AvatarGeneration.select(queue.c.id, queue.c.place).from_(queue).tuples()
    if len(generation_ids) <= _MOST_NAMED:
        places = places.where(queue.c.id.in_(generation_ids))
    return {generation_id: number - 1 for generation_id, number in places}


def seconds_of_one() -> float | None:
    """The median time of the last successful attempts; None without any."""
    durations = _recent_seconds(None)
    return statistics.median(durations) if durations else None


def seconds_by_route(route: str) -> tuple[float, float] | None:
    """How long half, and nine in ten, of the last successful attempts by a route took; None without any."""
    durations = _recent_seconds(route)
    if not durations:
        return None
    # Statisticians' nearest rank: an observed time, also where there are few.
    return durations[_rank(0.5, len(durations))], durations[_rank(0.9, len(durations))]


def seconds_if_ordered_now(count: int) -> int | None:
    """In how many seconds so many new generations would have ended; None while none has completed yet."""
    seconds = seconds_of_one()
    if seconds is None:
        return None
    last_place = int(_in_state(PENDING).count()) + count - 1
    return math.ceil((last_place // _lanes() + 1) * seconds)


def _lanes() -> int:
    return max(int(_in_state(PROCESSING).count()), _FEWEST_LANES)


def _recent_seconds(route: str | None) -> list[float]:
    """How long each of the last successful attempts took, shortest first; of one route if named."""
    attempt = GenerationAttempt
    recent: Any = (
        attempt.select(attempt.start_time, attempt.end_time)
        .where(attempt.outcome == "succeeded")
        .order_by(attempt.end_time.desc())
        .limit(_RECENT_ATTEMPTS)
        .tuples()
    )
    if route is not None:
        recent = recent.where(attempt.route == route)
    return sorted((end - start).total_seconds() for start, end in recent)


def _rank(part: float, length: int) -> int:
    return math.ceil(part * length) - 1


def _in_state(state: str, *columns: Any) -> Any:
    # What has ended has no due time: without this the index of due work could not be used.
    return AvatarGeneration.select(*columns).where(
        AvatarGeneration.due_time.is_null(False), AvatarGeneration.state == state
    )

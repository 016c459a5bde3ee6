"""What tests do to generations behind the service's back: look at their rows and make time pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from avatar_creator import AvatarCreator, Generation, GenerationState
from tests.support.service import Deployment

COMPLETED = GenerationState.GENERATION_STATE_COMPLETED
FAILED = GenerationState.GENERATION_STATE_FAILED
CANCELLED = GenerationState.GENERATION_STATE_CANCELLED
PENDING = GenerationState.GENERATION_STATE_PENDING
PROCESSING = GenerationState.GENERATION_STATE_PROCESSING

LARGEST = 1440
"""Pixels, each side: what takes the provider `sketch` longest, about half a second."""
SMALLEST = 256
"""Pixels, each side."""


def row_of(deployment: Deployment, generation_id: str) -> dict[str, Any]:
    """The generation's row."""
    (row,) = deployment.execute("SELECT * FROM avatar_generations WHERE id = %s", generation_id)
    return row


def all_ended(deployment: Deployment) -> bool:
    """Whether every generation has."""
    return not deployment.execute("SELECT 1 FROM avatar_generations WHERE due_time IS NOT NULL")


def outcomes(client: AvatarCreator, generation_id: str) -> list[int]:
    """How the attempts at a generation ended, first to last."""
    return [attempt.outcome for attempt in client.generations.attempts(generation_id)]


def make_due(deployment: Deployment, generation_id: str, *, attempt: int) -> bool:
    """Let the lease or the wait of this attempt end now; False if the generation is not at it any more."""
    return bool(
        deployment.execute(
            "UPDATE avatar_generations SET due_time = %s"
            " WHERE id = %s AND attempt_number = %s AND due_time IS NOT NULL RETURNING id",
            datetime.now(UTC) - timedelta(hours=1),
            generation_id,
            attempt,
        )
    )


def within_attempts_never_falls(states: list[Generation]) -> bool:
    """Whether progress rises or stays from each state to the next one of the same running attempt."""
    running = [state for state in states if state.state not in (PENDING, FAILED, CANCELLED)]
    return all(
        earlier.progress_percent <= later.progress_percent
        for earlier, later in pairwise(running)
        if earlier.attempt_number == later.attempt_number
    )

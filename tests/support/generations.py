"""Direct access to generations in the database: read their rows and make time pass."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from avatar_creator import (
    AttemptOutcome,
    AvatarCreator,
    FailedPreconditionError,
    Generation,
    GenerationHandle,
    GenerationState,
)
from tests.support.service import Deployment

COMPLETED = GenerationState.COMPLETED
FAILED = GenerationState.FAILED
CANCELLED = GenerationState.CANCELLED
PENDING = GenerationState.PENDING
PROCESSING = GenerationState.PROCESSING

LARGEST = 1440
"""Maximum side of a picture in pixels. The provider `sketch` draws it in about half a second."""
SMALLEST = 256
"""Minimum side of a picture in pixels."""


def final_state(handle: GenerationHandle, *, timeout: float = 60.0) -> Generation:
    """Wait until the generation has made its avatar, and return its final state."""
    handle.wait(timeout=timeout)
    return handle.generation


def create_cancelled(client: AvatarCreator, project_id: str, prompt: str = "a portrait") -> Generation:
    """Create a generation, cancel it, and return its last state."""
    while True:
        # A wide picture takes longer, so a worker rarely completes it before the cancellation.
        generation = client.generations.create(project_id, prompt, width=LARGEST, height=SMALLEST)
        with suppress(FailedPreconditionError):
            return client.generations.cancel(generation.id)


def row_of(deployment: Deployment, generation_id: str) -> dict[str, Any]:
    """Return the row of a generation."""
    (row,) = deployment.execute("SELECT * FROM avatar_generations WHERE id = %s", generation_id)
    return row


def all_ended(deployment: Deployment) -> bool:
    """Return whether every generation has ended."""
    return not deployment.execute("SELECT 1 FROM avatar_generations WHERE due_time IS NOT NULL")


def outcomes(client: AvatarCreator, generation_id: str) -> list[AttemptOutcome]:
    """Return the outcomes of the attempts at a generation, first to last."""
    return [attempt.outcome for attempt in client.generations.attempts(generation_id)]


def make_due(deployment: Deployment, generation_id: str, *, attempt: int) -> bool:
    """End the lease or the delay of this attempt now. Return False if another attempt has begun."""
    return bool(
        deployment.execute(
            "UPDATE avatar_generations SET due_time = %s"
            " WHERE id = %s AND attempt_number = %s AND due_time IS NOT NULL RETURNING id",
            datetime.now(UTC) - timedelta(hours=1),
            generation_id,
            attempt,
        )
    )


def progress_never_falls(states: list[Generation]) -> bool:
    """Return whether progress never falls within a running attempt."""
    running = [state for state in states if state.state not in (PENDING, FAILED, CANCELLED)]
    return all(
        earlier.progress_percent <= later.progress_percent
        for earlier, later in pairwise(running)
        if earlier.attempt_number == later.attempt_number
    )

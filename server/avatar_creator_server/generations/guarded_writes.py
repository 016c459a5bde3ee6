"""Guarded writes: a worker changes a generation or an attempt only while it owns the lease."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.generations.attempts import is_attempt
from avatar_creator_server.generations.lease_records import Lease, LeaseLostError
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project


def owned(lease: Lease) -> tuple[Any, ...]:
    """Return the guard. An expired lease belongs to its worker until another worker takes over."""
    return (
        AvatarGeneration.id == lease.generation.id,
        AvatarGeneration.epoch == lease.epoch,
        AvatarGeneration.state == GenerationState.PROCESSING,
        in_no_deleted_project(AvatarGeneration.project),
    )


def read_attempt(lease: Lease) -> GenerationAttempt:
    """Read the attempt of a lease.

    Raises:
        LeaseLostError: The attempt is gone, because its project was deleted.
    """
    found: GenerationAttempt | None = GenerationAttempt.get_or_none(
        *is_attempt(lease.generation.id, lease.generation.attempt_number)
    )
    if found is None:
        raise LeaseLostError
    return found


def update_generation(lease: Lease, now: datetime, **changes: Any) -> Generation:
    """Update the generation and raise its revision, if the worker still owns it."""
    changed = list(
        AvatarGeneration.update(**changes, revision=AvatarGeneration.revision + 1, update_time=now)
        .where(*owned(lease))
        .returning(AvatarGeneration)
        .execute()
    )
    if not changed:
        raise LeaseLostError
    return Generation.from_row(changed[0], None)


def update_attempt(lease: Lease, **changes: Any) -> None:
    """Update the attempt if it is still open."""
    noted = (
        GenerationAttempt.update(**changes)
        .where(
            *is_attempt(lease.generation.id, lease.generation.attempt_number),
            GenerationAttempt.end_time.is_null(),
        )
        .execute()
    )
    if not noted:
        raise LeaseLostError

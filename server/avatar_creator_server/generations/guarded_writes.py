"""Guarded writes: a worker changes a generation or an attempt only while it owns the lease."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    CompiledStatement,
    by_name,
    compiled,
    parameter,
)
from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.generations.attempts import is_attempt
from avatar_creator_server.generations.lease_records import Lease, LeaseLostError
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import in_no_deleted_project


def owned(lease: Lease) -> tuple[Any, ...]:
    """Return the guard. An expired lease belongs to its worker until another worker takes over."""
    return _owned(lease.generation.id, lease.epoch)


def _owned(generation_id: Any, epoch: Any) -> tuple[Any, ...]:
    return (
        AvatarGeneration.id == generation_id,
        AvatarGeneration.epoch == epoch,
        AvatarGeneration.state == GenerationState.PROCESSING,
        in_no_deleted_project(AvatarGeneration.project),
    )


def read_attempt(lease: Lease) -> GenerationAttempt:
    """Read the attempt of a lease.

    Raises:
        LeaseLostError: The attempt is gone, because its project was deleted.
    """
    generation = lease.generation
    found = _attempt().first(of_id=generation.id, of_number=generation.attempt_number)
    if found is None:
        raise LeaseLostError
    return found


def update_generation(
    lease: Lease, now: datetime, *, added: Mapping[str, int] = MappingProxyType({}), **changes: Any
) -> Generation:
    """Update the generation and raise its revision, if the worker still owns it.

    Args:
        lease: The lease of the worker.
        now: The new `update_time`.
        added: Numbers to add to columns, by the name of the column.
        changes: New values of other columns.

    Raises:
        LeaseLostError: The worker no longer owns the generation.
    """
    changes["update_time"] = now
    added = {"revision": 1, **added}
    changed = _generation_update(tuple(changes), tuple(added)).first(
        **changes, **added, of_id=lease.generation.id, of_epoch=lease.epoch
    )
    if changed is None:
        raise LeaseLostError
    return changed


def update_attempt(lease: Lease, **changes: Any) -> None:
    """Update the attempt if it is still open.

    Raises:
        LeaseLostError: The attempt has ended or is gone.
    """
    generation = lease.generation
    noted = _attempt_update(tuple(changes)).run(
        **changes, of_id=generation.id, of_number=generation.attempt_number
    )
    if not noted.rowcount:
        raise LeaseLostError


@compiled
def _generation_update(changed: tuple[str, ...], added: tuple[str, ...]) -> CompiledQuery[Generation]:
    fields = AvatarGeneration._meta.fields
    values = {fields[name]: parameter(name, fields[name]) for name in changed}
    values |= {fields[name]: fields[name] + parameter(name) for name in added}
    query = AvatarGeneration.update(values).where(*_owned(parameter("of_id"), parameter("of_epoch")))
    query = query.returning(*AvatarGeneration._meta.sorted_fields)
    return CompiledQuery(query, by_name(lambda row: Generation.from_row(row, None)), by_key=True)


@compiled
def _attempt() -> CompiledQuery[GenerationAttempt]:
    query = GenerationAttempt.select().where(*is_attempt(parameter("of_id"), parameter("of_number")))
    return CompiledQuery(query, by_name(lambda row: GenerationAttempt(**row._asdict())), by_key=True)


@compiled
def _attempt_update(changed: tuple[str, ...]) -> CompiledStatement:
    fields = GenerationAttempt._meta.fields
    values = {fields[name]: parameter(name, fields[name]) for name in changed}
    is_open = GenerationAttempt.end_time.is_null()
    return CompiledStatement(
        GenerationAttempt.update(values).where(
            *is_attempt(parameter("of_id"), parameter("of_number")), is_open
        ),
        by_key=True,
    )

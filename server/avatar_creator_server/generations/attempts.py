"""Attempts: the rows that record each try of a worker at a generation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt
from avatar_creator_server.database.models.states import AttemptOutcome, JobKind
from avatar_creator_server.generations.records import Attempt
from avatar_creator_server.shared.background_jobs import enqueue_job


def is_attempt(generation_id: str, attempt_number: int) -> tuple[Any, ...]:
    """Return the conditions that select one attempt at a generation."""
    return (
        GenerationAttempt.generation == generation_id,
        GenerationAttempt.attempt_number == attempt_number,
    )


def read_attempts(generation_id: str) -> list[Attempt]:
    """Read the attempts at a generation, first to last."""
    rows = (
        GenerationAttempt.select()
        .where(GenerationAttempt.generation == generation_id)
        .order_by(GenerationAttempt.attempt_number)
    )
    return [Attempt.from_row(row) for row in rows]


def abandon(database: Database, generation_id: str, now: datetime) -> int:
    """End the attempts at a generation that was cancelled or deleted.

    Runs in the current transaction, which must hold the generation's lock. A running attempt ends as
    CANCELLED. A background job cancels each request that the provider may still be running.

    Returns:
        The price of the running attempt, in millionths of a US dollar; 0 if none is running.
    """
    attempt = GenerationAttempt
    # Locked, because the worker may be writing down a request id at this moment.
    open_attempts = database.locked(
        attempt.select().where(
            attempt.generation == generation_id, attempt.end_time.is_null() | attempt.resumable
        )
    )
    price_micros = 0
    request_ids = set()
    for row in open_attempts:
        request_ids.add(row.provider_request_id)
        if row.end_time is None:
            price_micros += row.price_micros
            attempt.update(outcome=AttemptOutcome.CANCELLED, end_time=now).where(
                attempt.id == row.id
            ).execute()
    for request_id in sorted(request_ids - {""}):
        enqueue_job(JobKind.CANCEL_REQUEST, request_id, now)
    return price_micros


def close_lost_attempt(database: Database, row: AvatarGeneration) -> GenerationAttempt:
    """End the attempt of a lost worker, in the current transaction. The next attempt gets its request."""
    query = GenerationAttempt.select().where(*is_attempt(row.id, row.attempt_number))
    # Locked, because the worker may be writing down a request id at this moment.
    lost: GenerationAttempt = database.locked(query).get()
    lost.outcome = AttemptOutcome.SUBMIT_UNKNOWN if is_unanswered(lost) else AttemptOutcome.WORKER_LOST
    lost.error_reason = "WORKER_LOST"
    lost.error_message = "the worker disappeared"
    lost.end_time = row.update_time
    lost.save()
    return lost


def request_to_resume(row: AvatarGeneration) -> tuple[str, str]:
    """Return request id and route of the last attempt if the request is still alive, else two empty strings.

    Such a request is paid for, so the next attempt fetches its result.
    """
    last = GenerationAttempt.get(*is_attempt(row.id, row.attempt_number))
    return (str(last.provider_request_id), str(last.route)) if last.resumable else ("", "")


def paying_attempt(attempt: GenerationAttempt) -> GenerationAttempt | None:
    """Return the earlier attempt that paid for the request that this attempt resumed; None without one."""
    if not attempt.provider_request_id:
        return None
    found: GenerationAttempt | None = (
        GenerationAttempt.select()
        .where(
            GenerationAttempt.generation == attempt.generation_id,
            GenerationAttempt.attempt_number < attempt.attempt_number,
            GenerationAttempt.provider_request_id == attempt.provider_request_id,
            GenerationAttempt.price_micros > 0,
        )
        .first()
    )
    return found


def is_unanswered(attempt: GenerationAttempt) -> bool:
    """Return whether the provider may have accepted a request whose id is unknown."""
    return bool(
        attempt.outcome == AttemptOutcome.SUBMITTING
        and attempt.possibly_charged
        and not attempt.provider_request_id
    )

"""Attempts: the rows that record each try of a worker at a generation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.models import AvatarGeneration, GenerationAttempt
from avatar_creator_server.database.models.states import AttemptOutcome, JobKind
from avatar_creator_server.generations.records import Attempt, RouteChoice
from avatar_creator_server.shared.background_jobs import enqueue_jobs

MAX_ATTEMPTS = 100
"""Maximum number of attempts in the history of a generation: each shutdown of its worker adds one."""


def is_attempt(generation_id: Any, attempt_number: Any) -> tuple[Any, ...]:
    """Return the conditions that select one attempt at a generation."""
    return (
        GenerationAttempt.generation == generation_id,
        GenerationAttempt.attempt_number == attempt_number,
    )


def read_attempts(generation_id: str, last: int) -> list[Attempt]:
    """Read the attempts at a generation up to the number `last`, first to last, at most `MAX_ATTEMPTS`."""
    number = GenerationAttempt.attempt_number
    rows = (
        GenerationAttempt.select()
        .where(GenerationAttempt.generation == generation_id, number > last - MAX_ATTEMPTS, number <= last)
        .order_by(number)
    )
    return [Attempt.from_row(row) for row in rows]


def abandon(database: Database, user_id: str, generation_ids: Sequence[str], now: datetime) -> dict[str, int]:
    """End the attempts at generations of one user that were cancelled or deleted.

    Runs in the current transaction, which must hold the locks of the generations. A running attempt ends as
    CANCELLED. A background job cancels each request that the provider may still be running.

    Returns:
        The price of the running attempt at each generation that has one, in millionths of a US dollar.
    """
    attempt = GenerationAttempt
    # Locked, because the worker may be writing down a request id at this moment.
    query = attempt.select().where(
        attempt.generation.in_(generation_ids), attempt.end_time.is_null() | attempt.resumable
    )
    open_attempts = list(database.locked(query.order_by(attempt.id)))
    running = [row for row in open_attempts if row.end_time is None]
    if running:
        attempt.update(outcome=AttemptOutcome.CANCELLED, end_time=now).where(
            attempt.id.in_([row.id for row in running])
        ).execute()
    request_ids = {row.provider_request_id for row in open_attempts} - {""}
    enqueue_jobs(JobKind.CANCEL_REQUEST, user_id, sorted(request_ids), now)
    return {row.generation_id: row.price_micros for row in running}


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


def choice_of_request(generation_id: str, request_id: str) -> RouteChoice | None:
    """Return the app and the LoRA with which a request was submitted.

    Later attempts have the same request id, so the first one counts. None means that the route has no apps,
    or that a worker of a version without choices submitted the request.
    """
    submitted = (
        GenerationAttempt.select(GenerationAttempt.route_choice)
        .where(
            GenerationAttempt.generation == generation_id,
            GenerationAttempt.provider_request_id == request_id,
        )
        .order_by(GenerationAttempt.attempt_number)
        .first()
    )
    stored = submitted.route_choice if submitted else None
    return from_json(RouteChoice, stored) if stored else None


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
            GenerationAttempt.possibly_charged,
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

"""Attempts that nobody waits for any more."""

from __future__ import annotations

from datetime import datetime

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import GenerationAttempt
from avatar_creator_server.database.models.states import AttemptOutcome, JobKind
from avatar_creator_server.shared.background_jobs import enqueue_job


def abandon(database: Database, generation_id: str, now: datetime) -> int:
    """In the current transaction, which holds the generation's lock: nobody wants it any more.

    An attempt that runs ends as cancelled, and quick work tells the provider to drop what it was asked for.
    Returns what that attempt cost, in millionths of a US dollar.
    """
    attempt = GenerationAttempt
    # Locked, because an owner may be writing down a request's id at this moment.
    alive = database.locked(
        attempt.select().where(
            attempt.generation == generation_id, attempt.end_time.is_null() | attempt.resumable
        )
    )
    price_micros = 0
    request_ids = set()
    for row in alive:
        request_ids.add(row.provider_request_id)
        if row.end_time is None:
            price_micros += row.price_micros
            attempt.update(outcome=AttemptOutcome.CANCELLED, end_time=now).where(
                attempt.id == row.id
            ).execute()
    for request_id in sorted(request_ids - {""}):
        enqueue_job(JobKind.CANCEL_REQUEST, request_id, now)
    return price_micros

"""Idempotency of calls that create: each `request_id` creates at most one resource."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import fn

from avatar_creator_server.database.compiled_queries import (
    CompiledInsert,
    Statement,
    compiled,
    run_together,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import IdempotencyKey
from avatar_creator_server.errors import AlreadyExistsError

KEPT_FOR = timedelta(days=7)
"""Time for which the service remembers a key."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The values that are equal for two requests of the same logical call."""

    user_id: str
    method: str
    """Name of the RPC, for example `CreateProject`."""
    request_id: str
    """UUID of the call in lower case; empty for a call that is not idempotent."""
    body_hash: str
    """SHA-256 of the request without its `request_id`; empty for a call that is not idempotent."""


def get_or_reserve(database: Database, key: RequestKey, new_resource_id: str) -> str | None:
    """Reserve the key for a new resource, in the current transaction.

    Returns:
        None if the caller must create `new_resource_id`, or else the id of the resource that an earlier call
        with the same key created.

    Raises:
        AlreadyExistsError: An earlier call with this `request_id` had another body.
    """
    if not key.request_id:
        return None
    if run_together(reservation(database, key, new_resource_id)).fetchone() is not None:
        return None
    return earlier_resource_id(key)


def reservation(database: Database, key: RequestKey, new_resource_id: str) -> Statement:
    """Return the statement that reserves a key with a `request_id`, unless an earlier call has used it."""
    return _reserve(database.is_postgresql).given(
        user_id=key.user_id,
        method=key.method,
        request_id=key.request_id,
        body_hash=key.body_hash,
        resource_id=new_resource_id,
        **({} if database.is_postgresql else {"create_time": database.begin_time()}),
    )


def earlier_resource_id(key: RequestKey) -> str:
    """Return the id of the resource that an earlier call with the same key created.

    Raises:
        AlreadyExistsError: The earlier call with this `request_id` had another body.
    """
    earlier = _earlier(key).get()
    if earlier.body_hash != key.body_hash:
        raise AlreadyExistsError(
            "REQUEST_ID_REUSED",
            f"an earlier {key.method} with another body used the request_id {key.request_id}; send a new one",
            metadata={"request_id": key.request_id},
        )
    return str(earlier.resource_id)


@compiled
def _reserve(is_postgresql: bool) -> CompiledInsert:
    return CompiledInsert(
        IdempotencyKey,
        lambda query: query.on_conflict_ignore().returning(IdempotencyKey.resource_id),
        # To read the clock of PostgreSQL would cost a round trip.
        **({"create_time": fn.now()} if is_postgresql else {}),
    )


def is_repeated(key: RequestKey) -> bool:
    """Return whether an earlier call with the same key created a resource."""
    if not key.request_id:
        return False
    return bool(_earlier(key).where(IdempotencyKey.body_hash == key.body_hash).exists())


def _earlier(key: RequestKey) -> Any:
    """Return the query for the row of an earlier call with the same user, method and `request_id`."""
    return IdempotencyKey.select().where(
        IdempotencyKey.user_id == key.user_id,
        IdempotencyKey.method == key.method,
        IdempotencyKey.request_id == key.request_id,
    )


def delete_old_keys(now: datetime, limit: int) -> int:
    """Delete about `limit` keys that are older than `KEPT_FOR`, oldest first, and return their number."""
    time = IdempotencyKey.create_time
    query = IdempotencyKey.select(time).where(time < now - KEPT_FOR).order_by(time).limit(limit)
    old = [row.create_time for row in query]
    if old:
        IdempotencyKey.delete().where(time <= old[-1]).execute()
    return len(old)

"""Calls that create happen once per `request_id`, however often they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from avatar_creator_server.database.models import IdempotencyKey
from avatar_creator_server.errors import AlreadyExistsError

KEPT_FOR = timedelta(days=7)
"""How long a key is remembered."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes two requests the same logical call."""

    user_id: str
    method: str
    """Name of the RPC, for example `CreateProject`."""
    request_id: str
    """UUID in lower case; empty for a call that is not idempotent."""
    body_hash: str
    """SHA-256 over everything the request asks for."""


def get_or_reserve(key: RequestKey, new_resource_id: str, now: datetime) -> str | None:
    """Record in the current transaction that this call makes `new_resource_id`.

    Returns None when the caller should go on and make it, else the id of what an earlier, equal call made.

    Raises:
        AlreadyExistsError: an earlier call with this `request_id` had another body.
    """
    if not key.request_id:
        return None
    inserted = (
        IdempotencyKey.insert(
            user_id=key.user_id,
            method=key.method,
            request_id=key.request_id,
            body_hash=key.body_hash,
            resource_id=new_resource_id,
            create_time=now,
        )
        .on_conflict_ignore()
        .returning(IdempotencyKey.resource_id)
        .execute()
    )
    if list(inserted):
        return None
    earlier = _earlier(key).get()
    if earlier.body_hash != key.body_hash:
        raise AlreadyExistsError(
            "REQUEST_ID_REUSED",
            f"request_id {key.request_id} was used by a {key.method} with another body",
            metadata={"request_id": key.request_id},
        )
    return str(earlier.resource_id)


def is_repeated(key: RequestKey) -> bool:
    """Whether an earlier, equal call has made something."""
    if not key.request_id:
        return False
    return bool(_earlier(key).where(IdempotencyKey.body_hash == key.body_hash).exists())


def _earlier(key: RequestKey) -> Any:
    """What an earlier call of the same user, method and `request_id` has left."""
    return IdempotencyKey.select().where(
        IdempotencyKey.user_id == key.user_id,
        IdempotencyKey.method == key.method,
        IdempotencyKey.request_id == key.request_id,
    )


def delete_old_keys(now: datetime) -> None:
    """Delete keys that are no longer remembered."""
    IdempotencyKey.delete().where(IdempotencyKey.create_time < now - KEPT_FOR).execute()

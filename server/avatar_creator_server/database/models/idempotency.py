"""The table of idempotency keys."""

from __future__ import annotations

from peewee import CompositeKey, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class IdempotencyKey(BaseModel):
    """The resource that the call with a `request_id` made. Each user and method has its own request ids."""

    user_id = TextField()
    method = TextField()
    request_id = TextField()
    body_hash = TextField()
    """SHA-256 of the request without its `request_id`."""
    resource_id = TextField()
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "idempotency_keys"
        primary_key = CompositeKey("user_id", "method", "request_id")


IdempotencyKey.add_index(
    IdempotencyKey.index(IdempotencyKey.create_time, name="idempotency_keys_create_time")
)

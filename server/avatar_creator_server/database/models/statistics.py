"""The tables of a user's figures, kept by the writes that change them."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, TextField

from avatar_creator_server.database.models.base import BaseModel


class UserStatistics(BaseModel):
    """What one user has now."""

    user_id = TextField(primary_key=True)
    avatar_count = BigIntegerField(default=0)
    usage_count = BigIntegerField(default=0)
    """Uses of the avatars there are."""
    pending_count = BigIntegerField(default=0)
    """Generations in this state; likewise the following."""
    processing_count = BigIntegerField(default=0)
    completed_count = BigIntegerField(default=0)
    failed_count = BigIntegerField(default=0)
    cancelled_count = BigIntegerField(default=0)

    class Meta:
        table_name = "user_statistics"


class DailyUploads(BaseModel):
    """How many of the avatars that one user has now were uploaded on one day."""

    user_id = TextField()
    day = TextField()
    """Date in UTC, `2026-01-31`."""
    upload_count = BigIntegerField(default=0)

    class Meta:
        table_name = "daily_uploads"
        primary_key = CompositeKey("user_id", "day")

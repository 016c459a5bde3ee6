"""The tables of a user's counters, which the writes that change the numbers update."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, TextField

from avatar_creator_server.database.models.base import BaseModel


class UserStatistics(BaseModel):
    """Numbers of what one user has now."""

    user_id = TextField(primary_key=True)
    avatar_count = BigIntegerField(default=0)
    usage_count = BigIntegerField(default=0)
    """Number of uses of the user's existing avatars."""
    pending_count = BigIntegerField(default=0)
    """Number of generations in this state, as in the next four fields."""
    processing_count = BigIntegerField(default=0)
    completed_count = BigIntegerField(default=0)
    failed_count = BigIntegerField(default=0)
    cancelled_count = BigIntegerField(default=0)

    class Meta:
        table_name = "user_statistics"


class DailyUploads(BaseModel):
    """Number of a user's existing avatars that were uploaded on one day."""

    user_id = TextField()
    day = TextField()
    """Date in UTC, `2026-01-31`."""
    upload_count = BigIntegerField(default=0)

    class Meta:
        table_name = "daily_uploads"
        primary_key = CompositeKey("user_id", "day")


# All that the sum of all users needs, so that it does not read the table.
DailyUploads.add_index(
    DailyUploads.index(DailyUploads.day, DailyUploads.upload_count, name="daily_uploads_day")
)

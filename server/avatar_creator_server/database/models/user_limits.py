"""The table of the limits of single users."""

from __future__ import annotations

from peewee import BigIntegerField, IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class UserLimits(BaseModel):
    """Limits that an operator has set for a user. A null has the value of the settings; 0 means no limit."""

    user_id = TextField(primary_key=True)
    concurrent = IntegerField(null=True)
    per_minute = IntegerField(null=True)
    per_day = IntegerField(null=True)
    spend_per_day_micros = BigIntegerField(null=True)
    """In millionths of a US dollar."""
    update_time = UtcDateTimeField()
    updated_by = TextField()
    """Id of the operator."""

    class Meta:
        table_name = "user_limits"

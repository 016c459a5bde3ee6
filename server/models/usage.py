"""The table of uses."""

from __future__ import annotations

from peewee import ForeignKeyField, JSONField, TextField

from server.models.avatar import Avatar
from server.models.base import BaseModel, IdField, UtcDateTimeField


class AvatarUsage(BaseModel):
    """One use of an avatar by an app."""

    id = IdField()
    avatar = ForeignKeyField(Avatar, column_name="avatar_id", index=False, on_delete="CASCADE", backref=None)
    user_id = TextField()
    app_id = TextField()
    app_name = TextField()
    action = TextField()
    reference_id = TextField(default="")
    reference_type = TextField(default="")
    metadata = JSONField(default=dict)
    create_time = UtcDateTimeField()

    avatar_id: str

    class Meta:
        table_name = "avatar_usage_history"


AvatarUsage.add_index(
    AvatarUsage.index(AvatarUsage.avatar, AvatarUsage.id, name="avatar_usage_history_avatar")
)

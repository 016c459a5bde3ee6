"""The tables of uses and of their sums."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, ForeignKeyField, JSONField, TextField

from avatar_creator_server.database.models.avatar import Avatar
from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField


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
    AvatarUsage.index(
        AvatarUsage.avatar, AvatarUsage.create_time, AvatarUsage.id, name="avatar_usage_history_newest"
    )
)
# Without the id, which would add a third to the largest index of the service.
AvatarUsage.add_index(
    AvatarUsage.index(
        AvatarUsage.avatar, AvatarUsage.app_id, AvatarUsage.create_time, name="avatar_usage_history_app"
    )
)


class AvatarAppUsage(BaseModel):
    """Sums of the uses of one avatar by one app. The write that records a use updates them."""

    avatar = ForeignKeyField(Avatar, column_name="avatar_id", index=False, on_delete="CASCADE", backref=None)
    app_id = TextField()
    app_name = TextField()
    """Name in the last use that had one."""
    usage_count = BigIntegerField()
    first_used_time = UtcDateTimeField()
    last_used_time = UtcDateTimeField()

    class Meta:
        table_name = "avatar_app_usage"
        primary_key = CompositeKey("avatar", "app_id")


AvatarAppUsage.add_index(
    AvatarAppUsage.index(
        AvatarAppUsage.avatar,
        AvatarAppUsage.usage_count.desc(),
        AvatarAppUsage.app_id,
        name="avatar_app_usage_most_used",
    )
)


class AvatarAppAction(BaseModel):
    """Number of times that an app did an action with an avatar. The write that records a use updates it."""

    avatar = ForeignKeyField(Avatar, column_name="avatar_id", index=False, on_delete="CASCADE", backref=None)
    app_id = TextField()
    action = TextField()
    usage_count = BigIntegerField()

    class Meta:
        table_name = "avatar_app_actions"
        primary_key = CompositeKey("avatar", "app_id", "action")

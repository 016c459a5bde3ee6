"""The table of projects."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField


class AvatarProject(BaseModel):
    """A folder of avatars that belongs to one user."""

    id = IdField()
    user_id = TextField()
    name = TextField()
    description = TextField()
    avatar_count = IntegerField(default=0)
    """Number of avatars in the project. The writes that add and remove avatars update it."""
    create_time = UtcDateTimeField()
    update_time = UtcDateTimeField()

    class Meta:
        table_name = "avatar_projects"


AvatarProject.add_index(
    AvatarProject.index(AvatarProject.user_id, AvatarProject.id, name="avatar_projects_user")
)

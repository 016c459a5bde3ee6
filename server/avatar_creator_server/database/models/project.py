"""The table of projects."""

from __future__ import annotations

from peewee import SQL, BigIntegerField, IntegerField, JSONField, TextField

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
    revision = BigIntegerField(default=1, constraints=[SQL("DEFAULT 1")])
    """Rises with `update_time`."""
    delete_time = UtcDateTimeField(null=True)
    """Time of the deletion. From then on no query finds the project or its contents, and a background job
    removes their rows in batches. Null before the deletion."""
    subtracted = JSONField(null=True)
    """Numbers that the deletion subtracted from the user's statistics, less those of the rows that have been
    removed since; see `avatar_creator_server.projects.removal`. Null before the deletion."""

    class Meta:
        table_name = "avatar_projects"


AvatarProject.add_index(
    AvatarProject.index(AvatarProject.user_id, AvatarProject.id, name="avatar_projects_user")
)
AvatarProject.add_index(
    AvatarProject.index(
        AvatarProject.user_id,
        AvatarProject.id,
        where=AvatarProject.delete_time.is_null(False),
        name="avatar_projects_deleted",
    )
)

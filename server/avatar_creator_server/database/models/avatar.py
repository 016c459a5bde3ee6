"""The table of avatars."""

from __future__ import annotations

from peewee import SQL, BigIntegerField, ForeignKeyField, IntegerField, JSONField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField
from avatar_creator_server.database.models.file import File
from avatar_creator_server.database.models.generation import AvatarGeneration
from avatar_creator_server.database.models.project import AvatarProject


class Avatar(BaseModel):
    """A person that apps can show: a picture, its thumbnail, a persona and attributes."""

    id = IdField()
    user_id = TextField()
    project = ForeignKeyField(AvatarProject, column_name="project_id", index=False, backref=None)
    name = TextField()
    image_file = ForeignKeyField(File, column_name="image_file_id", index=False, backref=None)
    thumbnail_file = ForeignKeyField(
        File, column_name="thumbnail_file_id", null=True, index=False, backref=None
    )
    """Null until a worker has made the thumbnail."""
    source_type = TextField()
    persona_name = TextField(default="")
    persona_age = IntegerField(default=0)
    persona_personality = JSONField(default=list)
    persona_background = TextField(default="")
    gender = TextField(default="")
    age_range = TextField(default="")
    ethnicity = TextField(default="")
    body_type = TextField(default="")
    hair_style = TextField(default="")
    hair_color = TextField(default="")
    eye_color = TextField(default="")
    skin_tone = TextField(default="")
    style = TextField(default="")
    headwear = TextField(default="")
    generation_prompt = TextField(default="")
    seed_used = BigIntegerField(null=True)
    generation = ForeignKeyField(
        AvatarGeneration, column_name="generation_id", null=True, index=False, backref=None
    )
    """Only link between avatar and generation. It is unique: a generation makes at most one avatar."""
    reference_avatar_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """Id of the avatar whose picture this one was made from, or the first of several; empty if none. Not a
    foreign key, because that avatar may be deleted."""
    further_reference_avatar_ids = JSONField(default=list, constraints=[SQL("DEFAULT '[]'")])
    """Ids of the avatars after the first one from whose pictures this one was made."""
    picture_moderation = JSONField(null=True)
    """Verdict about the picture; null if no classifier has checked it. See
    `avatar_creator_server.images.records.PictureModeration`."""
    ethnicity_folded = TextField(default="")
    """Ethnicity, folded by `avatar_creator_server.database.text_search.fold`."""
    search_text = TextField(default="")
    """Name, persona name and prompt, folded by `avatar_creator_server.database.text_search.fold`."""
    usage_count = BigIntegerField(default=0)
    last_used_time = UtcDateTimeField(null=True)
    create_time = UtcDateTimeField()
    update_time = UtcDateTimeField()
    revision = BigIntegerField(default=1, constraints=[SQL("DEFAULT 1")])
    """Rises with `update_time`."""

    project_id: str
    image_file_id: str
    thumbnail_file_id: str | None
    generation_id: str | None

    class Meta:
        table_name = "avatars"


Avatar.add_index(Avatar.index(Avatar.user_id, Avatar.id, name="avatars_user"))
Avatar.add_index(
    Avatar.index(Avatar.user_id, Avatar.last_used_time, Avatar.id, name="avatars_user_last_used")
)
Avatar.add_index(Avatar.index(Avatar.project, Avatar.id, name="avatars_project"))
Avatar.add_index(
    Avatar.index(Avatar.project, Avatar.last_used_time, Avatar.id, name="avatars_project_last_used")
)
Avatar.add_index(Avatar.index(Avatar.generation, unique=True, name="avatars_generation"))
Avatar.add_index(Avatar.index(Avatar.image_file, name="avatars_image_file"))
Avatar.add_index(Avatar.index(Avatar.thumbnail_file, name="avatars_thumbnail_file"))

"""The tables of the gallery: presets and persona examples."""

from __future__ import annotations

from peewee import BigIntegerField, ForeignKeyField, JSONField, TextField

from server.models.base import BaseModel, IdField
from server.models.file import File


class AvatarPreset(BaseModel):
    """A ready-made starting point for an avatar."""

    id = IdField()
    name = TextField()
    description = TextField()
    category = TextField()
    prompt = TextField()
    image_file = ForeignKeyField(File, column_name="image_file_id", null=True, index=False, backref=None)
    thumbnail_file = ForeignKeyField(
        File, column_name="thumbnail_file_id", null=True, index=False, backref=None
    )
    persona = JSONField()
    attributes = JSONField()
    popularity = BigIntegerField(default=0)

    image_file_id: str | None
    thumbnail_file_id: str | None

    class Meta:
        table_name = "avatar_presets"


AvatarPreset.add_index(
    AvatarPreset.index(AvatarPreset.popularity, AvatarPreset.id, name="avatar_presets_popularity")
)
AvatarPreset.add_index(AvatarPreset.index(AvatarPreset.image_file, name="avatar_presets_image_file"))
AvatarPreset.add_index(AvatarPreset.index(AvatarPreset.thumbnail_file, name="avatar_presets_thumbnail_file"))


class PersonaExample(BaseModel):
    """A ready-made persona to start an avatar from."""

    id = IdField()
    name = TextField()
    description = TextField()
    category = TextField()
    persona = JSONField()
    use_count = BigIntegerField(default=0)

    class Meta:
        table_name = "persona_examples"


PersonaExample.add_index(
    PersonaExample.index(PersonaExample.use_count, PersonaExample.id, name="persona_examples_use_count")
)

"""The tables of the gallery: presets and persona examples."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, JSONField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField


class AvatarPreset(BaseModel):
    """A ready-made prompt, persona and attributes that a generation can start from."""

    id = IdField()
    name = TextField()
    description = TextField()
    category = TextField()
    prompt = TextField()
    persona = JSONField()
    attributes = JSONField()
    image = BlobField()
    """WebP of 300x300 pixels. It is not in the storage, because it is small, has no user and comes with
    `migrate`."""
    search_text = TextField()
    """Name and description, folded by `avatar_creator_server.database.text_search.fold`."""
    popularity = BigIntegerField(default=0)

    class Meta:
        table_name = "avatar_presets"


AvatarPreset.add_index(
    AvatarPreset.index(AvatarPreset.popularity, AvatarPreset.id, name="avatar_presets_popularity")
)


class PersonaExample(BaseModel):
    """A ready-made persona that a generation can start from."""

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

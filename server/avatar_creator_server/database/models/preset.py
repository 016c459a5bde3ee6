"""The tables of the gallery: presets and persona examples."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, JSONField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField


class AvatarPreset(BaseModel):
    """A ready-made starting point for an avatar."""

    id = IdField()
    name = TextField()
    description = TextField()
    category = TextField()
    prompt = TextField()
    persona = JSONField()
    attributes = JSONField()
    image = BlobField()
    """300x300 WebP. Here and not in the storage: small, of no user, and brought by `migrate`."""
    search_text = TextField()
    """Name and description, folded by `avatar_creator_server.database.text_search.fold`."""
    popularity = BigIntegerField(default=0)

    class Meta:
        table_name = "avatar_presets"


AvatarPreset.add_index(
    AvatarPreset.index(AvatarPreset.popularity, AvatarPreset.id, name="avatar_presets_popularity")
)


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

"""The record of an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from avatar_creator_server.database import models
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.records import read_row
from avatar_creator_server.images.records import PictureModeration, StoredFile
from avatar_creator_server.people.person import Attributes, Persona


@dataclass(frozen=True, slots=True)
class Avatar:
    """A person that apps can show: a picture, its thumbnail, a persona and attributes."""

    id: str
    user_id: str
    project_id: str
    name: str
    image: StoredFile
    thumbnail: StoredFile | None
    """File of the thumbnail; None until a worker has made it."""
    source_type: str
    persona: Persona
    attributes: Attributes
    generation_prompt: str
    seed_used: int | None
    generation_id: str
    reference_avatar_ids: tuple[str, ...]
    """Ids of the avatars from whose pictures this one was made."""
    picture_moderation: PictureModeration | None
    """Verdict about the generated picture; None if no classifier has checked it."""
    usage_count: int
    last_used_time: datetime | None
    create_time: datetime
    update_time: datetime

    @classmethod
    def from_row(cls, row: models.Avatar) -> Avatar:
        """Read the row of an avatar that was selected together with its files."""
        return read_row(
            cls,
            row,
            image=StoredFile.from_row(row.image_file),
            thumbnail=StoredFile.from_row(row.thumbnail_file) if row.thumbnail_file else None,
            persona=Persona(
                row.persona_name,
                row.persona_age,
                tuple(row.persona_personality),
                row.persona_background,
            ),
            attributes=read_row(Attributes, row),
            generation_id=row.generation_id or "",
            reference_avatar_ids=models.reference_avatar_ids(row),
            picture_moderation=(
                from_json(PictureModeration, row.picture_moderation) if row.picture_moderation else None
            ),
        )

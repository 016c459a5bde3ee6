"""The record of an avatar."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from avatar_creator_server.database import models
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.people.person import Attributes, Persona


@dataclass(frozen=True, slots=True)
class Avatar:
    """A person that apps can put on screen."""

    id: str
    user_id: str
    project_id: str
    name: str
    image: StoredFile
    thumbnail: StoredFile | None
    """None until a worker has made it."""
    source_type: str
    persona: Persona
    attributes: Attributes
    generation_prompt: str
    seed_used: int | None
    generation_id: str
    reference_avatar_id: str
    """The avatar whose picture it was made from; empty if none."""
    usage_count: int
    last_used_time: datetime | None
    create_time: datetime
    update_time: datetime

    @classmethod
    def from_row(cls, row: models.Avatar) -> Avatar:
        """Read the row of an avatar that was selected together with its files."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            project_id=row.project_id,
            name=row.name,
            image=StoredFile.from_row(row.image_file),
            thumbnail=StoredFile.from_row(row.thumbnail_file) if row.thumbnail_file else None,
            source_type=row.source_type,
            persona=Persona(
                row.persona_name,
                row.persona_age,
                tuple(row.persona_personality),
                row.persona_background,
            ),
            attributes=Attributes(**{field.name: getattr(row, field.name) for field in fields(Attributes)}),
            generation_prompt=row.generation_prompt,
            seed_used=row.seed_used,
            generation_id=row.generation_id or "",
            reference_avatar_id=row.reference_avatar_id,
            usage_count=row.usage_count,
            last_used_time=row.last_used_time,
            create_time=row.create_time,
            update_time=row.update_time,
        )

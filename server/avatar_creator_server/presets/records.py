"""The records of presets and persona examples."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.database import models
from avatar_creator_server.people.person import Attributes, Persona, attributes_from_json, persona_from_json


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready-made starting point for an avatar."""

    id: str
    name: str
    description: str
    category: str
    prompt: str
    persona: Persona
    attributes: Attributes
    popularity: int
    image: bytes
    """300x300 WebP; empty where it was not read."""

    @classmethod
    def from_row(cls, row: models.AvatarPreset) -> Preset:
        """Read the row of a preset, selected with its picture or without."""
        return cls(
            id=row.id,
            name=row.name,
            description=row.description,
            category=row.category,
            prompt=row.prompt,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
            popularity=row.popularity,
            image=bytes(row.image or b""),
        )


@dataclass(frozen=True, slots=True)
class PersonaExample:
    """A ready-made persona to start an avatar from."""

    id: str
    name: str
    description: str
    category: str
    persona: Persona
    use_count: int

    @classmethod
    def from_row(cls, row: models.PersonaExample) -> PersonaExample:
        """Read the row of a persona example."""
        return cls(
            row.id, row.name, row.description, row.category, persona_from_json(row.persona), row.use_count
        )

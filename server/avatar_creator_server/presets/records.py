"""The records of presets and persona examples."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.database import models
from avatar_creator_server.database.records import read_row
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
    """WebP picture of 300x300 pixels; empty if the query did not select it."""

    @classmethod
    def from_row(cls, row: models.AvatarPreset) -> Preset:
        """Read the row of a preset that was selected with or without its picture."""
        return read_row(
            cls,
            row,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
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
        return read_row(cls, row, persona=persona_from_json(row.persona))

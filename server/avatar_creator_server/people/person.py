"""Who a person is and how they look: the values avatars, generations and presets share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from avatar_creator_server.database.json_columns import from_json


@dataclass(frozen=True, slots=True)
class Persona:
    """Who the person is. Empty fields mean "not given"."""

    name: str = ""
    """At most 120 characters."""
    age: int = 0
    """Years, 1 to 120; 0 means not given."""
    personality: tuple[str, ...] = ()
    """At most 12 traits of 1 to 60 characters."""
    background: str = ""
    """At most 4,000 characters."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """How the person looks. Every field but `ethnicity` is a key of its table in `vocabulary`, or empty."""

    gender: str = ""
    age_range: str = ""
    ethnicity: str = ""
    """The caller's words, at most 60 characters."""
    body_type: str = ""
    hair_style: str = ""
    hair_color: str = ""
    eye_color: str = ""
    skin_tone: str = ""
    style: str = ""
    headwear: str = ""


def persona_from_json(stored: dict[str, Any]) -> Persona:
    """Read a persona from a JSON column."""
    persona = from_json(Persona, stored)
    return replace(persona, personality=tuple(persona.personality))


def attributes_from_json(stored: dict[str, Any]) -> Attributes:
    """Read attributes from a JSON column."""
    return from_json(Attributes, stored)

"""Persona and attributes of a person: values that avatars, generations and presets share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.people.vocabulary import shown_age_range


@dataclass(frozen=True, slots=True)
class Persona:
    """Character of a person: name, age, personality and background. An empty field is not given."""

    name: str = ""
    """Name of the person, at most 120 characters."""
    age: int = 0
    """Age in years, 1 to 120; 0 if not given."""
    personality: tuple[str, ...] = ()
    """Character traits: at most 12, with 1 to 60 characters each."""
    background: str = ""
    """Life story, at most 4,000 characters."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Look of a person. Each field except `ethnicity` is a key of its table in `vocabulary`, or empty."""

    gender: str = ""
    age_range: str = ""
    ethnicity: str = ""
    """Ethnicity in the caller's words, at most 60 characters."""
    body_type: str = ""
    hair_style: str = ""
    hair_color: str = ""
    eye_color: str = ""
    skin_tone: str = ""
    style: str = ""
    headwear: str = ""


def shown_attributes(attributes: Attributes, persona: Persona) -> Attributes:
    """Return the attributes to show: the given ones, and the age range of the persona's age."""
    return replace(attributes, age_range=shown_age_range(attributes.age_range, persona.age))


def persona_from_json(stored: dict[str, Any]) -> Persona:
    """Make a persona of the value of a JSON column."""
    return from_json(Persona, {**stored, "personality": tuple(stored.get("personality", ()))})


def attributes_from_json(stored: dict[str, Any]) -> Attributes:
    """Make attributes of the value of a JSON column."""
    return from_json(Attributes, stored)

"""The gallery of every service: presets and persona examples, which `migrate` writes to the database.

`presets.toml` and `personas.toml` have the content. `pictures/` has a WebP of 300x300 pixels for each preset,
named after its id. `python -m avatar_creator_tasks.draw_presets` draws the pictures.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import peewee

from avatar_creator_server.database.models import AvatarPreset, PersonaExample
from avatar_creator_server.database.text_search import fold

_HERE = files("avatar_creator_server.database.seed_data")


def presets() -> list[dict[str, Any]]:
    """Return the presets of the file."""
    content: list[dict[str, Any]] = tomllib.loads((_HERE / "presets.toml").read_text())["preset"]
    return content


def persona_examples() -> list[dict[str, Any]]:
    """Return the persona examples of the file."""
    content: list[dict[str, Any]] = tomllib.loads((_HERE / "personas.toml").read_text())["persona_example"]
    return content


def picture(preset_id: str) -> bytes:
    """Return the picture of a preset."""
    return (_HERE / "pictures" / f"{preset_id}.webp").read_bytes()


def seed(database: peewee.Database) -> None:
    """Write the gallery to the database.

    A repeated call updates the entries by their ids. It keeps the counts of their uses, and leaves entries
    with other ids alone.
    """
    with database.atomic():
        for preset in presets():
            _write(
                AvatarPreset,
                preset
                | {
                    "image": picture(preset["id"]),
                    "search_text": fold(f"{preset['name']}\n{preset['description']}"),
                },
            )
        for example in persona_examples():
            _write(PersonaExample, example)


def _write(table: Any, content: dict[str, Any]) -> None:
    columns = {name: value for name, value in content.items() if name in table._meta.fields}
    table.insert(**columns).on_conflict(
        conflict_target=[table.id],
        preserve=[getattr(table, name) for name in columns if name != "id"],
    ).execute()

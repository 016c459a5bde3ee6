"""Draws the pictures of the gallery's presets.

Run `python -m avatar_creator_tasks.draw_presets` after you change a preset. The same preset always gives the
same bytes, so only the pictures of changed presets change.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avatar_creator_server.database import seed_data
from avatar_creator_server.images.processing import thumbnail_of
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.sketch.art import draw_portrait

GALLERY = Path(seed_data.__file__).parent
SIDE_PIXELS = 1024
"""Width and height of the portrait that a preset's picture is made from."""


def draw_picture(preset: Mapping[str, Any]) -> bytes:
    """Draw a preset's picture: a WebP of 300x300 pixels, made like the thumbnail of any portrait.

    Args:
        preset: One table of `presets.toml`; `attributes` and `seed` define the picture.
    """
    portrait = draw_portrait(
        Attributes(**preset["attributes"]),
        seed=preset["seed"],
        width=SIDE_PIXELS,
        height=SIDE_PIXELS,
        on_step=lambda _done, _total: None,
    )
    return thumbnail_of(portrait).data


def draw_pictures(gallery: Path) -> None:
    """Draw the picture of every preset in `presets.toml` and delete the pictures of removed presets."""
    presets = tomllib.loads((gallery / "presets.toml").read_text(encoding="utf-8"))["preset"]
    pictures = gallery / "pictures"
    pictures.mkdir(exist_ok=True)
    drawn = {f"{preset['id']}.webp": draw_picture(preset) for preset in presets}
    for path in pictures.iterdir():
        if path.name not in drawn:
            path.unlink()
    for name, data in drawn.items():
        (pictures / name).write_bytes(data)


if __name__ == "__main__":
    draw_pictures(GALLERY)

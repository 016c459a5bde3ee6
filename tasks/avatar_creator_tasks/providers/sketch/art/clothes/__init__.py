"""Clothes: one garment for each style."""

from __future__ import annotations

from collections.abc import Callable

from avatar_creator_tasks.providers.sketch.art.clothes.dressed import (
    paint_elegant,
    paint_formal,
    paint_professional,
    paint_traditional,
)
from avatar_creator_tasks.providers.sketch.art.clothes.everyday import (
    paint_casual,
    paint_creative,
    paint_sporty,
    paint_streetwear,
)
from avatar_creator_tasks.providers.sketch.art.scene import Scene

__all__ = ["paint_clothes"]

_GARMENTS: dict[str, Callable[[Scene], None]] = {
    "professional": paint_professional,
    "casual": paint_casual,
    "formal": paint_formal,
    "traditional": paint_traditional,
    "sporty": paint_sporty,
    "creative": paint_creative,
    "elegant": paint_elegant,
    "streetwear": paint_streetwear,
}


def paint_clothes(scene: Scene) -> None:
    """Paint the garment of the person's style."""
    _GARMENTS[scene.look.style](scene)

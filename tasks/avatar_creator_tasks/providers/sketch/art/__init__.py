"""A friendly head-and-shoulders portrait, drawn with Pillow.

This package is self-contained: it imports nothing from the service.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from avatar_creator_tasks.providers.sketch.art.backdrop import paint_backdrop
from avatar_creator_tasks.providers.sketch.art.canvas import Canvas
from avatar_creator_tasks.providers.sketch.art.clothes import paint_clothes
from avatar_creator_tasks.providers.sketch.art.face import paint_features, paint_head, paint_neck
from avatar_creator_tasks.providers.sketch.art.hair import paint_hair_behind, paint_hair_in_front
from avatar_creator_tasks.providers.sketch.art.headwear import paint_headwear
from avatar_creator_tasks.providers.sketch.art.look import NO_DETAILS, Details, Traits, resolve
from avatar_creator_tasks.providers.sketch.art.restyling import restyle
from avatar_creator_tasks.providers.sketch.art.scene import Scene

_PARTS: tuple[Callable[[Scene], None], ...] = (
    paint_backdrop,
    paint_hair_behind,
    paint_neck,
    paint_clothes,
    paint_head,
    paint_features,
    paint_hair_in_front,
    paint_headwear,
)
"""Parts of the picture, from the back to the front."""

__all__ = ["Details", "Traits", "draw_portrait", "restyle"]


def draw_portrait(
    traits: Traits,
    details: Details = NO_DETAILS,
    *,
    seed: int,
    width: int,
    height: int,
    on_step: Callable[[int, int], None],
) -> Image.Image:
    """Draw a person as an RGB picture. The same arguments give the same bytes.

    Args:
        traits: The look of the person. The seed chooses empty traits, except headwear, which is then missing.
        details: Other parts of the look.
        seed: Random seed.
        width: Width in pixels.
        height: Height in pixels.
        on_step: Receives the finished and the total number of steps after each step. An exception that it
            raises ends the drawing and propagates.
    """
    canvas = Canvas(width, height)
    scene = Scene(canvas, resolve(traits, seed, details))
    total = len(_PARTS) + 1
    for done, paint in enumerate(_PARTS, start=1):
        paint(scene)
        on_step(done, total)
    portrait = canvas.finished()
    on_step(total, total)
    return portrait

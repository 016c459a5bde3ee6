"""The drawing behind the `sketch` provider: a friendly head-and-shoulders portrait, with Pillow alone."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.sketch.art.backdrop import paint_backdrop
from avatar_creator_tasks.providers.sketch.art.canvas import Canvas
from avatar_creator_tasks.providers.sketch.art.clothes import paint_clothes
from avatar_creator_tasks.providers.sketch.art.face import paint_features, paint_head, paint_neck
from avatar_creator_tasks.providers.sketch.art.hair import paint_hair_before, paint_hair_behind
from avatar_creator_tasks.providers.sketch.art.headwear import paint_headwear
from avatar_creator_tasks.providers.sketch.art.look import resolve
from avatar_creator_tasks.providers.sketch.art.scene import Scene

_PARTS: tuple[Callable[[Scene], None], ...] = (
    paint_backdrop,
    paint_hair_behind,
    paint_neck,
    paint_clothes,
    paint_head,
    paint_features,
    paint_hair_before,
    paint_headwear,
)
"""From the back of the picture to its front."""

__all__ = ["draw_portrait"]


def draw_portrait(
    attributes: Attributes, *, seed: int, width: int, height: int, on_step: Callable[[int, int], None]
) -> Image.Image:
    """Draws a person with these attributes as an RGB picture of `width` by `height` pixels.

    Attributes that are not given are chosen by `seed`, except headwear, which then is not worn. The
    same attributes, seed and size give the same bytes. `on_step(done, total)` is called after each of
    the drawing's steps; what it raises ends the drawing and reaches the caller.
    """
    canvas = Canvas(width, height)
    scene = Scene(canvas, resolve(attributes, seed))
    total = len(_PARTS) + 1
    for done, paint in enumerate(_PARTS, start=1):
        paint(scene)
        on_step(done, total)
    portrait = canvas.finished()
    on_step(total, total)
    return portrait

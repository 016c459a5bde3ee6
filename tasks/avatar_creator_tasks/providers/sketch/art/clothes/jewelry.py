"""Necklaces: pearls and a pendant."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    curve,
    ellipse,
    ribbon,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    GOLD,
    WHITE,
    lighter,
    rgb,
)
from avatar_creator_tasks.providers.sketch.art.scene import Scene


def paint_pearls(scene: Scene) -> None:
    reach = scene.frame.neck + 6
    string = curve(
        (CENTER - reach, 712), (CENTER - reach * 0.7, 752), (CENTER, 772), (CENTER + reach * 0.7, 752),
        (CENTER + reach, 712),
    )  # fmt: skip
    beads = [string[index] for index in range(0, len(string), 3)]
    scene.canvas.fill(
        *[ellipse((x + 1, y + 4), 8, 8) for x, y in beads], color=scene.look.skin.shade, opacity=0.8, blur=2
    )
    scene.canvas.fill(*[ellipse(bead, 7.5, 7.5) for bead in beads], color=rgb("F8F0E4"))
    scene.canvas.fill(*[ellipse((x - 2, y - 2), 2.6, 2.6) for x, y in beads], color=WHITE)


def paint_pendant(scene: Scene, bottom: float) -> None:
    reach = scene.frame.neck + 10
    chain = curve(
        (CENTER - reach, 716), (CENTER - reach * 0.55, 716 + (bottom - 716) * 0.66), (CENTER, bottom),
        (CENTER + reach * 0.55, 716 + (bottom - 716) * 0.66), (CENTER + reach, 716),
    )  # fmt: skip
    scene.canvas.fill(ribbon(chain, 3), color=GOLD)
    scene.canvas.fill(ellipse((CENTER, bottom + 8), 8, 10), color=GOLD)
    scene.canvas.fill(ellipse((CENTER - 2, bottom + 5), 3, 3), color=lighter(GOLD, 0.7))

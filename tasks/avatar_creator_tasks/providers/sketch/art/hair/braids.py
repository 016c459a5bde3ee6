"""Braids and cornrows."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Path,
    blob,
    ellipse,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.hair.strands import dome, glow_color, paint_hair
from avatar_creator_tasks.providers.sketch.art.palette import (
    deeper,
    lighter,
    mix,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_braided(scene: Scene) -> None:
    head, look = scene.head, scene.look
    if not look.soft:
        _paint_cornrows(scene)
        return
    cap = [*head.path(*dome(0.09, 0.07, 0.55)),
           *head.path((1.05, 0.55), (0.975, 0.56), (0.95, 0.42), (0.86, 0.29), (0.48, 0.19), (0.0, 0.05),
                      (-0.48, 0.19), (-0.86, 0.29), (-0.95, 0.42), (-0.975, 0.56), (-1.05, 0.55))]  # fmt: skip
    strands = [
        head.path((side * 0.03, v), (side * 0.55, v + 0.10), (side * 0.93, v + 0.26), (side * 1.03, 0.5))
        for side in SIDES
        for v in (-0.02, 0.045)
    ]
    strands.append(head.path((0, -0.07), (0, 0.0), (0, 0.06)))
    paint_hair(scene, cap, strands=strands)
    for side in SIDES:
        _paint_braid(
            scene,
            side,
            head.path(
                (side * 1.04, 0.66), (side * 1.10, 0.90), (side * 1.0, 1.14), (side * 0.94, 1.44),
            ),
            46,
        )  # fmt: skip


def paint_braided_behind(scene: Scene) -> None:
    if not scene.look.soft:
        for side in SIDES:
            for offset in (0.0, 0.22):
                line = scene.head.path(
                    (side * (0.80 + offset), 0.4),
                    (side * (0.86 + offset), 0.8),
                    (side * (0.84 + offset), 1.16),
                )
                _paint_braid(scene, side, line, 34)


def _paint_braid(scene: Scene, side: int, line: Path, wide: float) -> None:
    canvas, look = scene.canvas, scene.look
    canvas.fill(ribbon(shifted(line, 8, 6), wide * 0.9), color=deeper(look.hair, 0.6), opacity=0.3, blur=7)
    canvas.fill(ribbon(line, wide * 0.7, wide * 0.5), color=deeper(look.hair, 0.4))
    count = 14
    for index in range(count):
        x, y = line[round((index + 0.4) * (len(line) - 1) / count)]
        size = wide * (0.66 - 0.14 * index / count)
        lean = 38 if index % 2 else -38
        link = ellipse((x + wide * (0.14 if index % 2 else -0.14), y), size * 0.70, size * 0.95, lean)
        canvas.fill(shifted(link, 1, 5), color=deeper(look.hair, 0.6), opacity=0.6)
        area = canvas.mask(link)
        canvas.paint(area, lighter(look.hair, 0.10), fade_to=deeper(look.hair, 0.15))
        canvas.fill(
            ellipse((x - 3, y - size * 0.3), size * 0.22, size * 0.34, lean),
            color=glow_color(look.hair),
            opacity=0.35,
            blur=3,
            within=area,
        )
    x, y = line[-1]
    tuft = blob((x - 11, y - 6), (x + 11, y - 6), (x + 17, y + 26), (x + side * 3, y + 50), (x - 17, y + 26))
    canvas.fill(tuft, color=look.hair)
    canvas.fill(ribbon([(x - 14, y - 2), (x + 14, y - 2)], 15), color=look.scheme.accent)


def _paint_cornrows(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    cap = [*head.path(*dome(0.045, 0.045, 0.48)),
           *head.path((0.965, 0.48), (0.925, 0.36), (0.82, 0.262), (0.62, 0.203), (0.34, 0.172), (0.0, 0.162),
                      (-0.34, 0.172), (-0.62, 0.203), (-0.82, 0.262), (-0.925, 0.36), (-0.965, 0.48))]  # fmt: skip
    hair = paint_hair(scene, cap, shine=True)
    for index in range(-4, 5):
        u = index * 0.205
        row = head.path(
            (u * 1.08, 0.215 + abs(u) * 0.16),
            (u * 1.02, 0.10 + abs(u) * 0.10),
            (u * 0.80, 0.0 + abs(u) * 0.03),
            (u * 0.55, -0.055),
        )
        canvas.fill(ribbon(row, 5.5), color=mix(look.skin.shade, look.hair, 0.35), opacity=0.9, within=hair)
        between = shifted(row, head.half * 0.105, 2)
        ticks = [ribbon([(x - 7, y + 4), (x + 7, y - 4)], 2.2) for x, y in between[::3]]
        canvas.fill(*ticks, color=glow_color(look.hair), opacity=0.35, within=hair)

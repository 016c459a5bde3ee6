"""Tied hair: the bun, the ponytail, and hair that a scarf covers."""

from __future__ import annotations

import math

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Point,
    blob,
    curve,
    ellipse,
    ribbon,
)
from avatar_creator_tasks.providers.sketch.art.hair.strands import (
    dome,
    glow_color,
    is_pressed,
    paint_hair,
    toward_parting,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    deeper,
    lighter,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_bun_behind(scene: Scene) -> None:
    head, look = scene.head, scene.look
    size = head.half * (0.40 if look.soft else 0.29)
    x, y = (
        head.at(0.88 * look.side, 0.83) if is_pressed(scene) else head.at(0, -0.145 if look.soft else -0.10)
    )
    bun = ellipse((x, y), size * 1.06, size * 0.92)
    canvas = scene.canvas
    area = canvas.mask(bun)
    canvas.paint(area, lighter(look.hair, 0.06), fade_to=deeper(look.hair, 0.3))
    canvas.fill(
        ribbon(
            curve(
                (x - size * 0.6, y - size * 0.2), (x - size * 0.2, y - size * 0.6),
                (x + size * 0.3, y - size * 0.6),
            ),
            3,
            16,
            3,
        ),
        color=glow_color(look.hair),
        opacity=0.45,
        blur=6,
        within=area,
    )  # fmt: skip
    for turn in (0.35, 0.62, 0.9):
        coil = curve(
            (x - size * turn, y + size * 0.5), (x - size * turn * 0.8, y - size * 0.45 * turn),
            (x + size * 0.1, y - size * 0.72 * turn), (x + size * 0.85 * turn, y - size * 0.1),
            (x + size * 0.6 * turn, y + size * 0.6),
        )  # fmt: skip
        canvas.fill(ribbon(coil, 0.8, 4.5, 0.8), color=deeper(look.hair, 0.5), opacity=0.45, within=area)


def paint_bun(scene: Scene) -> None:
    _paint_combed_back(scene, (0.0, -0.06))
    if scene.look.soft:
        _paint_wisps(scene)


def paint_ponytail_behind(scene: Scene) -> None:
    head, look = scene.head, scene.look
    places: tuple[Point, ...]
    fall: tuple[Point, ...]
    fine: tuple[Point, ...]
    if look.soft:
        places = ((0.30, -0.05), (0.55, -0.17), (1.00, -0.16), (1.42, 0.06), (1.62, 0.45), (1.56, 0.85), (1.66, 1.15), (1.38, 1.42),
                  (1.30, 1.15), (1.16, 0.85), (1.18, 0.5), (1.02, 0.2), (0.7, 0.08))  # fmt: skip
        fall = ((0.7, -0.08), (1.15, 0.05), (1.40, 0.45), (1.38, 0.85), (1.46, 1.2))
        fine = ((0.7, -0.02), (1.08, 0.12), (1.26, 0.5), (1.26, 0.85), (1.36, 1.2))
    else:
        places = (
            (0.30, 0.0), (0.7, -0.05), (1.10, 0.10), (1.34, 0.42), (1.30, 0.75), (1.36, 1.0), (1.12, 1.10),
            (1.08, 0.8), (1.06, 0.4),
        )  # fmt: skip
        fall = ((0.8, 0.02), (1.12, 0.22), (1.24, 0.5), (1.2, 0.9), (1.22, 1.02))
        fine = ((0.8, 0.08), (1.06, 0.28), (1.14, 0.55), (1.13, 0.9), (1.16, 1.02))
    if is_pressed(scene):
        # A hat moves the ponytail down.
        places, fall, fine = (tuple((u, v * 0.85 + 0.22) for u, v in line) for line in (places, fall, fine))
    tail = blob(*head.points(*toward_parting(scene, *places)))
    canvas = scene.canvas
    area = canvas.mask(tail)
    canvas.paint(area, look.hair, fade_to=deeper(look.hair, 0.25))
    canvas.fill(
        ribbon(head.path(*toward_parting(scene, *fall)), 2, 20, 12, 2),
        color=glow_color(look.hair),
        opacity=0.35,
        blur=7,
        within=area,
    )
    for line in (fall, fine):
        canvas.fill(
            ribbon(head.path(*toward_parting(scene, *line)), 0.8, 4.5, 0.8),
            color=deeper(look.hair, 0.5),
            opacity=0.45,
            within=area,
        )
    if look.soft and not is_pressed(scene):
        band = head.path(*toward_parting(scene, (0.52, -0.12), (0.62, -0.05), (0.66, 0.03)))
        canvas.fill(ribbon(band, 22, 26, 22), color=look.scheme.accent)


def paint_ponytail(scene: Scene) -> None:
    _paint_combed_back(scene, (0.55 * scene.look.side, -0.06))
    if scene.look.soft and scene.look.variant < 0.5:
        _paint_wisps(scene)


def paint_put_away(scene: Scene) -> None:
    _paint_combed_back(scene, (0.0, -0.06))


def _paint_combed_back(scene: Scene, knot: Point) -> None:
    """Paint hair that is combed smoothly from the hairline to a knot."""
    head, soft = scene.head, scene.look.soft
    peak = 0.155 if soft else 0.172
    cap = [*head.path(*dome(0.065, 0.062, 0.47)),
           *head.path((1.05, 0.47), (0.965, 0.52), (0.945, 0.42), (0.87, 0.295), (0.66, 0.215), (0.36, peak + 0.012), (0.0, peak),
                      (-0.36, peak + 0.012), (-0.66, 0.215), (-0.87, 0.295), (-0.945, 0.42), (-0.965, 0.52), (-1.05, 0.47))]  # fmt: skip
    roots = (
        (-0.96, 0.42), (-0.86, 0.27), (-0.55, 0.19), (-0.22, 0.175), (0.22, 0.175), (0.55, 0.19),
        (0.86, 0.27), (0.96, 0.42),
    )  # fmt: skip
    strands = [
        head.path(
            (u, v), (u * 0.86 + knot[0] * 0.14 + 0.06 * math.copysign(1, u), v * 0.45 + knot[1] * 0.2),
            (u * 0.35 + knot[0] * 0.5, knot[1] * 0.8 + 0.03),
        )
        for u, v in roots
    ]  # fmt: skip
    paint_hair(scene, cap, strands=strands)


def _paint_wisps(scene: Scene) -> None:
    """Paint a loose strand in front of each ear."""
    for side in SIDES:
        wisp = scene.head.path(
            (side * 0.90, 0.30), (side * 0.975, 0.44), (side * 0.945, 0.58), (side * 0.985, 0.70)
        )
        scene.canvas.fill(ribbon(wisp, 4, 8, 5, 0.8), color=scene.look.hair)

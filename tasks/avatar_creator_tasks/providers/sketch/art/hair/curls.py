"""Curls and the afro."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Mask,
    Path,
    Point,
    blob,
    curve,
    ellipse,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.hair.strands import (
    dome,
    glow_color,
    hat_area,
    is_pressed,
    paint_back,
    paint_hair,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    deeper,
    lighter,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_curly(scene: Scene) -> None:
    if scene.look.soft:
        outer = _ring(0.15, 0.06, 13)
        # Two staggered columns on each side, wider toward the shoulders.
        falls = [
            (
                side * (1.04 + column * 0.17 + 0.07 * row / 4 + 0.035 * (row % 2)),
                0.50 + row * 0.145 + column * 0.05,
            )
            for side in SIDES
            for row in range(5)
            for column in range(2)
        ]
    else:
        outer = [place for place in _ring(0.02, 0.06, 13) if place[1] < 0.42]
        falls = []
    fringe = [
        (-0.82, 0.215), (-0.58, 0.125), (-0.28, 0.125), (0.0, 0.095), (0.30, 0.125), (0.56, 0.12),
        (0.82, 0.21),
    ]  # fmt: skip
    crown = [(-0.55, 0.03), (-0.2, 0.0), (0.2, 0.0), (0.55, 0.03)]
    solid = scene.head.path(*dome(0.06, 0.05, 0.34)) + scene.head.path(
        (0.94, 0.34), (0.8, 0.2), (0, 0.12), (-0.8, 0.2), (-0.94, 0.34)
    )
    ropes = [
        blob(*scene.head.points(*((side * u, v) for u, v in (
            (1.0, 0.34), (1.16, 0.36), (1.26, 0.60), (1.30, 0.85), (1.28, 1.08), (1.08, 1.10), (1.0, 0.85), (0.98, 0.60)
        ))))
        for side in SIDES
        if falls
    ]  # fmt: skip
    _paint_curls(scene, [*falls, *crown, *outer, *fringe], 0.205, solid, *ropes)


def paint_curly_behind(scene: Scene) -> None:
    if scene.look.soft:
        balls = [ellipse(scene.head.at(u, v), 44, 44) for u, v in _ring(0.16, 0.0, 11) if v > 0.2]
        body = blob(
            *scene.head.points(
                (0, 0), (1.15, 0.3), (1.2, 0.8), (1.05, 1.12), (0, 1.1), (-1.05, 1.12), (-1.2, 0.8),
                (-1.15, 0.3),
            )
        )  # fmt: skip
        paint_back(scene, *balls, body)


def paint_afro(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    face = blob(*head.points((0, 0.118), (0.32, 0.133), (0.60, 0.185), (0.82, 0.275), (0.95, 0.42), (0.98, 0.60), (0.90, 0.80), (0.5, 1.05), (0, 1.1),
                             (-0.5, 1.05), (-0.90, 0.80), (-0.98, 0.60), (-0.95, 0.42), (-0.82, 0.275), (-0.60, 0.185), (-0.32, 0.133)))  # fmt: skip
    opening = canvas.mask(face)
    lower = canvas.mask([head.at(-3, 0.74), head.at(3, 0.74), head.at(3, 3), head.at(-3, 3)], blur=26)
    edge = _afro_edge(scene)
    hat = hat_area(scene)
    canvas.fill(
        shifted(head.path((-0.9, 0.28), (-0.5, 0.15), (0, 0.13), (0.5, 0.15), (0.9, 0.28)), 3, 10),
        color=look.skin.shade,
        opacity=0.35,
        blur=8,
        within=scene.face,
    )
    whole = canvas.mask(*edge, without=opening)
    hair = Mask(whole.box, _without(whole, lower, hat))
    canvas.paint(hair, lighter(look.hair, 0.06), fade_to=deeper(look.hair, 0.2))
    lit = canvas.mask(*(shifted(path, -26, -20) for path in edge), blur=24)
    canvas.paint(Mask(hair.box, _without(hair, lit, None)), deeper(look.hair, 0.5), 0.5)
    lights: list[Path] = []
    shades: list[Path] = []
    for index in range(210):
        # A sunflower's spiral spreads the curls evenly and without visible rows.
        reach, turn = math.sqrt(index / 210), index * 2.39996
        x, y = head.at(0, 0.22)
        x, y = x + reach * head.half * 1.52 * math.cos(turn), y + reach * head.half * 1.54 * math.sin(turn)
        arc = [
            (x + 9 * math.cos(turn + step * 0.5), y + 9 * math.sin(turn + step * 0.5)) for step in range(8)
        ]
        (lights if index * index % 11 < 4 else shades).append(ribbon(arc, 0.8, 3.6, 0.8))
    canvas.fill(*shades, color=deeper(look.hair, 0.5), opacity=0.4, within=hair)
    canvas.fill(*lights, color=glow_color(look.hair), opacity=0.32, within=hair)


def paint_afro_behind(scene: Scene) -> None:
    paint_back(scene, *_afro_edge(scene))


def _paint_curls(scene: Scene, centers: Sequence[Point], radius: float, *solid: Path) -> None:
    """Paint round locks, each with a light or dark arc."""
    canvas, look, head = scene.canvas, scene.look, scene.head
    size = radius * head.half
    spots = [head.at(u, v) for u, v in centers]
    balls = [ellipse(spot, size * (1 + 0.20 * math.sin(index * 2.3)), size * (1 + 0.20 * math.sin(index * 2.3 + 0.5)))
             for index, spot in enumerate(spots)]  # fmt: skip
    hair = paint_hair(scene, *balls, *solid, shine=False)
    lights: list[Path] = []
    shades: list[Path] = []
    for index, (x, y) in enumerate(spots):
        turn = index * 1.9
        arc = [
            (x + size * 0.62 * math.cos(turn + step * 0.32), y + size * 0.62 * math.sin(turn + step * 0.32))
            for step in range(10)
        ]
        (lights if index % 2 else shades).append(ribbon(arc, 0.8, 5, 0.8))
    canvas.fill(*shades, color=deeper(look.hair, 0.5), opacity=0.45, within=hair)
    canvas.fill(*lights, color=glow_color(look.hair), opacity=0.38, within=hair)


def _ring(grow: float, lift: float, count: int) -> list[Point]:
    """Return evenly spaced places over the head, from ear to ear."""
    path = curve(*dome(grow, lift, 0.5))
    return [path[round(index * (len(path) - 1) / (count - 1))] for index in range(count)]


def _afro_edge(scene: Scene) -> list[Path]:
    """Return the outline of an afro: a ball, or two puffs at the sides of a hat."""
    head = scene.head
    if is_pressed(scene):
        puffs = [ellipse(head.at(side * 1.12, 0.50), head.half * 0.42, head.half * 0.60) for side in SIDES]
        bumps = [ellipse((x, y), head.half * 0.10, head.half * 0.10) for puff in puffs for x, y in puff[::4]]
        return [*puffs, *bumps]
    (x, y), rx, ry = head.at(0, 0.25), head.half * 1.46, head.half * 1.48
    ring = [
        (x + rx * math.cos(step * math.tau / 34), y + ry * math.sin(step * math.tau / 34))
        for step in range(34)
    ]
    return [ellipse((x, y), rx, ry), *(ellipse(bump, head.half * 0.17, head.half * 0.17) for bump in ring)]


def _without(mask: Mask, *others: Mask | None) -> Image.Image:
    alpha = mask.alpha
    for other in others:
        if other is not None:
            alpha = ImageChops.subtract(alpha, other.cropped(mask.box))
    return alpha

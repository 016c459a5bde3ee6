"""Hair that falls onto the shoulders, and waves."""

from __future__ import annotations

import math
from itertools import pairwise

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Path,
    Point,
    mirror,
)
from avatar_creator_tasks.providers.sketch.art.hair.strands import paint_back, paint_hair, toward_parting
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_falling_behind(scene: Scene) -> None:
    length = _length(scene) - 0.03
    wide = 1.12 if scene.look.soft else 1.05
    half = scene.head.path(
        (0, -0.02), (0.8, 0.05), (wide, 0.36), (wide + 0.03, 0.8), (wide + 0.02, length - 0.1),
        (0.86, length), (0, length),
    )  # fmt: skip
    paint_back(scene, [*half, *reversed(mirror(half))])


def paint_wavy_behind(scene: Scene) -> None:
    if scene.look.soft:
        paint_falling_behind(scene)


def paint_falling(scene: Scene) -> None:
    """Paint two curtains of hair from a parting, over the ears and in front of the shoulders."""
    parting = 0.30 * scene.look.side if scene.look.variant < 0.6 else 0.0
    left, right = (_curtain(scene, side, parting) for side in SIDES)
    strands: list[Path] = []
    length, wave = _length(scene), _wave(scene)
    for side in SIDES:
        for spread in (0.35, 0.68):
            places = [
                (parting + 0.04 * side, -0.03),
                (parting + (side * 0.75 - parting) * 0.7, 0.09 + 0.08 * (1 - spread)),
                (side * (0.93 + 0.10 * spread), 0.34),
            ]
            v = 0.5
            while v < length - 0.04:
                places.append(
                    (
                        side
                        * (
                            _inner(v, length) * (1 - spread)
                            + 1.16 * spread
                            + wave * math.sin((v - 0.36) * 13)
                        ),
                        v,
                    )
                )
                v += 0.11
            strands.append(scene.head.path(*places))
    paint_hair(scene, left, right, strands=strands)


def paint_wavy(scene: Scene) -> None:
    if scene.look.soft:
        paint_falling(scene)
    else:
        _paint_swept(scene)


def _paint_swept(scene: Scene) -> None:
    """Paint waves down to the corner of the jaw, swept off the forehead."""
    head = scene.head
    outer = toward_parting(scene, (-0.99, 0.66), (-1.13, 0.58), (-1.10, 0.46), (-1.17, 0.34), (-1.10, 0.19), (-1.0, 0.08), (-0.80, -0.03), (-0.55, -0.10), (-0.20, -0.125),
                   (0.10, -0.105), (0.36, -0.12), (0.66, -0.07), (0.93, 0.03), (1.06, 0.15), (1.15, 0.29), (1.10, 0.44), (1.13, 0.57), (0.99, 0.66))  # fmt: skip
    right = toward_parting(
        scene,
        (0.99, 0.66), (0.985, 0.55), (0.93, 0.44), (0.92, 0.33), (0.76, 0.23), (0.60, 0.20), (0.42, 0.115),
    )  # fmt: skip
    left = toward_parting(
        scene,
        (0.42, 0.115), (0.20, 0.20), (-0.10, 0.205), (-0.38, 0.27), (-0.66, 0.265), (-0.86, 0.34),
        (-0.92, 0.45), (-0.985, 0.55), (-0.99, 0.66),
    )  # fmt: skip
    strands = [
        head.path(
            *toward_parting(
                scene,
                (0.40, 0.09), (0.16, 0.14), (-0.12, 0.14), (-0.45, 0.20), (-0.85, 0.24), (-1.02, 0.40),
                (-1.04, 0.56),
            )
        ),
        head.path(
            *toward_parting(
                scene, (0.38, 0.05), (0.10, 0.07), (-0.25, 0.05), (-0.60, 0.12), (-0.95, 0.18), (-1.08, 0.32)
            )
        ),
        head.path(*toward_parting(scene, (0.42, 0.02), (0.15, -0.03), (-0.20, -0.045), (-0.60, 0.0))),
        head.path(*toward_parting(scene, (0.48, 0.08), (0.74, 0.12), (0.96, 0.24), (1.03, 0.40), (1.05, 0.56))),
    ]  # fmt: skip
    paint_hair(scene, [*head.path(*outer), *head.path(*right), *head.path(*left)], strands=strands)


def _curtain(scene: Scene, side: int, parting: float) -> Path:
    head, length, wave = scene.head, _length(scene), _wave(scene)
    full = 0.16 if scene.look.soft else 0.09
    outer: list[Point] = [
        (parting, -0.098), (parting + (side * 0.5 - parting) * 0.6, -0.10), (side * 0.66, -0.055),
        (side * (0.94 + full * 0.4), 0.06), (side * (1.02 + full), 0.24),
    ]  # fmt: skip
    inner: list[Point] = []
    v = 0.40
    while v < length - 0.14:
        sway = wave * math.sin((v - 0.36) * 13)
        outer.append((side * (1.03 + full + 0.10 * min(1.0, v - 0.3) + sway), v))
        if v > 0.44:
            inner.append((side * (_inner(v, length) + sway * 0.7), v))
        v += 0.10
    foot = _inner(length, length)
    tip = (
        (side * 1.20, length - 0.075),
        (side * 1.06, length - 0.01),
        (side * 0.92, length + 0.012),
        (side * (foot + 0.06), length - 0.03),
    )
    top: list[Point] = [(side * 0.95, 0.42)]
    if side * parting <= 0:
        top += [(side * 0.84, 0.31), (side * 0.48, 0.205), (parting + side * 0.10, 0.115), (parting, 0.04)]
    else:
        top += [(side * 0.86, 0.30), (side * 0.64, 0.18), (parting, 0.04)]
    return head.path(*outer, *tip, *reversed(inner), *top)


def _inner(v: float, length: float) -> float:
    """Return the u of a curtain's inner edge at height `v`."""
    marks = ((0.42, 0.95), (0.56, 0.975), (0.75, 0.93), (0.95, 0.86), (1.15, 0.78), (max(length, 1.3), 0.74))
    for (low, start), (high, end) in pairwise(marks):
        if v <= high:
            return start + (end - start) * max(v - low, 0) / (high - low)
    return marks[-1][1]


def _length(scene: Scene) -> float:
    """Return the lower end of falling hair, in v."""
    cut, soft = scene.look.cut, scene.look.soft
    if cut == "shoulder_length":
        return 1.13
    if cut == "long":
        return 1.5 if soft else 1.3
    return 1.34


def _wave(scene: Scene) -> float:
    return 0.07 if scene.look.cut == "wavy" else 0.016

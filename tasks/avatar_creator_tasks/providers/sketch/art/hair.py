"""Hair: what falls behind the head, and what frames the face."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from PIL import Image, ImageChops

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Mask,
    Path,
    Point,
    blob,
    curve,
    ellipse,
    mirror,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.palette import Color, brightness, deeper, lighter, mix
from avatar_creator_tasks.providers.sketch.art.scene import Scene

SIDES = (-1, 1)
_HIDDEN = frozenset({"hijab", "turban"})
"""Headwear no hair is seen under."""
_PRESSED = frozenset({"peci", "cap", "beanie", "fedora", "sun_hat", "headscarf"})
"""Headwear that hides the hair on top of the head."""


def paint_hair_behind(scene: Scene) -> None:
    """The hair that head and shoulders are in front of."""
    if scene.look.headwear not in _HIDDEN:
        behind = _BEHIND.get(_worn_cut(scene))
        if behind:
            behind(scene)


def paint_hair_before(scene: Scene) -> None:
    """The hair on top of the head and around the face."""
    if scene.look.headwear not in _HIDDEN:
        _BEFORE[_worn_cut(scene)](scene)


def _worn_cut(scene: Scene) -> str:
    """The cut as it is worn: full or tied hair is put away under a draped scarf."""
    look = scene.look
    if look.draped and look.cut in ("curly", "afro", "braided", "bun", "ponytail"):
        return "put_away"
    return look.cut


def shows_ears(scene: Scene) -> bool:
    """Whether hair and headwear leave the ears free."""
    look = scene.look
    if look.headwear in _HIDDEN or look.headwear == "headscarf":
        return False
    bare = ("bald", "buzz_cut", "bun", "ponytail", "braided")
    return look.cut in bare or (look.cut in ("short", "curly", "wavy") and not look.soft)


def top_of_hair(scene: Scene) -> float:
    """How far the hair rises above the crown, in v."""
    tall = {"bald": 0.0, "buzz_cut": 0.02, "afro": 0.28, "curly": 0.15, "bun": 0.06, "ponytail": 0.06}
    return tall.get(scene.look.cut, 0.085)


def _pressed(scene: Scene) -> bool:
    return scene.look.headwear in _PRESSED


def _hat(scene: Scene) -> Mask | None:
    """The area above a hat's edge, where no hair may stick out."""
    if not _pressed(scene):
        return None
    (left, top), (right, edge) = scene.head.at(-4, -1.5), scene.head.at(4, 0.07)
    return scene.canvas.mask([(left, top), (right, top), (right, edge), (left, edge)])


def _dome(grow: float, lift: float, low: float) -> tuple[Point, ...]:
    """Places over the head from left ear to right, `grow` wider and `lift` higher than the skull."""
    right = (
        (0.38, 0.020 - lift * 0.95), (0.71 + grow * 0.3, 0.092 - lift * 0.65),
        (0.95 + grow * 0.7, 0.205 - lift * 0.3), (1.0 + grow, 0.36), (1.0 + grow * 0.9, low),
    )  # fmt: skip
    return (*((-u, v) for u, v in reversed(right)), (0.0, -lift), *right)


def _lay(
    scene: Scene,
    *paths: Path,
    strands: Sequence[Path] = (),
    shine: bool = True,
) -> Mask:
    """Paints hair with its shadow on the face, its own shade, shine and strands."""
    canvas, look, head = scene.canvas, scene.look, scene.head
    tone = look.hair
    hair = canvas.mask(*paths, without=_hat(scene))
    fallen = [shifted(path, 4, 13) for path in paths]
    canvas.fill(*fallen, color=look.skin.shade, opacity=0.6, blur=7, within=scene.face)
    canvas.paint(hair, lighter(tone, 0.05), fade_to=deeper(tone, 0.16))
    lit = canvas.mask(*(shifted(path, -20, -6) for path in paths), blur=13)
    canvas.paint(canvas.mask(*paths, without=lit, within=hair), deeper(tone, 0.5), 0.5)
    if shine:
        arc = head.path((-0.92, 0.22), (-0.72, 0.075), (-0.40, 0.005), (-0.02, -0.012))
        canvas.fill(ribbon(arc, 3, 26, 20, 2), color=_glow(tone), opacity=0.5, blur=9, within=hair)
        arc = head.path((0.42, 0.03), (0.68, 0.085), (0.86, 0.20))
        canvas.fill(ribbon(arc, 2, 14, 2), color=_glow(tone), opacity=0.32, blur=8, within=hair)
    for strand in strands:
        canvas.fill(ribbon(strand, 0.8, 4.2, 0.8), color=deeper(tone, 0.5), opacity=0.42, within=hair)
    return hair


def _glow(color: Color) -> Color:
    """The colour of light on the hair: the darker the hair, the cooler."""
    return mix(color, (255, 240, 222), 0.5) if brightness(color) > 0.25 else mix(color, (190, 170, 185), 0.55)


def _back(scene: Scene, *paths: Path) -> None:
    """Paints hair in the shade, behind head and neck."""
    tone = deeper(scene.look.hair, 0.32)
    area = scene.canvas.mask(*paths, without=_hat(scene))
    scene.canvas.paint(area, tone, fade_to=deeper(tone, 0.12))


# -- close to the head --------------------------------------------------------------------------------


def _bald(scene: Scene) -> None:
    canvas, head, skin = scene.canvas, scene.head, scene.look.skin
    canvas.fill(
        ellipse(head.at(-0.34, 0.10), 50, 20, -24), color=skin.light, opacity=0.9, blur=10, within=scene.face
    )


def _buzz(scene: Scene) -> None:
    head, look = scene.head, scene.look
    cap = [*head.path(*_dome(0.03, 0.022, 0.47)),
           *head.path((0.965, 0.47), (0.925, 0.36), (0.82, 0.262), (0.62, 0.203), (0.34, 0.172), (0.0, 0.162),
                      (-0.34, 0.172), (-0.62, 0.203), (-0.82, 0.262), (-0.925, 0.36), (-0.965, 0.47))]  # fmt: skip
    area = scene.canvas.mask(cap, blur=2.2, without=_hat(scene))
    tone = mix(look.hair, look.skin.base, 0.22)
    scene.canvas.paint(area, tone, 0.92, fade_to=mix(tone, look.skin.base, 0.25))
    arc = head.path((-0.80, 0.20), (-0.55, 0.06), (-0.1, 0.02))
    scene.canvas.fill(ribbon(arc, 2, 22, 4), color=_glow(tone), opacity=0.3, blur=9, within=area)


def _short(scene: Scene) -> None:
    if scene.look.soft:
        _bob(scene)
    elif _pressed(scene):
        _under_hat(scene)
    elif scene.look.variant < 0.55:
        _side_parted(scene)
    else:
        _tousled(scene)


def _under_hat(scene: Scene) -> None:
    """The short hair a hat leaves to be seen, at the temples."""
    for side in SIDES:
        outer = scene.head.path(
            (side * 0.90, 0.02), (side * 1.05, 0.18), (side * 1.07, 0.36), (side * 1.02, 0.50)
        )
        inner = scene.head.path(
            (side * 1.02, 0.50), (side * 0.955, 0.53), (side * 0.94, 0.42), (side * 0.88, 0.28),
            (side * 0.76, 0.10),
        )  # fmt: skip
        _lay(scene, [*outer, *inner], shine=False)


def _sided(scene: Scene, *places: Point) -> tuple[Point, ...]:
    """The places as they are, or mirrored if the parting is on the other side."""
    return tuple((u * scene.look.side, v) for u, v in places)


def _side_parted(scene: Scene) -> None:
    head = scene.head
    outer = _sided(scene, (-1.03, 0.50), (-1.08, 0.36), (-1.05, 0.19), (-0.86, 0.02), (-0.46, -0.085), (0.0, -0.105), (0.42, -0.07),
                   (0.80, 0.04), (1.01, 0.19), (1.07, 0.36), (1.03, 0.50))  # fmt: skip
    inner = _sided(
        scene, (1.03, 0.50), (0.955, 0.53), (0.94, 0.42), (0.90, 0.31), (0.74, 0.215), (0.55, 0.165)
    )
    sweep = _sided(
        scene,
        (0.55, 0.165), (0.20, 0.215), (-0.25, 0.245), (-0.66, 0.225), (-0.86, 0.30), (-0.94, 0.42),
        (-0.955, 0.53), (-1.03, 0.50),
    )  # fmt: skip
    strands = [
        head.path(*_sided(scene, (0.52, 0.15), (0.10, 0.13), (-0.40, 0.13), (-0.78, 0.19))),
        head.path(*_sided(scene, (0.50, 0.12), (0.10, 0.06), (-0.40, 0.04), (-0.80, 0.11))),
        head.path(*_sided(scene, (0.55, 0.10), (0.30, 0.0), (-0.10, -0.05), (-0.45, -0.04))),
        head.path(*_sided(scene, (0.62, 0.16), (0.80, 0.17), (0.95, 0.27))),
    ]
    _lay(scene, [*head.path(*outer), *head.path(*inner), *head.path(*sweep)], strands=strands)


def _tousled(scene: Scene) -> None:
    head = scene.head
    outer = _sided(scene, (-1.02, 0.50), (-1.07, 0.36), (-1.04, 0.18), (-0.88, 0.03), (-0.64, -0.062), (-0.48, -0.098), (-0.22, -0.102), (0.0, -0.128), (0.24, -0.108),
                   (0.46, -0.10), (0.68, -0.05), (0.90, 0.04), (1.04, 0.18), (1.07, 0.36), (1.02, 0.50))  # fmt: skip
    right = _sided(scene, (1.02, 0.50), (0.95, 0.53), (0.935, 0.42), (0.89, 0.30), (0.76, 0.20))
    fringe = (
        _sided(scene, (0.76, 0.20), (0.66, 0.235), (0.50, 0.20)), _sided(scene, (0.50, 0.20), (0.34, 0.255), (0.16, 0.215)),
        _sided(scene, (0.16, 0.215), (-0.04, 0.27), (-0.22, 0.22)), _sided(scene, (-0.22, 0.22), (-0.44, 0.26), (-0.58, 0.205)),
        _sided(scene, (-0.58, 0.205), (-0.70, 0.23), (-0.80, 0.21)),
    )  # fmt: skip
    left = _sided(scene, (-0.80, 0.21), (-0.90, 0.31), (-0.935, 0.42), (-0.95, 0.53), (-1.02, 0.50))
    path = [*head.path(*outer), *head.path(*right)]
    for tuft in fringe:
        path += head.path(*tuft)
    path += head.path(*left)
    strands = [
        head.path(*_sided(scene, (u, 0.20), (u * 0.8 + 0.08, 0.10), (u * 0.6 + 0.05, 0.02)))
        for u in (-0.58, -0.22, 0.16, 0.50)
    ]
    _lay(scene, path, strands=strands)


def _bob(scene: Scene) -> None:
    head = scene.head
    outer = (
        (-0.74, 0.84), (-0.98, 0.80), (-1.17, 0.66), (-1.19, 0.48), (-1.15, 0.28), (-0.94, 0.03), (-0.48, -0.09),
        (0.0, -0.11), (0.48, -0.09), (0.94, 0.03), (1.15, 0.28), (1.19, 0.48), (1.17, 0.66), (0.98, 0.80), (0.74, 0.84),
    )  # fmt: skip
    right = _sided(
        scene, (0.74, 0.84), (0.90, 0.72), (0.955, 0.56), (0.93, 0.42), (0.80, 0.27), (0.42, 0.085)
    )
    sweep = _sided(
        scene,
        (0.42, 0.085), (0.20, 0.20), (-0.20, 0.29), (-0.70, 0.345), (-0.93, 0.44), (-0.955, 0.56),
        (-0.90, 0.72), (-0.74, 0.84),
    )  # fmt: skip
    strands = [
        head.path(*_sided(scene, (0.40, 0.06), (0.05, 0.16), (-0.45, 0.24), (-0.92, 0.36))),
        head.path(*_sided(scene, (0.38, 0.03), (-0.10, 0.08), (-0.60, 0.15), (-1.0, 0.34), (-1.08, 0.58))),
        head.path(*_sided(scene, (0.48, 0.06), (0.80, 0.17), (1.02, 0.36), (1.06, 0.60))),
    ]
    ordered = [*head.path(*outer)] if scene.look.side > 0 else list(reversed(head.path(*outer)))
    _lay(scene, [*ordered, *head.path(*right), *head.path(*sweep)], strands=strands)


def _bob_behind(scene: Scene) -> None:
    if scene.look.soft:
        _back(
            scene,
            blob(
                *scene.head.points(
                    (0, 0), (1.1, 0.3), (1.10, 0.7), (0.72, 0.86), (0, 0.88), (-0.72, 0.86), (-1.10, 0.7),
                    (-1.1, 0.3),
                )
            ),
        )  # fmt: skip


# -- falling hair -------------------------------------------------------------------------------------


def _length(scene: Scene) -> float:
    """Where falling hair ends, in v."""
    cut, soft = scene.look.cut, scene.look.soft
    if cut == "shoulder_length":
        return 1.13
    if cut == "long":
        return 1.5 if soft else 1.3
    return 1.34


def _wave(scene: Scene) -> float:
    return 0.07 if scene.look.cut == "wavy" else 0.016


def _falling_behind(scene: Scene) -> None:
    length = _length(scene) - 0.03
    wide = 1.12 if scene.look.soft else 1.05
    half = scene.head.path(
        (0, -0.02), (0.8, 0.05), (wide, 0.36), (wide + 0.03, 0.8), (wide + 0.02, length - 0.1),
        (0.86, length), (0, length),
    )  # fmt: skip
    _back(scene, [*half, *reversed(mirror(half))])


def _wavy_behind(scene: Scene) -> None:
    if scene.look.soft:
        _falling_behind(scene)


def _falling(scene: Scene) -> None:
    """Two curtains from a parting, over the ears and before the shoulders."""
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
    _lay(scene, left, right, strands=strands)


def _inner(v: float, length: float) -> float:
    """The u of a curtain's inner edge."""
    marks = ((0.42, 0.95), (0.56, 0.975), (0.75, 0.93), (0.95, 0.86), (1.15, 0.78), (max(length, 1.3), 0.74))
    for (low, start), (high, end) in pairwise(marks):
        if v <= high:
            return start + (end - start) * max(v - low, 0) / (high - low)
    return marks[-1][1]


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


def _wavy(scene: Scene) -> None:
    if scene.look.soft:
        _falling(scene)
    else:
        _swept(scene)


def _swept(scene: Scene) -> None:
    """Waves to the jaw's corner, swept off the forehead."""
    head = scene.head
    outer = _sided(scene, (-0.99, 0.66), (-1.13, 0.58), (-1.10, 0.46), (-1.17, 0.34), (-1.10, 0.19), (-1.0, 0.08), (-0.80, -0.03), (-0.55, -0.10), (-0.20, -0.125),
                   (0.10, -0.105), (0.36, -0.12), (0.66, -0.07), (0.93, 0.03), (1.06, 0.15), (1.15, 0.29), (1.10, 0.44), (1.13, 0.57), (0.99, 0.66))  # fmt: skip
    right = _sided(
        scene,
        (0.99, 0.66), (0.985, 0.55), (0.93, 0.44), (0.92, 0.33), (0.76, 0.23), (0.60, 0.20), (0.42, 0.115),
    )  # fmt: skip
    left = _sided(
        scene,
        (0.42, 0.115), (0.20, 0.20), (-0.10, 0.205), (-0.38, 0.27), (-0.66, 0.265), (-0.86, 0.34),
        (-0.92, 0.45), (-0.985, 0.55), (-0.99, 0.66),
    )  # fmt: skip
    strands = [
        head.path(
            *_sided(
                scene,
                (0.40, 0.09), (0.16, 0.14), (-0.12, 0.14), (-0.45, 0.20), (-0.85, 0.24), (-1.02, 0.40),
                (-1.04, 0.56),
            )
        ),
        head.path(
            *_sided(
                scene, (0.38, 0.05), (0.10, 0.07), (-0.25, 0.05), (-0.60, 0.12), (-0.95, 0.18), (-1.08, 0.32)
            )
        ),
        head.path(*_sided(scene, (0.42, 0.02), (0.15, -0.03), (-0.20, -0.045), (-0.60, 0.0))),
        head.path(*_sided(scene, (0.48, 0.08), (0.74, 0.12), (0.96, 0.24), (1.03, 0.40), (1.05, 0.56))),
    ]  # fmt: skip
    _lay(scene, [*head.path(*outer), *head.path(*right), *head.path(*left)], strands=strands)


# -- curls --------------------------------------------------------------------------------------------


def _curls(scene: Scene, centers: Sequence[Point], radius: float, *solid: Path) -> None:
    """Round locks, each with a turn of light and of shade."""
    canvas, look, head = scene.canvas, scene.look, scene.head
    size = radius * head.half
    spots = [head.at(u, v) for u, v in centers]
    balls = [ellipse(spot, size * (1 + 0.20 * math.sin(index * 2.3)), size * (1 + 0.20 * math.sin(index * 2.3 + 0.5)))
             for index, spot in enumerate(spots)]  # fmt: skip
    hair = _lay(scene, *balls, *solid, shine=False)
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
    canvas.fill(*lights, color=_glow(look.hair), opacity=0.38, within=hair)


def _ring(grow: float, lift: float, count: int) -> list[Point]:
    """Places evenly spaced over the head from ear to ear."""
    path = curve(*_dome(grow, lift, 0.5))
    return [path[round(index * (len(path) - 1) / (count - 1))] for index in range(count)]


def _curly(scene: Scene) -> None:
    if scene.look.soft:
        outer = _ring(0.15, 0.06, 13)
        # Two staggered columns on each side, wider towards the shoulders.
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
    solid = scene.head.path(*_dome(0.06, 0.05, 0.34)) + scene.head.path(
        (0.94, 0.34), (0.8, 0.2), (0, 0.12), (-0.8, 0.2), (-0.94, 0.34)
    )
    ropes = [
        blob(*scene.head.points(*((side * u, v) for u, v in (
            (1.0, 0.34), (1.16, 0.36), (1.26, 0.60), (1.30, 0.85), (1.28, 1.08), (1.08, 1.10), (1.0, 0.85), (0.98, 0.60)
        ))))
        for side in SIDES
        if falls
    ]  # fmt: skip
    _curls(scene, [*falls, *crown, *outer, *fringe], 0.205, solid, *ropes)


def _curly_behind(scene: Scene) -> None:
    if scene.look.soft:
        balls = [ellipse(scene.head.at(u, v), 44, 44) for u, v in _ring(0.16, 0.0, 11) if v > 0.2]
        body = blob(
            *scene.head.points(
                (0, 0), (1.15, 0.3), (1.2, 0.8), (1.05, 1.12), (0, 1.1), (-1.05, 1.12), (-1.2, 0.8),
                (-1.15, 0.3),
            )
        )  # fmt: skip
        _back(scene, *balls, body)


def _afro_edge(scene: Scene) -> list[Path]:
    """The ball of an afro, or two side puffs where a hat presses it."""
    head = scene.head
    if _pressed(scene):
        puffs = [ellipse(head.at(side * 1.12, 0.50), head.half * 0.42, head.half * 0.60) for side in SIDES]
        bumps = [ellipse((x, y), head.half * 0.10, head.half * 0.10) for puff in puffs for x, y in puff[::4]]
        return [*puffs, *bumps]
    (x, y), rx, ry = head.at(0, 0.25), head.half * 1.46, head.half * 1.48
    ring = [
        (x + rx * math.cos(step * math.tau / 34), y + ry * math.sin(step * math.tau / 34))
        for step in range(34)
    ]
    return [ellipse((x, y), rx, ry), *(ellipse(bump, head.half * 0.17, head.half * 0.17) for bump in ring)]


def _afro_behind(scene: Scene) -> None:
    _back(scene, *_afro_edge(scene))


def _afro(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    face = blob(*head.points((0, 0.118), (0.32, 0.133), (0.60, 0.185), (0.82, 0.275), (0.95, 0.42), (0.98, 0.60), (0.90, 0.80), (0.5, 1.05), (0, 1.1),
                             (-0.5, 1.05), (-0.90, 0.80), (-0.98, 0.60), (-0.95, 0.42), (-0.82, 0.275), (-0.60, 0.185), (-0.32, 0.133)))  # fmt: skip
    opening = canvas.mask(face)
    lower = canvas.mask([head.at(-3, 0.74), head.at(3, 0.74), head.at(3, 3), head.at(-3, 3)], blur=26)
    edge = _afro_edge(scene)
    hat = _hat(scene)
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
        # A sunflower's spiral: even, and without rows.
        reach, turn = math.sqrt(index / 210), index * 2.39996
        x, y = head.at(0, 0.22)
        x, y = x + reach * head.half * 1.52 * math.cos(turn), y + reach * head.half * 1.54 * math.sin(turn)
        arc = [
            (x + 9 * math.cos(turn + step * 0.5), y + 9 * math.sin(turn + step * 0.5)) for step in range(8)
        ]
        (lights if index * index % 11 < 4 else shades).append(ribbon(arc, 0.8, 3.6, 0.8))
    canvas.fill(*shades, color=deeper(look.hair, 0.5), opacity=0.4, within=hair)
    canvas.fill(*lights, color=_glow(look.hair), opacity=0.32, within=hair)


def _without(mask: Mask, *others: Mask | None) -> Image.Image:
    alpha = mask.alpha
    for other in others:
        if other is not None:
            alpha = ImageChops.subtract(alpha, other.cropped(mask.box))
    return alpha


# -- tied hair ----------------------------------------------------------------------------------------


def _drawn_back(scene: Scene, knot: Point) -> None:
    """Hair combed smoothly from the hairline towards a knot."""
    head, soft = scene.head, scene.look.soft
    peak = 0.155 if soft else 0.172
    cap = [*head.path(*_dome(0.065, 0.062, 0.47)),
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
    _lay(scene, cap, strands=strands)


def _bun_behind(scene: Scene) -> None:
    head, look = scene.head, scene.look
    size = head.half * (0.40 if look.soft else 0.29)
    x, y = head.at(0.88 * look.side, 0.83) if _pressed(scene) else head.at(0, -0.145 if look.soft else -0.10)
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
        color=_glow(look.hair),
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


def _bun(scene: Scene) -> None:
    _drawn_back(scene, (0.0, -0.06))
    if scene.look.soft:
        _wisps(scene)


def _put_away(scene: Scene) -> None:
    _drawn_back(scene, (0.0, -0.06))


def _wisps(scene: Scene) -> None:
    """A loose strand before each ear."""
    for side in SIDES:
        wisp = scene.head.path(
            (side * 0.90, 0.30), (side * 0.975, 0.44), (side * 0.945, 0.58), (side * 0.985, 0.70)
        )
        scene.canvas.fill(ribbon(wisp, 4, 8, 5, 0.8), color=scene.look.hair)


def _ponytail_behind(scene: Scene) -> None:
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
    if _pressed(scene):
        # Under a hat the tail is tied lower.
        places, fall, fine = (tuple((u, v * 0.85 + 0.22) for u, v in line) for line in (places, fall, fine))
    tail = blob(*head.points(*_sided(scene, *places)))
    canvas = scene.canvas
    area = canvas.mask(tail)
    canvas.paint(area, look.hair, fade_to=deeper(look.hair, 0.25))
    canvas.fill(
        ribbon(head.path(*_sided(scene, *fall)), 2, 20, 12, 2),
        color=_glow(look.hair),
        opacity=0.35,
        blur=7,
        within=area,
    )
    for line in (fall, fine):
        canvas.fill(
            ribbon(head.path(*_sided(scene, *line)), 0.8, 4.5, 0.8),
            color=deeper(look.hair, 0.5),
            opacity=0.45,
            within=area,
        )
    if look.soft and not _pressed(scene):
        band = head.path(*_sided(scene, (0.52, -0.12), (0.62, -0.05), (0.66, 0.03)))
        canvas.fill(ribbon(band, 22, 26, 22), color=look.scheme.accent)


def _ponytail(scene: Scene) -> None:
    _drawn_back(scene, (0.55 * scene.look.side, -0.06))
    if scene.look.soft and scene.look.variant < 0.5:
        _wisps(scene)


def _braided(scene: Scene) -> None:
    head, look = scene.head, scene.look
    if not look.soft:
        _cornrows(scene)
        return
    cap = [*head.path(*_dome(0.09, 0.07, 0.55)),
           *head.path((1.05, 0.55), (0.975, 0.56), (0.95, 0.42), (0.86, 0.29), (0.48, 0.19), (0.0, 0.05),
                      (-0.48, 0.19), (-0.86, 0.29), (-0.95, 0.42), (-0.975, 0.56), (-1.05, 0.55))]  # fmt: skip
    strands = [
        head.path((side * 0.03, v), (side * 0.55, v + 0.10), (side * 0.93, v + 0.26), (side * 1.03, 0.5))
        for side in SIDES
        for v in (-0.02, 0.045)
    ]
    strands.append(head.path((0, -0.07), (0, 0.0), (0, 0.06)))
    _lay(scene, cap, strands=strands)
    for side in SIDES:
        _braid(
            scene,
            side,
            head.path(
                (side * 1.04, 0.66), (side * 1.10, 0.90), (side * 1.0, 1.14), (side * 0.94, 1.44),
            ),
            46,
        )  # fmt: skip


def _braid(scene: Scene, side: int, line: Path, wide: float) -> None:
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
            color=_glow(look.hair),
            opacity=0.35,
            blur=3,
            within=area,
        )
    x, y = line[-1]
    tuft = blob((x - 11, y - 6), (x + 11, y - 6), (x + 17, y + 26), (x + side * 3, y + 50), (x - 17, y + 26))
    canvas.fill(tuft, color=look.hair)
    canvas.fill(ribbon([(x - 14, y - 2), (x + 14, y - 2)], 15), color=look.scheme.accent)


def _cornrows(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    cap = [*head.path(*_dome(0.045, 0.045, 0.48)),
           *head.path((0.965, 0.48), (0.925, 0.36), (0.82, 0.262), (0.62, 0.203), (0.34, 0.172), (0.0, 0.162),
                      (-0.34, 0.172), (-0.62, 0.203), (-0.82, 0.262), (-0.925, 0.36), (-0.965, 0.48))]  # fmt: skip
    hair = _lay(scene, cap, shine=True)
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
        canvas.fill(*ticks, color=_glow(look.hair), opacity=0.35, within=hair)


def _braids_behind(scene: Scene) -> None:
    if not scene.look.soft:
        for side in SIDES:
            for offset in (0.0, 0.22):
                line = scene.head.path(
                    (side * (0.80 + offset), 0.4),
                    (side * (0.86 + offset), 0.8),
                    (side * (0.84 + offset), 1.16),
                )
                _braid(scene, side, line, 34)


_BEHIND: dict[str, Callable[[Scene], None]] = {
    "short": _bob_behind,
    "shoulder_length": _falling_behind,
    "long": _falling_behind,
    "wavy": _wavy_behind,
    "curly": _curly_behind,
    "afro": _afro_behind,
    "braided": _braids_behind,
    "bun": _bun_behind,
    "ponytail": _ponytail_behind,
}

_BEFORE: dict[str, Callable[[Scene], None]] = {
    "bald": _bald,
    "buzz_cut": _buzz,
    "short": _short,
    "shoulder_length": _falling,
    "long": _falling,
    "wavy": _wavy,
    "curly": _curly,
    "afro": _afro,
    "braided": _braided,
    "bun": _bun,
    "ponytail": _ponytail,
    "put_away": _put_away,
}

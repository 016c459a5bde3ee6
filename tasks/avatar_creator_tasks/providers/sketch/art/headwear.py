"""Headwear, and the earrings next to it."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ImageChops

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    Mask,
    Path,
    blob,
    curve,
    ellipse,
    mirror,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.face import paint_earrings
from avatar_creator_tasks.providers.sketch.art.hair import shows_ears, top_of_hair
from avatar_creator_tasks.providers.sketch.art.palette import (
    FELT,
    GOLD,
    STRAW,
    WHITE,
    Color,
    deeper,
    lighter,
    mix,
    rgb,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_headwear(scene: Scene) -> None:
    """Paint earrings and headwear, if the person wears them."""
    if scene.look.earrings and shows_ears(scene):
        paint_earrings(scene)
    worn = _WORN.get(scene.look.headwear)
    if worn:
        worn(scene)


def _paint_cloth(scene: Scene, path: Path, color: Color, *, shadow: float = 16) -> Mask:
    """Paint a piece of cloth, lit from the upper left, and its shadow on the face; return its area."""
    canvas = scene.canvas
    canvas.fill(
        shifted(path, 3, shadow),
        color=deeper(scene.look.skin.shade, 0.15),
        opacity=0.5,
        blur=8,
        within=scene.face,
    )
    area = canvas.mask(path)
    canvas.paint(area, lighter(color, 0.07), fade_to=deeper(color, 0.06))
    lit = canvas.mask(shifted(path, -34, -12), blur=22)
    canvas.paint(canvas.mask(path, without=lit), deeper(color, 0.5), 0.42)
    x, y = scene.head.at(-0.45, -0.06)
    canvas.fill(ellipse((x, y), 60, 26, -28), color=lighter(color, 0.6), opacity=0.4, blur=20, within=area)
    return area


def _paint_folds(scene: Scene, area: Mask, color: Color, *lines: Path, wide: float = 7) -> None:
    canvas = scene.canvas
    for line in lines:
        canvas.fill(
            ribbon(shifted(line, -3, -4), 0.8, wide * 0.9, 0.8),
            color=lighter(color, 0.5),
            opacity=0.24,
            blur=3,
            within=area,
        )
        canvas.fill(
            ribbon(line, 0.8, wide, 0.8), color=deeper(color, 0.45), opacity=0.36, blur=2, within=area
        )


def _paint_hijab(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = look.scheme.fabric
    opening = canvas.mask(
        blob(*head.points((0, 0.165), (0.48, 0.185), (0.80, 0.285), (0.915, 0.45), (0.90, 0.64), (0.78, 0.82), (0.46, 0.965), (0, 1.04),
                          (-0.46, 0.965), (-0.78, 0.82), (-0.90, 0.64), (-0.915, 0.45), (-0.80, 0.285), (-0.48, 0.185))),
        within=scene.face,
    )  # fmt: skip
    band = canvas.mask(
        blob(*head.points((0, 0.115), (0.50, 0.138), (0.85, 0.26), (0.955, 0.45), (0.93, 0.66), (0.80, 0.84), (0.48, 0.98), (0, 1.06),
                          (-0.48, 0.98), (-0.80, 0.84), (-0.93, 0.66), (-0.955, 0.45), (-0.85, 0.26), (-0.50, 0.138))),
        within=scene.face,
    )  # fmt: skip
    half = head.path(
        (0, -0.105), (0.42, -0.09), (0.84, 0.0), (1.10, 0.19), (1.20, 0.42), (1.21, 0.65), (1.12, 0.86),
        (1.10, 0.99), (1.24, 1.13),
    )  # fmt: skip
    drape = curve(
        half[-1],
        (CENTER + scene.frame.shoulder * 0.80, 780), (CENTER + scene.frame.shoulder * 0.98, 850),
        (CENTER + scene.frame.shoulder * 0.86, 930), (CENTER + scene.frame.shoulder * 0.4, 985),
        (CENTER, 1000),
    )  # fmt: skip
    right = [*half, *drape]
    outline = [*right, *reversed(mirror(right))]
    canvas.fill(
        shifted(outline, 6, 16),
        color=rgb("2B2130"),
        opacity=0.28,
        blur=12,
        within=scene.body,
        without=scene.face,
    )
    under = deeper(color, 0.35)
    canvas.fill(outline, color=under, without=opening)
    scarf = canvas.mask(outline, without=band)
    canvas.paint(scarf, lighter(color, 0.10), fade_to=deeper(color, 0.08))
    lit = canvas.mask(shifted(outline, -40, -14), blur=26)
    canvas.paint(
        Mask(scarf.box, canvas.mask(outline, without=lit, within=scarf).alpha), deeper(color, 0.5), 0.45
    )
    # The edge of the scarf casts a soft shadow on the cheek.
    _paint_edge_shadow(scene, opening)
    side = look.side

    def at(u: float, v: float) -> tuple[float, float]:
        return head.at(u * side, v)

    wrap = curve(at(-1.04, 0.62), at(-0.98, 0.86), at(-0.60, 1.04), at(0.0, 1.13), at(0.62, 1.10), at(1.12, 1.02), at(1.34, 1.16),
                 at(1.20, 1.40), at(0.60, 1.50), at(0.0, 1.42), at(-0.62, 1.22), at(-1.06, 0.98), at(-1.14, 0.80), at(-1.04, 0.62))  # fmt: skip
    canvas.fill(shifted(wrap, 2, 16), color=deeper(color, 0.6), opacity=0.4, blur=12, within=scarf)
    area = canvas.mask(wrap, within=scarf)
    canvas.paint(area, lighter(color, 0.16), fade_to=lighter(color, 0.02))
    _paint_folds(scene, area, color,
           curve(at(-1.06, 0.74), at(-0.86, 1.0), at(-0.2, 1.20), at(0.5, 1.22), at(1.1, 1.12)),
           curve(at(-1.08, 0.86), at(-0.84, 1.09), at(-0.1, 1.31), at(0.6, 1.33), at(1.16, 1.24)),
           curve(at(-0.4, 1.20), at(0.2, 1.40), at(0.8, 1.40)))  # fmt: skip
    _paint_folds(scene, scarf, color,
           curve(at(0.98, 0.40), at(1.06, 0.62), at(0.98, 0.84), at(0.80, 0.98)),
           curve(at(-0.97, 0.34), at(-1.10, 0.56), at(-1.10, 0.76)),
           curve(at(0.10, 0.02), at(0.55, 0.06), at(0.92, 0.22), at(1.08, 0.44)),
           curve(at(-0.50, 1.42), at(-0.62, 1.56), at(-0.60, 1.78)),
           curve(at(0.42, 1.54), at(0.50, 1.66), at(0.44, 1.80)), wide=6)  # fmt: skip
    x, y = at(1.0, 1.14)
    canvas.fill(ellipse((x, y), 9, 9), color=GOLD)
    canvas.fill(ellipse((x - 2.5, y - 2.5), 3, 3), color=lighter(GOLD, 0.7))


def _paint_edge_shadow(scene: Scene, opening: Mask) -> None:
    alpha = opening.alpha
    shift = max(2, alpha.width // 40)
    moved = ImageChops.offset(alpha, shift // 2, shift)
    rim = ImageChops.subtract(alpha, moved)
    scene.canvas.paint(Mask(opening.box, rim), scene.look.skin.shade, 0.55)


def _paint_headscarf(scene: Scene) -> None:
    if scene.look.draped:
        _paint_draped_scarf(scene)
    else:
        _paint_bandana(scene)


def _paint_draped_scarf(scene: Scene) -> None:
    """Paint a light scarf that lies over the hair, with its ends over the shoulders."""
    canvas, head, look = scene.canvas, scene.head, scene.look
    color, shoulder = look.scheme.fabric, scene.frame.shoulder
    outer = [*head.path((0, -0.115), (0.42, -0.10), (0.92, -0.015), (1.22, 0.17), (1.31, 0.44), (1.30, 0.78), (1.36, 1.05)),
             *curve(head.at(1.36, 1.05), (CENTER + shoulder * 0.92, 800), (CENTER + shoulder * 0.98, 920), (CENTER + shoulder * 0.9, 1100), (CENTER + shoulder * 0.9, 1400))]  # fmt: skip
    inner = head.path(
        (0, 0.045), (0.45, 0.07), (0.83, 0.19), (1.0, 0.38), (1.07, 0.60), (1.06, 0.85), (0.98, 1.10),
        (0.84, 1.32), (0.70, 1.6), (0.66, 2.0), (0.66, 2.8),
    )  # fmt: skip
    half = [*outer, *reversed(inner)]
    whole = [half, mirror(half)]
    canvas.fill(
        *[shifted(part, 0, 12) for part in whole],
        color=rgb("2B2130"),
        opacity=0.35,
        blur=9,
        within=scene.face,
    )
    canvas.fill(
        *[shifted(part, -4, 12) for part in whole],
        color=rgb("2B2130"),
        opacity=0.25,
        blur=12,
        within=scene.body,
    )
    area = canvas.mask(*whole)
    canvas.paint(area, lighter(color, 0.1), fade_to=deeper(color, 0.1))
    dots = [
        ellipse((x + (24 if row % 2 else 0), 150 + row * 42), 5, 5)
        for row in range(30)
        for x in range(190, 830, 48)
    ]
    canvas.fill(*dots, color=lighter(color, 0.65), opacity=0.75, within=area)
    _paint_folds(scene, area, color, *[
        head.path((side * 0.2, -0.02), (side * 0.75, 0.07), (side * 1.06, 0.32), (side * 1.15, 0.66), (side * 1.12, 1.0), (side * 1.0, 1.4), (side * 0.95, 2.0))
        for side in SIDES])  # fmt: skip
    for edge in (inner, mirror(inner)):
        canvas.fill(ribbon(edge, 7), color=look.scheme.accent, within=area)


def _paint_bandana(scene: Scene) -> None:
    """Paint a printed cloth that is tied at the back, with the knot visible at the side."""
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = look.scheme.fabric
    side = look.side
    for places in (
        ((1.0, 0.20), (1.30, 0.24), (1.42, 0.44), (1.22, 0.42), (1.0, 0.28)),
        ((1.0, 0.22), (1.20, 0.34), (1.22, 0.58), (1.06, 0.48), (0.98, 0.3)),
    ):
        canvas.fill(blob(*head.points(*((u * side, v) for u, v in places))), color=deeper(color, 0.2))
    path = [*head.path((-1.07, 0.29), (-1.10, 0.16), (-0.92, 0.0), (-0.5, -0.095), (0, -0.115), (0.5, -0.095), (0.92, 0.0), (1.10, 0.16), (1.07, 0.29)),
            *head.path((1.07, 0.29), (0.60, 0.195), (0, 0.165), (-0.60, 0.195), (-1.07, 0.29))]  # fmt: skip
    area = _paint_cloth(scene, path, color)
    for row in range(7):
        dots = [
            ellipse(head.at(u * 0.21 + (0.105 if row % 2 else 0), -0.1 + row * 0.065), 5.5, 5.5)
            for u in range(-6, 7)
        ]
        canvas.fill(*dots, color=lighter(color, 0.8), opacity=0.85, within=area)
    edge = head.path((-1.07, 0.275), (-0.60, 0.18), (0, 0.15), (0.60, 0.18), (1.07, 0.275))
    canvas.fill(ribbon(edge, 7), color=look.scheme.accent, within=area)
    _paint_folds(
        scene,
        area,
        color,
        head.path((side * 1.0, 0.24), (side * 0.6, 0.06), (side * 0.1, -0.02)),
        head.path((side * 1.0, 0.2), (side * 0.75, 0.0), (side * 0.45, -0.06)),
    )


def _paint_peci(scene: Scene) -> None:
    canvas, head = scene.canvas, scene.head
    top = ((-0.94, -0.145), (-0.5, -0.185), (0, -0.195), (0.5, -0.185), (0.94, -0.145))
    path = [*head.path(*top), *head.path((0.94, -0.145), (1.03, 0.02), (1.085, 0.225)),
            *head.path((1.085, 0.225), (0.6, 0.175), (0, 0.158), (-0.6, 0.175), (-1.085, 0.225)),
            *head.path((-1.085, 0.225), (-1.03, 0.02), (-0.94, -0.145))]  # fmt: skip
    area = _paint_cloth(scene, path, FELT)
    sheen = head.path((-0.72, 0.16), (-0.68, 0.0), (-0.60, -0.13))
    canvas.fill(ribbon(sheen, 10, 34, 14), color=rgb("7B7488"), opacity=0.5, blur=12, within=area)
    rim = head.path((-0.94, -0.125), (-0.5, -0.160), (0, -0.17), (0.5, -0.160), (0.94, -0.125))
    canvas.fill(ribbon(rim, 3), color=rgb("6A6376"), opacity=0.8, within=area)
    hem = head.path((-1.085, 0.205), (-0.6, 0.155), (0, 0.138), (0.6, 0.155), (1.085, 0.205))
    canvas.fill(ribbon(hem, 2.5), color=rgb("6A6376"), opacity=0.55, within=area)


def _paint_turban(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = look.scheme.fabric
    top = ((-1.06, 0.40), (-1.24, 0.24), (-1.30, 0.04), (-1.14, -0.17), (-0.74, -0.275), (-0.26, -0.325), (0.26, -0.325), (0.74, -0.275),
           (1.14, -0.17), (1.30, 0.04), (1.24, 0.24), (1.06, 0.40))  # fmt: skip
    path = [
        *head.path(*top),
        *head.path((1.06, 0.40), (0.86, 0.28), (0.45, 0.175), (0, 0.10)),
        *head.path((0, 0.10), (-0.45, 0.175), (-0.86, 0.28), (-1.06, 0.40)),
    ]
    area = _paint_cloth(scene, path, color)
    peak = canvas.mask(head.path((-0.5, 0.2), (-0.2, 0.05), (0, -0.08), (0.2, 0.05), (0.5, 0.2)), within=area)
    canvas.paint(peak, deeper(color, 0.3))
    for lift in range(5):
        for side in (-look.side, look.side):
            v = -0.04 - lift * 0.075
            wrap = head.path(
                (side * 1.10, 0.36 - lift * 0.085), (side * 0.80, 0.21 - lift * 0.09),
                (side * 0.36, 0.07 + v * 0.75), (-side * 0.14, v), (-side * 0.40, v - 0.035),
            )  # fmt: skip
            canvas.fill(
                ribbon(shifted(wrap, 0, 6), 34, 30, 34, 26, 4),
                color=deeper(color, 0.5),
                opacity=0.45,
                blur=3,
                within=area,
            )
            canvas.fill(
                ribbon(wrap, 36, 34, 36, 28, 4), color=lighter(color, 0.05 + 0.05 * (lift % 2)), within=area
            )
            canvas.fill(
                ribbon(shifted(wrap, 0, -9), 2, 5, 5, 2),
                color=lighter(color, 0.45),
                opacity=0.5,
                blur=1,
                within=area,
            )


def _paint_kippah(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    rise = top_of_hair(scene)
    color = look.scheme.fabric

    def at(v: float) -> float:
        return v - rise

    top = head.path(
        (-0.70, at(0.100)), (-0.58, at(0.020)), (-0.30, at(-0.044)), (0, at(-0.060)),
        (0.30, at(-0.044)), (0.58, at(0.020)), (0.70, at(0.100)),
    )  # fmt: skip
    hem = head.path(
        (0.70, at(0.100)), (0.38, at(0.066)), (0, at(0.054)), (-0.38, at(0.066)), (-0.70, at(0.100))
    )
    area = canvas.mask([*top, *hem])
    canvas.fill(shifted([*top, *hem], 2, 8), color=deeper(look.hair, 0.7), opacity=0.5, blur=4)
    canvas.paint(area, lighter(color, 0.08), fade_to=deeper(color, 0.12))
    canvas.fill(
        ellipse(head.at(-0.2, at(-0.035)), 26, 8, -10),
        color=lighter(color, 0.6),
        opacity=0.45,
        blur=6,
        within=area,
    )
    canvas.fill(ribbon(shifted(hem, 0, -9), 5), color=GOLD, opacity=0.95, within=area)
    canvas.fill(ribbon(shifted(hem, 0, -18), 2.5), color=GOLD, opacity=0.7, within=area)


def _paint_cap(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = look.scheme.fabric
    dome = [*head.path((-1.10, 0.25), (-1.13, 0.10), (-1.0, -0.07), (-0.62, -0.18), (0, -0.215), (0.62, -0.18), (1.0, -0.07), (1.13, 0.10), (1.10, 0.25)),
            *head.path((1.10, 0.25), (0.6, 0.16), (0, 0.135), (-0.6, 0.16), (-1.10, 0.25))]  # fmt: skip
    area = _paint_cloth(scene, dome, color, shadow=4)
    panel = canvas.mask(
        head.path(
            (-0.60, 0.2), (-0.50, -0.02), (-0.30, -0.16), (0, -0.22), (0.30, -0.16), (0.50, -0.02),
            (0.60, 0.2),
        ),
        within=area,
    )  # fmt: skip
    canvas.paint(panel, lighter(color, 0.72), fade_to=lighter(color, 0.58))
    for side in SIDES:
        canvas.fill(
            ribbon(head.path((side * 0.60, 0.2), (side * 0.50, -0.02), (side * 0.30, -0.16), (0, -0.215)), 3),
            color=deeper(color, 0.35),
            opacity=0.5,
            within=area,
        )
    badge = head.at(0, 0.0)
    canvas.fill(ellipse(badge, 27, 27), color=look.scheme.accent)
    canvas.fill(ellipse(badge, 15, 15), color=lighter(color, 0.72))
    canvas.fill(ellipse(head.at(0, -0.215), 15, 9), color=deeper(color, 0.15))
    visor = [*head.path((-1.07, 0.285), (-0.80, 0.165), (-0.40, 0.112), (0, 0.10), (0.40, 0.112), (0.80, 0.165), (1.07, 0.285)),
             *head.path((1.07, 0.285), (0.62, 0.255), (0, 0.24), (-0.62, 0.255), (-1.07, 0.285))]  # fmt: skip
    brim = _paint_cloth(scene, visor, deeper(color, 0.10), shadow=24)
    canvas.fill(
        ribbon(head.path((-0.98, 0.262), (-0.6, 0.232), (0, 0.217), (0.6, 0.232), (0.98, 0.262)), 3),
        color=lighter(color, 0.5),
        opacity=0.5,
        within=brim,
    )


def _paint_beanie(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = look.scheme.fabric if look.variant < 0.6 else look.scheme.accent
    if look.variant < 0.5:
        ball = head.at(0, -0.285)
        canvas.fill(ellipse(ball, 44, 42), color=lighter(color, 0.55))
        canvas.fill(
            ellipse((ball[0] + 10, ball[1] + 10), 32, 30),
            color=color,
            opacity=0.35,
            blur=10,
            within=canvas.mask(ellipse(ball, 44, 42)),
        )
    dome = head.path(
        (-1.10, 0.16), (-1.10, 0.02), (-0.92, -0.14), (-0.52, -0.235), (0, -0.26), (0.52, -0.235),
        (0.92, -0.14), (1.10, 0.02), (1.10, 0.16),
    )  # fmt: skip
    area = _paint_cloth(scene, dome, color)
    ribs = [
        ribbon(head.path((u, 0.12), (u * 0.93, -0.06), (u * 0.55, -0.25)), 3, 5, 2)
        for u in (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9)
    ]
    canvas.fill(*ribs, color=deeper(color, 0.4), opacity=0.35, within=area)
    fold = [*head.path((-1.14, 0.10), (-0.6, 0.035), (0, 0.015), (0.6, 0.035), (1.14, 0.10)), *head.path((1.14, 0.10), (1.17, 0.19), (1.13, 0.275)),
            *head.path((1.13, 0.275), (0.6, 0.215), (0, 0.195), (-0.6, 0.215), (-1.13, 0.275)), *head.path((-1.13, 0.275), (-1.17, 0.19), (-1.14, 0.10))]  # fmt: skip
    canvas.fill(shifted(fold, 0, -6), color=deeper(color, 0.5), opacity=0.4, blur=4, within=area)
    cuff = _paint_cloth(scene, fold, lighter(color, 0.12))
    cuffs = [ribbon(head.path((u, 0.0), (u * 1.03, 0.30)), 3) for u in (x * 0.125 for x in range(-9, 10))]
    canvas.fill(*cuffs, color=deeper(color, 0.4), opacity=0.35, within=cuff)


def _paint_fedora(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    color = mix(look.scheme.fabric, rgb("6B5648"), 0.65)
    crown = [*head.path((-0.98, 0.14), (-0.94, -0.05), (-0.84, -0.22), (-0.56, -0.315), (-0.24, -0.30), (0, -0.265), (0.24, -0.30), (0.56, -0.315), (0.84, -0.22), (0.94, -0.05), (0.98, 0.14)),
             *head.path((0.98, 0.14), (0, 0.12), (-0.98, 0.14))]  # fmt: skip
    area = _paint_cloth(scene, crown, color)
    dent = head.path((-0.08, -0.28), (0.02, -0.19), (0.0, -0.10))
    canvas.fill(ribbon(dent, 20, 16, 2), color=deeper(color, 0.5), opacity=0.4, blur=7, within=area)
    ribbon_path = [
        *head.path((-1.0, 0.01), (-0.5, -0.03), (0, -0.04), (0.5, -0.03), (1.0, 0.01)),
        *head.path((1.0, 0.15), (0.5, 0.11), (0, 0.10), (-0.5, 0.11), (-1.0, 0.15)),
    ]
    canvas.fill(ribbon_path, color=deeper(color, 0.55), within=area)
    brim = [*head.path((-1.62, 0.10), (-1.35, 0.065), (-0.9, 0.10), (0, 0.075), (0.9, 0.10), (1.35, 0.065), (1.62, 0.10)),
            *head.path((1.62, 0.10), (1.40, 0.19), (0.85, 0.225), (0, 0.205), (-0.85, 0.225), (-1.40, 0.19), (-1.62, 0.10))]  # fmt: skip
    edge = _paint_cloth(scene, brim, lighter(color, 0.06), shadow=26)
    line = head.path(
        (-1.55, 0.125), (-1.38, 0.175), (-0.85, 0.208), (0, 0.188), (0.85, 0.208), (1.38, 0.175),
        (1.55, 0.125),
    )  # fmt: skip
    canvas.fill(ribbon(line, 3), color=lighter(color, 0.4), opacity=0.5, within=edge)


def _paint_sun_hat(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    crown = [*head.path((-1.02, 0.14), (-1.02, -0.04), (-0.86, -0.20), (-0.48, -0.29), (0, -0.31), (0.48, -0.29), (0.86, -0.20), (1.02, -0.04), (1.02, 0.14)),
             *head.path((1.02, 0.14), (0, 0.12), (-1.02, 0.14))]  # fmt: skip
    area = _paint_cloth(scene, crown, STRAW)
    weave = [
        ribbon(head.path((-1.1, v + 0.05), (-0.5, v + 0.008), (0, v), (0.5, v + 0.008), (1.1, v + 0.05)), 2.2)
        for v in (x * 0.035 - 0.27 for x in range(11))
    ]
    canvas.fill(*weave, color=deeper(STRAW, 0.4), opacity=0.28, within=area)
    band = [
        *head.path((-1.1, 0.03), (-0.5, -0.035), (0, -0.045), (0.5, -0.035), (1.1, 0.03)),
        *head.path((1.1, 0.15), (0.5, 0.10), (0, 0.09), (-0.5, 0.10), (-1.1, 0.15)),
    ]
    canvas.fill(band, color=look.scheme.fabric, within=area)
    brim = [*head.path((-2.02, 0.33), (-1.75, 0.185), (-1.15, 0.09), (-0.5, 0.052), (0, 0.045), (0.5, 0.052), (1.15, 0.09), (1.75, 0.185), (2.02, 0.33)),
            *head.path((2.02, 0.33), (1.80, 0.355), (1.15, 0.285), (0.5, 0.228), (0, 0.215), (-0.5, 0.228), (-1.15, 0.285), (-1.80, 0.355), (-2.02, 0.33))]  # fmt: skip
    edge = _paint_cloth(scene, brim, lighter(STRAW, 0.15), shadow=30)
    rings = [
        ribbon(
            head.path(
                (-2.0, 0.325 + t * 0.02), (-1.65, 0.20 + t * 0.115), (-0.6, 0.075 + t * 0.135),
                (0, 0.062 + t * 0.135), (0.6, 0.075 + t * 0.135), (1.65, 0.20 + t * 0.115),
                (2.0, 0.325 + t * 0.02),
            ),
            2.2,
        )
        for t in (0.2, 0.4, 0.6, 0.8)
    ]  # fmt: skip
    canvas.fill(*rings, color=deeper(STRAW, 0.4), opacity=0.3, within=edge)
    canvas.fill(ellipse(head.at(-1.0, 0.12), 90, 14, -12), color=WHITE, opacity=0.3, blur=12, within=edge)


_WORN: dict[str, Callable[[Scene], None]] = {
    "hijab": _paint_hijab,
    "headscarf": _paint_headscarf,
    "peci": _paint_peci,
    "turban": _paint_turban,
    "kippah": _paint_kippah,
    "cap": _paint_cap,
    "beanie": _paint_beanie,
    "fedora": _paint_fedora,
    "sun_hat": _paint_sun_hat,
}

"""The neck, the head and the features of the face."""

from __future__ import annotations

from collections.abc import Callable

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    Path,
    Point,
    curve,
    ellipse,
    mirror,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    GOLD,
    INK,
    WHITE,
    Color,
    brightness,
    deeper,
    lighter,
    mix,
    rgb,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Head, Scene

PlaceInEye = Callable[[float, float], Point]
"""Converts a place in an eye, in half widths and half heights of the eye, to a point on the canvas."""


def paint_neck(scene: Scene) -> None:
    """Paint bare neck and shoulders with the shadow of the head."""
    canvas, skin, frame = scene.canvas, scene.look.skin, scene.frame
    canvas.paint(scene.body, skin.base)
    shadow = shifted(scene.head.outline, 10, 46)
    canvas.fill(shadow, color=skin.shade, opacity=0.75, blur=9, within=scene.body)
    for side in SIDES:
        bone = curve(
            (CENTER + side * 22, 775), (CENTER + side * 60, 764), (CENTER + side * frame.shoulder * 0.6, 778)
        )
        canvas.fill(ribbon(bone, 2, 6, 1), color=skin.shade, opacity=0.55, blur=1.5)


def paint_head(scene: Scene) -> None:
    """Paint ears and face with soft light from the upper left."""
    canvas, head, skin = scene.canvas, scene.head, scene.look.skin
    for side in SIDES:
        _paint_ear(scene, side)
    canvas.paint(scene.face, skin.base)
    turned = canvas.mask(shifted(head.outline, -26, -14), blur=14)
    canvas.paint(canvas.mask(head.outline, without=turned), skin.shade, 0.55)
    canvas.fill(
        ellipse(head.at(-0.18, 0.22), 95, 52), color=skin.light, opacity=0.6, blur=30, within=scene.face
    )
    for side in SIDES:
        blush = ellipse(head.at(side * 0.60, 0.715), 38, 25)
        canvas.fill(blush, color=skin.blush, opacity=0.42, blur=15, within=scene.face)
    if scene.look.freckles:
        _paint_freckles(scene)


def _paint_ear(scene: Scene, side: int) -> None:
    canvas, head, skin = scene.canvas, scene.head, scene.look.skin
    color = mix(skin.base, skin.shade, 0.15 if side < 0 else 0.4)
    canvas.fill(ellipse(head.at(side * 1.03, 0.575), 21, 38, side * 10), color=color)
    inner = [
        (CENTER + side * (x - CENTER), y) for x, y in head.path((1.06, 0.52), (1.10, 0.56), (1.05, 0.61))
    ]
    canvas.fill(ribbon(inner, 2, 6, 3), color=skin.shade, opacity=0.8)


def _paint_freckles(scene: Scene) -> None:
    spots = ((0.30, 0.66), (0.40, 0.69), (0.50, 0.655), (0.58, 0.69), (0.47, 0.725), (0.66, 0.665))
    dots = [
        ellipse(scene.head.at(side * (u + 0.015 * side), v + 0.006 * side), 3.2, 2.8)
        for side in SIDES
        for u, v in spots
    ]
    skin = scene.look.skin
    scene.canvas.fill(*dots, color=mix(skin.shade, skin.line, 0.25), opacity=0.6)


def paint_features(scene: Scene) -> None:
    """Paint eyes, brows, nose, mouth, wrinkles, beard and glasses."""
    for side in SIDES:
        _paint_eye(scene, side)
        _paint_brow(scene, side)
    _paint_nose(scene)
    if scene.look.old:
        _paint_lines(scene)
    if scene.look.beard:
        _paint_beard(scene)
    _paint_mouth(scene)
    if scene.look.glasses:
        _paint_glasses(scene)


def _eye_points(scene: Scene, side: int) -> tuple[Point, float, float, float]:
    """Return center, half width, half height and the rise of the outer corner of an eye."""
    size = scene.head.eye_size
    center = scene.head.at(side * 0.435, scene.head.eye_v)
    return center, 32 * size, 23 * size, 2.5 + 2.5 * scene.look.tilt


def _paint_eye(scene: Scene, side: int) -> None:
    canvas, look = scene.canvas, scene.look
    (x, y), wide, high, rise = _eye_points(scene, side)

    def at(dx: float, dy: float) -> Point:
        return (x + side * dx * wide, y + dy * high)

    lift = rise / high
    upper = curve(
        at(-1, 0.28), at(-0.62, -0.55), at(0, -1.0), at(0.6, -0.74 - lift * 0.5), at(1.02, -0.05 - lift)
    )
    lower = curve(at(1.02, -0.05 - lift), at(0.6, 0.56), at(0, 0.76), at(-0.6, 0.62), at(-1, 0.28))
    opening = canvas.mask(upper + lower)
    socket = ellipse((x, y - 6), wide * 1.25, high * 1.5)
    canvas.fill(socket, color=look.skin.shade, opacity=0.25, blur=10, within=scene.face)
    canvas.paint(opening, rgb("FDFBF8"))
    _paint_iris(scene, (x + side * 0.5, y - 0.08 * high), high * 0.99, upper + lower)
    shade = ribbon(upper, 8, 16, 12)
    canvas.fill(shade, color=INK, opacity=0.16, blur=2, within=opening)
    lash = mix(look.skin.line, INK, 0.6)
    thick = 5.5 + 2.5 * (1 - look.masculine)
    canvas.fill(ribbon(upper, 2.0, thick, thick * 0.9), color=lash)
    canvas.fill(ribbon(lower, 3.0, 1.5, 0.5), color=look.skin.line, opacity=0.45)
    if look.masculine < 0.6:
        _paint_lashes(scene, at, lift)
    crease = curve(at(-0.75, -1.0), at(-0.1, -1.48), at(0.62, -1.25), at(1.05, -0.65 - lift))
    canvas.fill(ribbon(crease, 0.5, 3, 0.5), color=mix(look.skin.shade, look.skin.line, 0.3), opacity=0.6)


def _paint_iris(scene: Scene, center: Point, radius: float, eye: Path) -> None:
    canvas, eyes = scene.canvas, scene.look.eyes
    opening = canvas.mask(eye)
    x, y = center
    iris = canvas.mask(ellipse(center, radius, radius), within=opening)
    canvas.paint(iris, deeper(eyes, 0.35), fade_to=lighter(eyes, 0.12))
    canvas.fill(
        ellipse((x, y + radius * 0.35), radius * 0.62, radius * 0.5),
        color=lighter(eyes, 0.45),
        opacity=0.55,
        blur=3,
        within=iris,
    )
    canvas.fill(ellipse(center, radius * 0.47, radius * 0.47), color=rgb("191319"), within=opening)
    # Both eyes catch the same light, from the upper left.
    canvas.fill(ellipse((x - radius * 0.36, y - radius * 0.38), radius * 0.32, radius * 0.32), color=WHITE)
    canvas.fill(
        ellipse((x + radius * 0.38, y + radius * 0.40), radius * 0.14, radius * 0.14),
        color=WHITE,
        opacity=0.7,
    )


def _paint_lashes(scene: Scene, at: PlaceInEye, lift: float) -> None:
    """Paint a wing that continues the line of the upper lid beyond the outer corner."""
    look = scene.look
    length = (1 - look.masculine) * (1.0 if look.adult else 0.75)
    corner = -0.05 - lift
    wing = [
        *curve(
            at(0.62, -0.80 - lift * 0.5),
            at(0.95, -0.42 - lift),
            at(1.02 + 0.20 * length, corner - 0.34 * length),
        ),
        *curve(
            at(1.02 + 0.20 * length, corner - 0.34 * length), at(1.08, corner - 0.02), at(0.98, corner + 0.10)
        ),
    ]
    scene.canvas.fill(wing, color=mix(look.skin.line, INK, 0.6))


def _paint_brow(scene: Scene, side: int) -> None:
    look = scene.look
    (x, y), wide, high, _ = _eye_points(scene, side)
    arch = 5 + 3 * look.brow - 3 * look.masculine
    base = y - high - (22 if look.age == "child" else 21 - 3 * look.masculine)
    line = curve(
        (x - side * wide * 0.90, base + 1),
        (x - side * wide * 0.25, base - 4 - arch * 0.5),
        (x + side * wide * 0.45, base - 4 - arch),
        (x + side * wide * 1.20, base + 8),
    )
    thick = 8 + 5 * look.masculine if look.adult else 7.5
    tone = mix(look.hair, look.skin.line, 0.45 if brightness(look.hair) > 0.6 else 0.25)
    if look.age == "senior" and brightness(look.hair) > 0.6:
        tone = mix(look.hair, look.skin.line, 0.3)
    scene.canvas.fill(ribbon(line, thick * 0.75, thick, thick * 0.75, 1.5), color=tone)


def _paint_nose(scene: Scene) -> None:
    canvas, head, look = scene.canvas, scene.head, scene.look
    x, y = head.at(0, 0.725 if look.age != "child" else 0.735)
    small = {"child": 0.72, "teenager": 0.88}.get(look.age, 1.0)
    wide = 24 * look.nose * small * (1 + 0.10 * look.masculine)
    bridge = curve((x + 11, y - 72 * small), (x + 9, y - 40 * small), (x + wide * 0.8, y - 8))
    canvas.fill(ribbon(bridge, 2, 12, 16), color=look.skin.shade, opacity=0.42, blur=5)
    canvas.fill(ellipse((x, y + 9), wide * 0.9, 8), color=look.skin.shade, opacity=0.6, blur=4)
    canvas.fill(ellipse((x - 5, y - 14), 8, 13), color=look.skin.light, opacity=0.6, blur=5)
    tip = curve(
        (x - wide, y - 6), (x - wide * 0.72, y + 4), (x - wide * 0.3, y + 3), (x, y + 8),
        (x + wide * 0.3, y + 3), (x + wide * 0.72, y + 4), (x + wide, y - 6),
    )  # fmt: skip
    canvas.fill(ribbon(tip, 0.5, 4.5, 3, 4.5, 3, 4.5, 0.5), color=mix(look.skin.shade, look.skin.line, 0.45))


def _paint_mouth(scene: Scene) -> None:
    canvas, look = scene.canvas, scene.look
    x, y = scene.head.at(0, 0.838)
    wide = {"child": 43.0, "teenager": 47.0}.get(look.age, 52.0) * look.smile
    # Lips have a strong color on some faces, and almost the color of the skin on others.
    tint = 0.85 - 0.7 * look.masculine if look.adult else 0.3 - 0.2 * look.masculine
    lip = mix(mix(look.skin.base, look.skin.lip, 0.42), look.skin.lip, tint)
    if look.laugh:
        _paint_laugh(scene, (x, y), wide, lip)
    else:
        _paint_smile(scene, (x, y), wide, lip, tint)
    for side in SIDES:
        cheek = curve(
            (x + side * (wide + 1), y - 25), (x + side * (wide + 8), y - 16), (x + side * (wide + 4), y - 6)
        )
        canvas.fill(ribbon(cheek, 0.5, 4, 0.5), color=mix(look.skin.shade, look.skin.line, 0.2), opacity=0.5)
    canvas.fill(ellipse((x, y + 40), 22, 5), color=look.skin.shade, opacity=0.45, blur=4)


def _paint_laugh(scene: Scene, center: Point, wide: float, lip: Color) -> None:
    canvas, (x, y) = scene.canvas, center
    upper = curve(
        (x - wide, y - 16), (x - wide * 0.5, y - 9), (x, y - 6), (x + wide * 0.5, y - 9), (x + wide, y - 16)
    )
    lower = curve(
        (x + wide, y - 16), (x + wide * 0.70, y + 12), (x, y + 29), (x - wide * 0.70, y + 12),
        (x - wide, y - 16),
    )  # fmt: skip
    canvas.fill(ribbon(lower, 3, 9, 12, 9, 3), color=lip)
    canvas.fill(ribbon(shifted(upper, 0, -1), 3, 8, 6, 8, 3), color=deeper(lip, 0.08))
    inside = canvas.mask(upper + lower)
    canvas.paint(inside, rgb("74303A"))
    canvas.fill(ellipse((x, y + 28), wide * 0.52, 13), color=rgb("E08582"), within=inside)
    canvas.fill(ribbon(shifted(upper, 0, 4), 14, 20, 21, 20, 14), color=rgb("FFFDF9"), within=inside)


def _paint_smile(scene: Scene, center: Point, wide: float, lip: Color, tint: float) -> None:
    canvas, (x, y) = scene.canvas, center
    middle = curve(
        (x - wide, y - 16), (x - wide * 0.55, y + 1), (x, y + 8), (x + wide * 0.55, y + 1), (x + wide, y - 16)
    )
    top = curve((x + wide * 0.86, y - 11), (x + wide * 0.45, y - 5), (x + wide * 0.15, y - 5), (x, y - 2),
                (x - wide * 0.15, y - 5), (x - wide * 0.45, y - 5), (x - wide * 0.86, y - 11))  # fmt: skip
    bottom = curve(
        (x + wide * 0.80, y - 6), (x + wide * 0.42, y + 16), (x, y + 23), (x - wide * 0.42, y + 16),
        (x - wide * 0.80, y - 6),
    )  # fmt: skip
    canvas.fill(middle + top, color=deeper(lip, 0.05))
    canvas.fill(middle + bottom, color=lip)
    canvas.fill(
        ellipse((x - 7, y + 15), 13, 3.6), color=lighter(lip, 0.5), opacity=0.4 * max(tint, 0) + 0.1, blur=2
    )
    canvas.fill(
        ribbon(middle, 3.5, 5, 4.5, 5, 3.5), color=mix(scene.look.skin.lip, scene.look.skin.line, 0.65)
    )


def _paint_lines(scene: Scene) -> None:
    """Paint the light wrinkles of an old face, without a frown."""
    canvas, look, head = scene.canvas, scene.look, scene.head
    strong = look.age == "senior"
    lines = []
    for side in SIDES:
        lines.append(head.path((side * 0.30, 0.735), (side * 0.43, 0.785), (side * 0.475, 0.835)))
        v = head.eye_v
        lines.append(head.path((side * 0.75, v - 0.005), (side * 0.82, v - 0.018), (side * 0.88, v - 0.035)))
        lines.append(head.path((side * 0.75, v + 0.015), (side * 0.82, v + 0.020), (side * 0.88, v + 0.018)))
        if strong:
            lines.append(
                head.path((side * 0.26, v + 0.085), (side * 0.44, v + 0.105), (side * 0.62, v + 0.08))
            )
            lines.append(head.path((side * 0.62, 0.80), (side * 0.66, 0.84), (side * 0.64, 0.88)))
    if strong:
        lines.append(head.path((-0.42, 0.30), (-0.15, 0.287), (0.15, 0.289), (0.40, 0.302)))
        lines.append(head.path((-0.30, 0.255), (0, 0.245), (0.30, 0.257)))
    color = mix(look.skin.shade, look.skin.line, 0.3)
    for line in lines:
        canvas.fill(ribbon(line, 0.5, 4.2, 0.5), color=color, opacity=0.75 if strong else 0.55)


def _paint_beard(scene: Scene) -> None:
    canvas, look, head = scene.canvas, scene.look, scene.head
    color = mix(look.hair, look.skin.shade, 0.12)
    paths = _moustache(head)
    holes: list[Path] = []
    full = look.beard == "full"
    if look.beard != "moustache":
        drop = 0.075 if full else 0.018
        jaw = head.jaw
        half = [
            *head.path((1.0, 0.52), (0.985, 0.66), (jaw + 0.045, 0.82), (jaw * 0.80, 0.93 + drop * 0.7),
                       (jaw * 0.42, 0.99 + drop), (0, 1.0 + drop)),
            *head.path((0, 0.80), (0.22, 0.775), (0.42, 0.79), (0.62, 0.76), (0.80, 0.67), (0.92, 0.55), (0.95, 0.50)),
        ]  # fmt: skip
        # Two shapes, because a single outline would cross the eyes.
        paths = [*paths, half, mirror(half)]
        # The skin around the lips stays free, so that the smile stays visible.
        holes = [ellipse(head.at(0, 0.852), 60, 27)]
    within = scene.face if look.beard == "short" else None
    area = canvas.mask(*paths, holes=holes, blur=1.2, within=within)
    strength = 0.6 if look.beard == "short" else 1.0
    canvas.paint(area, color, strength)
    canvas.paint(canvas.mask(*_moustache(head), blur=0.8, without=area), color, strength)
    light = canvas.mask(*(shifted(path, -30, -12) for path in paths), blur=14)
    canvas.paint(canvas.mask(*paths, holes=holes, without=light, within=area), deeper(color), 0.4)


def _moustache(head: Head) -> list[Path]:
    half = [
        *head.path((0, 0.766), (0.12, 0.760), (0.27, 0.776), (0.41, 0.806)),
        *head.path((0.41, 0.806), (0.28, 0.812), (0.12, 0.808), (0, 0.803)),
    ]
    return [half, mirror(half)]


def _paint_glasses(scene: Scene) -> None:
    canvas, look, head = scene.canvas, scene.look, scene.head
    dark = brightness(look.skin.base) < 0.5
    metal = GOLD if dark else rgb("6B4430")
    tone = (rgb("1E1B24") if dark else rgb("2E2A33"), metal, look.scheme.fabric)[int(look.variant * 3)]
    v = head.eye_v + 0.012
    radius = 50 * (0.9 + 0.1 * head.eye_size)
    for side in SIDES:
        x, y = head.at(side * 0.445, v)
        if look.glasses == "round":
            rim = ellipse((x, y), radius, radius * 0.96)
            inner = ellipse((x, y), radius - 6, radius * 0.96 - 6)
        else:
            rim = _lens((x, y), radius * 1.04, radius * 0.82)
            inner = _lens((x, y), radius * 1.04 - 6.5, radius * 0.82 - 6.5)
        canvas.fill(inner, color=WHITE, opacity=0.06)
        glare = [(x - 8, y - radius), (x + 14, y - radius), (x - 18, y + radius), (x - 40, y + radius)]
        canvas.fill(glare, color=WHITE, opacity=0.10, within=canvas.mask(inner))
        canvas.paint(canvas.mask(rim, holes=[inner]), tone)
        arm = curve((x + side * radius * 0.98, y - 12), (CENTER + side * head.half * 1.02, y - 16))
        canvas.fill(ribbon(arm, 8, 7), color=tone)
    gap = head.half * 0.445 - radius
    bridge = curve(
        (CENTER - gap - 3, head.at(0, v)[1] - 8),
        (CENTER, head.at(0, v)[1] - 17),
        (CENTER + gap + 3, head.at(0, v)[1] - 8),
    )
    canvas.fill(ribbon(bridge, 7, 6, 7), color=tone)


def _lens(center: Point, rx: float, ry: float) -> Path:
    """Return a rectangle with very round corners (a superellipse)."""
    x, y = center
    r = 0.78
    return curve(
        (x - rx, y), (x - rx * 0.97, y - ry * r), (x - rx * r, y - ry * 0.98), (x, y - ry), (x + rx * r, y - ry * 0.98),
        (x + rx * 0.97, y - ry * r), (x + rx, y), (x + rx * 0.93, y + ry * r), (x + rx * r * 0.92, y + ry * 0.98),
        (x, y + ry), (x - rx * r * 0.92, y + ry * 0.98), (x - rx * 0.93, y + ry * r), (x - rx, y),
    )  # fmt: skip


def paint_earrings(scene: Scene) -> None:
    """Paint small hoops or pearls at the earlobes."""
    canvas, head = scene.canvas, scene.head
    for side in SIDES:
        x, y = head.at(side * 1.05, 0.665)
        if scene.look.variant < 0.5:
            canvas.fill(ellipse((x, y + 3), 7.5, 7.5), color=rgb("FBF4E8"))
            canvas.fill(ellipse((x + 1.5, y + 5), 4.5, 4), color=rgb("D9C9B4"), opacity=0.6, blur=1)
        else:
            canvas.paint(
                canvas.mask(ellipse((x, y + 14), 15, 17), holes=[ellipse((x, y + 13), 11, 13)]), GOLD
            )

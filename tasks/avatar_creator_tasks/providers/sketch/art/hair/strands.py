"""Shapes and brushes that all cuts share."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_creator_tasks.providers.sketch.art.canvas import (
    Mask,
    Path,
    Point,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    Color,
    brightness,
    deeper,
    lighter,
    mix,
)
from avatar_creator_tasks.providers.sketch.art.scene import Scene

_PRESSED = frozenset({"peci", "cap", "beanie", "fedora", "sun_hat", "headscarf"})
"""Headwear that hides the hair on top of the head."""


def is_pressed(scene: Scene) -> bool:
    return scene.look.headwear in _PRESSED


def hat_area(scene: Scene) -> Mask | None:
    """Return the area above a hat's edge, where hair is hidden; None without a hat."""
    if not is_pressed(scene):
        return None
    (left, top), (right, edge) = scene.head.at(-4, -1.5), scene.head.at(4, 0.07)
    return scene.canvas.mask([(left, top), (right, top), (right, edge), (left, edge)])


def dome(grow: float, lift: float, low: float) -> tuple[Point, ...]:
    """Return places over the head from the left ear to the right one.

    Args:
        grow: How much wider than the skull, in u.
        lift: How much higher than the skull, in v.
        low: End of the line at the ears, in v.
    """
    right = (
        (0.38, 0.020 - lift * 0.95), (0.71 + grow * 0.3, 0.092 - lift * 0.65),
        (0.95 + grow * 0.7, 0.205 - lift * 0.3), (1.0 + grow, 0.36), (1.0 + grow * 0.9, low),
    )  # fmt: skip
    return (*((-u, v) for u, v in reversed(right)), (0.0, -lift), *right)


def toward_parting(scene: Scene, *places: Point) -> tuple[Point, ...]:
    """Return the places, mirrored if the parting is on the left."""
    return tuple((u * scene.look.side, v) for u, v in places)


def paint_hair(
    scene: Scene,
    *paths: Path,
    strands: Sequence[Path] = (),
    shine: bool = True,
) -> Mask:
    """Paint hair with its shadow on the face, its shading, shine and strands; return its area."""
    canvas, look, head = scene.canvas, scene.look, scene.head
    tone = look.hair
    hair = canvas.mask(*paths, without=hat_area(scene))
    fallen = [shifted(path, 4, 13) for path in paths]
    canvas.fill(*fallen, color=look.skin.shade, opacity=0.6, blur=7, within=scene.face)
    canvas.paint(hair, lighter(tone, 0.05), fade_to=deeper(tone, 0.16))
    lit = canvas.mask(*(shifted(path, -20, -6) for path in paths), blur=13)
    canvas.paint(canvas.mask(*paths, without=lit, within=hair), deeper(tone, 0.5), 0.5)
    if shine:
        arc = head.path((-0.92, 0.22), (-0.72, 0.075), (-0.40, 0.005), (-0.02, -0.012))
        canvas.fill(ribbon(arc, 3, 26, 20, 2), color=glow_color(tone), opacity=0.5, blur=9, within=hair)
        arc = head.path((0.42, 0.03), (0.68, 0.085), (0.86, 0.20))
        canvas.fill(ribbon(arc, 2, 14, 2), color=glow_color(tone), opacity=0.32, blur=8, within=hair)
    for strand in strands:
        canvas.fill(ribbon(strand, 0.8, 4.2, 0.8), color=deeper(tone, 0.5), opacity=0.42, within=hair)
    return hair


def glow_color(color: Color) -> Color:
    """Return the color of light on the hair, which is cooler on darker hair."""
    return mix(color, (255, 240, 222), 0.5) if brightness(color) > 0.25 else mix(color, (190, 170, 185), 0.55)


def paint_back(scene: Scene, *paths: Path) -> None:
    """Paint shaded hair behind the head and the neck."""
    tone = deeper(scene.look.hair, 0.32)
    area = scene.canvas.mask(*paths, without=hat_area(scene))
    scene.canvas.paint(area, tone, fade_to=deeper(tone, 0.12))

"""Pieces that all garments share: necklines, cloth, shading and outer garments."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    FLOOR,
    Mask,
    Path,
    Point,
    curve,
    ellipse,
    mirror,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    Color,
    deeper,
    lighter,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def round_neckline(scene: Scene, wide: float, depth: float, y: float = 728) -> Path:
    """Return a round neckline, left to right, `wide` units beyond the neck and `depth` units deep."""
    reach = scene.frame.neck + wide
    return curve(
        (CENTER - reach, y - scene.frame.slope * 0.8), (CENTER - reach * 0.72, y + depth * 0.62),
        (CENTER, y + depth), (CENTER + reach * 0.72, y + depth * 0.62),
        (CENTER + reach, y - scene.frame.slope * 0.8),
    )  # fmt: skip


def v_neckline(scene: Scene, wide: float, bottom: float, y: float = 730) -> Path:
    """Return a pointed neckline, left to right, whose point is at `bottom`."""
    reach = scene.frame.neck + wide
    side = curve(
        (CENTER - reach, y - scene.frame.slope * 0.8),
        (CENTER - reach * 0.62, y + (bottom - y) * 0.42),
        (CENTER, bottom),
    )
    return [*side, *reversed(mirror(side))]


def paint_garment(scene: Scene, neckline: Path, color: Color) -> Mask:
    """Paint shaded cloth over the body below the neckline; return the area of the cloth."""
    canvas = scene.canvas
    (left, top), (right, _) = neckline[0], neckline[-1]
    hole = [(left, top), *neckline, (right, top), (right, 540.0), (left, 540.0)]
    body = scene.frame.outline
    # A little larger than the body, because cloth has a thickness.
    loose = [(CENTER + (x - CENTER) * 1.025, y - 4) for x, y in body]
    cloth = canvas.mask(loose, holes=[hole])
    canvas.paint(cloth, color)
    paint_shading(scene, cloth, color)
    return cloth


def paint_shading(scene: Scene, cloth: Mask, color: Color) -> None:
    """Paint light from the upper left, the shadow of the head, and the folds at the arms."""
    canvas, wide = scene.canvas, scene.frame.shoulder
    dark = deeper(color, 0.35)
    canvas.fill(
        [
            *curve((CENTER + wide * 0.62, 700), (CENTER + wide * 0.72, 900), (CENTER + wide * 0.6, FLOOR)),
            (CENTER + wide * 1.4, FLOOR),
            (CENTER + wide * 1.4, 700),
        ],
        color=dark, opacity=0.38, blur=38, within=cloth,
    )  # fmt: skip
    canvas.fill(ellipse((CENTER + 12, 735), 95, 38), color=dark, opacity=0.45, blur=16, within=cloth)
    canvas.fill(
        ellipse((CENTER - wide * 0.55, 815), 90, 30, -18),
        color=lighter(color, 0.5),
        opacity=0.35,
        blur=22,
        within=cloth,
    )
    for side in SIDES:
        fold = curve(
            (CENTER + side * wide * 0.80, 902),
            (CENTER + side * wide * 0.76, 960),
            (CENTER + side * wide * 0.79, 1060),
            (CENTER + side * wide * 0.79, 1200),
        )
        canvas.fill(ribbon(fold, 1, 6, 6, 5), color=dark, opacity=0.55, blur=1, within=cloth)


def paint_outer_garment(scene: Scene, gap: Path, color: Color) -> Mask:
    """Paint an outer garment that is open along `gap`, and its shadow; return its area."""
    canvas = scene.canvas
    loose = [(CENTER + (x - CENTER) * 1.05, y - 9) for x, y in scene.frame.outline]
    cut = [*gap, (gap[-1][0], 540.0), (gap[0][0], 540.0)]
    cloth = canvas.mask(loose, holes=[cut])
    canvas.paint(
        canvas.mask(loose, holes=[shifted(cut, 7, 8)], blur=6, within=scene.body), deeper(color, 0.6), 0.3
    )
    canvas.paint(cloth, color)
    paint_shading(scene, cloth, color)
    return cloth


def on_side(side: int, point: Point) -> Point:
    return (CENTER + side * point[0], point[1])

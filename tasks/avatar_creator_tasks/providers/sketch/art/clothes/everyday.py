"""Everyday clothes: casual, sporty, creative and streetwear."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    FLOOR,
    Path,
    curve,
    ellipse,
    mirror,
    ribbon,
    shifted,
)
from avatar_creator_tasks.providers.sketch.art.clothes.cloth import (
    on_side,
    paint_garment,
    paint_outer_garment,
    paint_shading,
    round_neckline,
    v_neckline,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    DENIM,
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
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_casual(scene: Scene) -> None:
    look = scene.look
    color, accent = look.scheme.garment, look.scheme.accent
    if look.variant < 0.35:
        _paint_striped_tee(scene)
    elif look.variant < 0.7:
        _paint_sweater(scene, color)
    else:
        tee = round_neckline(scene, 26, 34)
        paint_garment(scene, tee, WHITE if brightness(color) < 0.7 else accent)
        scene.canvas.fill(ribbon(tee, 13), color=deeper(WHITE, 0.10), opacity=0.8)
        _paint_open_shirt(scene, DENIM if look.variant < 0.85 else color)


def paint_sporty(scene: Scene) -> None:
    look, canvas, frame = scene.look, scene.canvas, scene.frame
    color, accent = look.scheme.garment, WHITE
    cloth = paint_garment(scene, v_neckline(scene, 12, 800), color)
    for offset in (0, 30):
        for side in SIDES:
            stripe = [
                on_side(side, p)
                for p in curve(
                    (frame.neck + 56 + offset, 720), (frame.shoulder * 0.78 + offset, 800),
                    (frame.shoulder * 0.94 + offset, 900), (frame.shoulder + offset, FLOOR),
                )
            ]  # fmt: skip
            canvas.fill(ribbon(stripe, 13), color=accent, opacity=0.95, within=cloth)
    zip_line = [(CENTER, 800.0), (CENTER, FLOOR)]
    canvas.fill(ribbon(zip_line, 15), color=deeper(color, 0.25))
    canvas.fill(ribbon(zip_line, 5), color=rgb("E9EBEF"))
    for side in SIDES:
        collar = [
            on_side(side, p)
            for p in curve(
                (frame.neck + 3, 672), (frame.neck + 24, 716), (frame.neck * 0.75, 778), (0, 842),
                (0, 806), (frame.neck * 0.55, 752), (frame.neck + 3, 690),
            )
        ]  # fmt: skip
        canvas.fill(shifted(collar, 2, 8), color=deeper(color, 0.5), opacity=0.4, blur=4)
        canvas.fill(collar, color=deeper(color, 0.14))
        canvas.fill(ribbon(collar[40:60], 4), color=accent, opacity=0.9)
    canvas.fill(ribbon([(CENTER, 838), (CENTER, 868)], 9, 12), color=rgb("D5D9E0"))


def paint_creative(scene: Scene) -> None:
    """Paint cut-paper shapes on bright cloth, for some people with a scarf."""
    look, canvas, scheme = scene.look, scene.canvas, scene.look.scheme
    neckline = round_neckline(scene, 22, 28)
    cloth = paint_garment(scene, neckline, scheme.garment)
    inks = (scheme.accent, scheme.fabric, rgb("FFF8EC"), mix(scheme.garment, scheme.disc, 0.6))
    shapes: tuple[list[Path], ...] = ([], [], [], [])
    for index in range(54):
        # The golden ratio spreads the shapes evenly without a visible grid.
        x = CENTER + ((index * 0.618034) % 1 - 0.5) * 720
        y = 745 + index * 12.4
        kind = index % 4
        if kind == 0:
            shapes[kind].append(ellipse((x, y), 24, 24))
        elif kind == 1:
            shapes[kind].append([(x - 24, y + 18), (x + 26, y + 14), (x - 2, y - 26)])
        elif kind == 2:
            shapes[kind].append(
                ribbon(curve((x - 32, y), (x - 16, y - 13), (x, y), (x + 16, y + 13), (x + 32, y)), 8)
            )
        else:
            shapes[kind].append([(x - 22, y), (x, y - 22), (x + 22, y), (x, y + 22)])
    for paths, ink in zip(shapes, inks, strict=True):
        canvas.fill(*paths, color=ink, opacity=0.95, within=cloth)
    paint_shading(scene, cloth, scheme.garment)
    canvas.fill(ribbon(neckline, 18), color=scheme.accent)
    if look.variant < 0.5 and look.headwear != "hijab":
        _paint_scarf(scene, scheme.fabric)


def paint_streetwear(scene: Scene) -> None:
    look, canvas, neck = scene.look, scene.canvas, scene.frame.neck
    color = look.scheme.garment if look.variant < 0.6 else rgb("5A5F73")
    tee = round_neckline(scene, 18, 30)
    paint_garment(scene, tee, rgb("F7F3EC"))
    canvas.fill(ribbon(tee, 10), color=rgb("E3DCD0"))
    hood = curve(
        (CENTER - neck - 8, 640), (CENTER - neck - 62, 690), (CENTER - neck - 76, 750), (CENTER - neck * 0.8, 812), (CENTER, 862),
        (CENTER + neck * 0.8, 812), (CENTER + neck + 76, 750), (CENTER + neck + 62, 690), (CENTER + neck + 8, 640),
    )  # fmt: skip
    opening = curve(
        (CENTER - neck - 6, 652), (CENTER - neck - 20, 720), (CENTER - neck * 0.5, 784), (CENTER, 818),
        (CENTER + neck * 0.5, 784), (CENTER + neck + 20, 720), (CENTER + neck + 6, 652),
    )  # fmt: skip
    # Inside of the hood, behind the neck.
    canvas.fill(opening, color=deeper(color, 0.35), without=scene.body)
    paint_garment(scene, opening, color)
    canvas.paint(
        canvas.mask(shifted(hood, 3, 12), holes=[opening], blur=8, within=scene.body), deeper(color, 0.6), 0.4
    )
    ring = [*hood, *reversed(opening)]
    canvas.fill(ring, color=lighter(color, 0.10))
    area = canvas.mask(ring)
    canvas.fill(ribbon(opening, 14), color=deeper(color, 0.3), opacity=0.55, within=area)
    for side in SIDES:
        crease = [on_side(side, p) for p in curve((neck + 40, 690), (neck + 34, 750), (neck * 0.6, 822))]
        canvas.fill(ribbon(crease, 1, 6, 1), color=deeper(color, 0.4), opacity=0.5, within=area)
        string = [on_side(side, p) for p in curve((26, 826), (32, 870), (27 + 4 * side, 920), (30, 948))]
        canvas.fill(ribbon(shifted(string, 3, 4), 6), color=deeper(color, 0.6), opacity=0.35, blur=2)
        canvas.fill(ribbon(string, 6.5), color=rgb("FBF7F0"))
        canvas.fill(ribbon([string[-1], (string[-1][0], string[-1][1] + 16)], 9), color=GOLD)


def _paint_striped_tee(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    neckline = round_neckline(scene, 26, 36)
    ground = rgb("FBF7F0")
    cloth = paint_garment(scene, neckline, ground)
    stripes = [
        ribbon(curve((CENTER - 400, y - 16), (CENTER, y + 14), (CENTER + 400, y - 16)), 17)
        for y in range(800, int(FLOOR), 46)
    ]
    canvas.fill(*stripes, color=look.scheme.garment, opacity=0.92, within=cloth)
    paint_shading(scene, cloth, ground)
    canvas.fill(ribbon(neckline, 15), color=look.scheme.garment)


def _paint_sweater(scene: Scene, color: Color) -> None:
    canvas = scene.canvas
    neckline = round_neckline(scene, 20, 26)
    cloth = paint_garment(scene, neckline, color)
    knit = [
        ribbon(curve((x, 790), (x + (x - CENTER) * 0.03, 1000), (x, FLOOR)), 3)
        for x in range(int(CENTER) - 342, int(CENTER) + 345, 36)
    ]
    canvas.fill(*knit, color=deeper(color, 0.3), opacity=0.22, within=cloth)
    canvas.fill(ribbon(shifted(neckline, 0, 4), 30), color=deeper(color, 0.12))
    canvas.fill(ribbon(shifted(neckline, 0, -7), 7), color=lighter(color, 0.25))


def _paint_open_shirt(scene: Scene, color: Color) -> None:
    """Paint an open shirt over a tee."""
    canvas, neck = scene.canvas, scene.frame.neck
    front = curve(
        (CENTER - neck - 34, 722),
        (CENTER - neck - 20, 800),
        (CENTER - neck - 26, 1000),
        (CENTER - neck - 30, FLOOR),
    )
    gap = [*front, *reversed(mirror(front))]
    paint_outer_garment(scene, gap, color)
    for side in SIDES:
        flap = [on_side(side, point) for point in (
            (neck + 4, 694), (neck + 38, 724), (neck + 84, 776), (neck + 36, 838), (neck + 22, 790), (neck + 24, 742)
        )]  # fmt: skip
        canvas.fill(shifted(flap, 3, 6), color=deeper(color, 0.5), opacity=0.4, blur=4, within=scene.body)
        canvas.fill(flap, color=lighter(color, 0.14))


def _paint_scarf(scene: Scene, color: Color) -> None:
    canvas, neck = scene.canvas, scene.frame.neck
    tail = curve(
        (CENTER + 30, 770), (CENTER + 78, 850), (CENTER + 70, 960), (CENTER + 84, 1060),
        (CENTER + 10, 1064), (CENTER + 8, 960), (CENTER - 4, 850), (CENTER - 8, 790),
    )  # fmt: skip
    canvas.fill(shifted(tail, 8, 6), color=INK, opacity=0.3, blur=8)
    canvas.fill(tail, color=deeper(color, 0.12))
    loop = curve(
        (CENTER - neck - 26, 690), (CENTER - neck - 40, 738), (CENTER - neck * 0.4, 812), (CENTER + neck * 0.6, 812),
        (CENTER + neck + 42, 738), (CENTER + neck + 26, 690), (CENTER + neck * 0.6, 738), (CENTER, 752), (CENTER - neck * 0.6, 738),
        (CENTER - neck - 26, 690),
    )  # fmt: skip
    canvas.fill(shifted(loop, 3, 10), color=INK, opacity=0.3, blur=8)
    canvas.fill(loop, color=color)
    area = canvas.mask(loop)
    for drop in (16, 34, 50):
        fold = curve(
            (CENTER - neck - 30, 702 + drop * 0.5),
            (CENTER - neck * 0.4, 752 + drop * 0.8),
            (CENTER + neck * 0.5, 756 + drop),
            (CENTER + neck + 34, 706 + drop * 0.4),
        )
        canvas.fill(ribbon(fold, 1, 6, 1), color=deeper(color, 0.4), opacity=0.5, within=area)

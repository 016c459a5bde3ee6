"""Clothes for work and occasions: professional, formal, traditional and elegant."""

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
from avatar_creator_tasks.providers.sketch.art.clothes.jewelry import paint_pearls, paint_pendant
from avatar_creator_tasks.providers.sketch.art.palette import (
    GOLD,
    INK,
    Color,
    brightness,
    deeper,
    lighter,
    mix,
    rgb,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_professional(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    if look.soft:
        blouse = look.shirt
        neckline = v_neckline(scene, 18, 846)
        paint_garment(scene, neckline, blouse)
        canvas.fill(ribbon(neckline, 9), color=deeper(blouse, 0.12))
        paint_pendant(scene, 796)
    else:
        _paint_shirt(scene, look.shirt)
    _paint_jacket(scene, look.suit)


def paint_formal(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    if look.gender == "female":
        color = (rgb("7C2D4B"), rgb("24476B"), rgb("2F5D50"))[int(look.variant * 3)]
        neckline = round_neckline(scene, 96, 60, 758)
        paint_garment(scene, neckline, color)
        canvas.fill(ribbon(neckline, 11), color=lighter(color, 0.18))
        paint_pearls(scene)
        return
    _paint_shirt(scene, rgb("FBFAF7"))
    if look.variant < 0.5:
        tie = look.scheme.fabric
        canvas.fill(
            [
                (CENTER - 17, 806), (CENTER + 17, 806), (CENTER + 34, 1010), (CENTER + 30, FLOOR),
                (CENTER - 30, FLOOR), (CENTER - 34, 1010),
            ],
            color=tie,
        )  # fmt: skip
        stripes: list[Path] = [
            [(CENTER - 50, y + 40), (CENTER + 50, y - 10), (CENTER + 50, y + 2), (CENTER - 50, y + 52)]
            for y in range(830, int(FLOOR), 44)
        ]
        blade = canvas.mask(
            [
                (CENTER - 12, 838), (CENTER + 12, 838), (CENTER + 34, 1010), (CENTER + 30, FLOOR),
                (CENTER - 30, FLOOR), (CENTER - 34, 1010),
            ]
        )  # fmt: skip
        canvas.paint(blade, deeper(tie, 0.15))
        canvas.fill(*stripes, color=lighter(tie, 0.3), opacity=0.8, within=blade)
        canvas.fill(
            curve(
                (CENTER - 24, 800), (CENTER, 796), (CENTER + 24, 800), (CENTER + 14, 842), (CENTER - 14, 842)
            ),
            color=lighter(tie, 0.08),
        )
    else:
        for side in SIDES:
            bow = [
                on_side(side, p)
                for p in curve((4, 808), (34, 788), (64, 786), (66, 812), (64, 840), (34, 836), (4, 820))
            ]
            canvas.fill(bow, color=INK)
            canvas.fill(
                ribbon([on_side(side, (14, 812)), on_side(side, (44, 806))], 3, 0.5),
                color=lighter(INK, 0.3),
                opacity=0.7,
            )
        canvas.fill(ellipse((CENTER, 813), 11, 15), color=lighter(INK, 0.12))
    _paint_jacket(scene, rgb("2B2F42") if look.variant < 0.5 else rgb("29262F"), satin=look.variant >= 0.5)


def paint_traditional(scene: Scene) -> None:
    """Paint batik with the kawung motif: four petals around a point."""
    look, canvas = scene.look, scene.canvas
    ground = (rgb("5A3426"), rgb("27405E"), rgb("6A2B33"), rgb("2F4F45"))[int(look.variant * 4)]
    neckline = v_neckline(scene, 22, 868) if look.soft else v_neckline(scene, 10, 800)
    cloth = paint_garment(scene, neckline, ground)
    petals: list[Path] = []
    dots: list[Path] = []
    step = 72
    for row in range(10):
        for column in range(-6, 7):
            x = CENTER + (column + 0.5 * (row % 2)) * step
            y = 742 + row * step * 0.5 * 1.9
            for dx, dy, angle in ((-1, -1, 45), (1, -1, -45), (-1, 1, -45), (1, 1, 45)):
                petals.append(ellipse((x + dx * 17, y + dy * 17), 19, 9.5, angle))
            dots.append(ellipse((x, y), 4, 4))
            dots.append(ellipse((x + step / 2, y), 3, 3))
    canvas.fill(*petals, color=rgb("E6C68A"), opacity=0.9, within=cloth)
    canvas.fill(*dots, color=GOLD, within=cloth)
    paint_shading(scene, cloth, mix(ground, rgb("E6C68A"), 0.3))
    canvas.fill(ribbon(neckline, 24), color=deeper(ground, 0.2))
    canvas.fill(ribbon(neckline, 5), color=GOLD)
    if not look.soft:
        canvas.fill(ribbon([(CENTER, 800), (CENTER, FLOOR)], 22), color=deeper(ground, 0.2))
        canvas.fill(*[ellipse((CENTER, y), 6, 6) for y in range(840, int(FLOOR), 64)], color=GOLD)
    else:
        paint_pendant(scene, 790)


def paint_elegant(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    color = (rgb("2E4756"), rgb("6B3A4E"), rgb("3F4A3C"), rgb("D8C3A5"))[int(look.variant * 4)]
    if look.soft:
        neckline = v_neckline(scene, 60, 880, 744)
        cloth = paint_garment(scene, neckline, color)
        canvas.fill(ribbon(neckline, 10), color=lighter(color, 0.22))
        for side in SIDES:
            drape = [
                on_side(side, p) for p in curve((120, 770), (70, 880), (-30 * side, 980), (-60 * side, FLOOR))
            ]
            canvas.fill(ribbon(drape, 1, 7, 3), color=deeper(color, 0.5), opacity=0.4, blur=1, within=cloth)
        paint_pendant(scene, 806)
        return
    _paint_turtleneck(scene, lighter(color, 0.55) if brightness(color) < 0.5 else rgb("4A3B35"))
    coat = curve(
        (CENTER - scene.frame.neck - 34, 716),
        (CENTER - scene.frame.neck - 30, 800),
        (CENTER - 46, 1000),
        (CENTER - 40, FLOOR),
    )
    paint_outer_garment(scene, [*coat, *reversed(mirror(coat))], color)
    for side in SIDES:
        neck = scene.frame.neck
        lapel = [
            on_side(side, p)
            for p in curve(
                (neck + 8, 690), (neck + 44, 730), (neck + 84, 800), (neck + 62, 900), (44, 1020),
                (neck + 2, 880), (neck + 16, 760), (neck + 8, 690),
            )
        ]  # fmt: skip
        canvas.fill(shifted(lapel, 4, 8), color=INK, opacity=0.3, blur=5, within=scene.body)
        canvas.fill(lapel, color=lighter(color, 0.12))


def _paint_shirt(scene: Scene, color: Color) -> None:
    """Paint a shirt with its collar, as worn under a jacket."""
    canvas, neck = scene.canvas, scene.frame.neck
    paint_garment(scene, v_neckline(scene, 14, 812), color)
    line = deeper(color, 0.25)
    canvas.fill(ribbon([(CENTER, 812), (CENTER, FLOOR)], 2.5), color=line, opacity=0.6)
    buttons = [ellipse((CENTER + 7, y), 4.5, 4.5) for y in range(862, int(FLOOR), 66)]
    canvas.fill(*buttons, color=line, opacity=0.75)
    for side in SIDES:
        flap = [
            on_side(side, p)
            for p in ((neck - 1, 684), (neck + 24, 722), (neck + 30, 776), (22, 830), (2, 812))
        ]
        canvas.fill(shifted(flap, 2, 7), color=deeper(color, 0.5), opacity=0.4, blur=4)
        canvas.fill(flap, color=lighter(color, 0.4))
        canvas.fill(ribbon([flap[-1], flap[0]], 4), color=line, opacity=0.45)


def _paint_jacket(scene: Scene, color: Color, satin: bool = False) -> None:
    canvas, neck = scene.canvas, scene.frame.neck
    front = curve(
        (CENTER - neck - 30, 716), (CENTER - neck - 26, 770), (CENTER - neck * 0.62, 900), (CENTER, 1020)
    )
    paint_outer_garment(scene, [*front, *reversed(mirror(front))], color)
    lapel_color = deeper(color, 0.3) if satin else lighter(color, 0.10)
    for side in SIDES:
        lapel = [on_side(side, p) for p in (
            (neck + 6, 690), (neck + 34, 712), (neck + 66, 756), (neck + 104, 822), (neck + 72, 832),
            (neck + 104, 852), (neck * 0.9 + 40, 930), (2, 1024), (neck * 0.60, 900), (neck + 18, 775), (neck + 14, 730),
        )]  # fmt: skip
        canvas.fill(shifted(lapel, 4, 8), color=deeper(color, 0.6), opacity=0.45, blur=5, within=scene.body)
        canvas.fill(lapel, color=lapel_color)
        canvas.fill(ribbon(lapel[3:6], 3), color=deeper(color, 0.45), opacity=0.7)
    canvas.fill(*[ellipse((CENTER, y), 8, 8) for y in (1056, 1140)], color=deeper(color, 0.4))


def _paint_turtleneck(scene: Scene, color: Color) -> None:
    canvas, neck = scene.canvas, scene.frame.neck
    paint_garment(scene, round_neckline(scene, 8, 10, 716), color)
    roll = curve(
        (CENTER - neck - 5, 668), (CENTER - neck - 12, 716), (CENTER - neck * 0.5, 752), (CENTER, 758), (CENTER + neck * 0.5, 752),
        (CENTER + neck + 12, 716), (CENTER + neck + 5, 668), (CENTER + neck * 0.5, 694), (CENTER, 700), (CENTER - neck * 0.5, 694),
        (CENTER - neck - 5, 668),
    )  # fmt: skip
    canvas.fill(shifted(roll, 0, 7), color=deeper(color, 0.5), opacity=0.35, blur=5)
    canvas.fill(roll, color=color)
    area = canvas.mask(roll)
    shadow = shifted(scene.head.outline, 8, 50)
    canvas.fill(shadow, color=deeper(color, 0.5), opacity=0.35, blur=8, within=area)
    ribs = [
        ribbon([(x, 670), (CENTER + (x - CENTER) * 1.04, 760)], 2.5)
        for x in range(int(CENTER) - 72, int(CENTER) + 73, 12)
    ]
    canvas.fill(*ribs, color=deeper(color, 0.4), opacity=0.25, within=area)

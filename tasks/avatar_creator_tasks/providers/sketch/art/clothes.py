"""What is worn on the body, one garment for each style."""

from __future__ import annotations

from collections.abc import Callable

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
from avatar_creator_tasks.providers.sketch.art.scene import Scene

SIDES = (-1, 1)


def paint_clothes(scene: Scene) -> None:
    """The garment of the person's style."""
    _GARMENTS[scene.look.style](scene)


def _neckline(scene: Scene, wide: float, depth: float, y: float = 728) -> Path:
    """A round neckline, left to right, `wide` units beyond the neck and `depth` deep."""
    reach = scene.frame.neck + wide
    return curve(
        (CENTER - reach, y - scene.frame.slope * 0.8), (CENTER - reach * 0.72, y + depth * 0.62),
        (CENTER, y + depth), (CENTER + reach * 0.72, y + depth * 0.62),
        (CENTER + reach, y - scene.frame.slope * 0.8),
    )  # fmt: skip


def _vee(scene: Scene, wide: float, bottom: float, y: float = 730) -> Path:
    """A pointed neckline, left to right, that ends at `bottom`."""
    reach = scene.frame.neck + wide
    side = curve(
        (CENTER - reach, y - scene.frame.slope * 0.8),
        (CENTER - reach * 0.62, y + (bottom - y) * 0.42),
        (CENTER, bottom),
    )
    return [*side, *reversed(mirror(side))]


def _garment(scene: Scene, neckline: Path, color: Color) -> Mask:
    """Covers the body below the neckline and shades it; the mask is for what lies on the cloth."""
    canvas = scene.canvas
    (left, top), (right, _) = neckline[0], neckline[-1]
    hole = [(left, top), *neckline, (right, top), (right, 540.0), (left, 540.0)]
    body = scene.frame.outline
    # A little larger than the body, for cloth has a thickness.
    loose = [(CENTER + (x - CENTER) * 1.025, y - 4) for x, y in body]
    cloth = canvas.mask(loose, holes=[hole])
    canvas.paint(cloth, color)
    _shade(scene, cloth, color)
    return cloth


def _shade(scene: Scene, cloth: Mask, color: Color) -> None:
    """Light from the upper left, the head's shadow, and the folds at the arms."""
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


def _casual(scene: Scene) -> None:
    look = scene.look
    color, accent = look.scheme.garment, look.scheme.accent
    if look.variant < 0.35:
        _striped_tee(scene)
    elif look.variant < 0.7:
        _sweater(scene, color)
    else:
        tee = _neckline(scene, 26, 34)
        _garment(scene, tee, WHITE if brightness(color) < 0.7 else accent)
        scene.canvas.fill(ribbon(tee, 13), color=deeper(WHITE, 0.10), opacity=0.8)
        _open_shirt(scene, DENIM if look.variant < 0.85 else color)


def _striped_tee(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    neckline = _neckline(scene, 26, 36)
    ground = rgb("FBF7F0")
    cloth = _garment(scene, neckline, ground)
    stripes = [
        ribbon(curve((CENTER - 400, y - 16), (CENTER, y + 14), (CENTER + 400, y - 16)), 17)
        for y in range(800, int(FLOOR), 46)
    ]
    canvas.fill(*stripes, color=look.scheme.garment, opacity=0.92, within=cloth)
    _shade(scene, cloth, ground)
    canvas.fill(ribbon(neckline, 15), color=look.scheme.garment)


def _sweater(scene: Scene, color: Color) -> None:
    canvas = scene.canvas
    neckline = _neckline(scene, 20, 26)
    cloth = _garment(scene, neckline, color)
    knit = [
        ribbon(curve((x, 790), (x + (x - CENTER) * 0.03, 1000), (x, FLOOR)), 3)
        for x in range(int(CENTER) - 342, int(CENTER) + 345, 36)
    ]
    canvas.fill(*knit, color=deeper(color, 0.3), opacity=0.22, within=cloth)
    canvas.fill(ribbon(shifted(neckline, 0, 4), 30), color=deeper(color, 0.12))
    canvas.fill(ribbon(shifted(neckline, 0, -7), 7), color=lighter(color, 0.25))


def _open_shirt(scene: Scene, color: Color) -> None:
    """A shirt worn open over a tee."""
    canvas, neck = scene.canvas, scene.frame.neck
    front = curve(
        (CENTER - neck - 34, 722),
        (CENTER - neck - 20, 800),
        (CENTER - neck - 26, 1000),
        (CENTER - neck - 30, FLOOR),
    )
    gap = [*front, *reversed(mirror(front))]
    _over(scene, gap, color)
    for side in SIDES:
        flap = [_sided(side, point) for point in (
            (neck + 4, 694), (neck + 38, 724), (neck + 84, 776), (neck + 36, 838), (neck + 22, 790), (neck + 24, 742)
        )]  # fmt: skip
        canvas.fill(shifted(flap, 3, 6), color=deeper(color, 0.5), opacity=0.4, blur=4, within=scene.body)
        canvas.fill(flap, color=lighter(color, 0.14))


def _over(scene: Scene, gap: Path, color: Color) -> Mask:
    """An outer garment, open along `gap`, with its shadow on what is under it."""
    canvas = scene.canvas
    loose = [(CENTER + (x - CENTER) * 1.05, y - 9) for x, y in scene.frame.outline]
    cut = [*gap, (gap[-1][0], 540.0), (gap[0][0], 540.0)]
    cloth = canvas.mask(loose, holes=[cut])
    canvas.paint(
        canvas.mask(loose, holes=[shifted(cut, 7, 8)], blur=6, within=scene.body), deeper(color, 0.6), 0.3
    )
    canvas.paint(cloth, color)
    _shade(scene, cloth, color)
    return cloth


def _sided(side: int, point: Point) -> Point:
    return (CENTER + side * point[0], point[1])


def _shirt(scene: Scene, color: Color) -> None:
    """A shirt under a jacket, with its collar."""
    canvas, neck = scene.canvas, scene.frame.neck
    _garment(scene, _vee(scene, 14, 812), color)
    line = deeper(color, 0.25)
    canvas.fill(ribbon([(CENTER, 812), (CENTER, FLOOR)], 2.5), color=line, opacity=0.6)
    buttons = [ellipse((CENTER + 7, y), 4.5, 4.5) for y in range(862, int(FLOOR), 66)]
    canvas.fill(*buttons, color=line, opacity=0.75)
    for side in SIDES:
        flap = [
            _sided(side, p)
            for p in ((neck - 1, 684), (neck + 24, 722), (neck + 30, 776), (22, 830), (2, 812))
        ]
        canvas.fill(shifted(flap, 2, 7), color=deeper(color, 0.5), opacity=0.4, blur=4)
        canvas.fill(flap, color=lighter(color, 0.4))
        canvas.fill(ribbon([flap[-1], flap[0]], 4), color=line, opacity=0.45)


def _jacket(scene: Scene, color: Color, satin: bool = False) -> None:
    canvas, neck = scene.canvas, scene.frame.neck
    front = curve(
        (CENTER - neck - 30, 716), (CENTER - neck - 26, 770), (CENTER - neck * 0.62, 900), (CENTER, 1020)
    )
    _over(scene, [*front, *reversed(mirror(front))], color)
    lapel_color = deeper(color, 0.3) if satin else lighter(color, 0.10)
    for side in SIDES:
        lapel = [_sided(side, p) for p in (
            (neck + 6, 690), (neck + 34, 712), (neck + 66, 756), (neck + 104, 822), (neck + 72, 832),
            (neck + 104, 852), (neck * 0.9 + 40, 930), (2, 1024), (neck * 0.60, 900), (neck + 18, 775), (neck + 14, 730),
        )]  # fmt: skip
        canvas.fill(shifted(lapel, 4, 8), color=deeper(color, 0.6), opacity=0.45, blur=5, within=scene.body)
        canvas.fill(lapel, color=lapel_color)
        canvas.fill(ribbon(lapel[3:6], 3), color=deeper(color, 0.45), opacity=0.7)
    canvas.fill(*[ellipse((CENTER, y), 8, 8) for y in (1056, 1140)], color=deeper(color, 0.4))


def _professional(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    if look.soft:
        blouse = look.shirt
        neckline = _vee(scene, 18, 846)
        _garment(scene, neckline, blouse)
        canvas.fill(ribbon(neckline, 9), color=deeper(blouse, 0.12))
        _pendant(scene, 796)
    else:
        _shirt(scene, look.shirt)
    _jacket(scene, look.suit)


def _formal(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    if look.gender == "female":
        color = (rgb("7C2D4B"), rgb("24476B"), rgb("2F5D50"))[int(look.variant * 3)]
        neckline = _neckline(scene, 96, 60, 758)
        _garment(scene, neckline, color)
        canvas.fill(ribbon(neckline, 11), color=lighter(color, 0.18))
        _pearls(scene)
        return
    _shirt(scene, rgb("FBFAF7"))
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
                _sided(side, p)
                for p in curve((4, 808), (34, 788), (64, 786), (66, 812), (64, 840), (34, 836), (4, 820))
            ]
            canvas.fill(bow, color=INK)
            canvas.fill(
                ribbon([_sided(side, (14, 812)), _sided(side, (44, 806))], 3, 0.5),
                color=lighter(INK, 0.3),
                opacity=0.7,
            )
        canvas.fill(ellipse((CENTER, 813), 11, 15), color=lighter(INK, 0.12))
    _jacket(scene, rgb("2B2F42") if look.variant < 0.5 else rgb("29262F"), satin=look.variant >= 0.5)


def _pearls(scene: Scene) -> None:
    reach = scene.frame.neck + 6
    string = curve(
        (CENTER - reach, 712), (CENTER - reach * 0.7, 752), (CENTER, 772), (CENTER + reach * 0.7, 752),
        (CENTER + reach, 712),
    )  # fmt: skip
    beads = [string[index] for index in range(0, len(string), 3)]
    scene.canvas.fill(
        *[ellipse((x + 1, y + 4), 8, 8) for x, y in beads], color=scene.look.skin.shade, opacity=0.8, blur=2
    )
    scene.canvas.fill(*[ellipse(bead, 7.5, 7.5) for bead in beads], color=rgb("F8F0E4"))
    scene.canvas.fill(*[ellipse((x - 2, y - 2), 2.6, 2.6) for x, y in beads], color=WHITE)


def _pendant(scene: Scene, bottom: float) -> None:
    reach = scene.frame.neck + 10
    chain = curve(
        (CENTER - reach, 716), (CENTER - reach * 0.55, 716 + (bottom - 716) * 0.66), (CENTER, bottom),
        (CENTER + reach * 0.55, 716 + (bottom - 716) * 0.66), (CENTER + reach, 716),
    )  # fmt: skip
    scene.canvas.fill(ribbon(chain, 3), color=GOLD)
    scene.canvas.fill(ellipse((CENTER, bottom + 8), 8, 10), color=GOLD)
    scene.canvas.fill(ellipse((CENTER - 2, bottom + 5), 3, 3), color=lighter(GOLD, 0.7))


def _traditional(scene: Scene) -> None:
    """Batik, with the kawung motif of four petals around a point."""
    look, canvas = scene.look, scene.canvas
    ground = (rgb("5A3426"), rgb("27405E"), rgb("6A2B33"), rgb("2F4F45"))[int(look.variant * 4)]
    neckline = _vee(scene, 22, 868) if look.soft else _vee(scene, 10, 800)
    cloth = _garment(scene, neckline, ground)
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
    _shade(scene, cloth, mix(ground, rgb("E6C68A"), 0.3))
    canvas.fill(ribbon(neckline, 24), color=deeper(ground, 0.2))
    canvas.fill(ribbon(neckline, 5), color=GOLD)
    if not look.soft:
        canvas.fill(ribbon([(CENTER, 800), (CENTER, FLOOR)], 22), color=deeper(ground, 0.2))
        canvas.fill(*[ellipse((CENTER, y), 6, 6) for y in range(840, int(FLOOR), 64)], color=GOLD)
    else:
        _pendant(scene, 790)


def _sporty(scene: Scene) -> None:
    look, canvas, frame = scene.look, scene.canvas, scene.frame
    color, accent = look.scheme.garment, WHITE
    cloth = _garment(scene, _vee(scene, 12, 800), color)
    for offset in (0, 30):
        for side in SIDES:
            stripe = [
                _sided(side, p)
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
            _sided(side, p)
            for p in curve(
                (frame.neck + 3, 672), (frame.neck + 24, 716), (frame.neck * 0.75, 778), (0, 842),
                (0, 806), (frame.neck * 0.55, 752), (frame.neck + 3, 690),
            )
        ]  # fmt: skip
        canvas.fill(shifted(collar, 2, 8), color=deeper(color, 0.5), opacity=0.4, blur=4)
        canvas.fill(collar, color=deeper(color, 0.14))
        canvas.fill(ribbon(collar[40:60], 4), color=accent, opacity=0.9)
    canvas.fill(ribbon([(CENTER, 838), (CENTER, 868)], 9, 12), color=rgb("D5D9E0"))


def _creative(scene: Scene) -> None:
    """Cut-paper shapes on bright cloth, with a scarf or without."""
    look, canvas, scheme = scene.look, scene.canvas, scene.look.scheme
    neckline = _neckline(scene, 22, 28)
    cloth = _garment(scene, neckline, scheme.garment)
    inks = (scheme.accent, scheme.fabric, rgb("FFF8EC"), mix(scheme.garment, scheme.disc, 0.6))
    shapes: tuple[list[Path], ...] = ([], [], [], [])
    for index in range(54):
        # The golden angle spreads the shapes evenly without a grid to be seen.
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
    _shade(scene, cloth, scheme.garment)
    canvas.fill(ribbon(neckline, 18), color=scheme.accent)
    if look.variant < 0.5 and look.headwear != "hijab":
        _scarf(scene, scheme.fabric)


def _scarf(scene: Scene, color: Color) -> None:
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


def _elegant(scene: Scene) -> None:
    look, canvas = scene.look, scene.canvas
    color = (rgb("2E4756"), rgb("6B3A4E"), rgb("3F4A3C"), rgb("D8C3A5"))[int(look.variant * 4)]
    if look.soft:
        neckline = _vee(scene, 60, 880, 744)
        cloth = _garment(scene, neckline, color)
        canvas.fill(ribbon(neckline, 10), color=lighter(color, 0.22))
        for side in SIDES:
            drape = [
                _sided(side, p) for p in curve((120, 770), (70, 880), (-30 * side, 980), (-60 * side, FLOOR))
            ]
            canvas.fill(ribbon(drape, 1, 7, 3), color=deeper(color, 0.5), opacity=0.4, blur=1, within=cloth)
        _pendant(scene, 806)
        return
    _turtleneck(scene, lighter(color, 0.55) if brightness(color) < 0.5 else rgb("4A3B35"))
    coat = curve(
        (CENTER - scene.frame.neck - 34, 716),
        (CENTER - scene.frame.neck - 30, 800),
        (CENTER - 46, 1000),
        (CENTER - 40, FLOOR),
    )
    _over(scene, [*coat, *reversed(mirror(coat))], color)
    for side in SIDES:
        neck = scene.frame.neck
        lapel = [
            _sided(side, p)
            for p in curve(
                (neck + 8, 690), (neck + 44, 730), (neck + 84, 800), (neck + 62, 900), (44, 1020),
                (neck + 2, 880), (neck + 16, 760), (neck + 8, 690),
            )
        ]  # fmt: skip
        canvas.fill(shifted(lapel, 4, 8), color=INK, opacity=0.3, blur=5, within=scene.body)
        canvas.fill(lapel, color=lighter(color, 0.12))


def _turtleneck(scene: Scene, color: Color) -> None:
    canvas, neck = scene.canvas, scene.frame.neck
    _garment(scene, _neckline(scene, 8, 10, 716), color)
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


def _streetwear(scene: Scene) -> None:
    look, canvas, neck = scene.look, scene.canvas, scene.frame.neck
    color = look.scheme.garment if look.variant < 0.6 else rgb("5A5F73")
    tee = _neckline(scene, 18, 30)
    _garment(scene, tee, rgb("F7F3EC"))
    canvas.fill(ribbon(tee, 10), color=rgb("E3DCD0"))
    hood = curve(
        (CENTER - neck - 8, 640), (CENTER - neck - 62, 690), (CENTER - neck - 76, 750), (CENTER - neck * 0.8, 812), (CENTER, 862),
        (CENTER + neck * 0.8, 812), (CENTER + neck + 76, 750), (CENTER + neck + 62, 690), (CENTER + neck + 8, 640),
    )  # fmt: skip
    opening = curve(
        (CENTER - neck - 6, 652), (CENTER - neck - 20, 720), (CENTER - neck * 0.5, 784), (CENTER, 818),
        (CENTER + neck * 0.5, 784), (CENTER + neck + 20, 720), (CENTER + neck + 6, 652),
    )  # fmt: skip
    # The inside of the hood, behind the neck.
    canvas.fill(opening, color=deeper(color, 0.35), without=scene.body)
    _garment(scene, opening, color)
    canvas.paint(
        canvas.mask(shifted(hood, 3, 12), holes=[opening], blur=8, within=scene.body), deeper(color, 0.6), 0.4
    )
    ring = [*hood, *reversed(opening)]
    canvas.fill(ring, color=lighter(color, 0.10))
    area = canvas.mask(ring)
    canvas.fill(ribbon(opening, 14), color=deeper(color, 0.3), opacity=0.55, within=area)
    for side in SIDES:
        crease = [_sided(side, p) for p in curve((neck + 40, 690), (neck + 34, 750), (neck * 0.6, 822))]
        canvas.fill(ribbon(crease, 1, 6, 1), color=deeper(color, 0.4), opacity=0.5, within=area)
        string = [_sided(side, p) for p in curve((26, 826), (32, 870), (27 + 4 * side, 920), (30, 948))]
        canvas.fill(ribbon(shifted(string, 3, 4), 6), color=deeper(color, 0.6), opacity=0.35, blur=2)
        canvas.fill(ribbon(string, 6.5), color=rgb("FBF7F0"))
        canvas.fill(ribbon([string[-1], (string[-1][0], string[-1][1] + 16)], 9), color=GOLD)


_GARMENTS: dict[str, Callable[[Scene], None]] = {
    "professional": _professional,
    "casual": _casual,
    "formal": _formal,
    "traditional": _traditional,
    "sporty": _sporty,
    "creative": _creative,
    "elegant": _elegant,
    "streetwear": _streetwear,
}

"""Hair close to the head: bald, buzz cut, short cuts and the bob."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import (
    blob,
    ellipse,
    ribbon,
)
from avatar_creator_tasks.providers.sketch.art.hair.strands import (
    dome,
    glow_color,
    hat_area,
    is_pressed,
    paint_back,
    paint_hair,
    toward_parting,
)
from avatar_creator_tasks.providers.sketch.art.palette import (
    mix,
)
from avatar_creator_tasks.providers.sketch.art.scene import SIDES, Scene


def paint_bald(scene: Scene) -> None:
    canvas, head, skin = scene.canvas, scene.head, scene.look.skin
    canvas.fill(
        ellipse(head.at(-0.34, 0.10), 50, 20, -24), color=skin.light, opacity=0.9, blur=10, within=scene.face
    )


def paint_buzz_cut(scene: Scene) -> None:
    head, look = scene.head, scene.look
    cap = [*head.path(*dome(0.03, 0.022, 0.47)),
           *head.path((0.965, 0.47), (0.925, 0.36), (0.82, 0.262), (0.62, 0.203), (0.34, 0.172), (0.0, 0.162),
                      (-0.34, 0.172), (-0.62, 0.203), (-0.82, 0.262), (-0.925, 0.36), (-0.965, 0.47))]  # fmt: skip
    area = scene.canvas.mask(cap, blur=2.2, without=hat_area(scene))
    tone = mix(look.hair, look.skin.base, 0.22)
    scene.canvas.paint(area, tone, 0.92, fade_to=mix(tone, look.skin.base, 0.25))
    arc = head.path((-0.80, 0.20), (-0.55, 0.06), (-0.1, 0.02))
    scene.canvas.fill(ribbon(arc, 2, 22, 4), color=glow_color(tone), opacity=0.3, blur=9, within=area)


def paint_short(scene: Scene) -> None:
    if scene.look.soft:
        _paint_bob(scene)
    elif is_pressed(scene):
        _paint_under_hat(scene)
    elif scene.look.variant < 0.55:
        _paint_side_parted(scene)
    else:
        _paint_tousled(scene)


def _paint_under_hat(scene: Scene) -> None:
    """Paint the short hair at the temples that a hat leaves visible."""
    for side in SIDES:
        outer = scene.head.path(
            (side * 0.90, 0.02), (side * 1.05, 0.18), (side * 1.07, 0.36), (side * 1.02, 0.50)
        )
        inner = scene.head.path(
            (side * 1.02, 0.50), (side * 0.955, 0.53), (side * 0.94, 0.42), (side * 0.88, 0.28),
            (side * 0.76, 0.10),
        )  # fmt: skip
        paint_hair(scene, [*outer, *inner], shine=False)


def _paint_side_parted(scene: Scene) -> None:
    head = scene.head
    outer = toward_parting(scene, (-1.03, 0.50), (-1.08, 0.36), (-1.05, 0.19), (-0.86, 0.02), (-0.46, -0.085), (0.0, -0.105), (0.42, -0.07),
                   (0.80, 0.04), (1.01, 0.19), (1.07, 0.36), (1.03, 0.50))  # fmt: skip
    inner = toward_parting(
        scene, (1.03, 0.50), (0.955, 0.53), (0.94, 0.42), (0.90, 0.31), (0.74, 0.215), (0.55, 0.165)
    )
    sweep = toward_parting(
        scene,
        (0.55, 0.165), (0.20, 0.215), (-0.25, 0.245), (-0.66, 0.225), (-0.86, 0.30), (-0.94, 0.42),
        (-0.955, 0.53), (-1.03, 0.50),
    )  # fmt: skip
    strands = [
        head.path(*toward_parting(scene, (0.52, 0.15), (0.10, 0.13), (-0.40, 0.13), (-0.78, 0.19))),
        head.path(*toward_parting(scene, (0.50, 0.12), (0.10, 0.06), (-0.40, 0.04), (-0.80, 0.11))),
        head.path(*toward_parting(scene, (0.55, 0.10), (0.30, 0.0), (-0.10, -0.05), (-0.45, -0.04))),
        head.path(*toward_parting(scene, (0.62, 0.16), (0.80, 0.17), (0.95, 0.27))),
    ]
    paint_hair(scene, [*head.path(*outer), *head.path(*inner), *head.path(*sweep)], strands=strands)


def _paint_tousled(scene: Scene) -> None:
    head = scene.head
    outer = toward_parting(scene, (-1.02, 0.50), (-1.07, 0.36), (-1.04, 0.18), (-0.88, 0.03), (-0.64, -0.062), (-0.48, -0.098), (-0.22, -0.102), (0.0, -0.128), (0.24, -0.108),
                   (0.46, -0.10), (0.68, -0.05), (0.90, 0.04), (1.04, 0.18), (1.07, 0.36), (1.02, 0.50))  # fmt: skip
    right = toward_parting(scene, (1.02, 0.50), (0.95, 0.53), (0.935, 0.42), (0.89, 0.30), (0.76, 0.20))
    fringe = (
        toward_parting(scene, (0.76, 0.20), (0.66, 0.235), (0.50, 0.20)), toward_parting(scene, (0.50, 0.20), (0.34, 0.255), (0.16, 0.215)),
        toward_parting(scene, (0.16, 0.215), (-0.04, 0.27), (-0.22, 0.22)), toward_parting(scene, (-0.22, 0.22), (-0.44, 0.26), (-0.58, 0.205)),
        toward_parting(scene, (-0.58, 0.205), (-0.70, 0.23), (-0.80, 0.21)),
    )  # fmt: skip
    left = toward_parting(scene, (-0.80, 0.21), (-0.90, 0.31), (-0.935, 0.42), (-0.95, 0.53), (-1.02, 0.50))
    path = [*head.path(*outer), *head.path(*right)]
    for tuft in fringe:
        path += head.path(*tuft)
    path += head.path(*left)
    strands = [
        head.path(*toward_parting(scene, (u, 0.20), (u * 0.8 + 0.08, 0.10), (u * 0.6 + 0.05, 0.02)))
        for u in (-0.58, -0.22, 0.16, 0.50)
    ]
    paint_hair(scene, path, strands=strands)


def _paint_bob(scene: Scene) -> None:
    head = scene.head
    outer = (
        (-0.74, 0.84), (-0.98, 0.80), (-1.17, 0.66), (-1.19, 0.48), (-1.15, 0.28), (-0.94, 0.03), (-0.48, -0.09),
        (0.0, -0.11), (0.48, -0.09), (0.94, 0.03), (1.15, 0.28), (1.19, 0.48), (1.17, 0.66), (0.98, 0.80), (0.74, 0.84),
    )  # fmt: skip
    right = toward_parting(
        scene, (0.74, 0.84), (0.90, 0.72), (0.955, 0.56), (0.93, 0.42), (0.80, 0.27), (0.42, 0.085)
    )
    sweep = toward_parting(
        scene,
        (0.42, 0.085), (0.20, 0.20), (-0.20, 0.29), (-0.70, 0.345), (-0.93, 0.44), (-0.955, 0.56),
        (-0.90, 0.72), (-0.74, 0.84),
    )  # fmt: skip
    strands = [
        head.path(*toward_parting(scene, (0.40, 0.06), (0.05, 0.16), (-0.45, 0.24), (-0.92, 0.36))),
        head.path(
            *toward_parting(scene, (0.38, 0.03), (-0.10, 0.08), (-0.60, 0.15), (-1.0, 0.34), (-1.08, 0.58))
        ),
        head.path(*toward_parting(scene, (0.48, 0.06), (0.80, 0.17), (1.02, 0.36), (1.06, 0.60))),
    ]
    ordered = [*head.path(*outer)] if scene.look.side > 0 else list(reversed(head.path(*outer)))
    paint_hair(scene, [*ordered, *head.path(*right), *head.path(*sweep)], strands=strands)


def paint_short_behind(scene: Scene) -> None:
    if scene.look.soft:
        paint_back(
            scene,
            blob(
                *scene.head.points(
                    (0, 0), (1.1, 0.3), (1.10, 0.7), (0.72, 0.86), (0, 0.88), (-0.72, 0.86), (-1.10, 0.7),
                    (-1.1, 0.3),
                )
            ),
        )  # fmt: skip

"""The background: a soft sky with a disc behind the head."""

from __future__ import annotations

from avatar_creator_tasks.providers.sketch.art.canvas import CENTER, Path, ellipse
from avatar_creator_tasks.providers.sketch.art.palette import WHITE, mix
from avatar_creator_tasks.providers.sketch.art.scene import Scene


def paint_backdrop(scene: Scene) -> None:
    """Paint the background; it fits all proportions of the picture."""
    canvas, scheme = scene.canvas, scene.look.scheme
    everything: Path = [
        (canvas.left - 5, canvas.top - 5),
        (canvas.right + 5, canvas.top - 5),
        (canvas.right + 5, canvas.bottom + 5),
        (canvas.left - 5, canvas.bottom + 5),
    ]
    canvas.paint(canvas.mask(everything), scheme.sky, fade_to=scheme.haze)
    canvas.fill(ellipse((CENTER - 140, 280), 380, 330), color=WHITE, opacity=0.35, blur=120)
    disc = canvas.mask(ellipse((CENTER, 492), 352, 352))
    canvas.paint(disc, mix(scheme.disc, WHITE, 0.15), 0.85, fade_to=mix(scheme.disc, scheme.haze, 0.5))

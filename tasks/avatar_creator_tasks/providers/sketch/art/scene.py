"""The scene that all parts of the drawing share: the canvas, the look, and the measures of head and body."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_tasks.providers.sketch.art.canvas import (
    CENTER,
    FLOOR,
    Canvas,
    Mask,
    Path,
    Point,
    curve,
    symmetric,
)
from avatar_creator_tasks.providers.sketch.art.look import Look

SIDES = (-1, 1)
"""The left and the right side."""


@dataclass(frozen=True, slots=True)
class Head:
    """The measures of a head, in units.

    Places on the head are pairs (u, v): u is 0 in the middle and 1 at the right cheekbone, v is 0 at the crown
    and 1 at the chin. So hair and hats in these coordinates fit every head.
    """

    crown: float
    chin: float
    half: float
    """Half the width at the cheekbones."""
    jaw: float
    """Width of the jaw, as a share of the width at the cheekbones."""
    eye_v: float
    eye_size: float

    def at(self, u: float, v: float) -> Point:
        """Return the point at (u, v)."""
        return (CENTER + u * self.half, self.crown + v * (self.chin - self.crown))

    def path(self, *places: Point) -> Path:
        """Return a smooth open line through places (u, v)."""
        return curve(*(self.at(u, v) for u, v in places))

    def points(self, *places: Point) -> tuple[Point, ...]:
        """Return the points at places (u, v)."""
        return tuple(self.at(u, v) for u, v in places)

    @property
    def outline(self) -> Path:
        """Outline of the face with the skull."""
        jaw = self.jaw
        return symmetric(
            self.path(
                (0, 0),
                (0.34, 0.017),
                (0.65, 0.085),
                (0.89, 0.205),
                (1.0, 0.36),
                (0.995, 0.52),
                (0.94 + 0.04 * jaw, 0.66),
                (jaw, 0.82),
                (jaw * 0.765, 0.922),
                (jaw * 0.42, 0.984),
                (0, 1.0),
            )
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """The measures of a body, in units."""

    shoulder: float
    """Half the width of the shoulders."""
    neck: float
    """Half the width of the neck."""
    slope: float
    """Height of the muscle between neck and shoulder, compared to a slim person's."""

    @property
    def outline(self) -> Path:
        """Outline of neck, shoulders and chest."""
        neck, wide, slope = self.neck, self.shoulder, self.slope
        return symmetric(
            curve(
                (CENTER + neck - 2, 560),
                (CENTER + neck, 660),
                (CENTER + neck + 3, 700 - slope * 0.5),
                (CENTER + neck + 24, 732 - slope),
                (CENTER + neck + 84, 757 - slope * 0.8),
                (CENTER + wide * 0.80, 783),
                (CENTER + wide * 0.96, 818),
                (CENTER + wide * 1.05, 885),
                (CENTER + wide * 1.10, 1000),
                (CENTER + wide * 1.12, 1180),
                (CENTER + wide * 1.10, FLOOR),
            )
        )


_FACES = {
    # age: half width, chin, jaw, eye height, eye size
    "child": (162.0, 652.0, 0.83, 0.575, 1.34),
    "teenager": (153.0, 660.0, 0.77, 0.545, 1.16),
    "young_adult": (152.0, 668.0, 0.76, 0.535, 1.08),
    "middle_aged": (153.0, 670.0, 0.775, 0.53, 1.02),
    "mature": (154.0, 671.0, 0.79, 0.53, 0.98),
    "senior": (153.0, 671.0, 0.80, 0.532, 0.95),
}

_BODIES = {
    # body: half shoulders, neck, slope, face
    "slim": (232.0, -4.0, 0.0, -5.0),
    "average": (256.0, 0.0, 0.0, 0.0),
    "athletic": (280.0, 5.0, 10.0, 0.0),
    "muscular": (312.0, 15.0, 26.0, 2.0),
    "curvy": (268.0, 3.0, 2.0, 4.0),
    "plus_size": (312.0, 10.0, 8.0, 13.0),
}

_GROWTH = {"child": 0.77, "teenager": 0.90}
"""Shoulder width of young people, as a share of an adult's."""


def head_of(look: Look) -> Head:
    """Return the measures of this person's head."""
    half, chin, jaw, eye_v, eye_size = _FACES[look.age]
    masculine = look.masculine * {"child": 0.2, "teenager": 0.6}.get(look.age, 1.0)
    heavy = _BODIES[look.body][3]
    return Head(
        crown=252.0 if look.age == "child" else 240.0,
        chin=chin + 7 * masculine,
        half=(half + heavy + 3 * masculine) * look.width,
        jaw=jaw + 0.075 * masculine + heavy * 0.003,
        eye_v=eye_v - 0.008 * masculine,
        eye_size=eye_size * (1.04 - 0.12 * masculine),
    )


def frame_of(look: Look) -> Frame:
    """Return the measures of this person's body."""
    shoulder, neck, slope, _ = _BODIES[look.body]
    growth = _GROWTH.get(look.age, 1.0)
    masculine = look.masculine if look.adult else look.masculine * 0.4
    return Frame(
        shoulder=shoulder * growth * (0.94 + 0.10 * masculine),
        neck=(58 + neck + 15 * masculine) * (0.5 + growth / 2),
        slope=slope * growth,
    )


class Scene:
    """One portrait in progress."""

    def __init__(self, canvas: Canvas, look: Look) -> None:
        self.canvas = canvas
        self.look = look
        self.head = head_of(look)
        self.frame = frame_of(look)
        self.face: Mask = canvas.mask(self.head.outline)
        self.body: Mask = canvas.mask(self.frame.outline)

"""The canvas, which paints smooth shapes, and the paths that outline the shapes. Both measure in units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from avatar_creator_tasks.providers.sketch.art.palette import Color

Point = tuple[float, float]
Path = list[Point]
Box = tuple[int, int, int, int]

CENTER = 500.0
"""Horizontal center of the person, in units."""
VIEW = 850.0
"""Length of the shorter side of a picture, in units."""
VIEW_TOP = 62.0
"""Top of a square picture, in units."""
FLOOR = 1400.0
"""Lower end of paths that leave the picture, in units; it is below every canvas."""
_STEPS = 10


def curve(*points: Point) -> Path:
    """Return a smooth open line through the points (Catmull-Rom)."""
    ends = (points[0], *points, points[-1])
    path: Path = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        path += [_between(before, start, end, after, step / _STEPS) for step in range(_STEPS)]
    return [*path, points[-1]]


def blob(*points: Point) -> Path:
    """Return a smooth closed line through the points."""
    ring = (points[-1], *points, points[0], points[1])
    path: Path = []
    for before, start, end, after in zip(ring, ring[1:], ring[2:], ring[3:], strict=False):
        path += [_between(before, start, end, after, step / _STEPS) for step in range(_STEPS)]
    return path


def _between(before: Point, start: Point, end: Point, after: Point, t: float) -> Point:
    def axis(a: float, b: float, c: float, d: float) -> float:
        return 0.5 * (
            2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        )

    return (axis(before[0], start[0], end[0], after[0]), axis(before[1], start[1], end[1], after[1]))


def mirror(path: Iterable[Point]) -> Path:
    """Mirror the path at the vertical center line."""
    return [(2 * CENTER - x, y) for x, y in path]


def symmetric(half: Sequence[Point]) -> Path:
    """Return a closed symmetric outline; `half` is its right half, from the top to the bottom."""
    return [*half, *reversed(mirror(half))]


def shifted(path: Iterable[Point], dx: float = 0, dy: float = 0) -> Path:
    """Move the path by units."""
    return [(x + dx, y + dy) for x, y in path]


def ellipse(center: Point, rx: float, ry: float, angle: float = 0) -> Path:
    """Return an ellipse with radii in units, turned clockwise by `angle` degrees."""
    turn = math.radians(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    path: Path = []
    steps = max(40, int(max(rx, ry) / 2))
    for step in range(steps):
        x, y = rx * math.cos(step * math.tau / steps), ry * math.sin(step * math.tau / steps)
        path.append((center[0] + x * cos - y * sin, center[1] + x * sin + y * cos))
    return path


def ribbon(line: Path, *widths: float) -> Path:
    """Return the outline of a brush stroke along `line`, whose width in units passes evenly through `widths`."""
    left: Path = []
    right: Path = []
    last = len(line) - 1
    for index, (x, y) in enumerate(line):
        (ax, ay), (bx, by) = line[max(index - 1, 0)], line[min(index + 1, last)]
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length, (bx - ax) / length
        place = index / last * (len(widths) - 1)
        low = min(int(place), len(widths) - 2) if len(widths) > 1 else 0
        high = min(low + 1, len(widths) - 1)
        half = (widths[low] + (widths[high] - widths[low]) * (place - low)) / 2
        left.append((x + nx * half, y + ny * half))
        right.append((x - nx * half, y - ny * half))
    return [*left, *reversed(right)]


@dataclass(frozen=True, slots=True)
class Mask:
    """An area: the opacity of each pixel in `box`. Everything outside the box is clear."""

    box: Box
    alpha: Image.Image

    def cropped(self, box: Box) -> Image.Image:
        """Return the opacity of the pixels of another box."""
        left, top = self.box[0], self.box[1]
        return self.alpha.crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top))


class Canvas:
    """A picture in progress, larger than the final picture so that edges become smooth."""

    def __init__(self, width: int, height: int) -> None:
        """Create a canvas for a final picture of this size in pixels."""
        self._size = (width, height)
        shorter = min(width, height)
        factor = 4 if shorter <= 384 else 3 if shorter <= 640 else 2
        self._scale = shorter * factor / VIEW
        self.image = Image.new("RGB", (width * factor, height * factor))
        spare = self.image.height / self._scale - VIEW
        # A tall picture shows more of the body, but only little of the space below the person.
        self.top = VIEW_TOP - (spare - min(spare * 0.45, 260.0))
        self.bottom = self.top + self.image.height / self._scale
        self.left = CENTER - self.image.width / self._scale / 2
        self.right = 2 * CENTER - self.left

    def mask(
        self,
        *paths: Path,
        holes: Sequence[Path] = (),
        blur: float = 0,
        within: Mask | None = None,
        without: Mask | None = None,
    ) -> Mask:
        """Return the area of the paths.

        Args:
            paths: Closed outlines.
            holes: Outlines of areas to leave out.
            blur: Softness of the edge in units.
            within: Limits the area to this one.
            without: Area to leave out.
        """
        box = self._box(paths, blur * 2.5)
        size = (box[2] - box[0], box[3] - box[1])
        # A blurred area has no detail, so it is drawn small, which is many times faster.
        coarse = max(1, int(blur * self._scale / 3))
        small = Image.new("L", (-(-size[0] // coarse), -(-size[1] // coarse)))
        pen = ImageDraw.Draw(small)
        for shapes, ink in ((paths, 255), (holes, 0)):
            for path in shapes:
                pen.polygon([self._pixel(point, box, coarse) for point in path], fill=ink)
        if blur:
            small = small.filter(ImageFilter.GaussianBlur(blur * self._scale / coarse))
        alpha = small if coarse == 1 else small.resize(size, Image.Resampling.BILINEAR)
        if within is not None:
            alpha = ImageChops.multiply(alpha, within.cropped(box))
        if without is not None:
            alpha = ImageChops.subtract(alpha, without.cropped(box))
        return Mask(box, alpha)

    def paint(self, mask: Mask, color: Color, opacity: float = 1.0, fade_to: Color | None = None) -> None:
        """Color an area; with `fade_to`, the color changes to that one from the top to the bottom."""
        alpha = mask.alpha
        if opacity < 1.0:
            alpha = alpha.point([round(level * opacity) for level in range(256)])
        if fade_to is None:
            self.image.paste(color, mask.box, alpha)
        else:
            self.image.paste(_gradient(alpha.size, color, fade_to), mask.box, alpha)

    def fill(
        self,
        *paths: Path,
        color: Color,
        opacity: float = 1.0,
        blur: float = 0,
        within: Mask | None = None,
        without: Mask | None = None,
    ) -> None:
        """Color the area of the paths; see `mask`."""
        self.paint(self.mask(*paths, blur=blur, within=within, without=without), color, opacity)

    def finished(self) -> Image.Image:
        """Return the picture at its final size."""
        return self.image.resize(self._size, Image.Resampling.LANCZOS)

    def _box(self, paths: Sequence[Path], margin: float) -> Box:
        xs = [x for path in paths for x, _ in path]
        ys = [y for path in paths for _, y in path]
        left = int((min(xs) - margin - self.left) * self._scale)
        top = int((min(ys) - margin - self.top) * self._scale)
        right = int((max(xs) + margin - self.left) * self._scale) + 2
        bottom = int((max(ys) + margin - self.top) * self._scale) + 2
        # A blurred area keeps its full box, because its part outside the canvas affects the canvas.
        if margin == 0:
            left, top = min(max(left, 0), self.image.width - 1), min(max(top, 0), self.image.height - 1)
            right, bottom = min(right, self.image.width), min(bottom, self.image.height)
        return (left, top, max(right, left + 1), max(bottom, top + 1))

    def _pixel(self, point: Point, box: Box, coarse: int) -> Point:
        x = (point[0] - self.left) * self._scale - box[0]
        y = (point[1] - self.top) * self._scale - box[1]
        return (x / coarse, y / coarse)


def _gradient(size: tuple[int, int], top: Color, bottom: Color) -> Image.Image:
    pair = Image.new("RGB", (1, 2), top)
    pair.putpixel((0, 1), bottom)
    return pair.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))

"""Plots of the growth curves, drawn with Pillow: both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.results import Result

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 60, 70
_COLORS = 32
_BLUE, _RED, _GRAY, _LIGHT, _BLACK = "#1f77b4", "#d62728", "#666666", "#dddddd", "#222222"


class _Axis:
    """A logarithmic axis over whole decades."""

    def __init__(self, values: Sequence[float], start: int, end: int) -> None:
        self._first = math.floor(math.log10(min(values)))
        self._last = max(math.ceil(math.log10(max(values))), self._first + 1)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        part = (math.log10(value) - self._first) / (self._last - self._first)
        return self._start + part * (self._end - self._start)

    def decades(self) -> list[float]:
        """Return the powers of ten on the axis."""
        return [10.0**power for power in range(self._first, self._last + 1)]


def draw(result: Result, path: Path) -> None:
    """Draw the curve of a result as a PNG, with those of its baseline and its goal."""
    curve, goal = result.curve, result.goal
    if curve is None:
        raise ValueError(f"{goal.name} has no curve")
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    across = _Axis(curve.sizes, _LEFT, _WIDTH - _RIGHT)
    up = _Axis([*curve.values, *curve.baselines, goal.limit], _HEIGHT - _BOTTOM, _TOP)
    for value in across.decades():
        x = across.place(value)
        pen.line([(x, _TOP), (x, _HEIGHT - _BOTTOM)], _LIGHT)
        pen.text((x, _HEIGHT - _BOTTOM + 8), f"{value:,.0f}", _GRAY, small, anchor="ma")
    for value in up.decades():
        y = up.place(value)
        pen.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], _LIGHT)
        pen.text((_LEFT - 8, y), f"{value:,g} {curve.unit}", _GRAY, small, anchor="rm")
    limit = up.place(goal.limit)
    for start in range(_LEFT, _WIDTH - _RIGHT, 12):
        pen.line([(start, limit), (start + 6, limit)], _RED, 2)
    pen.text((_LEFT + 6, limit - 4), f"goal: at most {goal.limit:g} {curve.unit}", _RED, small, anchor="lb")
    for values, color in ((curve.baselines, _GRAY), (curve.values, _BLUE)):
        points = [
            (across.place(size), up.place(value)) for size, value in zip(curve.sizes, values, strict=True)
        ]
        pen.line(points, color, 3)
        for (x, y), value in zip(points, values, strict=True):
            pen.ellipse([x - 5, y - 5, x + 5, y + 5], color)
            pen.text((x, y - 9), f"{value:.3g}", color, small, anchor="mb")
    label = (_WIDTH - _RIGHT, up.place(min(curve.baselines)) + 10)
    pen.text(label, goal.baseline, _GRAY, small, anchor="ra")
    pen.text((_LEFT, 18), goal.measure, _BLACK, large)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    pen.text((middle, _HEIGHT - 24), curve.counted, _GRAY, small, anchor="ma")
    image.quantize(_COLORS).save(path, optimize=True)

"""Restyling: redraws a picture with flat shapes, ink lines and a tinted background."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from avatar_creator_server.images.processing import fitted
from avatar_creator_tasks.providers.sketch.art.palette import (
    INK,
    SCHEMES,
    Color,
    brightness,
    deeper,
    lighter,
    mix,
)

_STEPS = 6
_SHAPES_SIDE = 480
"""Side in pixels of a square picture in which shapes are detected; finer details are no shapes."""
_COLORS_SIDE = 160
"""Side in pixels of a square picture from which colors are chosen."""
_COLORS = 28


def restyle(
    picture: Image.Image,
    *,
    strength: float,
    seed: int,
    width: int,
    height: int,
    on_step: Callable[[int, int], None],
) -> Image.Image:
    """Redraw a picture. The same arguments give the same bytes.

    Args:
        picture: An RGB picture of any size; it is cropped to the requested proportions.
        strength: 0 returns the picture unchanged, 1 only the drawing.
        seed: Chooses the tint of the background.
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        on_step: Receives the finished and the total number of steps after each step. An exception that it
            raises ends the drawing and propagates.
    """
    size = (width, height)
    whole = fitted(picture, size)
    on_step(1, _STEPS)
    shapes, colors = _flat_shapes(whole)
    on_step(2, _STEPS)
    drawing = _painted(shapes, colors, size)
    on_step(3, _STEPS)
    drawing = _tinted(drawing, random.Random(seed))
    on_step(4, _STEPS)
    drawing.paste(INK, (0, 0, *size), _ink(whole))
    on_step(5, _STEPS)
    blended = Image.blend(whole, drawing, strength)
    on_step(_STEPS, _STEPS)
    return blended


def _flat_shapes(picture: Image.Image) -> tuple[Image.Image, list[Color]]:
    """Reduce the picture to few colors.

    Returns:
        A picture whose pixels are numbers of colors, and these colors from dark to light.
    """
    smooth = _scaled(picture, _SHAPES_SIDE)
    for _ in range(3):
        smooth = smooth.filter(ImageFilter.MedianFilter(5))
    smooth = ImageEnhance.Color(smooth).enhance(1.1)
    tones = _scaled(smooth, _COLORS_SIDE).quantize(_COLORS, Image.Quantize.MEDIANCUT, kmeans=6)
    indexed = smooth.quantize(palette=tones, dither=Image.Dither.NONE)
    palette = indexed.getpalette() or []
    used = {index for _, index in indexed.getcolors() or [] if isinstance(index, int)}
    colors = {index: (palette[3 * index], palette[3 * index + 1], palette[3 * index + 2]) for index in used}
    ranked = sorted(used, key=lambda index: (brightness(colors[index]), index))
    ranks = [0] * 256
    for rank, index in enumerate(ranked):
        ranks[index] = rank
    shapes = Image.frombytes("L", indexed.size, indexed.tobytes()).point(ranks)
    # Specks take the color of their surroundings.
    shapes = shapes.filter(ImageFilter.ModeFilter(5)).filter(ImageFilter.MedianFilter(3))
    return shapes, [colors[index] for index in ranked]


def _painted(shapes: Image.Image, colors: list[Color], size: tuple[int, int]) -> Image.Image:
    """Paint the shapes in the sketch's colors, with smooth outlines, each over all darker shapes."""
    painted = Image.new("RGB", size, _as_sketched(colors[0]))
    # Enlarging blurs the edges; this makes them about one pixel wide again.
    gain = max(1.5, 1.2 * size[0] / shapes.width)
    sharp = [min(255, max(0, round((level - 128) * gain + 128))) for level in range(256)]
    for number, color in enumerate(colors[1:], start=1):
        area = shapes.point([255 if level >= number else 0 for level in range(256)])
        area = area.filter(ImageFilter.GaussianBlur(1.1)).resize(size, Image.Resampling.BICUBIC)
        painted.paste(_as_sketched(color), (0, 0, *size), area.point(sharp))
    return painted


def _as_sketched(color: Color) -> Color:
    light = brightness(color)
    return lighter(deeper(color, max(0.0, 0.5 - light) * 0.6), max(0.0, light - 0.45) * 0.45)


def _tinted(drawing: Image.Image, rng: random.Random) -> Image.Image:
    """Tint the gray parts far from the middle in the color of one of the sketch's backgrounds."""
    scheme = rng.choice(SCHEMES)
    tone = mix(scheme.sky, scheme.disc, rng.uniform(0.4, 1.0))
    tinted = ImageOps.colorize(drawing.convert("L"), INK, scheme.haze, tone, midpoint=165)
    width, height = drawing.size
    side = round(max(width, height) * 1.35)
    left, top = (side - width) // 2, (side - height) // 2
    far = Image.radial_gradient("L").resize((side, side)).crop((left, top, left + width, top + height))
    far = far.point([min(255, max(0, round((level - 60) * 2.2))) for level in range(256)])
    gray = drawing.convert("HSV").getchannel("S").point([max(0, 255 - round(2.2 * s)) for s in range(256)])
    gray = gray.filter(ImageFilter.GaussianBlur(min(width, height) / 200))
    return Image.composite(tinted, drawing, ImageChops.multiply(far, gray))


def _ink(picture: Image.Image) -> Image.Image:
    """Return the amount of ink on each pixel: lines where a pixel is darker than its surroundings."""
    unit = math.sqrt(picture.width * picture.height) / 512
    light = picture.convert("L")
    around = light.filter(ImageFilter.GaussianBlur(2.4 * unit))
    darker = ImageChops.subtract(around, light.filter(ImageFilter.GaussianBlur(0.9 * unit)))
    lines = darker.point([min(190, max(0, (level - 7) * 14)) for level in range(256)])
    return lines.filter(ImageFilter.GaussianBlur(0.5 * unit))


def _scaled(picture: Image.Image, side: int) -> Image.Image:
    """Scale the picture to as many pixels as a square of this side has, in its own proportions."""
    factor = side / math.sqrt(picture.width * picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)

"""The blur of flagged pictures."""

from __future__ import annotations

from PIL import Image

REMAINING_PIXELS = 12
"""Pixels that the longest side keeps. A face that fills half of the picture keeps six, and no feature."""


def blurred(image: Image.Image) -> Image.Image:
    """Return a picture of the same size that shows only broad areas of color.

    The details are gone, and no sharpening can bring them back: each side keeps at most `REMAINING_PIXELS`.
    """
    scale = REMAINING_PIXELS / max(image.size)
    few = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(few, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)

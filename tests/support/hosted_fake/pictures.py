"""Portraits that are fast to draw and differ whenever their inputs differ."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

# Side of the drawing in pixels, which is then enlarged to the size of the picture.
_CANVAS = 128
_BOMB_PIXELS = 64_000_000
_JPEG_QUALITY = 90
# Fastest level of zlib: at the default level, a megapixel takes more than 50 ms.
_PNG_LEVEL = 1


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An encoded picture."""

    content: bytes
    content_type: str


def draw(
    inputs: dict[str, Any], width: int, height: int, *, as_png: bool, references: Sequence[bytes] = ()
) -> PictureFile:
    """Draw head and shoulders: the same pixels for the same arguments, and others for other arguments.

    Args:
        inputs: Everything that the picture depends on, as JSON values: app, prompt, seed, steps and so on.
        width: Width in pixels.
        height: Height in pixels.
        as_png: Whether to encode the picture as PNG instead of JPEG.
        references: Files of the reference pictures.
    """
    if width * height > _BOMB_PIXELS:
        return PictureFile(_bomb(width, height), "image/png")
    read = [hashlib.sha256(reference).hexdigest() for reference in references]
    text = json.dumps([inputs, width, height, read], sort_keys=True)
    small = _portrait(_numbers(hashlib.sha512(text.encode()).digest()))
    return _encode(small.resize((width, height), Image.Resampling.BILINEAR), as_png)


def black(width: int, height: int, *, as_png: bool) -> PictureFile:
    """Return the black picture that replaces a flagged one."""
    return _encode(Image.new("RGB", (width, height)), as_png)


def _numbers(digest: bytes) -> Iterator[float]:
    """Yield numbers from 0 to 1 that the digest determines."""
    while True:
        yield from (byte / 255 for byte in digest)
        digest = hashlib.sha512(digest).digest()


def _portrait(numbers: Iterator[float]) -> Image.Image:
    def color(low: int, high: int) -> tuple[int, int, int]:
        red, green, blue = (round(low + (high - low) * next(numbers)) for _ in range(3))
        return red, green, blue

    corners = Image.new("RGB", (2, 2))
    for place in ((0, 0), (1, 0), (0, 1), (1, 1)):
        corners.putpixel(place, color(110, 235))
    picture = corners.resize((_CANVAS, _CANVAS), Image.Resampling.BICUBIC)

    skin_tone = next(numbers)
    skin = (round(125 + 115 * skin_tone), round(80 + 115 * skin_tone), round(55 + 110 * skin_tone))
    shade = (skin[0] * 4 // 5, skin[1] * 4 // 5, skin[2] * 4 // 5)
    hair, clothes = color(15, 120), color(40, 200)
    middle = _CANVAS / 2 + 6 * (next(numbers) - 0.5)
    head = 19 + 4 * next(numbers)
    top = 26 + 6 * next(numbers)
    shoulders = 42 + 10 * next(numbers)
    hair_length = 10 + 40 * next(numbers)
    chin = top + 2.5 * head

    pen = ImageDraw.Draw(picture)
    pen.ellipse((middle - head - 5, top - 6, middle + head + 5, top + 2 * head + hair_length), fill=hair)
    pen.rounded_rectangle((middle - head / 2, chin - 14, middle + head / 2, chin + 16), 6, fill=shade)
    pen.ellipse((middle - shoulders, chin + 4, middle + shoulders, _CANVAS * 1.5), fill=clothes)
    pen.ellipse((middle - head / 1.7, chin - 3, middle + head / 1.7, chin + 14), fill=shade)
    pen.ellipse((middle - head, top, middle + head, chin), fill=skin)
    pen.chord((middle - head - 2, top - 4, middle + head + 2, top + 2 * head), 190, 350, fill=hair)
    eyes, apart = top + 1.3 * head, head * 0.42
    for side in (-apart, apart):
        pen.ellipse((middle + side - 2.2, eyes - 1.6, middle + side + 2.2, eyes + 1.6), fill=(45, 35, 35))
    smile = head * (0.3 + 0.15 * next(numbers))
    pen.arc((middle - smile, eyes + 3, middle + smile, eyes + 14), 25, 155, fill=(150, 70, 70), width=2)
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def _encode(picture: Image.Image, as_png: bool) -> PictureFile:
    file = io.BytesIO()
    if as_png:
        picture.save(file, "PNG", compress_level=_PNG_LEVEL)
        return PictureFile(file.getvalue(), "image/png")
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return PictureFile(file.getvalue(), "image/jpeg")


def _bomb(width: int, height: int) -> bytes:
    """Return a black PNG of one bit per pixel, without holding its pixels in memory."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

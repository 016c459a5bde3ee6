"""The cost of decoding a picture, from its headers alone: memory, and work over all its scans.

The numbers of bytes a pixel are rounded up from measured maxima with Pillow 12 and NumPy 2: the decoder's own
buffers, Pillow's image (4 bytes a pixel for all color modes), the copies of a picture that is turned upright
or whose colors are converted, and the arrays for PNG pictures of 16 bits.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.metadata import StrippedPicture
from avatar_creator_server.images.metadata.exif import UPRIGHT

MAX_SCANNED_PIXELS = 600_000_000
"""Maximum number of pixels, counted once for each scan of a JPEG: 12 scans of 50 million pixels.

A progressive JPEG from libjpeg has 10 scans, and one from mozjpeg about 12.
"""

MIB = 1024 * 1024

_WEBP, _WEBP_TURNED, _WEBP_REFERENCE = 17, 24, 22

_JPEG, _JPEG_THUMBNAIL, _JPEG_REFERENCE = 9.0, 1.0, 13.0
_JPEG_IMAGE = 4.5
_COEFFICIENT = 2
"""Bytes of a sample that a progressive JPEG keeps until its last scan."""

# By the PNG color type (W3C PNG third edition, 11.2.1): gray, RGB, palette, gray with alpha, RGBA.
_PNG = {0: 5, 2: 5, 3: 6, 4: 9, 6: 9}
_PNG_SPECIAL = {0: 10, 2: 13, 3: 10, 4: 9, 6: 9}
"""With a transparent color, a color space or an orientation."""
_PNG_16_BITS = {0: 8, 2: 12, 4: 8, 6: 12}
_PNG_REFERENCE = {0: 6, 2: 9, 3: 10, 4: 14, 6: 14}
_PNG_REFERENCE_SPECIAL = {0: 24, 2: 18, 3: 28, 4: 17, 6: 15}
_PNG_REFERENCE_16_BITS = {0: 16, 2: 16, 4: 14, 6: 16}
_PNG_MOST = 24
_SPECIAL_CHUNKS = frozenset({b"tRNS", b"gAMA", b"cHRM", b"cICP", b"iCCP"})

_FIXED_BYTES = 8 * MIB
_PNG_REFERENCE_FIXED_BYTES = 48 * MIB
"""Memory for one strip of a PNG whose colors are converted."""

_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOS, _EOI = 0xDA, 0xD9
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


Task = Literal["accept", "thumbnail", "reference"]
"""The work with a picture: check an upload, make a thumbnail, or return the pixels."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one task with a picture."""

    memory_bytes: int
    """Estimated peak of the memory that the task needs."""
    scanned_pixels: int
    """Number of pixels, counted once for each scan."""


def cost_of(picture: StrippedPicture, coded_bytes: int, task: Task, scale: int = 1) -> Cost:
    """Return the cost of a task, without decoding any pixel.

    Args:
        picture: The picture without its metadata.
        coded_bytes: Size of the file in bytes.
        task: The work with the picture. A picture that can be accepted can also have a thumbnail.
        scale: For a reference, the number by which a JPEG's sides are divided while it is decoded.
    """
    pixels = picture.width * picture.height
    scans = 1
    fixed_bytes = (
        3 * coded_bytes + _FIXED_BYTES
    )  # the file, the file without metadata, and the encoded result
    is_reference = task == "reference"
    is_upright = picture.orientation == UPRIGHT
    pixel_bytes: float
    match picture.content_type:
        case "image/webp":
            pixel_bytes = _WEBP if is_upright else _WEBP_TURNED
            if is_reference:
                pixel_bytes = _WEBP_REFERENCE
        case "image/png":
            pixel_bytes = _png_bytes(picture.data, is_upright=is_upright, is_reference=is_reference)
            fixed_bytes += _PNG_REFERENCE_FIXED_BYTES if is_reference else 0
        case "image/jpeg":
            scans, samples = _read_jpeg(picture.data)
            kept = _COEFFICIENT * samples
            match task:
                case "accept":
                    pixel_bytes = max(_JPEG, _JPEG_IMAGE + kept)
                case "thumbnail":
                    pixel_bytes = _JPEG_THUMBNAIL + kept
                case "reference":
                    pixel_bytes = _JPEG_REFERENCE / scale**2 + kept
    return Cost(round(pixels * pixel_bytes) + fixed_bytes, pixels * max(scans, 1))


def draft_scale(width: int, height: int, least_width: int, least_height: int) -> int:
    """Return by how much Pillow's `draft` divides the sides of a JPEG: 1, 2, 4 or 8."""
    possible = min(width // least_width, height // least_height)
    return next(scale for scale in (8, 4, 2, 1) if scale <= max(1, possible))


def require_few_scans(picture: StrippedPicture, cost: Cost) -> None:
    """Refuse a picture with too many scans for its size.

    Raises:
        InvalidArgumentError: The reason is IMAGE_TOO_EXPENSIVE.
    """
    if cost.scanned_pixels > MAX_SCANNED_PIXELS:
        scans = cost.scanned_pixels // max(1, picture.width * picture.height)
        raise too_expensive(
            "scans",
            f"the JPEG of {picture.width}x{picture.height} pixels has {scans} scans; "
            "save it as a baseline JPEG, or make it smaller",
        )


def too_expensive(limit: str, description: str) -> InvalidArgumentError:
    """Return the error for a picture that costs too much.

    Args:
        limit: The limit that decoding would exceed: `memory`, `scans` or `seconds`.
        description: What is wrong, and what to do.
    """
    return InvalidArgumentError.of_field("chunk", description, reason="IMAGE_TOO_EXPENSIVE", limit=limit)


def _png_bytes(data: bytes, *, is_upright: bool, is_reference: bool) -> int:
    depth, color_type = data[24], data[25]
    is_special = not is_upright or any(kind in _SPECIAL_CHUNKS for kind in _chunks_before_pixels(data))
    if depth == 16:
        table = _PNG_REFERENCE_16_BITS if is_reference else _PNG_16_BITS
    elif is_special:
        table = _PNG_REFERENCE_SPECIAL if is_reference else _PNG_SPECIAL
    else:
        table = _PNG_REFERENCE if is_reference else _PNG
    return table.get(color_type, _PNG_MOST)


def _chunks_before_pixels(data: bytes) -> Iterator[bytes]:
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            return
        yield kind
        position += 12 + length


def _read_jpeg(data: bytes) -> tuple[int, float]:
    """Return the number of scans, and the samples of each pixel that must be kept until the last scan."""
    scans, kept_samples = 0, 0.0
    position = 2
    while position + 4 <= len(data):
        kind = data[position + 1]
        if data[position] != 0xFF or kind in (0xFF, 0x01) or 0xD0 <= kind <= 0xD7:
            position += 1
            continue
        if kind == _EOI:
            break
        length = max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        if kind in _PROGRESSIVE_FRAMES:
            kept_samples = _samples_per_pixel(data[position + 4 : position + 2 + length])
        position += 2 + length
        if kind == _SOS:
            scans += 1
            following = _MARKER_AFTER_SCAN.search(data, position)
            if following is None:
                break
            position = following.start()
    return scans, kept_samples


def _samples_per_pixel(frame: bytes) -> float:
    """Return the samples of all components for each pixel; 1.5 for 4:2:0 (ISO/IEC 10918-1, B.2.2)."""
    factors = [(sampling >> 4, sampling & 15) for sampling in frame[7::3]]
    widest = max((across * down for across, down in factors), default=0)
    return sum(across * down for across, down in factors) / widest if widest else 0.0

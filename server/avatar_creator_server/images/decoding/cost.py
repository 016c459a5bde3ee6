"""The cost of decoding a picture, from its headers alone: memory, and work over all its scans.

The numbers of bytes a pixel are the measured maxima of `accept_upload`, `make_thumbnail` and `decode` with
Pillow 12: the decoder's own buffers, Pillow's image (4 bytes a pixel for all color modes), and the copy of a
picture that is turned upright.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.metadata import StrippedPicture
from avatar_creator_server.images.metadata.exif import UPRIGHT

MAX_SCANNED_PIXELS = 600_000_000
"""Maximum number of pixels, counted once for each scan of a JPEG: 12 scans of 50 million pixels.

A progressive JPEG from libjpeg has 10 scans, and one from mozjpeg about 12.
"""

MIB = 1024 * 1024

_WEBP, _WEBP_TURNED = 17, 24
_JPEG = 9
_IMAGE, _COEFFICIENT = 4, 2
"""Bytes of Pillow's image a pixel, and of one sample that a progressive JPEG keeps until its last scan."""
_PNG_BY_COLOR_TYPE = {0: 8, 2: 9, 3: 9, 4: 13, 6: 13}
"""Bytes a pixel by color type (W3C PNG third edition, 11.2.1): gray, RGB, palette, gray-alpha, RGBA."""
_PNG_TRANSPARENT = 13

_FIXED_BYTES = 8 * MIB

_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOS, _EOI = 0xDA, 0xD9
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of decoding one picture."""

    memory_bytes: int
    """Estimated peak of the memory that decoding needs."""
    scanned_pixels: int
    """Number of pixels, counted once for each scan."""


def cost_of(picture: StrippedPicture, coded_bytes: int) -> Cost:
    """Return the cost of decoding a picture, without decoding any pixel.

    Args:
        picture: The picture without its metadata.
        coded_bytes: Size of the file in bytes.
    """
    pixels = picture.width * picture.height
    scans = 1
    match picture.content_type:
        case "image/webp":
            pixel_bytes = _WEBP if picture.orientation == UPRIGHT else _WEBP_TURNED
        case "image/png":
            transparent = b"tRNS" in picture.data[: 64 * 1024]
            pixel_bytes = _PNG_TRANSPARENT if transparent else _PNG_BY_COLOR_TYPE.get(picture.data[25], 13)
        case "image/jpeg":
            scans, samples = _read_jpeg(picture.data)
            pixel_bytes = max(_JPEG, math.ceil(_IMAGE + _COEFFICIENT * samples))
    # The file, the file without metadata, and the encoded result.
    return Cost(pixels * pixel_bytes + 3 * coded_bytes + _FIXED_BYTES, pixels * max(scans, 1))


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

"""The result of stripping a picture file, and the errors that all formats share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avatar_creator_server.errors import InvalidArgumentError

ContentType = Literal["image/jpeg", "image/png", "image/webp"]


@dataclass(frozen=True, slots=True)
class StrippedPicture:
    """A picture without its metadata. Nothing has decoded it yet: the pixels may still be damaged."""

    data: bytes
    content_type: ContentType
    width: int
    """Width of the stored pixels, before `orientation` turns them."""
    height: int
    """Height of the stored pixels, before `orientation` turns them."""
    orientation: int
    """EXIF orientation, 1 to 8, read before the EXIF block was dropped."""
    lossless: bool = True
    """True if the coding of the pixels is lossless."""
    scans: JpegScans | None = None
    """The Huffman-coded scans of a JPEG; None for other codings and formats."""
    must_encode: bool = False
    """True if the file is not a still picture and nothing else, so that its pixels must be encoded again."""


@dataclass(frozen=True, slots=True)
class JpegScans:
    """Places of the scans in a JPEG without metadata, which always ends in an end-of-image marker."""

    starts: tuple[int, ...]
    """Offset of the first coded byte of each scan."""
    ends: tuple[int, ...]
    """Offset just after the last coded byte of each scan."""
    has_end: bool
    """False if the uploaded file had no end-of-image marker, so that other bytes may follow the last scan."""


def corrupt_error(detail: str) -> InvalidArgumentError:
    """Make the error for a picture that is not whole. `detail` is a fixed text, not one from a library."""
    return InvalidArgumentError.of_field(
        "chunk",
        f"the picture is truncated or damaged ({detail}); send the complete file",
        reason="IMAGE_CORRUPT",
    )


def animated_error() -> InvalidArgumentError:
    """Make the error for an animation."""
    return InvalidArgumentError.of_field(
        "chunk", "the picture is an animation; send a still picture", reason="IMAGE_ANIMATED"
    )


def take(data: bytes, start: int, length: int) -> bytes:
    """Return `length` bytes from `start`.

    Raises:
        InvalidArgumentError: The data ends before.
    """
    if start + length > len(data):
        raise corrupt_error("the file ends early")
    return data[start : start + length]

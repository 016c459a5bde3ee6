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
    scan_ends: tuple[int, ...] = ()
    """Offsets in `data` just after each Huffman-coded JPEG scan; empty for other codings and formats."""


def corrupt_error(detail: str) -> InvalidArgumentError:
    """Make the error for a picture that is not whole."""
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
        InvalidArgumentError: the data ends before.
    """
    if start + length > len(data):
        raise corrupt_error("the file ends early")
    return data[start : start + length]

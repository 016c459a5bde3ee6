"""Removal of metadata from picture files: EXIF, GPS positions, XMP, comments and trailers.

Each format has a module that walks the segments of a file and keeps those that a decoder needs, byte for
byte, so that nothing is encoded again.
"""

from __future__ import annotations

from avatar_creator_server.images.metadata.jpeg import strip_jpeg
from avatar_creator_server.images.metadata.png import PNG_SIGNATURE, strip_png
from avatar_creator_server.images.metadata.stripped import ContentType, StrippedPicture
from avatar_creator_server.images.metadata.webp import strip_webp

__all__ = ["ContentType", "StrippedPicture", "content_type_of", "strip_metadata"]


def content_type_of(data: bytes) -> ContentType | None:
    """Return the type that the first bytes show, or None for a type that this service does not accept."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def strip_metadata(data: bytes, content_type: ContentType) -> StrippedPicture:
    """Return the same picture with only what its pixels and colors need.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the segments do not make a whole picture; IMAGE_ANIMATED if
            the picture is an animation.
    """
    match content_type:
        case "image/jpeg":
            return strip_jpeg(data)
        case "image/png":
            return strip_png(data)
        case "image/webp":
            return strip_webp(data)

"""A picture as a file. Servers need it without the code that decodes pictures, which takes much memory."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_IMAGE_BYTES = 10 * 1024 * 1024
"""Maximum size of an uploaded file."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole still picture, upright. Its only metadata are a color profile and, if generated, a recipe."""

    data: bytes = field(repr=False)
    content_type: str
    """`image/jpeg`, `image/png` or `image/webp`."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    sha256: str
    """SHA-256 of `data` in lower-case hexadecimal."""

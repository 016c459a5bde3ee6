"""File names for downloaded pictures."""

from __future__ import annotations

import re
import unicodedata

EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""End of a file name by the type of the picture."""
_MAX_STEM_BYTES = 180
"""File systems allow 255 bytes for the whole name, and the client writes to a longer temporary name first."""


def default_file_name(name: str, content_type: str, *, thumbnail: bool = False) -> str:
    """Return a file name made from an avatar's name: letters, digits, and `.`, `_` and `-` inside.

    For any name the result has no folder in it, is not hidden and does not look like an option.
    """
    kept = "".join(
        # Marks are part of letters: most Indian scripts cannot be written without them.
        character if character in "._" or unicodedata.category(character)[0] in "LMN" else "-"
        for character in unicodedata.normalize("NFC", name)
    )
    stem = re.sub("-+", "-", kept).encode()[:_MAX_STEM_BYTES].decode(errors="ignore").strip(".-")
    suffix = "-thumbnail" if thumbnail else ""
    return f"{stem or 'avatar'}{suffix}{EXTENSIONS.get(content_type, '')}"

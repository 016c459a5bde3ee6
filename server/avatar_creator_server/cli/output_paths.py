"""Where downloaded pictures go."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from avatar_creator_server.cli.errors import Refusal

_EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_LONGEST_STEM = 180
"""Bytes. File systems take 255 for the whole name, and the client writes under a longer one first."""


def default_name(name: str, content_type: str, *, thumbnail: bool = False) -> str:
    """A file name made of an avatar's name: letters, digits, and `.`, `_` and `-` inside.

    It names no other folder, is not hidden and is not taken for an option, whatever the avatar is called.
    """
    kept = "".join(
        # Marks are part of letters: most scripts of India have no word without them.
        character if character in "._" or unicodedata.category(character)[0] in "LMN" else "-"
        for character in unicodedata.normalize("NFC", name)
    )
    stem = re.sub("-+", "-", kept).encode()[:_LONGEST_STEM].decode(errors="ignore").strip(".-")
    suffix = "-thumbnail" if thumbnail else ""
    return f"{stem or 'avatar'}{suffix}{_EXTENSIONS.get(content_type, '')}"


def numbered(path: Path, count: int) -> list[Path]:
    """A file for each of several pictures, `portrait-1.png` and so on; for one alone the path as it is."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def require_free(path: Path, *, force: bool) -> None:
    """Refuse a path where something is already.

    Raises:
        Refusal: there is something, and it is not to be replaced.
    """
    if os.path.lexists(path) and not force:
        raise Refusal(f"{path} exists already; --force replaces it, --to names another file")

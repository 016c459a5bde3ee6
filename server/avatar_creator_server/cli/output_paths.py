"""Paths of downloaded pictures."""

from __future__ import annotations

import os
from pathlib import Path

from avatar_creator_server.cli.errors import CommandError


def numbered_paths(path: Path, count: int) -> list[Path]:
    """Return one path for each picture, `portrait-1.png` and so on; a single picture keeps its path."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def require_new_file(path: Path, *, force: bool) -> None:
    """Refuse to write to a path that already exists, unless `force` is set.

    Raises:
        CommandError: the path exists.
    """
    if os.path.lexists(path) and not force:
        raise CommandError(
            f"{path} already exists: replace it with --force, or choose another file with --to"
        )

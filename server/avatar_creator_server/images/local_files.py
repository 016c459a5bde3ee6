"""Files of the local storage that its own listing leaves out, and permissions of local files."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

FOLDER = "avatar-creator"
"""Folder of all our files in the storage. Nothing else in the storage is ours."""

PRIVATE_UMASK = 0o077
"""A file is readable by its owner only (0600), and so is a folder (0700)."""

_TEMPORARY = re.compile(r"^(?:.+#\d+|\.check-.+)$")
"""Names of files that a killed process leaves behind: obstore writes `key#1` before the file gets its name,
and `Files.check` removes its own file."""


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A file or folder below `FOLDER`."""

    path: Path
    is_folder: bool
    is_temporary: bool
    """True for a file that no download can return."""
    size_bytes: int
    change_time: float
    """Time of the last write, in seconds since 1970."""
    is_private: bool
    """True if no other user of the machine may read or write it."""


def walk(root: Path, skip: Callable[[Path], None]) -> Iterator[LocalEntry]:
    """Yield everything below `FOLDER` in a storage folder, and `FOLDER` itself, one entry at a time.

    Args:
        root: The storage folder.
        skip: Receives each file or folder that this process must not read.
    """
    if (root / FOLDER).exists():
        yield _entry(root / FOLDER)
    for path in _paths_below(root / FOLDER, skip):
        try:
            entry = _entry(path)
        except PermissionError:
            skip(path)
        else:
            yield entry


def remove_temporary(root: Path, *, older_than_seconds: float) -> int:
    """Remove temporary files that have not been written for some time, and return their number.

    A younger file may be one that another process is writing now.
    """
    changed_before = time.time() - older_than_seconds
    removed = 0
    for path in _paths_below(root / FOLDER, _log_skipped):
        try:
            if is_temporary_name(path.name) and path.stat().st_mtime < changed_before and path.is_file():
                path.unlink()
                removed += 1
        except FileNotFoundError:
            pass
        except PermissionError:
            _log_skipped(path)
    return removed


def make_private(paths: Iterable[Path]) -> int:
    """Take other users' permissions away from our own files and folders, and return how many had some."""
    changed = 0
    for path in paths:
        with suppress(OSError):  # It is missing, or belongs to another user.
            status = path.stat()
            if status.st_mode & PRIVATE_UMASK and status.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(status.st_mode) & ~PRIVATE_UMASK)
                changed += 1
    return changed


def is_temporary_name(name: str) -> bool:
    """Return whether a file of this name is being written, or a killed process left it behind."""
    return _TEMPORARY.fullmatch(name) is not None


def _paths_below(folder: Path, skip: Callable[[Path], None]) -> Iterator[Path]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    except PermissionError:
        # One such folder must not keep the others from being read.
        skip(folder)
        return
    with entries:
        for found in entries:
            if found.is_symlink():
                continue
            yield Path(found.path)
            if found.is_dir():
                yield from _paths_below(Path(found.path), skip)


def _log_skipped(path: Path) -> None:
    log.warning("local_file_not_readable", path=str(path))


def _entry(path: Path) -> LocalEntry:
    try:
        status = path.stat()
    except FileNotFoundError:  # removed since it was listed: an entry that no check complains about
        return LocalEntry(path, True, False, 0, 0.0, True)
    is_folder = stat.S_ISDIR(status.st_mode)
    return LocalEntry(
        path=path,
        is_folder=is_folder,
        is_temporary=not is_folder and is_temporary_name(path.name),
        size_bytes=status.st_size,
        change_time=status.st_mtime,
        is_private=not status.st_mode & PRIVATE_UMASK,
    )

"""Folders that the service writes to: the check that it can, which creates nothing, and their creation."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_PRIVATE = 0o700
_TRIAL = b"check"
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""Errors of file systems that have no files without a name. Source: open(2), O_TMPFILE."""


def require_writable_folder(folder: Path) -> None:
    """Check that a process can write to a folder, or create it if it is missing. Nothing is created.

    Raises:
        OSError: It cannot.
    """
    path = folder.absolute()
    while not _exists(path):
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _write_unnamed(path)


def create_folder(folder: Path) -> None:
    """Create a folder that only this user can enter, unless it exists.

    Raises:
        OSError: It cannot be created.
    """
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)


def require_lockable(path: Path) -> None:
    """Check that a process can use a file as a lock, or create it.

    Raises:
        OSError: It cannot.
    """
    if _exists(path):
        with path.open("r+b"):
            pass


def _exists(path: Path) -> bool:
    """Return whether there is anything at a path, also a link that leads nowhere.

    Raises:
        OSError: The path goes through a file, or one of its names is too long.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        path.stat()
    return True


def _write_unnamed(folder: Path) -> None:
    """Write to a file without a name, which shows a disk that is full or read-only, and leaves nothing."""
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is None:
        return
    try:
        descriptor = os.open(folder, unnamed | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return
        raise
    try:
        os.write(descriptor, _TRIAL)
    finally:
        os.close(descriptor)

"""The lock of an embedded service on its database: only one service may run there.

Watchers of one process would not receive the events of the other.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from avatar_creator_server.settings import SettingsError
from avatar_creator_server.settings.folders import create_folder


@contextmanager
def locked(database_file: Path) -> Iterator[None]:
    """Prevent a second embedded service on the same database while the context is open.

    Raises:
        SettingsError: Another service runs there.
        OSError: The file of the lock cannot be written.
    """
    path = lock_of(database_file)
    create_folder(path.parent)
    with path.open("w") as lock_file:
        while not _lock(lock_file, fcntl.LOCK_EX):
            # If the lock can be shared, only `is_locked` had it, for a moment.
            if not _lock(lock_file, fcntl.LOCK_SH):
                raise in_use(database_file)
        yield


def is_locked(database_file: Path) -> bool:
    """Return whether a service runs on a database. Nothing is created.

    Raises:
        OSError: The file of the lock cannot be written.
    """
    try:
        with lock_of(database_file).open("r+b") as lock_file:
            # Shared, so that two who look at the same time do not take each other for a service.
            return not _lock(lock_file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _lock(lock_file: IO[Any], kind: int) -> bool:
    """Take the lock without waiting, and return whether it was free."""
    try:
        fcntl.flock(lock_file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def in_use(database_file: Path) -> SettingsError:
    """Return the error that says that another service runs on a database."""
    return SettingsError(
        f"another service runs on {database_file}: stop it, or set DATA_PATH to another folder"
    )


def lock_of(database_file: Path) -> Path:
    """Return the file that a running service has locked."""
    return database_file.with_name(f"{database_file.name}.serve-lock")

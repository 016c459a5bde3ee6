"""The lock of an embedded service on its database: only one service may run there.

Watchers of one process would not receive the events of the other.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from avatar_creator_server.settings import SettingsError
from avatar_creator_server.settings.folders import create_folder


@contextmanager
def locked(database_file: Path) -> Iterator[Callable[[str], None]]:
    """Prevent a second embedded service on the same database while the context is open.

    Yields:
        A function that writes down the address of the service, for `address_of_service`.

    Raises:
        SettingsError: Another service runs there.
        OSError: The file of the lock cannot be written.
    """
    path = lock_of(database_file)
    create_folder(path.parent)
    # Not emptied before it is locked: the service that runs there has its address in it.
    with path.open("a") as lock_file:

        def write_address(address: str) -> None:
            lock_file.truncate(0)
            lock_file.write(address)
            lock_file.flush()

        while not _lock(lock_file, fcntl.LOCK_EX):
            # If the lock can be shared, only `is_locked` had it, for a moment.
            if not _lock(lock_file, fcntl.LOCK_SH):
                raise in_use(database_file)
        write_address("")
        yield write_address


def address_of_service(database_file: Path) -> str:
    """Return the address of the service that runs on a database; empty if it is not known.

    Raises:
        OSError: The file of the lock cannot be read.
    """
    return lock_of(database_file).read_text().strip() if is_locked(database_file) else ""


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

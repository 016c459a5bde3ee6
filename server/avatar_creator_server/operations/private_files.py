"""Permissions of the service's own files: other users of the machine cannot read them."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from avatar_creator_server.images.local_files import FOLDER, PRIVATE_UMASK, make_private
from avatar_creator_server.settings import Settings
from avatar_creator_server.settings.database_urls import sqlite_path

log = structlog.get_logger()

_DATABASE_SUFFIXES = ("", "-wal", "-shm", ".serve-lock", ".migrate-lock")
"""Endings of the names of SQLite's files and of our locks."""


def create_private_files() -> None:
    """Make every file that this process creates readable by its own user only."""
    os.umask(PRIVATE_UMASK)


def tighten_permissions(settings: Settings) -> None:
    """Take away what an earlier version, or an operator, left open to other users of the machine.

    This covers the database, the secret and the folder of all pictures, which keeps its contents private too.
    The folders that the settings name stay as they are, because other programs may use them.
    """
    paths = [settings.secret_file]
    if settings.embedded:
        database = sqlite_path(settings.database)
        paths += (Path(database + suffix) for suffix in _DATABASE_SUFFIXES)
    if not settings.storage_url:
        paths.append(settings.upload_path / FOLDER)
    changed = make_private(paths)
    if changed:
        log.debug("permissions_tightened", paths=changed)

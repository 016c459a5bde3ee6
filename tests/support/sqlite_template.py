"""A migrated SQLite database that tests copy: the migrations take ten times as long as a copy."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from avatar_creator_server.database.connection import open_database
from avatar_creator_server.database.migrator import migrate
from tests.support.service import Deployment

_FILE = "avatar-creator.db"


def create_tables(deployment: Deployment) -> None:
    """Give an embedded service a migrated database, if it has none."""
    file = deployment.data_path / _FILE
    if file.exists():
        return
    deployment.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    create_database(file)


def create_database(file: Path) -> None:
    """Create a migrated database in a folder that exists."""
    file.touch(mode=0o600)
    file.write_bytes(_migrated_database())


@cache
def _migrated_database() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="avatar-creator-sqlite-"))
    try:
        database = open_database(f"sqlite:///{folder / _FILE}")
        migrate(database)
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return (folder / _FILE).read_bytes()
    finally:
        shutil.rmtree(folder)

"""Migration of a database to the schema of this code, and the check for it at start-up."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peewee
from peewee import PostgresqlDatabase
from playhouse.migrations import Runner

import avatar_creator_migrations
from avatar_creator_server.database import seed_data
from avatar_creator_server.database.models import TABLES

HISTORY_TABLE = "avatar_creator_migrations"
_ADVISORY_LOCK = 0x41564154  # "AVAT". Other users of the database must not use the same number.


class SchemaError(Exception):
    """The tables of the database do not fit this code. The message says what to do."""


def migrate(database: peewee.Database) -> list[str]:
    """Apply all pending migrations and update the gallery.

    A lock makes concurrent calls wait for each other: the first one applies the migrations.

    Returns:
        The names of the applied migrations, oldest first.

    Raises:
        SchemaError: The database has tables of the same names that this service did not make.
    """
    with _lock(database):
        _refuse_foreign_tables(database)
        applied = _runner(database).up()
        seed_data.seed(database)
    return [str(name) for name in applied]


def require_current(database: peewee.Database) -> None:
    """Refuse a database that lacks a migration of this code. Accept a database with later migrations.

    Raises:
        SchemaError: Migrations are pending.
    """
    with database.connection_context():
        _refuse_foreign_tables(database)
        pending = [step.name for step in _runner(database).status() if not step.applied]
    if pending:
        raise SchemaError(
            f"the database lacks {len(pending)} migration(s), beginning with {pending[0]}: "
            "run `avatar-creator migrate`"
        )


def _runner(database: peewee.Database) -> Runner:
    (directory,) = avatar_creator_migrations.__path__
    return Runner(database, directory=directory, table_name=HISTORY_TABLE)


def _refuse_foreign_tables(database: peewee.Database) -> None:
    existing = set(database.get_tables())
    foreign = existing & {table._meta.table_name for table in TABLES}
    if foreign and HISTORY_TABLE not in existing:
        raise SchemaError(
            f"the database has tables named {', '.join(sorted(foreign))} that this service did not make "
            "(an older product used the same names): give this service a database of its own"
        )


@contextmanager
def _lock(database: peewee.Database) -> Iterator[None]:
    """Connect, and keep other migrations waiting."""
    if isinstance(database, PostgresqlDatabase):
        with database.connection_context():
            # No timeout: the wait for another migration, and a migration itself, can take long.
            database.execute_sql("SET statement_timeout = 0")
            database.execute_sql("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
            try:
                yield
            finally:
                database.execute_sql("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))
        return
    # Lock before connecting: a connection sets a new file's journal to WAL, and SQLite cannot wait for that.
    with Path(f"{database.database}.migrate-lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        with database.connection_context():
            yield

"""Migration of a database to the schema of this code, and the check for it at start-up."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
import structlog
from peewee import PostgresqlDatabase
from playhouse.migrations import Runner

import avatar_creator_migrations
from avatar_creator_server.database import seed_data
from avatar_creator_server.database.models import TABLES
from avatar_creator_server.database.problems import sql_state
from avatar_creator_server.settings.folders import create_folder

HISTORY_TABLE = "avatar_creator_migrations"
_ADVISORY_LOCK = 0x41564154  # "AVAT". Other users of the database must not use the same number.


_LOCK_TIMEOUT = "500ms"
"""Maximum time that an attempt waits for a lock. All later queries of the table wait behind it that long."""
_RETRY_SECONDS = (0.5, 10.0)
"""First and longest delay before the next attempt; each is twice as long as the one before."""
_LOCK_PATIENCE_SECONDS = 300.0
"""Total time for which a migration tries to get its locks."""
_NO_LOCK = {"55P03": "lock_not_available", "40P01": "deadlock_detected"}
"""Error codes of an attempt that waited too long, or waited for a transaction that waited for it, and their
names. Source: PostgreSQL's manual, appendix A."""

log = structlog.get_logger()

_ADVISORY_LOCK_SECONDS = 0.1
"""Interval at which a migration asks whether another one has ended."""


class SchemaError(Exception):
    """The tables of the database do not fit this code. The message says what to do."""


class MigrationRunner(Runner):  # type: ignore[misc]  # playhouse has no stubs
    """Runs migrations on PostgreSQL so that the service's own queries never wait long.

    A migration that changes a table must wait until running transactions no longer use the table, and every
    later query of the table waits behind it. So each attempt waits half a second at most, and is rolled back
    and repeated if that is too short. A migration with `atomic = False` only builds and drops indexes
    concurrently and writes rows in batches, and no query waits long for that. It has no limit for its waits.
    A deadlock with other transactions is one more reason to repeat either of them.
    """

    def __init__(
        self, database: peewee.Database, *, patience_seconds: float = _LOCK_PATIENCE_SECONDS
    ) -> None:
        (directory,) = avatar_creator_migrations.__path__
        super().__init__(database, directory=directory, table_name=HISTORY_TABLE)
        self._patience_seconds = patience_seconds

    def _run(self, name: str, module: Any, direction: str, fake: bool = False) -> None:
        run = super()._run
        if not isinstance(self.database, PostgresqlDatabase):
            run(name, module, direction, fake)
            return
        give_up_at = time.monotonic() + self._patience_seconds
        delay, longest = _RETRY_SECONDS
        while True:
            try:
                if getattr(module, "atomic", True):
                    with self.database.atomic():
                        self.database.execute_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                        run(name, module, direction, fake)
                else:
                    run(name, module, direction, fake)
                return
            except peewee.OperationalError as error:
                if sql_state(error) not in _NO_LOCK:
                    raise
                if time.monotonic() + delay > give_up_at:
                    raise SchemaError(
                        f"migration {name} has waited {self._patience_seconds:,.0f} s for a table that "
                        "another transaction keeps locked: end that transaction (pg_stat_activity lists it), "
                        "and run `avatar-creator migrate` again"
                    ) from error
                log.info(
                    "migration_postponed",
                    migration=name,
                    reason=_NO_LOCK[str(sql_state(error))],
                    seconds=delay,
                )
            time.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, longest)


def migrate(database: peewee.Database) -> list[str]:
    """Apply all pending migrations and update the gallery.

    A lock makes concurrent calls wait for each other: the first one applies the migrations.

    Returns:
        The names of the applied migrations, oldest first.

    Raises:
        SchemaError: The database has tables of the same names that this service did not make, or another
            transaction keeps a table locked.
    """
    with _lock(database):
        refuse_foreign_tables(set(database.get_tables()))
        applied = MigrationRunner(database).up()
        seed_data.seed(database)
    return [str(name) for name in applied]


def require_current(database: peewee.Database) -> None:
    """Refuse a database that lacks a migration of this code. Accept a database with later migrations.

    Raises:
        SchemaError: Migrations are pending.
    """
    with database.connection_context():
        refuse_foreign_tables(set(database.get_tables()))
        pending = [step.name for step in MigrationRunner(database).status() if not step.applied]
    if pending:
        raise SchemaError(
            f"the database lacks {len(pending)} migration(s), beginning with {pending[0]}: "
            "run `avatar-creator migrate`"
        )


def later_migrations(database: peewee.Database) -> list[str]:
    """Return the names of the applied migrations that only a newer version than this code has."""
    with database.connection_context():
        return [str(step.name) for step in MigrationRunner(database).status() if step.path is None]


def migration_lock_of(database_file: Path) -> Path:
    """Return the file that keeps other migrations of a SQLite database waiting."""
    return database_file.with_name(f"{database_file.name}.migrate-lock")


def refuse_foreign_tables(existing: Set[str]) -> None:
    """Refuse a database that has tables of our names, and that this service did not make.

    Args:
        existing: Names of the database's tables.

    Raises:
        SchemaError: The database belongs to another product.
    """
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
            # Asked for again and again, because a wait inside PostgreSQL holds a snapshot: the migration that
            # has the lock would wait for that snapshot when it builds an index, and neither would go on.
            while not database.execute_sql("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()[
                0
            ]:
                time.sleep(_ADVISORY_LOCK_SECONDS)
            try:
                yield
            finally:
                database.execute_sql("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))
        return
    # Lock before connecting: a connection sets a new file's journal to WAL, and SQLite cannot wait for that.
    path = migration_lock_of(Path(database.database))
    create_folder(path.parent)
    with path.open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        with database.connection_context():
            yield

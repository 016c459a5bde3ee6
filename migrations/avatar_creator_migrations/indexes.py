"""Indexes that are built and dropped without a lock that readers or writers wait for.

A migration that calls these functions must set `atomic = False`, because PostgreSQL does this work outside
transactions only. So the migration may be interrupted between any two calls, and must be able to run again:
each call does nothing if its work has been done.
"""

from __future__ import annotations

from peewee import Database, OperationalError, PostgresqlDatabase

_TRIES = 3
"""A build fails if it waits for a transaction that waits for the build; the next one usually succeeds."""


def build_index(db: Database, name: str, definition: str) -> None:
    """Build an index on a table that may be large, unless a valid one of this name exists.

    Args:
        db: The database.
        name: Name of the index.
        definition: Table, columns and condition, for example `files (user_id, id) WHERE state = 'deleting'`.
    """
    if not isinstance(db, PostgresqlDatabase):
        db.execute_sql(f"CREATE INDEX IF NOT EXISTS {name} ON {definition}")
        return
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    for tries_left in reversed(range(_TRIES)):
        found = db.execute_sql(query, (name,)).fetchone()
        if found == (True,):
            return
        if found is not None:
            # An interrupted build leaves an index that every write maintains and no query uses.
            drop_index(db, name)
        try:
            db.execute_sql(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        except OperationalError:
            if not tries_left:
                raise


def drop_index(db: Database, name: str) -> None:
    """Drop an index, if it exists."""
    concurrently = "CONCURRENTLY" if isinstance(db, PostgresqlDatabase) else ""
    db.execute_sql(f"DROP INDEX {concurrently} IF EXISTS {name}")

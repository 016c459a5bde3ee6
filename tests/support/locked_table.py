"""Locked tables: statements that use one wait until the test unlocks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from tests.support.service import Deployment

_WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE %s"
)


@contextmanager
def locked_table(deployment: Deployment, table: str) -> Iterator[None]:
    """Hold a table of PostgreSQL while the context is open."""
    with closing(psycopg2.connect(deployment.settings["DATABASE_URL"])) as connection:
        connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def is_waited_for(deployment: Deployment, table: str) -> bool:
    """Return whether a statement waits for a locked table."""
    return bool(deployment.execute(_WAITING, f"%{table}%"))

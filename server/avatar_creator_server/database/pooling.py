"""Detection of a connection pooler between this process and PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from enum import Enum
from typing import Any

import peewee
import psycopg2

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.postgresql import CONNECTION_OPTIONS, TIMEOUTS
from avatar_creator_server.settings import SettingsError

_PROBES = 20


class Pooling(Enum):
    """Kind of connection to PostgreSQL."""

    NONE = "no pooler"
    """A direct connection."""
    UNKNOWN = "a pooler"
    """A pooler that showed no change of session, as one in session mode."""
    TRANSACTION = "a pooler in transaction mode"
    """A pooler that gives different connections the same session."""


def detect(url: str) -> Pooling:
    """Return the kind of connection to the PostgreSQL URL, from two connections without any settings.

    Raises:
        peewee.PeeweeException: The database does not answer.
    """
    try:
        with (
            closing(psycopg2.connect(url, **CONNECTION_OPTIONS)) as first,
            closing(psycopg2.connect(url, **CONNECTION_OPTIONS)) as second,
        ):
            first.autocommit = second.autocommit = True
            if first.info.backend_pid == _session(first):
                return Pooling.NONE
            # On a quiet pooler, the second connection gets the session of the first one at once.
            sessions = [(_session(first), _session(second)) for _ in range(_PROBES)]
    except psycopg2.Error as error:
        raise peewee.OperationalError(error, *error.args) from error
    of_first, of_second = ({pair[side] for pair in sessions} for side in (0, 1))
    if of_first & of_second or len(of_first) > 1 or len(of_second) > 1:
        return Pooling.TRANSACTION
    return Pooling.UNKNOWN


def require_direct(url: str) -> None:
    """Refuse the URL of a pooler for migrations, which hold a lock of their session.

    Raises:
        SettingsError: MIGRATE_DATABASE_URL leads to a pooler.
    """
    if detect(url) is not Pooling.NONE:
        raise SettingsError(
            "MIGRATE_DATABASE_URL leads to a connection pooler: set it to the address of PostgreSQL itself, "
            "because a migration needs one session from its beginning to its end"
        )


def missing_timeouts(database: Database) -> tuple[str, list[str]]:
    """Return the quoted name of the role, and the timeouts that its new sessions do not have.

    Only a function that runs in a database job may call it.
    """
    # Not the current values, which another client of the same session may have set.
    rows = database.peewee.execute_sql(
        "SELECT quote_ident(session_user), name FROM pg_settings"
        " WHERE name IN %s AND reset_val = '0' ORDER BY name",
        (tuple(TIMEOUTS),),
    ).fetchall()
    return (rows[0][0] if rows else "", [name for _, name in rows])


def allowed_connections(database: Database) -> int:
    """Return how many connections PostgreSQL allows the role of the service at most, in all.

    Only a function that runs in a database job may call it.
    """
    (allowed,) = database.peewee.execute_sql(
        # LEAST ignores NULL, and -1 means no limit.
        "SELECT LEAST("
        " current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " - COALESCE(current_setting('reserved_connections', true)::int, 0),"  # since PostgreSQL 16
        " (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user),"
        " (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))"
    ).fetchone()
    return int(allowed)


def _session(connection: Any) -> int:
    """Return the process id of the session that runs a statement. A pooler announces an id of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)

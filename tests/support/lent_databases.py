"""Databases that tests use one after another: to create one costs a quarter of a second of CPU time."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2

from avatar_creator_server.database.migrator import HISTORY_TABLE
from avatar_creator_server.database.models import TABLES, AvatarPreset, PersonaExample
from tests.support.postgres import Postgres

_GALLERY = (AvatarPreset, PersonaExample)
_CONNECT_SECONDS = 10  # psycopg2 waits in C, where no timer of the tests can interrupt it
_MOST_BYTES = 128 * 1024
"""Size of the files of a table. A larger one would change the plans and the times of the next test."""

_EMPTY = "; ".join(
    [
        "SET lock_timeout = '10s'",
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table._meta.table_name}" for table in reversed(TABLES) if table not in _GALLERY),
        "UPDATE avatar_presets SET popularity = 0 WHERE popularity <> 0",
        "UPDATE persona_examples SET use_count = 0 WHERE use_count <> 0",
    ]
)
_IN_PUBLIC = "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
_LINES = (
    "SELECT concat_ws(' ', nspname, nspacl) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%'",
    "SELECT concat_ws(' ', oid::regclass, relkind, relnatts, reloptions)"
    f" FROM pg_class WHERE oid IN {_IN_PUBLIC}",
    "SELECT concat_ws(' ', attrelid::regclass, attname, attnum, atttypid, attnotnull, attisdropped)"
    f" FROM pg_attribute WHERE attrelid IN {_IN_PUBLIC}",
    "SELECT concat_ws(' ', adrelid::regclass, adnum, pg_get_expr(adbin, adrelid)) FROM pg_attrdef",
    "SELECT concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready)"
    f" FROM pg_index WHERE indexrelid IN {_IN_PUBLIC}",
    "SELECT concat_ws(' ', conname, pg_get_constraintdef(oid))"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
    "SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT concat_ws(' ', oid::regprocedure, prosrc, proconfig)"
    " FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "SELECT setconfig::text FROM pg_db_role_setting"
    " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    f"SELECT row({HISTORY_TABLE}.*)::text FROM {HISTORY_TABLE}",
    *(
        f"SELECT concat_ws(' ', {', '.join(sorted(table._meta.columns.keys() - {'image'}))})"
        f" FROM {table._meta.table_name}"
        for table in _GALLERY
    ),
)
"""Everything that a test must leave as it was."""
_FINGERPRINT = (
    "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM ("
    + " UNION ALL ".join(_LINES)
    + ") AS lines (line)"
)
_LARGEST = f"SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND oid IN {_IN_PUBLIC}"


class LentDatabases:
    """Copies of a template, each lent to one test at a time.

    A database goes to the next test only if its schema, its settings and the rows of its gallery are those of
    the template after all other rows have been deleted. Otherwise it is dropped.
    """

    def __init__(self, postgres: Postgres, template: str) -> None:
        """Begin without a database.

        Args:
            postgres: The server.
            template: The name of the database to copy, which has only the gallery.
        """
        self._postgres = postgres
        self._template = template
        self._free: list[str] = []
        self._original = ""

    def lend(self) -> str:
        """Return the URL of a database that no other test uses."""
        if self._free:
            return self._free.pop()
        url = self._postgres.create_database(self._template)
        if not self._original:
            with closing(psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)) as connection:
                self._original = _value(connection, _FINGERPRINT)
        return url

    def take_back(self, url: str) -> None:
        """Empty a database for the next test, or drop it if the test has changed more than rows."""
        if self._is_as_before(url):
            self._free.append(url)
        else:
            self._postgres.drop_database(url)

    def close(self) -> None:
        """Drop all databases."""
        while self._free:
            self._postgres.drop_database(self._free.pop())

    def _is_as_before(self, url: str) -> bool:
        try:
            with closing(psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)) as connection:
                with connection, connection.cursor() as cursor:
                    cursor.execute(_EMPTY)
                with connection:
                    return bool(
                        _value(connection, _LARGEST) <= _MOST_BYTES
                        and _value(connection, _FINGERPRINT) == self._original
                    )
        except psycopg2.Error:  # for example, the test has dropped a table
            return False


def _value(connection: Any, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        [(value,)] = cursor.fetchall()
    return value

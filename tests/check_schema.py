"""Compare a migrated database with one made from the models, on PostgreSQL and SQLite.

`make check` runs it. It compares the catalogs, because Peewee's own comparison misses foreign keys, types,
nullability, predicates and the order of columns in an index. Models know no triggers, so it
leaves those out. On PostgreSQL it also checks that no migration keeps the service's queries waiting.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import peewee

from avatar_creator_server.database.connection import open_database
from avatar_creator_server.database.migrator import HISTORY_TABLE, MigrationRunner, migrate
from avatar_creator_server.database.models import TABLES
from tests.migration_rules import violations
from tests.support.postgres import OwnPostgres

_WITHOUT_MODEL = "avatar_search"
"""Table for searches and its indexes, which only triggers write. They differ between the databases."""

_POSTGRESQL_CATALOG = """
    SELECT 'column', table_name, column_name, data_type, is_nullable, coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid), '', '', ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef, '', ''
    FROM pg_indexes WHERE schemaname = 'public'
"""


def main() -> int:
    """Print every difference; the exit code is 1 if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        differences = [*_compare(f"sqlite:///{folder}/migrated.db", f"sqlite:///{folder}/models.db")]
    server = OwnPostgres()
    try:
        differences += _compare(server.create_database(), server.create_database())
        differences += _check_rules(server.create_database())
    finally:
        server.close()
    sys.stdout.writelines(differences or ["Migrations and models agree on PostgreSQL and SQLite.\n"])
    return 1 if differences else 0


class _CheckedRunner(MigrationRunner):
    """Runs the migrations, and checks the SQL of each."""

    def __init__(self, database: peewee.Database) -> None:
        super().__init__(database)
        self.violations: list[str] = []

    def _run(self, name: str, module: Any, direction: str, fake: bool = False) -> None:
        statements: list[str] = []
        execute = self.database.execute_sql

        def record(statement: str, *arguments: Any) -> Any:
            statements.append(statement)
            return execute(statement, *arguments)

        self.database.execute_sql = record
        try:
            super()._run(name, module, direction, fake)
        finally:
            self.database.execute_sql = execute
        self.violations += violations(name, statements, atomic=getattr(module, "atomic", True))


def _check_rules(url: str) -> list[str]:
    database = open_database(url)
    with database.connection_context():
        runner = _CheckedRunner(database)
        runner.up()
    return runner.violations


def _compare(migrated_url: str, models_url: str) -> Iterator[str]:
    database = open_database(migrated_url)
    migrate(database)
    migrated = _catalog(database)
    database = open_database(models_url)
    with database.connection_context():
        database.create_tables(TABLES, safe=False)
    models = _catalog(database)
    yield from difflib.unified_diff(migrated, models, "migrations/", "models/", n=0)


def _catalog(database: peewee.Database) -> list[str]:
    with database.connection_context():
        if isinstance(database, peewee.PostgresqlDatabase):
            rows: Iterable[tuple[object, ...]] = database.execute_sql(_POSTGRESQL_CATALOG).fetchall()
        else:
            rows = list(_sqlite_catalog(database))
    lines = (" | ".join(map(str, row)) + "\n" for row in rows)
    return sorted(line for line in lines if HISTORY_TABLE not in line and _WITHOUT_MODEL not in line)


def _sqlite_catalog(database: peewee.Database) -> Iterator[tuple[object, ...]]:
    for table in database.get_tables():
        for _, name, kind, not_null, default, key in _pragma(database, "table_info", table):
            yield "column", table, name, kind, not_null, default, key
        for _, _, parent, column, parent_column, on_update, on_delete, _ in _pragma(
            database, "foreign_key_list", table
        ):
            yield "foreign key", table, column, parent, parent_column or "id", on_update, on_delete
        for _, index, unique, origin, partial in _pragma(database, "index_list", table):
            columns = [
                (column, descending)
                for _, _, column, descending, _, is_key in _pragma(database, "index_xinfo", index)
                if is_key
            ]
            yield (
                "index",
                table,
                index,
                unique,
                origin,
                columns,
                _predicate(database, index) if partial else "",
            )


def _pragma(database: peewee.Database, name: str, subject: object) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = database.execute_sql(f'PRAGMA {name}("{subject}")').fetchall()
    return rows


def _predicate(database: peewee.Database, index: object) -> str:
    (statement,) = database.execute_sql("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    predicate = str(statement).partition(" WHERE ")[2]
    return predicate.replace('"', "").replace("(", "").replace(")", "").casefold()


if __name__ == "__main__":
    raise SystemExit(main())

"""The index behind watches of all generations of a user, and the American spelling of two stored words.

The index also serves watches of a project, whose generations all belong to one user.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

from avatar_creator_migrations.indexes import build_index, drop_index

atomic = False

_BATCH = 1000


def up(migrator: Any, db: Database) -> None:
    """Build the index, drop the one that it replaces, and respell the words."""
    build_index(db, "avatar_generations_user_changed", "avatar_generations (user_id, update_time)")
    drop_index(db, "avatar_generations_project_changed")
    for table in ("avatar_generations", "generation_attempts"):
        _update(db, table, "error_reason = 'OPTION_NOT_SUPPORTED'", "error_reason = 'OPTION_NOT_HONOURED'")
    text, json = (
        ("reproduction::text", "::jsonb") if isinstance(db, PostgresqlDatabase) else ("reproduction", "")
    )
    respelled = f"replace({text}, 'colour_difference', 'color_difference'){json}"
    _update(db, "avatar_generations", f"reproduction = {respelled}", f"{text} LIKE '%%colour_difference%%'")


def _update(db: Database, table: str, assignment: str, condition: str) -> None:
    """Update the rows in batches, so that no statement locks many rows."""
    rows = f"SELECT id FROM {table} WHERE {condition} LIMIT {_BATCH}"
    while db.execute_sql(f"UPDATE {table} SET {assignment} WHERE id IN ({rows})").rowcount:
        pass

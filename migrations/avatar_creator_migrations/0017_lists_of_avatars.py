"""Indexes for the lists of avatars: of a project by last use, and by words and attributes.

The service does not start before the existing avatars are in the table for searches. They are added in
batches, because each batch keeps its avatars locked.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

from avatar_creator_migrations.indexes import build_index

atomic = False

_COLUMNS = "user_id, project_id, source_type, gender, age_range, style, ethnicity_folded, search_text"

# FOR KEY SHARE leaves out an avatar that is being deleted. A row that is there already is a later one.
_ADD_BATCH = f"""
    WITH batch AS MATERIALIZED (
        SELECT id, {_COLUMNS} FROM avatars WHERE id > %s ORDER BY id LIMIT 1000 FOR KEY SHARE
    ), added AS (
        INSERT INTO avatar_search (avatar_id, {_COLUMNS}) SELECT * FROM batch ON CONFLICT DO NOTHING
    )
    SELECT max(id) FROM batch
"""


def up(migrator: Any, db: Database) -> None:
    """Build the indexes, and add the existing avatars to the table for searches."""
    build_index(db, "avatars_project_last_used", "avatars (project_id, last_used_time, id)")
    if isinstance(db, PostgresqlDatabase):
        last_id = ""
        while last_id is not None:
            (last_id,) = db.execute_sql(_ADD_BATCH, (last_id,)).fetchone()
        # Every search reads the index's list of new entries, in kB, from its beginning to its end.
        build_index(
            db,
            "avatar_search_tokens",
            f"avatar_search USING gin (avatar_search_tokens({_COLUMNS})) WITH (gin_pending_list_limit = 256)",
        )

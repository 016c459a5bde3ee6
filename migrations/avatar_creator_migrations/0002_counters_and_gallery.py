"""Counters that the writes update, and presets with the picture in their row.

The migration counts the existing rows once. Processes of the previous version do not count, so stop all of
them before you apply this migration. Migration 0007 builds its indexes.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

POSTGRESQL_TYPES = {"time": "TIMESTAMPTZ", "big": "BIGINT"}
SQLITE_TYPES = {"time": "TEXT", "big": "INTEGER"}

# The tables that refer to others come last, because they lock those until the end of the transaction.
COUNTERS = """
CREATE TABLE user_statistics (
    user_id TEXT NOT NULL PRIMARY KEY,
    avatar_count {big} NOT NULL,
    usage_count {big} NOT NULL,
    pending_count {big} NOT NULL,
    processing_count {big} NOT NULL,
    completed_count {big} NOT NULL,
    failed_count {big} NOT NULL,
    cancelled_count {big} NOT NULL
);
CREATE TABLE daily_uploads (
    user_id TEXT NOT NULL,
    day TEXT NOT NULL,
    upload_count {big} NOT NULL,
    PRIMARY KEY (user_id, day)
);
INSERT INTO user_statistics
SELECT user_id, sum(avatars), sum(uses),
    sum(pending), sum(processing), sum(completed), sum(failed), sum(cancelled)
FROM (
    SELECT user_id, 1 AS avatars, usage_count AS uses,
        0 AS pending, 0 AS processing, 0 AS completed, 0 AS failed, 0 AS cancelled
    FROM avatars
    UNION ALL
    SELECT user_id, 0, 0,
        CASE state WHEN 'pending' THEN 1 ELSE 0 END,
        CASE state WHEN 'processing' THEN 1 ELSE 0 END,
        CASE state WHEN 'completed' THEN 1 ELSE 0 END,
        CASE state WHEN 'failed' THEN 1 ELSE 0 END,
        CASE state WHEN 'cancelled' THEN 1 ELSE 0 END
    FROM avatar_generations
) AS counted
GROUP BY user_id;
INSERT INTO daily_uploads
SELECT user_id, {day}, count(*) FROM avatars WHERE source_type = 'uploaded' GROUP BY user_id, {day};
CREATE TABLE avatar_app_usage (
    avatar_id TEXT NOT NULL REFERENCES avatars (id) ON DELETE CASCADE,
    app_id TEXT NOT NULL,
    app_name TEXT NOT NULL,
    usage_count {big} NOT NULL,
    first_used_time {time} NOT NULL,
    last_used_time {time} NOT NULL,
    PRIMARY KEY (avatar_id, app_id)
);
CREATE TABLE avatar_app_actions (
    avatar_id TEXT NOT NULL REFERENCES avatars (id) ON DELETE CASCADE,
    app_id TEXT NOT NULL,
    action TEXT NOT NULL,
    usage_count {big} NOT NULL,
    PRIMARY KEY (avatar_id, app_id, action)
)
"""

# Nothing could write presets before, so the table is empty. SQLite cannot drop a column with a foreign key.
POSTGRESQL_GALLERY = """
ALTER TABLE avatar_presets DROP COLUMN image_file_id, DROP COLUMN thumbnail_file_id,
    ADD COLUMN image BYTEA NOT NULL, ADD COLUMN search_text TEXT NOT NULL
"""
SQLITE_GALLERY = """
DROP TABLE avatar_presets;
CREATE TABLE avatar_presets (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    category TEXT NOT NULL,
    prompt TEXT NOT NULL,
    persona TEXT NOT NULL,
    attributes TEXT NOT NULL,
    image BLOB NOT NULL,
    search_text TEXT NOT NULL,
    popularity INTEGER NOT NULL
);
CREATE INDEX avatar_presets_popularity ON avatar_presets (popularity, id)
"""


def up(migrator: Any, db: Database) -> None:
    """Create the counters, count the existing rows, and add the column for the pictures of presets."""
    if isinstance(db, PostgresqlDatabase):
        day = "to_char(create_time AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        statements = COUNTERS.format(**POSTGRESQL_TYPES, day=day) + ";" + POSTGRESQL_GALLERY
    else:
        statements = COUNTERS.format(**SQLITE_TYPES, day="substr(create_time, 1, 10)") + ";" + SQLITE_GALLERY
    for statement in statements.split(";"):
        db.execute_sql(statement.strip())

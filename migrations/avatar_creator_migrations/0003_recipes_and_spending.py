"""Recipes, variations, references, prices of generations, and circuit breakers of routes.

The new columns have defaults in the database, so that processes of the previous version can still write.
Migration 0007 builds the indexes.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

POSTGRESQL_TYPES = {"time": "TIMESTAMPTZ", "json": "JSONB", "bool": "BOOLEAN", "big": "BIGINT"}
SQLITE_TYPES = {"time": "TEXT", "json": "TEXT", "bool": "INTEGER", "big": "INTEGER"}

STATEMENTS = """
ALTER TABLE avatar_generations ADD COLUMN reproduce_of TEXT NOT NULL DEFAULT '';
ALTER TABLE avatar_generations ADD COLUMN reference_avatar_id TEXT NOT NULL DEFAULT '';
ALTER TABLE avatar_generations ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
ALTER TABLE avatar_generations ADD COLUMN app_id TEXT NOT NULL DEFAULT '';
ALTER TABLE avatar_generations ADD COLUMN price_micros {big} NOT NULL DEFAULT 0;
ALTER TABLE avatar_generations ADD COLUMN reproduction {json};
ALTER TABLE generation_attempts ADD COLUMN resumable {bool} NOT NULL DEFAULT FALSE;
ALTER TABLE generation_attempts ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE generation_attempts ADD COLUMN price_micros {big} NOT NULL DEFAULT 0;
ALTER TABLE avatars ADD COLUMN reference_avatar_id TEXT NOT NULL DEFAULT '';
CREATE TABLE generation_recipes (
    generation_id TEXT NOT NULL PRIMARY KEY REFERENCES avatar_generations (id) ON DELETE CASCADE,
    recipe {json} NOT NULL
);
CREATE TABLE generation_starts (
    generation_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    price_micros {big} NOT NULL,
    create_time {time} NOT NULL
);
CREATE INDEX generation_starts_user ON generation_starts (user_id, create_time);
CREATE TABLE daily_spend (
    user_id TEXT NOT NULL,
    day TEXT NOT NULL,
    app_id TEXT NOT NULL,
    price_micros {big} NOT NULL,
    attempt_count {big} NOT NULL,
    PRIMARY KEY (user_id, day, app_id)
);
CREATE TABLE route_circuits (
    route TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    failure_count INTEGER NOT NULL,
    open_time {time} NOT NULL,
    probe_time {time} NOT NULL
)
"""


def up(migrator: Any, db: Database) -> None:
    """Add the columns and tables."""
    types = POSTGRESQL_TYPES if isinstance(db, PostgresqlDatabase) else SQLITE_TYPES
    for statement in STATEMENTS.format(**types).split(";"):
        db.execute_sql(statement.strip())

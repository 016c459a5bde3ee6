"""A mark of the pending generations whose delay is over. Only sweepers of this version set it.

Earlier versions claim a marked generation and leave the mark set, so a trigger removes it: otherwise the
generation would stay in the queue while it waits for its next retry, and no worker could claim it.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

_COLUMN = "ALTER TABLE avatar_generations ADD COLUMN delay_over {bool} NOT NULL DEFAULT FALSE"

_POSTGRESQL = (
    _COLUMN.format(bool="BOOLEAN"),
    """
    CREATE FUNCTION avatar_generations_claimed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.delay_over := FALSE;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER avatar_generations_claimed BEFORE UPDATE ON avatar_generations FOR EACH ROW
    WHEN (NEW.delay_over AND NEW.state = 'processing') EXECUTE FUNCTION avatar_generations_claimed()
    """,
)

_SQLITE = (
    _COLUMN.format(bool="INTEGER"),
    """
    CREATE TRIGGER avatar_generations_claimed AFTER UPDATE ON avatar_generations FOR EACH ROW
    WHEN NEW.delay_over AND NEW.state = 'processing'
    BEGIN
        UPDATE avatar_generations SET delay_over = FALSE WHERE id = NEW.id;
    END
    """,
)


def up(migrator: Any, db: Database) -> None:
    """Add the column and its trigger."""
    for statement in _POSTGRESQL if isinstance(db, PostgresqlDatabase) else _SQLITE:
        db.execute_sql(statement)

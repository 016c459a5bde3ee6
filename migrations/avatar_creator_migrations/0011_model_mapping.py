"""The apps that providers offer, the app that was chosen for each generation, and the app of each attempt.

Workers of the previous version ignore the choice, and write none on their attempts. Generations of servers of
that version have none.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
CREATE TABLE model_mappings (
    provider TEXT NOT NULL PRIMARY KEY,
    hub_url TEXT NOT NULL,
    apps {json} NOT NULL,
    read_time {time} NOT NULL
);
ALTER TABLE avatar_generations ADD COLUMN route_choice {json};
ALTER TABLE generation_attempts ADD COLUMN route_choice {json}
"""


def up(migrator: Any, db: Database) -> None:
    """Add the table and the columns."""
    types = (
        {"time": "TIMESTAMPTZ", "json": "JSONB"}
        if isinstance(db, PostgresqlDatabase)
        else {"time": "TEXT", "json": "TEXT"}
    )
    for statement in STATEMENTS.format(**types).split(";"):
        db.execute_sql(statement.strip())

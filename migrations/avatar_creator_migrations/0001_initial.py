"""The first schema: projects, avatars, generations, usage, presets, and the tables for durability.

It is written as SQL because a migration must not change with the models. `make check` compares the migrated
schema with the Peewee models on both databases. The databases differ only in the names of four types.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

POSTGRESQL_TYPES = {"time": "TIMESTAMPTZ", "json": "JSONB", "bool": "BOOLEAN", "big": "BIGINT"}
SQLITE_TYPES = {"time": "TEXT", "json": "TEXT", "bool": "INTEGER", "big": "INTEGER"}

STATEMENTS = """
CREATE TABLE avatar_projects (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    avatar_count INTEGER NOT NULL,
    create_time {time} NOT NULL,
    update_time {time} NOT NULL
);
CREATE INDEX avatar_projects_user ON avatar_projects (user_id, id);

CREATE TABLE files (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes {big} NOT NULL,
    sha256 TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    create_time {time} NOT NULL
);
CREATE UNIQUE INDEX files_key ON files (key);
CREATE INDEX files_unowned ON files (create_time) WHERE state = 'staged';

CREATE TABLE avatar_presets (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    category TEXT NOT NULL,
    prompt TEXT NOT NULL,
    image_file_id TEXT REFERENCES files (id),
    thumbnail_file_id TEXT REFERENCES files (id),
    persona {json} NOT NULL,
    attributes {json} NOT NULL,
    popularity {big} NOT NULL
);
CREATE INDEX avatar_presets_popularity ON avatar_presets (popularity, id);
CREATE INDEX avatar_presets_image_file ON avatar_presets (image_file_id);
CREATE INDEX avatar_presets_thumbnail_file ON avatar_presets (thumbnail_file_id);

CREATE TABLE persona_examples (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    category TEXT NOT NULL,
    persona {json} NOT NULL,
    use_count {big} NOT NULL
);
CREATE INDEX persona_examples_use_count ON persona_examples (use_count, id);

CREATE TABLE avatar_generations (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES avatar_projects (id),
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    progress_percent INTEGER NOT NULL,
    progress_estimated {bool} NOT NULL,
    revision {big} NOT NULL,
    epoch {big} NOT NULL,
    avatar_name TEXT NOT NULL,
    prompt TEXT NOT NULL,
    persona {json} NOT NULL,
    attributes {json} NOT NULL,
    options {json} NOT NULL,
    enhanced_prompt TEXT NOT NULL,
    negative_prompt TEXT NOT NULL,
    seed_used {big} NOT NULL,
    provider TEXT NOT NULL,
    provider_prompt TEXT NOT NULL,
    warnings {json} NOT NULL,
    error_reason TEXT NOT NULL,
    error_message TEXT NOT NULL,
    preset_id TEXT REFERENCES avatar_presets (id),
    persona_example_id TEXT REFERENCES persona_examples (id),
    retry_of TEXT NOT NULL,
    attempt_number INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    worker_lost_count INTEGER NOT NULL,
    release_count INTEGER NOT NULL,
    due_time {time},
    create_time {time} NOT NULL,
    start_time {time},
    end_time {time},
    update_time {time} NOT NULL
);
CREATE INDEX avatar_generations_user ON avatar_generations (user_id, id);
CREATE INDEX avatar_generations_project ON avatar_generations (project_id, id);
CREATE INDEX avatar_generations_due ON avatar_generations (due_time) WHERE due_time IS NOT NULL;
CREATE INDEX avatar_generations_preset ON avatar_generations (preset_id);
CREATE INDEX avatar_generations_persona_example ON avatar_generations (persona_example_id);

CREATE TABLE generation_attempts (
    id TEXT NOT NULL PRIMARY KEY,
    generation_id TEXT NOT NULL REFERENCES avatar_generations (id) ON DELETE CASCADE,
    attempt_number INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    worker TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_request_id TEXT NOT NULL,
    possibly_charged {bool} NOT NULL,
    error_reason TEXT NOT NULL,
    error_message TEXT NOT NULL,
    start_time {time} NOT NULL,
    end_time {time}
);
CREATE UNIQUE INDEX generation_attempts_number ON generation_attempts (generation_id, attempt_number);

CREATE TABLE avatars (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES avatar_projects (id),
    name TEXT NOT NULL,
    image_file_id TEXT NOT NULL REFERENCES files (id),
    thumbnail_file_id TEXT REFERENCES files (id),
    source_type TEXT NOT NULL,
    persona_name TEXT NOT NULL,
    persona_age INTEGER NOT NULL,
    persona_personality {json} NOT NULL,
    persona_background TEXT NOT NULL,
    gender TEXT NOT NULL,
    age_range TEXT NOT NULL,
    ethnicity TEXT NOT NULL,
    body_type TEXT NOT NULL,
    hair_style TEXT NOT NULL,
    hair_color TEXT NOT NULL,
    eye_color TEXT NOT NULL,
    skin_tone TEXT NOT NULL,
    style TEXT NOT NULL,
    headwear TEXT NOT NULL,
    generation_prompt TEXT NOT NULL,
    seed_used {big},
    generation_id TEXT REFERENCES avatar_generations (id),
    ethnicity_folded TEXT NOT NULL,
    search_text TEXT NOT NULL,
    usage_count {big} NOT NULL,
    last_used_time {time},
    create_time {time} NOT NULL,
    update_time {time} NOT NULL
);
CREATE INDEX avatars_user ON avatars (user_id, id);
CREATE INDEX avatars_user_last_used ON avatars (user_id, last_used_time, id);
CREATE INDEX avatars_project ON avatars (project_id, id);
CREATE UNIQUE INDEX avatars_generation ON avatars (generation_id);
CREATE INDEX avatars_image_file ON avatars (image_file_id);
CREATE INDEX avatars_thumbnail_file ON avatars (thumbnail_file_id);

CREATE TABLE avatar_usage_history (
    id TEXT NOT NULL PRIMARY KEY,
    avatar_id TEXT NOT NULL REFERENCES avatars (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    app_name TEXT NOT NULL,
    action TEXT NOT NULL,
    reference_id TEXT NOT NULL,
    reference_type TEXT NOT NULL,
    metadata {json} NOT NULL,
    create_time {time} NOT NULL
);
CREATE INDEX avatar_usage_history_avatar ON avatar_usage_history (avatar_id, id);

CREATE TABLE idempotency_keys (
    user_id TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    create_time {time} NOT NULL,
    PRIMARY KEY (user_id, method, request_id)
);
CREATE INDEX idempotency_keys_create_time ON idempotency_keys (create_time);

CREATE TABLE quick_work (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    try_count INTEGER NOT NULL,
    due_time {time} NOT NULL,
    create_time {time} NOT NULL
);
CREATE INDEX quick_work_due ON quick_work (due_time);
"""


def up(migrator: Any, db: Database) -> None:
    """Create every table."""
    types = POSTGRESQL_TYPES if isinstance(db, PostgresqlDatabase) else SQLITE_TYPES
    for statement in STATEMENTS.format(**types).split(";"):
        if statement.strip():
            db.execute_sql(statement)


def down(migrator: Any, db: Database) -> None:
    """Drop every table, newest first."""
    for table in (
        "quick_work",
        "idempotency_keys",
        "avatar_usage_history",
        "avatars",
        "generation_attempts",
        "avatar_generations",
        "persona_examples",
        "avatar_presets",
        "files",
        "avatar_projects",
    ):
        db.execute_sql(f"DROP TABLE {table}")

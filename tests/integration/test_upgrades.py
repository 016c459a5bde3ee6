"""Upgrades: several versions of the service use the same database and the same rows."""

from __future__ import annotations

import json

import pytest

from tests import pictures
from tests.support.generations import COMPLETED, SMALLEST, final_state
from tests.support.presence import present
from tests.support.service import Deployment

PICTURE = pictures.png()

UNDO_0002 = (
    "DROP TABLE avatar_app_usage",
    "DROP TABLE avatar_app_actions",
    "DROP TABLE user_statistics",
    "DROP TABLE daily_uploads",
    "DROP INDEX generation_attempts_succeeded",
    "DROP INDEX avatar_usage_history_newest",
    "CREATE INDEX avatar_usage_history_avatar ON avatar_usage_history (avatar_id, id)",
    "DELETE FROM avatar_presets",
    "ALTER TABLE avatar_presets DROP COLUMN image",
    "ALTER TABLE avatar_presets DROP COLUMN search_text",
    "ALTER TABLE avatar_presets ADD COLUMN image_file_id TEXT REFERENCES files (id)",
    "ALTER TABLE avatar_presets ADD COLUMN thumbnail_file_id TEXT REFERENCES files (id)",
    "DELETE FROM avatar_creator_migrations"
    " WHERE name LIKE '0002%' OR name LIKE '0007%' OR name LIKE '0009%' OR name LIKE '0019%'",
)
"""Statements that undo migration 0002, and let 0007, 0009 and 0019 build their indexes again."""


def test_later_migrations_are_accepted_and_rows_of_a_later_version_are_read_and_run(
    distributed: Deployment, user: str
) -> None:
    distributed.execute("INSERT INTO avatar_creator_migrations (name, applied) VALUES ('9999_later', now())")
    distributed.start_server()
    with distributed.client(user) as client:
        project = client.projects.create("Upgraded")
        generation = client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST)
        (row,) = distributed.rows("avatar_generations")
        for column in ("attributes", "persona", "options"):
            later = {**row[column], "of_a_later_version": "yes"}
            distributed.execute(f"UPDATE avatar_generations SET {column} = %s", json.dumps(later))

        distributed.execute(
            "UPDATE avatar_generations SET stage = 'of_a_later_version', error_reason = 'OF_A_LATER_VERSION'"
        )
        read = client.generations.get(generation.id)
        assert (read.stage.number, present(read.error).reason.number) == (0, 0)

        # A worker needs no secret.
        distributed.settings.pop("JWT_SECRET")
        distributed.start_worker()

        *_, last = client.generations.watch(generation.id, timeout=20.0)
        assert last.state == COMPLETED
        assert client.generations.get(generation.id).prompt == "a calm man"


@pytest.mark.parametrize("mode", ["embedded", "distributed"])
def test_migrations_count_existing_rows_and_rows_with_one_reference_keep_it(
    request: pytest.FixtureRequest, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Before")
        for number in range(2):
            client.avatars.upload(project.id, PICTURE, name=f"Face {number}")
        sarah = client.avatars.upload(project.id, PICTURE, name="Sarah")
        before = [
            final_state(
                client.generations.create(
                    project.id, "a calm woman", width=SMALLEST, height=SMALLEST, reference=ids
                )
            )
            for ids in ([], [sarah.id])
        ]
        statistics = client.usage.stats()
    assert (statistics.avatar_count, statistics.recent_upload_count) == (5, 3)
    deployment.close()
    for statement in UNDO_0002:
        deployment.execute(statement)
    undo_0012(deployment)

    outcome = deployment.run_command("migrate")

    assert outcome.returncode == 0, outcome.stderr
    assert "applied 0002" in outcome.stdout
    assert "applied 0012" in outcome.stdout
    deployment.start()
    with deployment.client(user) as client:
        assert client.usage.stats() == statistics
        assert len(list(client.presets.list())) == 24
        for generation in before:
            assert client.generations.get(generation.id) == generation
            recipe = client.generations.recipe(generation.id)
            assert recipe is not None
            assert recipe.reference_avatar_ids == generation.reference_avatar_ids
            assert len(recipe.reference_sha256s) == len(generation.reference_avatar_ids)
            avatar = client.avatars.get(present(generation.avatar_id))
            assert avatar.reference_avatar_ids == generation.reference_avatar_ids
            again = client.generations.reproduce(generation.id, project=project.id)
            *_, last = client.generations.watch(again.id, timeout=20.0)
            assert present(last.reproduction).identical_pixels
        client.projects.delete(project.id)
        assert client.usage.stats().avatar_count == 0


def undo_0012(deployment: Deployment) -> None:
    """Undo migration 0012: a generation, an avatar and a recipe have at most one reference."""
    for table in ("avatar_generations", "avatars"):
        deployment.execute(f"ALTER TABLE {table} DROP COLUMN further_reference_avatar_ids")
    deployment.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0012%'")
    for row in deployment.rows("generation_recipes"):
        recipe = json.loads(row["recipe"]) if deployment.is_embedded else row["recipe"]
        for later in ("reference_avatar_ids", "reference_sha256s"):
            del recipe[later]
        deployment.execute(
            "UPDATE generation_recipes SET recipe = %s WHERE generation_id = %s",
            json.dumps(recipe),
            row["generation_id"],
        )


def test_workers_of_a_version_without_rows_draw_during_an_upgrade(distributed: Deployment, user: str) -> None:
    for table in ("workers", "queue_pauses", "user_limits"):
        distributed.execute(f"DROP TABLE {table}")
    # Migration 0021 changes the table of workers, too.
    distributed.execute("DELETE FROM avatar_creator_migrations WHERE name ~ '^00(05|21)'")
    refused = distributed.run_command("worker")
    assert refused.returncode == 1
    assert "beginning with 0005_workers: run `avatar-creator migrate`" in refused.stderr
    assert "applied 0005_workers" in distributed.run_command("migrate").stdout
    # The database stores no row of this worker, as if the worker had the earlier version.
    distributed.execute(
        "CREATE FUNCTION store_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    distributed.execute(
        "CREATE TRIGGER store_nothing BEFORE INSERT ON workers FOR EACH ROW EXECUTE FUNCTION store_nothing()"
    )
    distributed.start()

    with distributed.client(user) as client:
        project = client.projects.create("Upgraded")
        started = client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST)
        *_, last = client.generations.watch(started.id, timeout=20.0)
        waiting = client.generations.estimate(project.id, "a calm man")

    assert (last.state, len(last.warnings)) == (COMPLETED, 1)
    assert waiting.warnings[-1].startswith("no worker has been seen since this server started")

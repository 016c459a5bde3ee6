"""During an upgrade, versions of the service read the same database and the same rows."""

from __future__ import annotations

import json

from tests.support.generations import COMPLETED, SMALLEST
from tests.support.service import Deployment


def test_rows_of_a_later_version_are_run_and_read(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    with distributed.client(user) as client:
        project = client.projects.create("Upgraded")
        generation = client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST)
        (row,) = distributed.rows("avatar_generations")
        for column in ("attributes", "persona", "options"):
            later = {**row[column], "of_a_later_version": "yes"}
            distributed.execute(f"UPDATE avatar_generations SET {column} = %s", json.dumps(later))

        distributed.start_worker()

        *_, last = client.generations.watch(generation.id, timeout=20.0)
        assert last.state == COMPLETED
        assert client.generations.get(generation.id).prompt == "a calm man"


def test_a_database_that_is_ahead_is_served(distributed: Deployment, user: str) -> None:
    distributed.execute("INSERT INTO avatar_creator_migrations (name, applied) VALUES ('9999_later', now())")
    distributed.start()
    with distributed.client(user) as client:
        assert client.projects.create("Ahead").name == "Ahead"


def test_a_worker_needs_no_secret(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    distributed.settings.pop("JWT_SECRET")
    distributed.start_worker()
    assert distributed.workers[0].exit_code() is None

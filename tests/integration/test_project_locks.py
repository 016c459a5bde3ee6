"""Locks of a project on PostgreSQL: additions to a project do not delay changes of the project."""

from __future__ import annotations

import psycopg2

from avatar_creator import GenerationState
from tests import pictures
from tests.support.service import Deployment


def test_changes_do_not_wait_for_a_transaction_that_adds(distributed: Deployment, user: str) -> None:
    distributed.start()
    with distributed.client(user) as client, psycopg2.connect(distributed.settings["DATABASE_URL"]) as adding:
        project = client.projects.create("Locks")
        # As a creation of a generation does, for as long as it waits for the user's statistics.
        adding.cursor().execute("SELECT id FROM avatar_projects WHERE id = %s FOR KEY SHARE", (project.id,))

        renamed = client.projects.update(project.id, name="Locks and keys")
        uploaded = client.avatars.upload(project.id, pictures.jpeg(), name="Face")
        generation = client.generations.create(project.id, "face", width=256, height=256)
        *_, ended = client.generations.watch(generation.id)
        client.avatars.delete(uploaded.id)

        assert renamed.name == "Locks and keys"
        assert ended.state == GenerationState.COMPLETED
        assert client.projects.get(project.id).avatar_count == 1

"""Deletion of much: hidden at once, counted at once, and removed by a job that any death only delays."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from avatar_creator import AvatarCreator, NotFoundError
from tests import pictures
from tests.support.background import InBackground
from tests.support.generations import SMALLEST, final_state
from tests.support.large_project import fill_project
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.shared_services import deployed, remove_contents
from tests.support.waiting import wait_until

DELETION = "avatar_creator_server.generations.project_deletion"
SMALL_BATCHES = f"set {DELETION}:BATCH_ROWS 3"
PICTURE = pictures.png()
TABLES = (
    "avatar_projects",
    "avatars",
    "avatar_usage_history",
    "avatar_app_usage",
    "avatar_app_actions",
    "avatar_generations",
    "generation_attempts",
    "files",
    "quick_work",
)


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def server(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A server that removes at most three rows in a call and, embedded, in a batch of its worker."""
    limit = {"GENERATION_LIMIT_CONCURRENT": "7"}
    with deployed(request, request.param, **limit) as deployment:
        deployment.start_server(fault=SMALL_BATCHES)
        yield deployment


@pytest.fixture
def deployment(server: Deployment) -> Iterator[Deployment]:
    """The server, on empty tables. Distributed, it has no worker but those that the test starts."""
    yield server
    for worker in server.workers:
        worker.close()
    remove_contents(server)


distributed_only = pytest.mark.parametrize("server", ["distributed"], indirect=True)


def is_empty(deployment: Deployment) -> bool:
    return not deployment.files() and not [table for table in TABLES if deployment.rows(table)]


def wait_until_empty(deployment: Deployment) -> None:
    wait_until(
        lambda: is_empty(deployment),
        30.0,
        lambda: f"{ {table: len(deployment.rows(table)) for table in TABLES} } {deployment.files()}",
    )


def make_jobs_due(deployment: Deployment) -> None:
    """End the leases of killed workers now."""
    deployment.execute("UPDATE quick_work SET due_time = %s", datetime.now(UTC) - timedelta(hours=1))


def assert_nothing_counts(client: AvatarCreator) -> None:
    stats = client.usage.stats()
    assert (stats.avatar_count, stats.usage_count, stats.recent_upload_count) == (0, 0, 0)
    assert [state for state in stats.generations if state.generation_count] == []


def add_uses(deployment: Deployment, avatar_id: str, count: int) -> None:
    """Record many uses of an avatar that has none, each with an app and an action of its own."""
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        if deployment.is_embedded
        else f"WITH n(i) AS (SELECT generate_series(1, {count}))"
    )
    deployment.execute(
        f"{numbers} INSERT INTO avatar_usage_history (id, avatar_id, user_id, app_id, app_name, action,"
        " reference_id, reference_type, metadata, create_time)"
        " SELECT id || i, id, user_id, 'app' || i, 'App', 'show', '', '', '{}', create_time"
        " FROM avatars, n WHERE id = %s",
        avatar_id,
    )
    deployment.execute(
        "INSERT INTO avatar_app_usage SELECT avatar_id, app_id, app_name, 1, create_time, create_time"
        " FROM avatar_usage_history WHERE avatar_id = %s",
        avatar_id,
    )
    deployment.execute(
        "INSERT INTO avatar_app_actions SELECT avatar_id, app_id, action, 1"
        " FROM avatar_usage_history WHERE avatar_id = %s",
        avatar_id,
    )
    deployment.execute("UPDATE avatars SET usage_count = %s WHERE id = %s", count, avatar_id)
    deployment.execute(
        "UPDATE user_statistics SET usage_count = usage_count + %s"
        " WHERE user_id = (SELECT user_id FROM avatars WHERE id = %s)",
        count,
        avatar_id,
    )


@distributed_only
def test_a_deleted_project_is_hidden_and_uncounted_while_its_rows_remain(
    deployment: Deployment, user: str
) -> None:
    with deployment.client(user) as client, deployment.client("ops", role="ops") as operator:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, 5)
        kept = client.projects.create("Kept")
        face = next(iter(client.avatars.list(project=project.id)))
        client.usage.record(face.id, app_id="app", action="show")
        generations = [
            client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST)
            for _ in range(7)
        ]
        watch = InBackground(lambda: list(client.generations.watch(generations[0].id, timeout=20.0)))
        project_watch = InBackground(
            lambda: list(client.generations.watch_many(project=project.id, timeout=20.0))
        )

        client.projects.delete(project.id)

        assert len(deployment.rows("avatars")) == 5
        assert len(deployment.rows("avatar_generations")) == 7
        assert isinstance(watch.outcome(), NotFoundError)
        assert isinstance(project_watch.outcome(), NotFoundError)
        assert_nothing_counts(client)
        for reader, everyone in ((client, user), (operator, "-")):
            assert_hidden(reader, everyone, project.id, face.id, generations[0].id)
        assert [each.id for each in client.projects.list()] == [kept.id]
        assert [each.id for each in operator.projects.list(user_id=user)] == [kept.id]
        for write in writes(client, project.id, face.id, generations[0].id):
            with pytest.raises(NotFoundError):
                write()
        # The limit of seven has room again.
        client.generations.create(kept.id, "a calm man", width=SMALLEST, height=SMALLEST)

        deployment.start_worker(fault=SMALL_BATCHES)
        client.projects.delete(kept.id)
        wait_until_empty(deployment)
        assert_nothing_counts(client)


def assert_hidden(
    reader: AvatarCreator, everyone: str, project_id: str, avatar_id: str, generation_id: str
) -> None:
    reads: tuple[Callable[[], Any], ...] = (
        lambda: reader.projects.get(project_id),
        lambda: reader.avatars.get(avatar_id),
        lambda: reader.avatars.download(avatar_id),
        lambda: list(reader.avatars.list(project=project_id)),
        lambda: list(reader.usage.list(avatar_id)),
        lambda: reader.usage.summarize(avatar_id),
        lambda: reader.generations.get(generation_id),
        lambda: list(reader.generations.list(project=project_id)),
        lambda: list(reader.generations.watch(generation_id, timeout=20.0)),
        lambda: list(reader.generations.watch_many(project=project_id, timeout=20.0)),
    )
    for read in reads:
        with pytest.raises(NotFoundError):
            read()
    assert list(reader.avatars.list(user_id=everyone)) == []
    assert list(reader.avatars.find(user_id=everyone, query="face")) == []
    assert list(reader.generations.list(user_id=everyone)) == []
    assert not reader.avatars.batch_get([avatar_id]).avatars


def writes(
    client: AvatarCreator, project_id: str, avatar_id: str, generation_id: str
) -> tuple[Callable[[], Any], ...]:
    return (
        lambda: client.avatars.upload(project_id, PICTURE, name="Late"),
        lambda: client.generations.create(project_id, "a calm man", width=SMALLEST, height=SMALLEST),
        lambda: client.generations.cancel(generation_id),
        lambda: client.generations.retry(generation_id),
        lambda: client.usage.record(avatar_id, app_id="app", action="show"),
        lambda: client.avatars.update(avatar_id, name="Late"),
        lambda: client.avatars.delete(avatar_id),
        lambda: client.projects.update(project_id, name="Late"),
        lambda: client.projects.delete(project_id),
    )


def test_a_large_project_is_removed_in_batches(deployment: Deployment, user: str) -> None:
    if not deployment.is_embedded:
        deployment.start_worker(fault=SMALL_BATCHES)
    with deployment.client(user) as client:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, 7)
        face = next(iter(client.avatars.list(project=project.id)))
        add_uses(deployment, face.id, 11)
        for _ in range(4):
            final_state(client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST))

        client.projects.delete(project.id)

        assert_nothing_counts(client)
        wait_until_empty(deployment)
        assert_nothing_counts(client)


@distributed_only
def test_the_removal_goes_on_after_each_of_its_workers_is_killed(deployment: Deployment, user: str) -> None:
    with deployment.client(user) as client:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, 501)
        client.projects.delete(project.id)
        for fault, avatars_left in (
            (f"kill after {DELETION}:ProjectDeletion._remove_rows", 501),
            ("kill before avatar_creator_server.shared.background_jobs:BackgroundJobQueue.again", 1),
            ("kill before avatar_creator_server.images.store:Files._remove_bytes", None),
        ):
            worker = deployment.start_worker(fault=fault)
            make_jobs_due(deployment)
            assert worker.wait(20.0) == -signal.SIGKILL
            assert avatars_left in (None, len(deployment.rows("avatars")))
            assert deployment.files()

        make_jobs_due(deployment)
        deployment.start_worker()

        wait_until_empty(deployment)
        assert_nothing_counts(client)


@distributed_only
def test_what_is_counted_at_the_moment_of_the_deletion_is_corrected(
    deployment: Deployment, user: str
) -> None:
    with deployment.client(user) as client:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, 7)
        client.projects.delete(project.id)
        # As a transaction does that began before the deletion and ends after it.
        deployment.execute("UPDATE avatars SET usage_count = 1 WHERE id = (SELECT MIN(id) FROM avatars)")
        deployment.execute(
            "UPDATE user_statistics SET usage_count = usage_count + 1 WHERE user_id = %s", user
        )
        assert client.usage.stats().usage_count == 1

        deployment.start_worker(fault=SMALL_BATCHES)

        wait_until_empty(deployment)
        assert_nothing_counts(client)


def test_an_avatar_with_many_uses_is_hidden_at_once_and_removed_in_batches_by_serve(
    embedded: Deployment, user: str
) -> None:
    embedded.start_server()
    require_removal_of_many_uses(embedded, user)


@distributed_only
def test_an_avatar_with_many_uses_is_hidden_at_once_and_removed_in_batches_by_a_worker(
    deployment: Deployment, user: str
) -> None:
    deployment.start_worker()
    require_removal_of_many_uses(deployment, user)


def require_removal_of_many_uses(deployment: Deployment, user: str) -> None:
    with deployment.client(user) as client:
        project = client.projects.create("Used")
        generation = final_state(
            client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST)
        )
        add_uses(deployment, present(generation.avatar_id), 1201)

        client.avatars.delete(present(generation.avatar_id))

        with pytest.raises(NotFoundError):
            client.avatars.get(present(generation.avatar_id))
        assert client.generations.get(generation.id).avatar_id is None
        assert client.projects.get(project.id).avatar_count == 0
        stats = client.usage.stats()
        assert (stats.avatar_count, stats.usage_count) == (0, 0)
        assert [each.id for each in client.projects.list()] == [project.id]
        for table in ("avatars", "avatar_usage_history", "avatar_app_usage", "avatar_app_actions", "files"):
            wait_until(lambda: not deployment.rows(table), message=f"rows of {table} remain")  # noqa: B023
        wait_until(lambda: len(deployment.rows("avatar_projects")) == 1 and not deployment.files())
        assert client.usage.stats() == stats


@distributed_only
def test_removals_that_the_previous_version_requested_are_done_together(
    deployment: Deployment, user: str
) -> None:
    with deployment.client(user) as client:
        project = client.projects.create("Before")
        fill_project(deployment, project.id, 3)
        client.projects.delete(project.id)
    deployment.execute("DELETE FROM quick_work")
    # One for each file, as migration 0006 leaves them: the other columns have their defaults.
    deployment.execute(
        "INSERT INTO quick_work (id, kind, subject_id, try_count, due_time, create_time)"
        " SELECT id, 'remove_file', id, 0, create_time, create_time FROM files"
    )
    assert len(deployment.rows("quick_work")) == 6
    # Only one job is due: it does the work of the others too.
    deployment.execute(
        "UPDATE quick_work SET due_time = now() + interval '1 day'"
        " WHERE id > (SELECT MIN(id) FROM quick_work)"
    )
    deployment.start_worker()
    wait_until_empty(deployment)


@distributed_only
def test_no_batch_of_another_user_delays_a_thumbnail(deployment: Deployment, user: str) -> None:
    with deployment.client(user) as client, deployment.client(f"{user}-other") as other:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, 2001)
        client.projects.delete(project.id)
        place = other.projects.create("Small")
        # Without a worker: the uploads do not wait for each other.
        uploads = [
            threading.Thread(target=other.avatars.upload, args=(place.id, PICTURE), kwargs={"name": "Face"})
            for _ in range(4)
        ]
        for upload in uploads:
            upload.start()
        for upload in uploads:
            upload.join()
        assert len(deployment.execute("SELECT 1 FROM quick_work WHERE kind = 'thumbnail'")) == 4

        deployment.start_worker()

        wait_until(lambda: not any(each.thumbnail_pending for each in other.avatars.list()))
        assert deployment.execute("SELECT 1 FROM files WHERE user_id = %s LIMIT 1", user)

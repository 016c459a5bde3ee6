"""A full disk, and a storage that deletes no file for a while."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from functools import partial
from pathlib import Path

import psutil
import pytest
from PIL import Image

from avatar_creator import AttemptOutcome, AvatarCreator, AvatarCreatorError
from tests import pictures
from tests.support.background import InBackground
from tests.support.generations import COMPLETED, SMALLEST, outcomes
from tests.support.huggingface_router import RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

pytestmark = pytest.mark.slow

SUCCEEDED = AttemptOutcome.SUCCEEDED


def test_a_picture_that_the_full_disk_refuses_stays_in_the_worker_until_there_is_space(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    hosted.start_server()
    worker = hosted.start_worker()
    # The kernel now refuses longer files of this worker, like a full disk. The log file stays shorter.
    limit = 2 * worker.log.stat().st_size + 4096
    psutil.Process(worker.pid).rlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with hosted.client(user) as client:
        generation = client.generations.create(
            client.projects.create("Full").id, "a woman", width=SMALLEST, height=SMALLEST
        )
        watcher = Watcher(client, generation.id)
        wait_until(lambda: len(worker.events("picture_storage_retried")) >= 2, 20.0)
        assert hosted.files() == set()
        assert worker.exit_code() is None

        psutil.Process(worker.pid).rlimit(
            resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert outcomes(client, generation.id) == [SUCCEEDED]
        assert all(len(path.read_bytes()) > limit for path in hosted.files() if path.suffix == ".png")
        assert router.count == 1
        assert_promise_kept(hosted, router, outcomes_seen=[last])


@pytest.mark.parametrize("mode", ["distributed", "embedded"])
def test_files_that_cannot_be_deleted_are_deleted_later(
    request: pytest.FixtureRequest, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Stubborn")
        avatar = client.avatars.upload(project.id, pictures.png(pictures.scene()), name="Sarah")
        files = deployment.files()
        assert len(files) == 2
        for path in files:
            _make_undeletable(path)

        client.avatars.delete(avatar.id)

        worker = (deployment.workers or deployment.servers)[0]
        wait_until(lambda: len(worker.events("background_job_failed")) >= 4)
        assert [row["state"] for row in deployment.rows("files")] == ["deleting"] * 2
        for path in files:
            (path / "in the way").unlink()
            path.rmdir()
            path.write_bytes(b"as it was")

        wait_until(lambda: not deployment.rows("files") and not deployment.files(), 20.0)
        wait_until(lambda: not deployment.rows("quick_work"))
        assert_promise_kept(deployment)


@pytest.mark.parametrize("mode", ["distributed", "embedded"])
def test_what_a_killed_upload_left_in_the_storage_is_removed(
    request: pytest.FixtureRequest, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    large = pictures.png(Image.effect_noise((2800, 2800), 80))
    folder = deployment.upload_path / "avatar-creator" / user
    for _ in range(20):
        server = deployment.start_server()
        with deployment.client(user) as client:
            project = client.projects.create("Killed")
            ended = threading.Event()
            upload = InBackground(partial(_upload, client, project.id, large, ended))
            # Without a pause, because the storage writes the file within some milliseconds.
            while not ended.is_set() and not list(folder.glob("*#*")):
                pass
            server.send(signal.SIGKILL)
            server.wait()
            upload.outcome()
        if left := list(folder.glob("*#*")):
            break
    assert left, "no upload was killed while the storage was writing"
    for path in left:
        os.utime(path, (0, 0))

    if mode == "distributed":
        deployment.start_worker()
    else:
        deployment.start_server()

    wait_until(lambda: not list(folder.glob("*#*")))


def _upload(client: AvatarCreator, project_id: str, picture: bytes, ended: threading.Event) -> None:
    with contextlib.suppress(AvatarCreatorError):
        client.avatars.upload(project_id, picture, name="Face", timeout=5.0)
    ended.set()


def _make_undeletable(path: Path) -> None:
    # Replace the file with a folder that is not empty: permissions would not stop root.
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()

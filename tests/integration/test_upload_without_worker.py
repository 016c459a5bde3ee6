"""Uploads and deletions while no worker runs: no data is lost, and no file is left over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import AvatarCreator, FailedPreconditionError, ImageVariant, NotFoundError
from tests import pictures
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

THUMBNAIL = ImageVariant.THUMBNAIL
SKETCH = pictures.png(pictures.scene())


@pytest.fixture
def client(without_worker: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of that server, as `user`."""
    with without_worker.client(user) as connected:
        yield connected


def test_an_upload_gets_its_thumbnail_from_a_later_worker_and_a_deleted_avatar_leaves_no_file(
    without_worker: Deployment, client: AvatarCreator, user: str
) -> None:
    project = client.projects.create("Waiting room")
    removed = client.avatars.upload(project.id, SKETCH, name="Second thoughts")
    client.avatars.delete(removed.id)
    with pytest.raises(NotFoundError):
        client.avatars.get(removed.id)
    [file] = _stored(without_worker, user)  # only a worker removes the file

    avatar = client.avatars.upload(project.id, SKETCH, name="Sarah")

    assert avatar.thumbnail_pending
    assert client.avatars.download(avatar.id)
    with pytest.raises(FailedPreconditionError) as refused:
        client.avatars.download(avatar.id, variant=THUMBNAIL)
    assert refused.value.reason == "THUMBNAIL_PENDING"
    assert refused.value.retry_after is not None
    (listed,) = client.avatars.list(project.id, include_thumbnails=True)
    assert listed.thumbnail_pending
    assert not listed.thumbnail_data

    without_worker.start_worker()

    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    thumbnail = Image.open(BytesIO(client.avatars.download(avatar.id, variant=THUMBNAIL)))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))
    wait_until(lambda: not without_worker.rows("quick_work"))
    assert len(_rows_of_files(without_worker, user)) == 2
    stored = _stored(without_worker, user)
    assert (len(stored), file in stored) == (2, False)


def test_a_picture_that_costs_a_worker_too_much_gets_a_plain_thumbnail(
    without_worker: Deployment, client: AvatarCreator
) -> None:
    project = client.projects.create("Large")
    avatar = client.avatars.upload(
        project.id, pictures.png(Image.new("RGB", (3000, 3000), "red")), name="Sarah"
    )

    without_worker.start_worker(DECODING_MEMORY_MIB="32")

    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    thumbnail = Image.open(BytesIO(client.avatars.download(avatar.id, variant=THUMBNAIL)))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))
    assert thumbnail.convert("L").getextrema() == (128, 128)
    wait_until(lambda: not without_worker.rows("quick_work"))


def test_orphaned_staged_files_are_deleted_after_an_hour(
    without_worker: Deployment, client: AvatarCreator, user: str
) -> None:
    project = client.projects.create("Crashes")
    with Threads(3) as uploads:
        for name in ("Forgotten", "Recent", "Owned"):
            uploads.submit(client.avatars.upload, project.id, SKETCH, name=name)
    keys = {row["name"]: row for row in _files_by_avatar_name(without_worker, project.id)}
    # The state after a server was killed between storing the bytes and writing the avatar.
    without_worker.execute("DELETE FROM quick_work")
    without_worker.execute("DELETE FROM avatars WHERE name IN ('Forgotten', 'Recent')")
    for name, age in (("Forgotten", timedelta(minutes=61)), ("Recent", timedelta(minutes=59))):
        without_worker.execute(
            "UPDATE files SET state = 'staged', create_time = %s WHERE id = %s",
            datetime.now(UTC) - age,
            keys[name]["id"],
        )
    assert _stored(without_worker, user) == {row["key"] for row in keys.values()}

    without_worker.start_worker()

    kept = {keys["Recent"]["key"], keys["Owned"]["key"]}
    wait_until(lambda: _stored(without_worker, user) == kept)
    wait_until(lambda: {row["key"] for row in _rows_of_files(without_worker, user)} == kept)
    assert len(list(client.avatars.list(project.id))) == 1


def _files_by_avatar_name(deployment: Deployment, project_id: str) -> list[dict[str, str]]:
    return deployment.execute(
        "SELECT avatars.name, files.id, files.key FROM avatars JOIN files ON files.id = avatars.image_file_id"
        " WHERE avatars.project_id = %s",
        project_id,
    )


def _rows_of_files(deployment: Deployment, user: str) -> list[dict[str, str]]:
    return deployment.execute("SELECT key FROM files WHERE user_id = %s", user)


def _stored(deployment: Deployment, user: str) -> set[str]:
    root: Path = deployment.upload_path
    paths = (path.relative_to(root).as_posix() for path in deployment.files())
    return {path for path in paths if f"/{user}/" in path}

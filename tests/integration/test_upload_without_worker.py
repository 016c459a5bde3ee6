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
def client(distributed: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of a server that has no worker, as `user`."""
    distributed.start_server()
    with distributed.client(user) as connected:
        yield connected


def test_an_upload_succeeds_without_a_worker_and_gets_its_thumbnail_later(
    distributed: Deployment, client: AvatarCreator
) -> None:
    project = client.projects.create("Waiting room")

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

    distributed.start_worker()

    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    thumbnail = Image.open(BytesIO(client.avatars.download(avatar.id, variant=THUMBNAIL)))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))
    wait_until(lambda: not distributed.rows("quick_work"))


def test_a_picture_that_costs_a_worker_too_much_gets_a_plain_thumbnail(
    distributed: Deployment, client: AvatarCreator
) -> None:
    project = client.projects.create("Large")
    avatar = client.avatars.upload(
        project.id, pictures.png(Image.new("RGB", (6000, 6000), "red")), name="Sarah"
    )

    distributed.start_worker(DECODING_MEMORY_MIB="32")

    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    thumbnail = Image.open(BytesIO(client.avatars.download(avatar.id, variant=THUMBNAIL)))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))
    assert thumbnail.convert("L").getextrema() == (128, 128)
    wait_until(lambda: not distributed.rows("quick_work"))


def test_an_avatar_deleted_before_a_worker_starts_leaves_no_file(
    distributed: Deployment, client: AvatarCreator
) -> None:
    project = client.projects.create("Second thoughts")
    avatar = client.avatars.upload(project.id, SKETCH, name="Sarah")
    client.avatars.delete(avatar.id)
    with pytest.raises(NotFoundError):
        client.avatars.get(avatar.id)
    assert len(distributed.files()) == 1, "only a worker removes the file"

    distributed.start_worker()

    wait_until(lambda: not distributed.rows("quick_work"))
    assert distributed.rows("files") == []
    assert distributed.files() == set()


def test_orphaned_staged_files_are_deleted_after_an_hour(
    distributed: Deployment, client: AvatarCreator
) -> None:
    project = client.projects.create("Crashes")
    with Threads(3) as uploads:
        for name in ("Forgotten", "Recent", "Owned"):
            uploads.submit(client.avatars.upload, project.id, SKETCH, name=name)
    keys = {row["name"]: row for row in _files_by_avatar_name(distributed)}
    # The state after a server was killed between storing the bytes and writing the avatar.
    distributed.execute("DELETE FROM quick_work")
    distributed.execute("DELETE FROM avatars WHERE name IN ('Forgotten', 'Recent')")
    for name, age in (("Forgotten", timedelta(minutes=61)), ("Recent", timedelta(minutes=59))):
        distributed.execute(
            "UPDATE files SET state = 'staged', create_time = %s WHERE id = %s",
            datetime.now(UTC) - age,
            keys[name]["id"],
        )
    assert _stored(distributed) == {row["key"] for row in keys.values()}

    distributed.start_worker()

    kept = {keys["Recent"]["key"], keys["Owned"]["key"]}
    wait_until(lambda: _stored(distributed) == kept)
    wait_until(lambda: {row["key"] for row in distributed.rows("files")} == kept)
    assert len(list(client.avatars.list(project.id))) == 1


def _files_by_avatar_name(deployment: Deployment) -> list[dict[str, str]]:
    return deployment.execute(
        "SELECT avatars.name, files.id, files.key FROM avatars JOIN files ON files.id = avatars.image_file_id"
    )


def _stored(deployment: Deployment) -> set[str]:
    root: Path = deployment.upload_path
    return {path.relative_to(root).as_posix() for path in deployment.files()}

"""Many pictures at the port of a real service, and a reference that is uploaded first."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from avatar_creator import AvatarCreator, InvalidArgumentError, NotFoundError
from tests import pictures
from tests.support.generations import SMALLEST
from tests.support.service import Deployment


@pytest.fixture(scope="module")
def client(shared_deployment: Deployment) -> Iterator[AvatarCreator]:
    with shared_deployment.client("many-pictures") as client:
        yield client


def test_a_bad_file_in_the_middle_leaves_the_others(client: AvatarCreator, tmp_path: Path) -> None:
    project = client.projects.create("Many")
    files = [tmp_path / f"face {number}.png" for number in range(6)]
    for file in files:
        file.write_bytes(pictures.png())
    files[2].write_bytes(b"no picture")
    files[4].unlink()
    progress: list[tuple[int, int]] = []

    outcomes = client.avatars.upload_many(
        project, files, concurrency=3, on_progress=lambda *counts: progress.append(counts)
    )

    assert [outcome.source for outcome in outcomes] == files
    assert [type(outcome.error) for outcome in outcomes] == [
        *[type(None)] * 2,
        InvalidArgumentError,
        type(None),
        FileNotFoundError,
        type(None),
    ]
    uploaded = [outcome.result for outcome in outcomes if outcome.error is None]
    assert [avatar.name for avatar in uploaded] == ["face 0", "face 1", "face 3", "face 5"]
    assert sorted(avatar.id for avatar in client.avatars.list(project)) == sorted(
        avatar.id for avatar in uploaded
    )
    assert progress == [(number, 6) for number in range(1, 7)]

    client.avatars.delete(uploaded[1])
    folder = tmp_path / "downloaded"
    first, gone, *others = client.avatars.download_many(uploaded, to=folder)
    assert isinstance(gone.error, NotFoundError)
    assert [each.result for each in (first, *others)] == [
        folder / f"{avatar.id}.png" for avatar in (uploaded[0], *uploaded[2:])
    ]
    assert sorted(folder.iterdir()) == sorted(each.result for each in (first, *others))
    small = client.avatars.download_many([uploaded[0]], variant="thumbnail")[0].result
    assert small == client.avatars.download(uploaded[0], variant="thumbnail")


@pytest.mark.parametrize("kind", ["path", "pillow"])
def test_a_picture_as_a_reference_is_uploaded_once_and_stays(
    kind: str, client: AvatarCreator, tmp_path: Path
) -> None:
    project = client.projects.create("References")
    path = tmp_path / "sarah.png"
    path.write_bytes(pictures.png())
    reference: Any = path if kind == "path" else Image.open(path)
    request_id = str(uuid.uuid4()) if kind == "path" else None

    handles = [
        client.generations.create(
            project,
            "older",
            reference=reference,
            width=SMALLEST,
            height=SMALLEST,
            request_id=request_id,
        )
        for _ in range(2 if request_id else 1)
    ]

    assert len({handle.id for handle in handles}) == 1
    drawn = handles[0].wait()
    uploaded, made = sorted(client.avatars.list(project), key=lambda avatar: avatar.id == drawn.id)
    assert (uploaded.name, uploaded.source_type) == ("sarah", "uploaded")
    assert (made.reference_avatar_ids, made.source_type) == ((uploaded.id,), "from_reference")

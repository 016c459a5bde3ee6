"""The main use case with one client script: embedded, with a separate worker, and through PgBouncer."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from avatar_creator import AvatarCreator, Generation, GenerationState, ImageVariant, NotFoundError
from avatar_creator_server.demo.run import PHOTOGRAPH
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.waiting import wait_until


@pytest.mark.parametrize("deployment", ["embedded", "distributed", "pooled"], indirect=True)
def test_project_upload_generate_watch_list_and_delete(deployment: Deployment, client: AvatarCreator) -> None:
    project = client.projects.create("Spring campaign", description="Faces for spring")
    uploaded = client.avatars.upload(project.id, PHOTOGRAPH, name="Eileen")
    assert not uploaded.thumbnail_pending

    generation = client.generations.create(project.id, prompt="confident business woman", seed=11)
    states: list[Generation] = list(client.generations.watch(generation.id))

    last = states[-1]
    assert last.state == GenerationState.COMPLETED
    assert last.progress_percent == 100
    assert [state.revision for state in states] == sorted({state.revision for state in states})
    percents = [state.progress_percent for state in states]
    assert percents == sorted(percents)
    assert any(20 <= percent <= 70 for percent in percents), percents

    portrait = client.avatars.get(present(last.avatar_id))
    assert portrait.seed_used == 11
    assert portrait.generation_id == generation.id
    for avatar in (uploaded, portrait):
        original = Image.open(BytesIO(client.avatars.download(avatar.id)))
        original.load()
        assert original.size == (avatar.image.width, avatar.image.height)
        thumbnail = Image.open(BytesIO(client.avatars.download(avatar.id, variant=ImageVariant.THUMBNAIL)))
        thumbnail.load()
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))

    assert [avatar.id for avatar in client.avatars.list(project=project.id)] == [
        portrait.id,
        uploaded.id,
    ]
    assert [found.id for found in client.projects.list()] == [project.id]
    assert client.projects.get(project.id).avatar_count == 2
    assert client.projects.get(project.id).cover_avatar_id == portrait.id

    client.projects.delete(project.id)

    with pytest.raises(NotFoundError) as refused:
        client.projects.get(project.id)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    wait_until(lambda: not deployment.files(), message="files of a deleted project remain")
    wait_until(lambda: not deployment.rows("files"), message="rows of removed files remain")
    # A worker deletes the row of a background job after the row of its file.
    wait_until(lambda: not deployment.rows("quick_work"), message="rows of background jobs remain")
    for table in (
        "avatar_projects",
        "avatars",
        "avatar_generations",
        "generation_attempts",
    ):
        assert deployment.rows(table) == [], table

"""The storage of pictures: a bucket, and a storage that fails."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import grpc
import httpx
import pytest

from avatar_creator import AvatarCreator, ImageVariant, NotFoundError
from tests import pictures
from tests.contract.calls import Calls, refusal
from tests.support.generations import COMPLETED, SMALLEST, final_state
from tests.support.object_storage import ObjectStorage
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.shared_services import deployed
from tests.support.waiting import wait_until

THUMBNAIL = ImageVariant.THUMBNAIL
SKETCH = pictures.png(pictures.scene())


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStorage]:
    """An S3 server for all tests here."""
    storage = ObjectStorage()
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def with_bucket(request: pytest.FixtureRequest, bucket: ObjectStorage) -> Iterator[Deployment]:
    """A running service that stores its pictures in the bucket, for all tests here."""
    with deployed(request, "distributed", **bucket.settings("production/pictures")) as deployment:
        deployment.start()
        yield deployment


@pytest.fixture
def object_storage() -> Iterator[ObjectStorage]:
    """An S3 server that the test may kill."""
    storage = ObjectStorage()
    yield storage
    storage.close()


def test_pictures_in_a_bucket_are_downloaded_and_removed(
    with_bucket: Deployment, bucket: ObjectStorage, user: str
) -> None:
    def stored() -> list[str]:
        all_keys = bucket.keys()
        keys = [key for key in all_keys if f"/{user}/" in key]
        assert all(key.startswith(f"production/pictures/avatar-creator/{user}/") for key in keys)
        return keys

    with with_bucket.client(user) as client:
        project = client.projects.create("Bucket")
        uploaded = client.avatars.upload(project.id, SKETCH, name="Sarah")
        assert not uploaded.thumbnail_pending
        generation = final_state(
            client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST, timeout=20.0)
        )
        assert generation.state == COMPLETED
        for avatar_id in (uploaded.id, generation.avatar_id):
            assert client.avatars.download(present(avatar_id))
            assert client.avatars.download(present(avatar_id), variant=THUMBNAIL)
        assert len(stored()) == 4
        assert with_bucket.files() == set()

        client.projects.delete(project.id)

        wait_until(lambda: not stored(), message="objects remain")
        rows = "SELECT 1 FROM files WHERE user_id = %s"
        wait_until(lambda: not with_bucket.execute(rows, user))


def test_a_link_to_a_picture_in_a_bucket_leads_to_the_bucket(
    with_bucket: Deployment, bucket: ObjectStorage, user: str
) -> None:
    with with_bucket.client(user) as client, httpx.Client(trust_env=False, timeout=10.0) as browser:
        project = client.projects.create("Bucket")
        uploaded = client.avatars.upload(project.id, SKETCH, name="Sarah")
        data = client.avatars.download(uploaded)
        url = present(client.avatars.get(uploaded, include_links=True).image_url)

        for method in ("GET", "HEAD"):
            led = browser.request(method, url, headers={"range": "bytes=0-9"})
            assert (led.status_code, led.content) == (302, b"")
            assert led.headers["location"].startswith(f"{bucket.endpoint}/{bucket.bucket}/")
            # The browser asks here again when the link has ended, and no later than the bucket's own address.
            age = int(led.headers["cache-control"].removeprefix("private, immutable, max-age="))
            assert 0 < age < int(parse_qs(urlsplit(led.headers["location"]).query)["X-Amz-Expires"][0])
            answer = browser.request(method, led.headers["location"])
            assert (answer.status_code, answer.content) == (200, data if method == "GET" else b"")
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["cache-control"] == "private, immutable, max-age=7200"
        part = browser.get(url, headers={"range": "bytes=0-9"}, follow_redirects=True)
        assert (part.status_code, part.content) == (206, data[:10])

        # A bucket gives a file no name, so a download comes from the service.
        saved = browser.get(f"{url}&download")
        assert (saved.status_code, saved.content) == (200, data)
        assert 'attachment; filename="Sarah.png"' in saved.headers["content-disposition"]

        assert browser.get(url.replace("signature=", "signature=x")).status_code == 403
        client.avatars.delete(uploaded)
        assert browser.get(url).status_code == 404


def test_an_upload_is_refused_in_time_while_the_bucket_is_unavailable(
    distributed: Deployment, object_storage: ObjectStorage, user: str
) -> None:
    distributed.settings.update(object_storage.settings("production"))
    distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as calls:
        project = calls.create_project()
        object_storage.kill()

        # The refusal must come before the deadline of the call, which would give DEADLINE_EXCEEDED.
        refused = refusal(lambda: calls.upload(project.id, SKETCH))

        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
        assert refused.retry_after is not None
        assert "127.0.0.1" not in refused.message
        assert distributed.rows("avatars") == []


def test_a_failing_storage_is_reported_and_works_again_after_the_repair(
    deployment: Deployment, user: str
) -> None:
    folder = deployment.upload_path / "avatar-creator"
    folder.write_bytes(b"a file where the folder should be")
    with Calls(deployment.target, deployment.token(user)) as calls:
        project = calls.create_project()

        refused = refusal(lambda: calls.upload(project.id, SKETCH))

        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
        assert refused.retry_after is not None
        assert str(deployment.upload_path) not in refused.message
        assert deployment.rows("avatars") == []

        folder.unlink()

        avatar = calls.upload(project.id, SKETCH)
        assert calls.download(avatar.id)[0].sha256 == avatar.image.sha256
        # The rows of the refused files are deleted.
        wait_until(lambda: [row["state"] for row in deployment.rows("files")] == ["owned"] * 2)
        wait_until(lambda: not deployment.rows("quick_work"))


def test_a_lost_file_does_not_fail_the_list_of_a_project(
    shared_deployment: Deployment, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Gallery")
    kept = shared_client.avatars.upload(project.id, SKETCH, name="Kept")
    lost = shared_client.avatars.upload(project.id, SKETCH, name="Lost")
    lost_id = _file_id(shared_deployment, lost.id)
    (thumbnail,) = (path for path in shared_deployment.files() if path.stem == lost_id)
    thumbnail.unlink()

    shown = {avatar.id: avatar.thumbnail_data for avatar in shared_client.projects.open(project.id).avatars}

    assert shown[lost.id] is None
    assert shown[kept.id]
    with pytest.raises(NotFoundError) as refused:
        shared_client.avatars.download(lost.id, variant=THUMBNAIL)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


def _file_id(deployment: Deployment, avatar_id: str) -> str:
    (row,) = deployment.execute("SELECT thumbnail_file_id FROM avatars WHERE id = %s", avatar_id)
    return str(row["thumbnail_file_id"])

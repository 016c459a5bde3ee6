"""Recording uses of avatars by apps, and the lists, sums and statistics of these uses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from avatar_creator import (
    AlreadyExistsError,
    AvatarCreator,
    GenerationState,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from tests import pictures
from tests.support.generations import final_state
from tests.support.presence import present
from tests.support.service import Deployment

PICTURE = pictures.png()


@pytest.fixture
def client(shared_client: AvatarCreator) -> AvatarCreator:
    """A client of the shared service, as `user`."""
    return shared_client


@pytest.fixture
def avatar_id(client: AvatarCreator) -> str:
    """An avatar without uses."""
    return client.avatars.upload(client.projects.create("Used").id, PICTURE, name="Sarah").id


@pytest.fixture
def app_client(shared_deployment: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client as `user` whose token belongs to an app."""
    with shared_deployment.client(user, app_id="pose-generator") as connected:
        yield connected


def test_a_use_is_stored_as_it_was_recorded(client: AvatarCreator, user: str, avatar_id: str) -> None:
    metadata = {"poses": 3, "tags": ["standing", None], "quality": {"score": 0.5, "ok": True}, "note": "ÉVA"}

    recorded = client.usage.record(
        avatar_id,
        action="generate_poses",
        app_id="pose-generator",
        app_name="Pose Generator",
        reference_id="set-7",
        reference_type="pose_set",
        metadata=metadata,
    )

    usage = recorded.usage
    assert (usage.avatar_id, usage.user_id) == (avatar_id, user)
    assert (usage.app_id, usage.app_name) == ("pose-generator", "Pose Generator")
    assert (usage.action, usage.reference_id, usage.reference_type) == (
        "generate_poses",
        "set-7",
        "pose_set",
    )
    assert usage.to_dict()["metadata"] == metadata
    assert recorded.usage_count == 1
    assert list(client.usage.list(avatar_id)) == [usage]
    avatar = client.avatars.get(avatar_id)
    assert (avatar.usage_count, avatar.last_used_time) == (1, usage.create_time)
    assert avatar.update_time == client.avatars.get(avatar_id).update_time


def test_a_use_needs_only_an_app_and_an_action(client: AvatarCreator, avatar_id: str) -> None:
    usage = client.usage.record(avatar_id, action="show", app_id="gallery").usage

    assert usage.app_name == "gallery", "an app without a name has its id as name"
    assert (usage.reference_id, usage.reference_type) == (None, None)
    assert usage.metadata == {}


def test_recording_a_use_does_not_change_the_avatar(client: AvatarCreator, avatar_id: str) -> None:
    before = client.avatars.get(avatar_id)

    client.usage.record(avatar_id, action="show", app_id="gallery")

    assert client.avatars.get(avatar_id).update_time == before.update_time


def test_uses_are_listed_newest_first_and_filtered_by_app_and_action(
    client: AvatarCreator, avatar_id: str
) -> None:
    ids: dict[str, list[str]] = {}
    for app_id, action in (("poses", "make"), ("video", "make"), ("poses", "show"), ("poses", "make")):
        usage = client.usage.record(avatar_id, action=action, app_id=app_id).usage
        for key in ("", app_id, f"/{action}", f"{app_id}/{action}"):
            ids.setdefault(key, []).insert(0, usage.id)

    def listed(**filters: Any) -> list[str]:
        return [usage.id for usage in client.usage.list(avatar_id, page_size=1, **filters)]

    assert listed() == ids[""]
    assert listed(app_id="poses") == ids["poses"]
    assert listed(action="make") == ids["/make"]
    assert listed(app_id="poses", action="make") == ids["poses/make"]
    assert listed(app_id="unknown") == []


def test_uses_are_summed_by_app_most_used_first(client: AvatarCreator, avatar_id: str) -> None:
    uses = [
        ("video", "Video", "render"),
        ("poses", "Poses", "make"),
        ("poses", "Poses", "show"),
        ("poses", "Pose Generator", "make"),
    ]
    times: dict[str, list[Any]] = {}
    for app_id, app_name, action in uses:
        usage = client.usage.record(avatar_id, action=action, app_id=app_id, app_name=app_name).usage
        times.setdefault(app_id, []).append(usage.create_time)

    poses, video = client.usage.summarize(avatar_id)

    assert (poses.app_id, poses.app_name, poses.usage_count) == ("poses", "Pose Generator", 3)
    assert [(made.action, made.usage_count) for made in poses.actions] == [("make", 2), ("show", 1)]
    assert (poses.first_used_time, poses.last_used_time) == (times["poses"][0], times["poses"][-1])
    assert (video.app_id, video.usage_count) == ("video", 1)
    assert video.first_used_time == video.last_used_time == times["video"][0]


def test_a_use_without_a_name_keeps_the_known_name_of_the_app(client: AvatarCreator, avatar_id: str) -> None:
    for app_name in ("", "Poses", "", "   "):
        client.usage.record(avatar_id, action="show", app_id="poses", app_name=app_name)

    [poses] = client.usage.summarize(avatar_id)

    assert (poses.app_name, poses.usage_count) == ("Poses", 4)
    assert {usage.app_name for usage in client.usage.list(avatar_id)} == {"poses", "Poses"}


def test_a_new_avatar_has_no_uses(client: AvatarCreator, avatar_id: str) -> None:
    assert list(client.usage.list(avatar_id)) == []
    assert list(client.usage.summarize(avatar_id)) == []
    avatar = client.avatars.get(avatar_id)
    assert (avatar.usage_count, avatar.last_used_time is not None) == (0, False)


def test_last_used_avatars_come_first_if_requested(client: AvatarCreator, avatar_id: str) -> None:
    project_id = client.avatars.get(avatar_id).project_id
    never, second, first = (
        client.avatars.upload(project_id, PICTURE, name=name).id for name in ("never", "second", "first")
    )
    for used in (first, avatar_id, second, first):
        client.usage.record(used, action="show", app_id="gallery")

    listed = client.avatars.list(project_id, order="last_used_first", page_size=1)

    assert [avatar.id for avatar in listed] == [first, second, avatar_id, never]


def test_the_uses_of_a_deleted_avatar_are_deleted(
    client: AvatarCreator, shared_deployment: Deployment, avatar_id: str
) -> None:
    request_id = str(uuid.uuid4())
    client.usage.record(avatar_id, action="show", app_id="gallery", request_id=request_id)

    client.avatars.delete(avatar_id)

    for call in (
        lambda: client.usage.record(avatar_id, action="show", app_id="gallery"),
        lambda: client.usage.record(avatar_id, action="show", app_id="gallery", request_id=request_id),
        lambda: list(client.usage.list(avatar_id)),
        lambda: client.usage.summarize(avatar_id),
    ):
        with pytest.raises(NotFoundError):
            call()
    for table in ("avatar_usage_history", "avatar_app_usage", "avatar_app_actions"):
        rows = shared_deployment.execute(f"SELECT * FROM {table} WHERE avatar_id = %s", avatar_id)
        assert rows == [], table


# App of the token


def test_the_app_of_the_token_is_the_default_app(app_client: AvatarCreator, avatar_id: str) -> None:
    unnamed = app_client.usage.record(avatar_id, action="show").usage
    named = app_client.usage.record(avatar_id, action="show", app_id="pose-generator", app_name="Poses").usage

    assert (unnamed.app_id, unnamed.app_name) == ("pose-generator", "pose-generator")
    assert (named.app_id, named.app_name) == ("pose-generator", "Poses")


def test_the_token_of_an_app_cannot_record_for_another_app(
    app_client: AvatarCreator, client: AvatarCreator, avatar_id: str
) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        app_client.usage.record(avatar_id, action="show", app_id="video-generator")

    assert refused.value.reason == "APP_MISMATCH"
    assert refused.value.metadata == {
        "token_app_id": "pose-generator",
        "request_app_id": "video-generator",
    }
    assert list(client.usage.list(avatar_id)) == []


def test_the_app_must_be_given_by_token_or_request(client: AvatarCreator, avatar_id: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        client.usage.record(avatar_id, action="", app_id="")

    assert sorted(violation.field for violation in refused.value.field_violations) == ["action", "app_id"]


def test_a_request_id_is_refused_for_another_app(
    shared_deployment: Deployment, app_client: AvatarCreator, user: str, avatar_id: str
) -> None:
    request_id = str(uuid.uuid4())
    first = app_client.usage.record(avatar_id, action="show", request_id=request_id)

    assert app_client.usage.record(avatar_id, action="show", request_id=request_id) == first
    with shared_deployment.client(user, app_id="video-generator") as other, pytest.raises(AlreadyExistsError):
        other.usage.record(avatar_id, action="show", request_id=request_id)


# Statistics


def test_statistics_of_a_new_user_are_zero(client: AvatarCreator) -> None:
    stats = client.usage.stats()

    assert (stats.avatar_count, stats.recent_upload_count, stats.usage_count) == (0, 0, 0)
    assert stats.average_usage_per_avatar == 0.0
    assert [(entry.state, entry.generation_count) for entry in stats.generations] == [
        (state, 0) for state in GenerationState
    ]


def test_statistics_follow_creation_use_and_deletion(client: AvatarCreator) -> None:
    project = client.projects.create("Figures")
    uploads = [client.avatars.upload(project.id, PICTURE, name=f"Face {number}").id for number in range(3)]
    generated = final_state(client.generations.create(project.id, "a portrait", width=256, height=256))
    for avatar_id in (uploads[0], uploads[0], generated.avatar_id):
        client.usage.record(present(avatar_id), action="show", app_id="gallery")

    def figures() -> tuple[int, int, int, float, dict[GenerationState, int]]:
        stats = client.usage.stats()
        return (
            stats.avatar_count,
            stats.recent_upload_count,
            stats.usage_count,
            stats.average_usage_per_avatar,
            {entry.state: entry.generation_count for entry in stats.generations if entry.generation_count},
        )

    completed = GenerationState.COMPLETED
    assert figures() == (4, 3, 3, 0.75, {completed: 1})

    client.avatars.delete(uploads[0])
    assert figures() == (3, 2, 1, 1 / 3, {completed: 1})

    client.avatars.delete(present(generated.avatar_id))
    assert figures() == (2, 2, 0, 0.0, {completed: 1})

    client.projects.delete(project.id)
    assert figures() == (0, 0, 0, 0.0, {})


def test_an_upload_is_recent_on_its_day_and_the_six_after_it(
    shared_deployment: Deployment, client: AvatarCreator, user: str, avatar_id: str
) -> None:
    def recent_after(days: int) -> int:
        day = (datetime.now(UTC) - timedelta(days=days)).date().isoformat()
        shared_deployment.execute("UPDATE daily_uploads SET day = %s WHERE user_id = %s", day, user)
        return client.usage.stats().recent_upload_count

    assert [recent_after(days) for days in (0, 6, 7, 8)] == [1, 1, 0, 0]
    assert client.usage.stats().avatar_count == 1

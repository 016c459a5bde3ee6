"""Idempotency: calls with the same `request_id` create one resource."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct, Value

from avatar_creator.v1.avatar_project_service_pb2 import CreateProjectRequest, DeleteProjectRequest
from avatar_creator.v1.avatar_service_pb2 import DeleteAvatarRequest, GetAvatarRequest
from avatar_creator.v1.generation_service_pb2 import GetGenerationRequest, RetryGenerationRequest
from avatar_creator.v1.usage_service_pb2 import GetStatsRequest, RecordUsageRequest, SummarizeUsageRequest
from tests import pictures
from tests.contract.calls import Calls, refusal, rows_of
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

CONCURRENT_CALLS = 20


@dataclass(frozen=True)
class Place:
    """A project in which a test creates resources."""

    project_id: str
    sources: tuple[str, ...]
    """Ids of the resources in the project that the calls need."""

    def before(self) -> set[str]:
        """Return the ids of the resources that existed before the call."""
        return {self.project_id, *self.sources}


class Create(Protocol):
    """Creates one resource."""

    def __call__(self, calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str: ...


def create_project(calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str:
    request = CreateProjectRequest(name="Spring", description="other" if other else "", request_id=request_id)
    return calls.projects.CreateProject(request).project.id


def upload_avatar(calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str:
    # Only the bytes of the picture differ: the metadata is the same.
    data = pictures.png(pictures.scene(40, 40) if other else pictures.scene())
    return calls.upload(place.project_id, data, request_id=request_id).id


def create_generation(calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str:
    prompt = "a smiling man" if other else "a portrait"
    return calls.create_generation(place.project_id, prompt=prompt, request_id=request_id).id


def retry_generation(calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str:
    request = RetryGenerationRequest(generation_id=place.sources[other], request_id=request_id)
    return calls.generations.RetryGeneration(request).generation.id


def record_usage(calls: Calls, place: Place, request_id: str, *, other: bool = False) -> str:
    metadata = Struct(fields={"poses": Value(number_value=4 if other else 3)})
    return calls.record_usage(place.sources[0], metadata=metadata, request_id=request_id).id


def nothing(calls: Calls, project_id: str) -> tuple[str, ...]:
    return ()


def two_cancelled_generations(calls: Calls, project_id: str) -> tuple[str, ...]:
    return calls.create_cancelled(project_id).id, calls.create_cancelled(project_id).id


def an_avatar(calls: Calls, project_id: str) -> tuple[str, ...]:
    return (calls.upload(project_id, pictures.png()).id,)


def delete_project(calls: Calls, place: Place, created_id: str) -> None:
    calls.projects.DeleteProject(DeleteProjectRequest(project_id=created_id))


def delete_avatar(calls: Calls, place: Place, created_id: str) -> None:
    calls.avatars.DeleteAvatar(DeleteAvatarRequest(avatar_id=created_id))


def delete_its_project(calls: Calls, place: Place, created_id: str) -> None:
    calls.projects.DeleteProject(DeleteProjectRequest(project_id=place.project_id))


def delete_its_avatar(calls: Calls, place: Place, created_id: str) -> None:
    calls.avatars.DeleteAvatar(DeleteAvatarRequest(avatar_id=place.sources[0]))


@dataclass(frozen=True)
class Creation:
    """An RPC that creates."""

    create: Create
    delete: Callable[[Calls, Place, str], None]
    """Deletes the resource, if necessary with the resource that contains it."""
    table: str
    resource: str
    """Type of the resource in NOT_FOUND errors."""
    sources: Callable[[Calls, str], tuple[str, ...]] = nothing
    """Creates the resources that the call needs, in a project."""

    def place(self, calls: Calls) -> Place:
        """Create a project with the needed resources."""
        project_id = calls.create_project().id
        return Place(project_id, self.sources(calls, project_id))


CREATIONS = {
    "CreateProject": Creation(create_project, delete_project, "avatar_projects", "project"),
    "UploadAvatar": Creation(upload_avatar, delete_avatar, "avatars", "avatar"),
    # A generation is deleted only with its project, and a use only with its avatar.
    "CreateGeneration": Creation(create_generation, delete_its_project, "avatar_generations", "generation"),
    "RetryGeneration": Creation(
        retry_generation, delete_its_project, "avatar_generations", "generation", two_cancelled_generations
    ),
    "RecordUsage": Creation(
        record_usage, delete_its_avatar, "avatar_usage_history", "usage record", an_avatar
    ),
}


@pytest.fixture(params=CREATIONS.values(), ids=list(CREATIONS))
def creation(request: pytest.FixtureRequest) -> Creation:
    """One of the RPCs that create."""
    found: Creation = request.param
    return found


def created(deployment: Deployment, creation: Creation, user: str, place: Place) -> list[str]:
    """Return the ids of the user's resources that did not exist before the call."""
    rows = deployment.execute(f"SELECT id FROM {creation.table} WHERE user_id = %s", user)
    return [row["id"] for row in rows if row["id"] not in place.before()]


def test_a_repeated_call_returns_the_same_resource(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    place, request_id = creation.place(calls), str(uuid.uuid4())

    first = creation.create(calls, place, request_id)

    assert creation.create(calls, place, request_id) == first
    # A UUID in upper case is the same id.
    assert creation.create(calls, place, request_id.upper()) == first
    assert created(shared_deployment, creation, user, place) == [first]


def test_concurrent_calls_with_one_request_id_create_one_resource(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    place, request_id = creation.place(calls), str(uuid.uuid4())

    with Threads(CONCURRENT_CALLS) as threads:
        running = [threads.submit(creation.create, calls, place, request_id) for _ in range(CONCURRENT_CALLS)]
        answers = {call.result() for call in running}

    assert created(shared_deployment, creation, user, place) == list(answers)


def test_another_body_is_refused_and_creates_nothing(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    place, request_id = creation.place(calls), str(uuid.uuid4())
    first = creation.create(calls, place, request_id)

    answer = refusal(lambda: creation.create(calls, place, request_id, other=True))

    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert answer.domain == "avatar-creator"
    assert answer.metadata == {"request_id": request_id}
    assert created(shared_deployment, creation, user, place) == [first]


def test_calls_without_request_id_create_separate_resources(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    place = creation.place(calls)

    ids = {creation.create(calls, place, ""), creation.create(calls, place, "")}

    assert len(ids) == 2
    assert set(created(shared_deployment, creation, user, place)) == ids


def test_another_users_request_id_is_independent(
    calls: Calls, strangers_calls: Calls, creation: Creation
) -> None:
    request_id = str(uuid.uuid4())

    mine = creation.create(calls, creation.place(calls), request_id)
    theirs = creation.create(strangers_calls, creation.place(strangers_calls), request_id, other=True)

    assert mine != theirs


def test_another_methods_request_id_is_independent(calls: Calls) -> None:
    request_id = str(uuid.uuid4())

    ids = {creation.create(calls, creation.place(calls), request_id) for creation in CREATIONS.values()}

    assert len(ids) == len(CREATIONS)


def test_a_refused_call_does_not_reserve_its_request_id(calls: Calls) -> None:
    """Send a call for a missing project, and then the call with the same id for an existing one."""
    request_id = str(uuid.uuid4())
    nowhere = Place(str(uuid.uuid4()), ())
    assert refusal(lambda: create_generation(calls, nowhere, request_id)).reason == "RESOURCE_NOT_FOUND"

    assert create_generation(calls, Place(calls.create_project().id, ()), request_id)


def test_a_refused_retry_does_not_reserve_its_request_id(calls: Calls) -> None:
    """Retry a running generation, and then with the same id a cancelled one."""
    place, request_id = CREATIONS["RetryGeneration"].place(calls), str(uuid.uuid4())
    too_early = Place(place.project_id, (calls.create_generation(place.project_id).id,))
    assert (
        refusal(lambda: retry_generation(calls, too_early, request_id)).reason == "GENERATION_NOT_RETRYABLE"
    )

    assert retry_generation(calls, place, request_id)


def test_a_use_by_another_app_is_another_body(shared_deployment: Deployment, calls: Calls, user: str) -> None:
    """Use requests without an app, so that the tokens name the apps."""
    place, request_id = CREATIONS["RecordUsage"].place(calls), str(uuid.uuid4())

    def record(app_id: str) -> str:
        token = shared_deployment.token(user, app_id=app_id)
        with Calls(shared_deployment.target, token) as calls_of_app:
            return calls_of_app.record_usage(place.sources[0], app_id="", request_id=request_id).id

    first = record("pose-generator")

    assert record("pose-generator") == first
    assert refusal(lambda: record("video-generator")).reason == "REQUEST_ID_REUSED"


def test_a_repeated_use_is_counted_once(calls: Calls) -> None:
    place, request_id = CREATIONS["RecordUsage"].place(calls), str(uuid.uuid4())
    request = RecordUsageRequest(
        avatar_id=place.sources[0], app_id="pose-generator", action="pose", request_id=request_id
    )

    answers = [calls.usage.RecordUsage(request) for _ in range(3)]

    assert [answer.usage_count for answer in answers] == [1, 1, 1]
    assert answers[1:] == answers[:1] * 2
    summary = calls.usage.SummarizeUsage(SummarizeUsageRequest(avatar_id=place.sources[0]))
    assert [(app.app_id, app.usage_count) for app in summary.apps] == [("pose-generator", 1)]
    assert calls.usage.GetStats(GetStatsRequest()).usage_count == 1


def test_a_deleted_resource_is_not_created_again(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    place, request_id = creation.place(calls), str(uuid.uuid4())
    first = creation.create(calls, place, request_id)
    creation.delete(calls, place, first)

    answer = refusal(lambda: creation.create(calls, place, request_id))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert created(shared_deployment, creation, user, place) == []


def test_a_repeated_upload_leaves_one_avatar_and_one_set_of_files(
    shared_deployment: Deployment, calls: Calls, user: str
) -> None:
    place, request_id = CREATIONS["UploadAvatar"].place(calls), str(uuid.uuid4())

    avatars = {upload_avatar(calls, place, request_id) for _ in range(3)}

    assert len(avatars) == 1
    folder = shared_deployment.upload_path / "avatar-creator" / user

    def one_picture_and_its_thumbnail() -> bool:
        rows = rows_of(shared_deployment, user)
        stored = {path.name for path in folder.iterdir()}
        return [row["state"] for row in rows["files"]] == ["owned", "owned"] and stored == {
            row["key"].rpartition("/")[2] for row in rows["files"]
        }

    wait_until(one_picture_and_its_thumbnail, message=f"left over: {sorted(folder.iterdir())}")


def test_a_repeated_call_returns_the_current_state(calls: Calls) -> None:
    place, request_id = CREATIONS["CreateGeneration"].place(calls), str(uuid.uuid4())
    generation_id = create_generation(calls, place, request_id)
    ended = calls.wait_for_end(generation_id)

    again = calls.create_generation(place.project_id, request_id=request_id)

    assert again == ended
    assert (
        again == calls.generations.GetGeneration(GetGenerationRequest(generation_id=generation_id)).generation
    )
    assert (
        calls.avatars.GetAvatar(GetAvatarRequest(avatar_id=again.avatar_id)).avatar.generation_id == again.id
    )

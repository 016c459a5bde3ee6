"""Calls that create happen once per `request_id`, however often and from wherever they are sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import CreateProjectRequest, DeleteProjectRequest
from avatar_creator.v1.avatar_service_pb2 import DeleteAvatarRequest, GetAvatarRequest
from avatar_creator.v1.generation_service_pb2 import GetGenerationRequest
from tests import pictures
from tests.contract.calls import Calls, refusal, rows_of
from tests.support.service import Deployment
from tests.support.waiting import wait_until

CONCURRENT_CALLS = 20


class Create(Protocol):
    """Makes one thing in a project, which only CreateProject does without."""

    def __call__(self, calls: Calls, project_id: str, request_id: str, *, other: bool = False) -> str: ...


def create_project(calls: Calls, project_id: str, request_id: str, *, other: bool = False) -> str:
    request = CreateProjectRequest(name="Spring", description="other" if other else "", request_id=request_id)
    return calls.projects.CreateProject(request).project.id


def upload_avatar(calls: Calls, project_id: str, request_id: str, *, other: bool = False) -> str:
    # Another body by its bytes alone: the metadata is the same.
    data = pictures.png(pictures.scene(40, 40) if other else pictures.scene())
    return calls.upload(project_id, data, request_id=request_id).id


def create_generation(calls: Calls, project_id: str, request_id: str, *, other: bool = False) -> str:
    prompt = "a smiling man" if other else "a portrait"
    return calls.generation(project_id, prompt=prompt, request_id=request_id).id


@dataclass(frozen=True)
class Creation:
    """An RPC that creates."""

    create: Create
    table: str
    resource: str
    """What NOT_FOUND calls it."""


CREATIONS = {
    "CreateProject": Creation(create_project, "avatar_projects", "project"),
    "UploadAvatar": Creation(upload_avatar, "avatars", "avatar"),
    "CreateGeneration": Creation(create_generation, "avatar_generations", "generation"),
}


@pytest.fixture(params=CREATIONS.values(), ids=list(CREATIONS))
def creation(request: pytest.FixtureRequest) -> Creation:
    """One of the RPCs that create."""
    found: Creation = request.param
    return found


def made(deployment: Deployment, creation: Creation, user: str, besides: str) -> list[str]:
    """Ids of the things this user has of that kind, but for the project the test began with."""
    rows = deployment.execute(f"SELECT id FROM {creation.table} WHERE user_id = %s", user)
    return [row["id"] for row in rows if row["id"] != besides]


def test_the_same_request_answers_with_what_it_made(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())

    first = creation.create(calls, project.id, request_id)

    assert creation.create(calls, project.id, request_id) == first
    # A UUID is the same in capitals.
    assert creation.create(calls, project.id, request_id.upper()) == first
    assert made(shared_deployment, creation, user, project.id) == [first]


def test_concurrent_calls_with_one_request_id_make_one_thing(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())

    with ThreadPoolExecutor(CONCURRENT_CALLS) as threads:
        running = [
            threads.submit(creation.create, calls, project.id, request_id) for _ in range(CONCURRENT_CALLS)
        ]
        answers = {call.result() for call in running}

    assert made(shared_deployment, creation, user, project.id) == list(answers)


def test_another_body_is_refused_and_makes_nothing(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())
    first = creation.create(calls, project.id, request_id)

    answer = refusal(lambda: creation.create(calls, project.id, request_id, other=True))

    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert answer.domain == "avatar-creator"
    assert answer.metadata == {"request_id": request_id}
    assert made(shared_deployment, creation, user, project.id) == [first]


def test_calls_without_request_id_are_each_their_own(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    project = calls.project()

    ids = {creation.create(calls, project.id, ""), creation.create(calls, project.id, "")}

    assert len(ids) == 2
    assert set(made(shared_deployment, creation, user, project.id)) == ids


def test_another_users_request_id_is_independent(
    calls: Calls, strangers_calls: Calls, creation: Creation
) -> None:
    request_id = str(uuid.uuid4())

    mine = creation.create(calls, calls.project().id, request_id)
    theirs = creation.create(strangers_calls, strangers_calls.project().id, request_id, other=True)

    assert mine != theirs


def test_another_methods_request_id_is_independent(calls: Calls) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())

    ids = {creation.create(calls, project.id, request_id) for creation in CREATIONS.values()}

    assert len(ids) == len(CREATIONS)


def test_a_refused_call_does_not_use_up_its_request_id(calls: Calls) -> None:
    """The project was not there yet; the same call may be sent again once it is."""
    request_id = str(uuid.uuid4())
    nowhere = str(uuid.uuid4())
    assert refusal(lambda: create_generation(calls, nowhere, request_id)).reason == "RESOURCE_NOT_FOUND"

    assert create_generation(calls, calls.project().id, request_id)


def test_what_was_deleted_is_not_made_again(
    shared_deployment: Deployment, calls: Calls, user: str, creation: Creation
) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())
    first = creation.create(calls, project.id, request_id)
    DELETE[creation.resource](calls, project.id, first)

    answer = refusal(lambda: creation.create(calls, project.id, request_id))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert made(shared_deployment, creation, user, project.id) == []


DELETE: dict[str, Callable[[Calls, str, str], Any]] = {
    "project": lambda calls, _, made: calls.projects.DeleteProject(DeleteProjectRequest(project_id=made)),
    "avatar": lambda calls, _, made: calls.avatars.DeleteAvatar(DeleteAvatarRequest(avatar_id=made)),
    # A generation goes with its project alone.
    "generation": lambda calls, project, _: calls.projects.DeleteProject(
        DeleteProjectRequest(project_id=project)
    ),
}


def test_a_repeated_upload_leaves_one_avatar_and_one_set_of_files(
    shared_deployment: Deployment, calls: Calls, user: str
) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())

    avatars = {upload_avatar(calls, project.id, request_id) for _ in range(3)}

    assert len(avatars) == 1
    folder = shared_deployment.upload_path / "avatar-creator" / user

    def one_picture_and_its_thumbnail() -> bool:
        rows = rows_of(shared_deployment, user)
        stored = {path.name for path in folder.iterdir()}
        return [row["state"] for row in rows["files"]] == ["owned", "owned"] and stored == {
            row["key"].rpartition("/")[2] for row in rows["files"]
        }

    wait_until(one_picture_and_its_thumbnail, message=f"left over: {sorted(folder.iterdir())}")


def test_a_repeated_call_shows_the_thing_as_it_is_now(calls: Calls) -> None:
    project, request_id = calls.project(), str(uuid.uuid4())
    generation_id = create_generation(calls, project.id, request_id)
    ended = calls.ended(generation_id)

    again = calls.generation(project.id, request_id=request_id)

    assert again == ended
    assert (
        again == calls.generations.GetGeneration(GetGenerationRequest(generation_id=generation_id)).generation
    )
    assert (
        calls.avatars.GetAvatar(GetAvatarRequest(avatar_id=again.avatar_id)).avatar.generation_id == again.id
    )

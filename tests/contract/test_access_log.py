"""The access log: one line for each call, without tokens and secrets."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import grpc

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from avatar_creator.v1.generation_service_pb2_grpc import GenerationServiceStub
from avatar_creator_server.api.server import SERVICE_NAMES
from tests import pictures
from tests.contract.calls import Calls, refusal
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until


def logged(server: ServiceProcess, method: str, user: str) -> list[dict[str, Any]]:
    """Return the log entries for this user's calls of a method."""
    return [
        entry
        for entry in server.events("call_finished")
        if entry["method"].endswith(f"/{method}") and entry["user"] == user
    ]


def test_every_call_is_logged_in_one_line(shared_deployment: Deployment, calls: Calls, user: str) -> None:
    server = shared_deployment.servers[0]
    project = calls.create_project()
    avatar = calls.upload(project.id, pictures.png())
    calls.download(avatar.id)
    generation = calls.wait_for_end(calls.create_generation(project.id).id)
    refusal(lambda: calls.projects.CreateProject(projects_pb.CreateProjectRequest(name="")))
    refusal(lambda: calls.projects.GetProject(projects_pb.GetProjectRequest(project_id=str(uuid.uuid4()))))
    unknown = WatchGenerationRequest(generation_id=str(uuid.uuid4()))
    refusal(lambda: calls.generations.WatchGeneration(unknown))
    expected = {
        "CreateProject": ["OK", "INVALID_ARGUMENT"],
        "GetProject": ["NOT_FOUND"],
        "UploadAvatar": ["OK"],
        "DownloadImage": ["OK"],
        "CreateGeneration": ["OK"],
        "WatchGeneration": ["OK", "NOT_FOUND"],
        "GetGeneration": ["OK"],
    }

    def codes() -> dict[str, list[str]]:
        return {method: [entry["code"] for entry in logged(server, method, user)] for method in expected}

    wait_until(lambda: codes() == expected, message=lambda: f"logged {codes()}")
    entries = [entry for entry in server.events("call_finished") if entry["user"] == user]
    assert len(entries) == sum(map(len, expected.values()))
    assert {entry["method"].split("/")[1] for entry in entries} <= set(SERVICE_NAMES)
    assert all(
        type(entry["milliseconds"]) is float and 0 <= entry["milliseconds"] < 30_000 for entry in entries
    )
    assert generation.id not in {entry["method"] for entry in entries}


def test_a_watch_that_the_client_cancels_is_logged_in_one_line(
    shared_deployment: Deployment, calls: Calls, user: str
) -> None:
    large = {"options": {"width": 1440, "height": 1440}}
    project = calls.create_project()
    generation = [calls.create_generation(project.id, **large) for _ in range(4)][-1]
    watch: Any = GenerationServiceStub(calls.channel).WatchGeneration(
        WatchGenerationRequest(generation_id=generation.id), metadata=calls.metadata, timeout=30
    )
    next(watch)

    watch.cancel()

    server = shared_deployment.servers[0]
    wait_until(lambda: logged(server, "WatchGeneration", user), message="the watch was never logged")
    assert [entry["code"] for entry in logged(server, "WatchGeneration", user)] == ["CANCELLED"]
    calls.projects.DeleteProject(projects_pb.DeleteProjectRequest(project_id=project.id))


def test_calls_without_a_valid_token_are_logged_without_a_user(shared_deployment: Deployment) -> None:
    server = shared_deployment.servers[0]

    def refusals() -> int:
        return sum(entry["code"] == "UNAUTHENTICATED" for entry in logged(server, "ListProjects", ""))

    before = refusals()

    with Calls(shared_deployment.target, "garbage") as calls:
        answer = refusal(lambda: calls.projects.ListProjects(projects_pb.ListProjectsRequest()))

    assert answer.code == grpc.StatusCode.UNAUTHENTICATED
    wait_until(lambda: refusals() == before + 1, message="the refusal was never logged")


def test_tokens_and_secrets_are_never_logged(shared_deployment: Deployment, calls: Calls, user: str) -> None:
    server = shared_deployment.servers[0]
    ((_, authorization),) = calls.metadata
    expired = shared_deployment.token(user, exp=int(time.time()) - 10)
    calls.create_project()
    with Calls(shared_deployment.target, expired) as late:
        assert refusal(late.create_project).reason == "TOKEN_EXPIRED"
    wait_until(lambda: len(logged(server, "CreateProject", user)) == 1, message="the call was never logged")

    written = "".join(
        process.output() for process in (*shared_deployment.servers, *shared_deployment.workers)
    )

    hidden = [
        *authorization.removeprefix("Bearer ").split(".")[1:],
        *expired.split(".")[1:],
        shared_deployment.settings["JWT_SECRET"],
    ]
    assert [part for part in hidden if part in written] == []


def test_every_line_that_a_process_writes_is_json(shared_deployment: Deployment, calls: Calls) -> None:
    garbage: Any = calls.channel.unary_unary(f"/{SERVICE_NAMES[0]}/CreateProject")
    refusal(lambda: garbage(b"\xff\xff", metadata=calls.metadata, timeout=10))
    for process in (*shared_deployment.servers, *shared_deployment.workers):
        lines = process.output().splitlines()
        assert lines
        for line in lines:
            assert isinstance(json.loads(line), dict)

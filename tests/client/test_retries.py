"""Retries: which calls, with which request id, after which delays."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from avatar_creator import Backoff, NotFoundError, ResourceExhaustedError, UnavailableError
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import (
    CreateProjectResponse,
    GetProjectResponse,
    UpdateProjectResponse,
)
from avatar_creator.v1.avatar_service_pb2 import (
    DeleteAvatarResponse,
    UpdateAvatarResponse,
    UploadAvatarResponse,
)
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationResponse,
    CreateGenerationResponse,
    EstimateGenerationResponse,
    RetryGenerationResponse,
)
from avatar_creator.v1.usage_service_pb2 import RecordUsageResponse
from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import LOST, Failure, ScriptedServer, Step

Use = Callable[..., Any]

WITH_REQUEST_ID: dict[str, tuple[Use, Step]] = {
    "CreateProject": (lambda c, **k: c.projects.create("Spring", **k), CreateProjectResponse()),
    "UploadAvatar": (lambda c, **k: c.avatars.upload("p1", b"x", name="S", **k), UploadAvatarResponse()),
    "CreateGeneration": (lambda c, **k: c.generations.create("p1", "a", **k), CreateGenerationResponse()),
    "CreateGeneration, of variations": (
        lambda c, **k: c.generations.create_variations("p1", "a", 2, **k),
        CreateGenerationResponse(),
    ),
    "CreateGeneration, of a recipe": (
        lambda c, **k: c.generations.reproduce("g1", project="p1", **k),
        CreateGenerationResponse(),
    ),
    "RetryGeneration": (lambda c, **k: c.generations.retry("g1", **k), RetryGenerationResponse()),
    "UpdateProject": (lambda c, **k: c.projects.update("p1", name="x", **k), UpdateProjectResponse()),
    "UpdateAvatar": (lambda c, **k: c.avatars.update("a1", name="x", **k), UpdateAvatarResponse()),
    "RecordUsage": (lambda c, **k: c.usage.record("a1", action="pose", **k), RecordUsageResponse()),
}


def request_id(call: Any) -> str:
    first = call.requests[0]
    return str(first.metadata.request_id if call.method == "UploadAvatar" else first.request_id)


@pytest.mark.parametrize("call", WITH_REQUEST_ID)
def test_all_attempts_of_a_call_have_one_request_id(call: str, client: Any, server: ScriptedServer) -> None:
    use, answer = WITH_REQUEST_ID[call]
    method = call.partition(",")[0]
    server.script(method, [LOST], [LOST], [answer], [answer])
    use(client)
    use(client)
    first, second, third, other = map(request_id, server.received(method))
    assert first == second == third
    assert uuid.UUID(first) != uuid.UUID(other)


@pytest.mark.parametrize("call", WITH_REQUEST_ID)
def test_a_given_request_id_is_used(call: str, client: Any, server: ScriptedServer) -> None:
    use, answer = WITH_REQUEST_ID[call]
    method = call.partition(",")[0]
    server.script(method, [answer])
    use(client, request_id="0b0e1f2a-3c4d-4e5f-8a9b-0c1d2e3f4a5b")
    assert request_id(server.received(method)[0]) == "0b0e1f2a-3c4d-4e5f-8a9b-0c1d2e3f4a5b"


@pytest.mark.parametrize(
    ("method", "use", "answer"),
    [
        ("GetProject", lambda c: c.projects.get("p1"), GetProjectResponse()),
        ("CancelGeneration", lambda c: c.generations.cancel("g1"), CancelGenerationResponse()),
        ("EstimateGeneration", lambda c: c.generations.estimate("p1", "a"), EstimateGenerationResponse()),
    ],
    ids=["read", "cancel", "estimate"],
)
def test_reads_and_cancels_are_retried(
    method: str, use: Use, answer: Step, client: Any, server: ScriptedServer
) -> None:
    server.script(method, [LOST], [answer])
    use(client)
    assert len(server.received(method)) == 2


@pytest.mark.parametrize(
    ("method", "use"),
    [
        ("DeleteProject", lambda c: c.projects.delete("p1")),
        ("DeleteAvatar", lambda c: c.avatars.delete("a1")),
        ("UploadAvatar", lambda c: c.avatars.upload("p1", BytesIO(b"x"), name="S")),
        ("BulkCancelGenerations", lambda c: c.operations.bulk_cancel(max_count=100)),
        ("BulkRetryGenerations", lambda c: c.operations.bulk_retry(max_count=100)),
    ],
    ids=["project", "avatar", "upload of a file object", "bulk cancel", "bulk retry"],
)
def test_deletes_bulk_calls_and_uploads_of_file_objects_are_not_retried(
    method: str, use: Use, client: Any, server: ScriptedServer
) -> None:
    server.script(method, [LOST])
    with pytest.raises(UnavailableError):
        use(client)
    assert len(server.received(method)) == 1


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)],
    ids=lambda code: code.name,
)
def test_only_unavailable_is_retried(code: grpc.StatusCode, client: Any, server: ScriptedServer) -> None:
    server.script("GetProject", [Failure(code)])
    with pytest.raises(Exception, match="it failed"):
        client.projects.get("p1")
    assert len(server.received("GetProject")) == 1


def test_retries_end_with_the_deadline_of_the_call(
    connect: Connector, server: ScriptedServer, time: FakeTime
) -> None:
    client = connect(server.target, backoff=Backoff(random=lambda: 1.0))
    server.script("GetProject", *[[LOST]] * 10)
    with pytest.raises(UnavailableError):
        client.projects.get("p1", timeout=2.0)
    assert time.slept == [0.1, 0.2, 0.4, 0.8]
    left = [call.seconds_left for call in server.received("GetProject")]
    assert left == pytest.approx([2.0, 1.9, 1.7, 1.3, 0.5], abs=0.2)


def test_the_delay_from_the_service_is_respected(
    connect: Connector, server: ScriptedServer, time: FakeTime
) -> None:
    client = connect(server.target, backoff=Backoff(random=lambda: 0.5))
    failure = Failure(grpc.StatusCode.UNAVAILABLE, (RetryInfo(retry_delay=Duration(seconds=3)),))
    server.script("GetProject", [failure], [GetProjectResponse(project=AvatarProject(id="p1"))])
    assert client.projects.get("p1").id == "p1"
    assert time.slept == [3.05]


def test_a_delay_beyond_the_deadline_ends_the_call_at_once(
    client: Any, server: ScriptedServer, time: FakeTime
) -> None:
    failure = Failure(grpc.StatusCode.UNAVAILABLE, (RetryInfo(retry_delay=Duration(seconds=30)),))
    server.script("GetProject", [failure])
    with pytest.raises(UnavailableError) as caught:
        client.projects.get("p1")
    assert caught.value.retry_after == 30
    assert time.slept == []


def limited(reason: str, *, delay: bool = True) -> Failure:
    """Return a RESOURCE_EXHAUSTED with this reason."""
    details: list[Message] = [ErrorInfo(reason=reason, domain="avatar-creator")]
    if delay:
        details.append(RetryInfo(retry_delay=Duration(seconds=2)))
    return Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, tuple(details))


@pytest.mark.parametrize("reason", ["TRANSFER_LIMIT", "DATABASE_LIMIT", "CALL_LIMIT"])
def test_a_limit_of_calls_at_the_same_time_is_retried_after_its_delay(
    reason: str, connect: Connector, server: ScriptedServer, time: FakeTime
) -> None:
    client = connect(server.target, backoff=Backoff(random=lambda: 0.5))
    server.script("UploadAvatar", [limited(reason)], [UploadAvatarResponse()])

    client.avatars.upload("p1", b"x", name="S")

    assert time.slept == [2.05]
    first, second = map(request_id, server.received("UploadAvatar"))
    assert first == second


@pytest.mark.parametrize(
    "failure",
    [
        limited("CALL_LIMIT"),
        limited("DATABASE_LIMIT"),
        replace(limited("OVERLOADED"), code=grpc.StatusCode.UNAVAILABLE),
    ],
    ids=["CALL_LIMIT", "DATABASE_LIMIT", "OVERLOADED"],
)
def test_a_delete_that_the_service_has_not_begun_is_sent_again(
    failure: Failure, client: Any, server: ScriptedServer
) -> None:
    server.script("DeleteAvatar", [failure], [DeleteAvatarResponse()])
    client.avatars.delete("a1")
    assert len(server.received("DeleteAvatar")) == 2


@pytest.mark.parametrize(
    "failure",
    [limited("GENERATION_LIMIT"), limited("TRANSFER_LIMIT", delay=False)],
    ids=["a limit of generations", "without a delay"],
)
def test_other_limits_are_not_retried(failure: Failure, client: Any, server: ScriptedServer) -> None:
    server.script("GetProject", [failure])
    with pytest.raises(ResourceExhaustedError):
        client.projects.get("p1")
    assert len(server.received("GetProject")) == 1


def test_jitter_spreads_the_delay_from_zero_to_its_bound() -> None:
    delays = [Backoff(random=lambda share=share: share).delay(3) for share in (0.0, 0.5, 1.0)]  # type: ignore[misc]
    assert delays == pytest.approx([0.0, 0.2, 0.4])


def test_delays_are_bounded_after_any_number_of_failures() -> None:
    assert Backoff(random=lambda: 1.0).delay(100_000) == 5.0


def test_a_final_error_of_a_retry_is_raised(client: Any, server: ScriptedServer) -> None:
    server.script("GetProject", [LOST], [Failure(grpc.StatusCode.NOT_FOUND)])
    with pytest.raises(NotFoundError):
        client.projects.get("p1")

"""Every failure is raised as one typed error with all its details."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as rpc_details

from avatar_creator import (
    AbortedError,
    AlreadyExistsError,
    AvatarCreatorError,
    CallCancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    GenerationFailedError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    QuotaViolation,
    Resource,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    values,
)
from avatar_creator.errors import ERROR_BY_CODE
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import Generation, GenerationError
from avatar_creator.v1.generation_service_pb2 import WatchGenerationResponse
from tests.client.both_clients import Connector
from tests.client.scripted_server import Failure, ScriptedServer, UntilClientLeaves

CLASS_BY_CODE = {
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNKNOWN: UnknownError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: DataLossError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}
DETAILS = (
    rpc_details.ErrorInfo(reason="SOME_REASON", domain="avatar-creator", metadata={"key": "value"}),
    rpc_details.BadRequest(
        field_violations=[
            rpc_details.BadRequest.FieldViolation(field="name", description="too long"),
            rpc_details.BadRequest.FieldViolation(field="persona.age", description="too old"),
        ]
    ),
    rpc_details.QuotaFailure(
        violations=[rpc_details.QuotaFailure.Violation(subject="user", description="4 at a time")]
    ),
    rpc_details.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
    rpc_details.ResourceInfo(resource_type="project", resource_name="p1"),
    rpc_details.Help(),
)


def test_every_status_has_an_error_class() -> None:
    assert CLASS_BY_CODE == ERROR_BY_CODE
    assert CLASS_BY_CODE.keys() == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", CLASS_BY_CODE, ids=lambda code: code.name)
def test_a_status_is_raised_as_its_class_with_all_details(
    code: grpc.StatusCode, client: Any, server: ScriptedServer
) -> None:
    server.script("DeleteProject", [Failure(code, DETAILS, "not possible")])
    with pytest.raises(AvatarCreatorError) as caught:
        client.projects.delete("p1")
    error = caught.value
    assert type(error) is CLASS_BY_CODE[code]
    assert error.code is code
    assert error.message == "not possible"
    assert error.reason == "SOME_REASON"
    assert error.metadata == {"key": "value"}
    assert error.field_violations == [
        FieldViolation("name", "too long"),
        FieldViolation("persona.age", "too old"),
    ]
    assert error.quota_violations == [QuotaViolation("user", "4 at a time")]
    assert error.retry_after == 1.5
    assert error.resource == Resource("project", "p1")
    assert isinstance(error.__cause__, grpc.RpcError)
    # The service's message already names every violation.
    assert str(error) == "SOME_REASON: not possible"


def test_an_error_without_details_has_empty_details(client: Any, server: ScriptedServer) -> None:
    server.script("GetAvatar", [Failure(grpc.StatusCode.NOT_FOUND)])
    with pytest.raises(NotFoundError) as caught:
        client.avatars.get("a1")
    error = caught.value
    assert (error.reason, error.metadata, error.field_violations) == ("", {}, [])
    assert (error.retry_after, error.resource) == (None, None)


def test_a_limit_error_has_the_limit_its_value_and_the_delay(client: Any, server: ScriptedServer) -> None:
    details = (
        rpc_details.ErrorInfo(
            reason="GENERATION_LIMIT", metadata={"limit": "spend_per_day", "most": "20000000"}
        ),
        rpc_details.QuotaFailure(
            violations=[
                rpc_details.QuotaFailure.Violation(subject="spend_per_day", description="$20 allowed")
            ]
        ),
        rpc_details.RetryInfo(retry_delay=Duration(seconds=90)),
    )
    server.script("CreateGeneration", [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, details)])
    with pytest.raises(ResourceExhaustedError) as caught:
        client.generations.create_variations("p1", "a portrait", 4)
    error = caught.value
    assert error.quota_violations == [QuotaViolation("spend_per_day", "$20 allowed")]
    assert (error.reason, error.metadata["most"], error.retry_after) == ("GENERATION_LIMIT", "20000000", 90)


@pytest.mark.parametrize("number", ErrorReason.values()[1:])
def test_every_reason_of_a_failed_generation_has_its_name(number: Any) -> None:
    message = Generation(id="g1", error=GenerationError(reason=number, message="no"))
    error = GenerationFailedError(values.Generation.from_message(message))
    assert f"ERROR_REASON_{error.reason}" == ErrorReason.Name(number)


CALLS: dict[str, Callable[[Any], Any]] = {
    "ListProjects": lambda client: list(client.projects.list()),
    "UploadAvatar": lambda client: client.avatars.upload("p1", b"picture", name="Sarah"),
    "DownloadImage": lambda client: client.avatars.download("a1"),
    "WatchGeneration": lambda client: list(client.generations.watch("g1")),
    "WatchGenerations": lambda client: list(client.generations.watch_many(["g1"])),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED], ids=lambda code: code.name
)
def test_lists_and_streams_raise_no_raw_grpc_errors(
    method: str, code: grpc.StatusCode, client: Any, server: ScriptedServer
) -> None:
    server.script(method, [Failure(code)])
    with pytest.raises(CLASS_BY_CODE[code]):
        CALLS[method](client)


def test_an_error_in_the_middle_of_a_stream_is_typed(client: Any, server: ScriptedServer) -> None:
    state = WatchGenerationResponse(generation=Generation(id="g1", revision=1))
    server.script("WatchGeneration", [state, Failure(grpc.StatusCode.NOT_FOUND)])
    states = client.generations.watch("g1")
    assert next(states).revision == 1
    with pytest.raises(NotFoundError):
        next(states)


def test_a_missing_server_is_an_unavailable_error(connect: Connector, server: ScriptedServer) -> None:
    server.stop()
    with pytest.raises(UnavailableError):
        connect(server.target).projects.delete("p1")


def test_a_passed_deadline_is_typed(client: Any, server: ScriptedServer) -> None:
    server.script("GetProject", [UntilClientLeaves()])
    with pytest.raises(DeadlineExceededError):
        client.projects.get("p1", timeout=0.05)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("gone", reason="RESOURCE_NOT_FOUND", resource=Resource("avatar", "a1")),
        GenerationFailedError(
            values.Generation.from_message(
                Generation(
                    id="g1",
                    error=GenerationError(reason=ErrorReason.ERROR_REASON_PROVIDER_REJECTED, message="no"),
                )
            )
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_be_pickled(error: AvatarCreatorError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)

"""Every error the client raises, and the one place where a gRPC status becomes one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import Generation

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks the contract, from `google.rpc.BadRequest`."""

    field: str
    """Path of the field, for example `persona.age`."""
    description: str
    """What is wrong with it, for people."""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One limit that was reached, from `google.rpc.QuotaFailure`."""

    subject: str
    """Name of the limit, for example `per_day`."""
    description: str
    """How it was reached, for people."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What an error is about, from `google.rpc.ResourceInfo`."""

    type: str
    """The type's name, as the service gives it."""
    id: str
    """The id that was asked for."""


class AvatarCreatorError(Exception):
    """A call that failed. The gRPC error it came from, if any, is its `__cause__`.

    Attributes:
        message: what happened, for people.
        code: the gRPC status; the same for all errors of one class.
        reason: name of an `ErrorReason` without its prefix, for example `RESOURCE_NOT_FOUND`. Empty when
            the error was not made by the service: no connection, deadline passed, damaged picture.
        metadata: what the reason's comment in the contract says it carries.
        field_violations: all fields that break the contract; empty for other errors.
        quota_violations: the limits that were reached; empty for other errors.
        retry_after: seconds after which the same call may succeed; None if the service gave none.
        resource: what was not found, or otherwise is in question; None if the service named none.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Iterable[FieldViolation] = (),
        quota_violations: Iterable[QuotaViolation] = (),
        retry_after: float | None = None,
        resource: Resource | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_violations = list(field_violations)
        self.quota_violations = list(quota_violations)
        self.retry_after = retry_after
        self.resource = resource

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class CallCancelledError(AvatarCreatorError):
    """The call was cut short, as by `close()`. Cancelling an asyncio task raises `asyncio.CancelledError`."""

    code = grpc.StatusCode.CANCELLED


class UnknownError(AvatarCreatorError):
    """The service failed and did not say how."""

    code = grpc.StatusCode.UNKNOWN


class InvalidArgumentError(AvatarCreatorError):
    """The request breaks the contract; `field_violations` says where."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceededError(AvatarCreatorError):
    """The call's `timeout` passed. What it asked for may have been done."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFoundError(AvatarCreatorError):
    """No such thing, or another user's; `resource` says which."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(AvatarCreatorError):
    """The `request_id` was used before for something else."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDeniedError(AvatarCreatorError):
    """The token does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(AvatarCreatorError):
    """A limit was reached: `quota_violations` says which, `retry_after` when there is room again.

    `metadata["most"]` is how much is allowed, for the limit `spend_per_day` in millionths of a US dollar.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(AvatarCreatorError):
    """Not in the state the thing is in now."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class AbortedError(AvatarCreatorError):
    """Another call came in between."""

    code = grpc.StatusCode.ABORTED


class OutOfRangeError(AvatarCreatorError):
    """Past the end of what there is."""

    code = grpc.StatusCode.OUT_OF_RANGE


class UnimplementedError(AvatarCreatorError):
    """This server does not serve the call, or is not an Avatar Creator."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(AvatarCreatorError):
    """A defect of the service; `metadata["incident_id"]` is for its operators."""

    code = grpc.StatusCode.INTERNAL


class UnavailableError(AvatarCreatorError):
    """No connection, or the service cannot work now, and repeating was not allowed or no help."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLossError(AvatarCreatorError):
    """The picture that arrived is not the one that was announced."""

    code = grpc.StatusCode.DATA_LOSS


class UnauthenticatedError(AvatarCreatorError):
    """The token is missing, expired or not accepted."""

    code = grpc.StatusCode.UNAUTHENTICATED


class GenerationEndedError(AvatarCreatorError):
    """A generation that was waited for ended without an avatar. All calls went well, so `code` is OK.

    Attributes:
        generation: its last state.
    """

    code = grpc.StatusCode.OK

    def __init__(self, generation: Generation, message: str, *, reason: str = "") -> None:
        super().__init__(message, reason=reason, resource=Resource("generation", generation.id))
        self.generation = generation

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[GenerationEndedError], tuple[Generation]]:
        return type(self), (self.generation,)


class GenerationFailedError(GenerationEndedError):
    """The generation FAILED; `reason` and `message` are those of its error."""

    def __init__(self, generation: Generation) -> None:
        name = ErrorReason.Name(generation.error.reason) if _is_known(generation.error.reason) else ""
        super().__init__(generation, generation.error.message, reason=name.removeprefix("ERROR_REASON_"))


class GenerationCancelledError(GenerationEndedError):
    """The generation was CANCELLED by the user."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation, f"generation {generation.id} was cancelled")


ERROR_BY_CODE: Mapping[grpc.StatusCode, type[AvatarCreatorError]] = {
    error.code: error
    for error in (
        CallCancelledError,
        UnknownError,
        InvalidArgumentError,
        DeadlineExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        InternalError,
        UnavailableError,
        DataLossError,
        UnauthenticatedError,
    )
}
"""Every gRPC status but OK, and the class it is raised as."""


class _Status(Protocol):
    """What both `grpc.Call` and `grpc.aio.AioRpcError` know of a failed call."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def from_rpc_error(raised: grpc.RpcError) -> AvatarCreatorError:
    """The typed error for `raised`, its cause, with all `google.rpc` details that came along."""
    status = cast(_Status, raised)
    error = ERROR_BY_CODE[status.code()](status.details() or "", **_details(status.trailing_metadata() or ()))
    error.__cause__ = raised
    return error


def _details(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
    """Arguments of the error from `google.rpc.Status`; what is broken or unknown is left out."""
    details: dict[str, Any] = {}
    rich = status_pb2.Status()
    try:
        for key, value in trailing_metadata:
            if key == _DETAILS_KEY:
                rich.ParseFromString(value)
        for detail in rich.details:
            details |= _detail(detail)
    except DecodeError:
        pass
    return details


def _detail(detail: Any) -> dict[str, Any]:
    if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
        info = error_details_pb2.ErrorInfo.FromString(detail.value)
        return {"reason": info.reason, "metadata": dict(info.metadata)}
    if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
        bad = error_details_pb2.BadRequest.FromString(detail.value)
        return {"field_violations": [FieldViolation(v.field, v.description) for v in bad.field_violations]}
    if detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
        quota = error_details_pb2.QuotaFailure.FromString(detail.value)
        return {"quota_violations": [QuotaViolation(v.subject, v.description) for v in quota.violations]}
    if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
        delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
        return {"retry_after": delay.seconds + delay.nanos / 1e9}
    if detail.Is(error_details_pb2.ResourceInfo.DESCRIPTOR):
        resource = error_details_pb2.ResourceInfo.FromString(detail.value)
        return {"resource": Resource(resource.resource_type, resource.resource_name)}
    return {}


def _is_known(reason: int) -> bool:
    return reason in ErrorReason.values()

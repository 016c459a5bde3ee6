"""Every error that the client raises, and their translation from gRPC statuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from avatar_creator.values import Generation

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request that breaks the contract, from `google.rpc.BadRequest`."""

    field: str
    """Path of the field, for example `persona.age`."""
    description: str
    """Explanation of the violation, for people."""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """A limit that the call would exceed, from `google.rpc.QuotaFailure`."""

    subject: str
    """Name of the limit, for example `per_day`."""
    description: str
    """Explanation of the violation, for people."""


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource that an error is about, from `google.rpc.ResourceInfo`."""

    type: str
    """Name of the resource type, for example `project`."""
    id: str
    """Id of the resource, as the request gave it."""


class AvatarCreatorError(Exception):
    """A failed call. Its `__cause__` is the gRPC error, if there was one.

    Attributes:
        message: Explanation of the error, for people.
        code: The gRPC status; the same for all errors of one class.
        reason: Name of an `ErrorReason` without its prefix, for example `RESOURCE_NOT_FOUND`. Empty if the
            error does not come from the service: no connection, deadline passed, damaged picture.
        metadata: Facts about the error; `error_reason.proto` says which keys a reason has.
        field_violations: All fields that break the contract; empty for other errors.
        quota_violations: The limits that the call would exceed; empty for other errors.
        retry_after: Seconds after which the same call may succeed; None if the service gave none.
        resource: The resource that the error is about; None if the service named none.
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
    """The call was cancelled, for example by `close()`.

    Cancelling an asyncio task raises `asyncio.CancelledError` instead.
    """

    code = grpc.StatusCode.CANCELLED


class UnknownError(AvatarCreatorError):
    """The service failed and gave no usable status."""

    code = grpc.StatusCode.UNKNOWN


class InvalidArgumentError(AvatarCreatorError):
    """The request breaks the contract; `field_violations` lists the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceededError(AvatarCreatorError):
    """The `timeout` of the call passed, or the connection was too slow (`TRANSFER_TOO_SLOW`).

    After a timeout, the service may still have carried out the call.
    """

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFoundError(AvatarCreatorError):
    """The resource does not exist or belongs to another user; `resource` names it."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(AvatarCreatorError):
    """The `request_id` was used before for a different call."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDeniedError(AvatarCreatorError):
    """The token does not allow the call."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(AvatarCreatorError):
    """The call would exceed a limit; `quota_violations` names it.

    The call may succeed after `retry_after` seconds. `metadata["most"]` is the value of the limit; that of
    `spend_per_day` is in millionths of a US dollar.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(AvatarCreatorError):
    """The resource is in the wrong state for the call."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class AbortedError(AvatarCreatorError):
    """A concurrent call changed the same resource."""

    code = grpc.StatusCode.ABORTED


class OutOfRangeError(AvatarCreatorError):
    """The request points past the end of a range."""

    code = grpc.StatusCode.OUT_OF_RANGE


class UnimplementedError(AvatarCreatorError):
    """The server does not implement the call, or is not an Avatar Creator service."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(AvatarCreatorError):
    """A defect of the service. Report `metadata["incident_id"]` to its operators."""

    code = grpc.StatusCode.INTERNAL


class UnavailableError(AvatarCreatorError):
    """The service cannot be reached or is temporarily unavailable.

    Retries were not safe or did not help.
    """

    code = grpc.StatusCode.UNAVAILABLE


class DataLossError(AvatarCreatorError):
    """The downloaded picture is damaged: its size or checksum is wrong."""

    code = grpc.StatusCode.DATA_LOSS


class UnauthenticatedError(AvatarCreatorError):
    """The token is missing, expired or not accepted."""

    code = grpc.StatusCode.UNAUTHENTICATED


class GenerationEndedError(AvatarCreatorError):
    """The generation ended without an avatar. All calls succeeded, so `code` is OK.

    Attributes:
        generation: The last state of the generation.
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
    """The generation FAILED; `reason` and `message` come from its error."""

    def __init__(self, generation: Generation) -> None:
        error = generation.error
        super().__init__(generation, error.explanation if error else "", reason=error.reason if error else "")


class GenerationCancelledError(GenerationEndedError):
    """The generation was CANCELLED."""

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
"""Error class of every gRPC status except OK."""


class _Status(Protocol):
    """The methods that `grpc.Call` and `grpc.aio.AioRpcError` share."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def from_rpc_error(raised: grpc.RpcError) -> AvatarCreatorError:
    """Return the typed error of a gRPC error, with its `google.rpc` details and with it as the cause."""
    status = cast(_Status, raised)
    details = _details(status.trailing_metadata() or ())
    message = status.details() or ""
    if not details.get("reason"):
        message = _plain(message)
    error = ERROR_BY_CODE[status.code()](message, **details)
    error.__cause__ = raised
    return error


_WORDS_OF_GRPC = (
    ("DNS resolution failed|Domain name not found", "the host name of the service cannot be resolved"),
    ("HTTP proxy returned|HTTP proxy handshake", "the proxy refused the connection to the service"),
    ("(Received|Sent) message larger", "a message of the call is larger than gRPC allows"),
    ("metadata size exceeds", "the metadata of the call is too large; use a smaller token"),
    (
        "WRONG_VERSION_NUMBER",
        "the server does not use TLS: connect without TLS, for example to http://host:port",
    ),
    (
        "ailed to connect.*(Socket closed|Connection reset)",
        "the server closed the connection at once, as a server with TLS does: connect with TLS, for example "
        "to https://host:port",
    ),
    (
        "certificate has expired",
        "the certificate of the server has expired; its operators must renew it",
    ),
    (
        "Hostname Verification|not in peer certificate",
        "the certificate of the server is for another host name; check the target",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "no trusted authority signed the certificate of the server; check `root_certificates`, or "
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ),
    (
        "SSL|TLS|ertificate|[Hh]andshake",
        "the TLS connection to the service cannot be made; check `tls` and the certificates",
    ),
    ("Connection refused", "connection refused: nothing listens at the address of the service"),
    ("o route to host|etwork is unreachable", "the network of the service cannot be reached"),
    (
        "ailed to connect|connections to all backends failing|empty address list",
        "the service cannot be reached",
    ),
    ("Deadline Exceeded", "the call did not end in time"),
    (
        "Socket closed|Connection reset|Broken pipe|recvmsg|GOAWAY|keepalive watchdog",
        "the connection to the service was lost",
    ),
)
"""Patterns of the statuses that gRPC itself makes, and our sentence for them. The first that fits counts."""


def _plain(words: str) -> str:
    """Return our sentence in place of gRPC's words, which have internal names. The cause has the words."""
    for pattern, sentence in _WORDS_OF_GRPC:
        if re.search(pattern, words):
            return sentence
    return words


def _details(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
    """Return arguments for the error from `google.rpc.Status`, without damaged and unknown details."""
    details: dict[str, Any] = {}
    status = status_pb2.Status()
    try:
        for key, value in trailing_metadata:
            if key == _DETAILS_KEY:
                status.ParseFromString(value)
        for detail in status.details:
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

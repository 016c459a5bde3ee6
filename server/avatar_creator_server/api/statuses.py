"""The gRPC status of each exception, with `google.rpc` details."""

from __future__ import annotations

import asyncio
import uuid
from bisect import bisect_left
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc.aio import InternalError

from avatar_creator_server.api.context import Context
from avatar_creator_server.errors import (
    AbortedError,
    AlreadyExistsError,
    AvatarCreatorError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    TooSlowError,
    UnauthenticatedError,
    UnavailableError,
)

log = structlog.get_logger()

DOMAIN = "avatar-creator"
"""The `domain` of every `ErrorInfo`."""

DETAILS_KEY = "grpc-status-details-bin"
"""Key of the metadata with the details of a status."""

_MAX_ERROR_BYTES = 7_500
"""Maximum size of message and details on the wire. Clients refuse more than 8 KiB of headers, at random."""
_MAX_CLIPPED_BYTES = 1_000
"""Size on the wire to which a message is shortened if the error is too large."""

STATUS_OF: dict[type[AvatarCreatorError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    AbortedError: grpc.StatusCode.ABORTED,
    TooSlowError: grpc.StatusCode.DEADLINE_EXCEEDED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Status:
    """The status with which a call ends."""

    code: grpc.StatusCode
    message: str
    packed_details: bytes


def status_of(error: AvatarCreatorError) -> Status:
    """Return the status of an expected error."""
    return _status(STATUS_OF[type(error)], error.message, _details(error))


def status_of_defect(method: str) -> Status:
    """Log the exception that is being handled, and return the status of its call.

    An unexpected exception is a defect. The caller receives INTERNAL with an incident id, and the log has the
    traceback.
    """
    incident_id = uuid.uuid4().hex
    log.exception("incident_recorded", method=method, incident_id=incident_id)
    info = _error_info("INTERNAL", {"incident_id": incident_id})
    message = f"internal error: report the incident {incident_id} to the operator"
    return _status(grpc.StatusCode.INTERNAL, message, [info])


async def abort(context: Context, status: Status) -> NoReturn:
    """End the call with this status."""
    try:
        await context.abort(status.code, status.message, ((DETAILS_KEY, status.packed_details),))
    except InternalError as error:
        # gRPC would log a traceback for each caller who has gone.
        raise asyncio.CancelledError("the caller is gone") from error


def _details(error: AvatarCreatorError) -> list[Message]:
    details: list[Message] = [_error_info(error.reason, error.metadata)]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in error.violations
                ]
            )
        )
    if isinstance(error, NotFoundError):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=error.metadata["resource_type"],
                resource_name=error.metadata["resource_id"],
                description=error.message,
            )
        )
    if isinstance(error, ResourceExhaustedError):
        quota = error.quota
        details.append(
            error_details_pb2.QuotaFailure(
                violations=[
                    error_details_pb2.QuotaFailure.Violation(
                        subject=quota.subject, description=quota.description
                    )
                ]
            )
        )
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(retry)
    return details


def _error_info(reason: str, metadata: dict[str, str]) -> Message:
    info: Message = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    return info


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> Status:
    """Return a status that every client accepts.

    A message that is too long is shortened first. Then the last violations are left out.
    """
    packed = _packed(code, message, details)
    if _wire_bytes(message, packed) <= _MAX_ERROR_BYTES:
        return Status(code, message, packed)
    message = _clipped(message)
    for detail in details:
        if isinstance(detail, error_details_pb2.BadRequest):
            _keep_fitting_violations(code, message, details, detail)
    return Status(code, message, _packed(code, message, details))


def _keep_fitting_violations(
    code: grpc.StatusCode, message: str, details: list[Message], bad_request: error_details_pb2.BadRequest
) -> None:
    violations = list(bad_request.field_violations)

    def keep(count: int) -> bool:
        """Keep the first violations, and return whether the error is still too large."""
        del bad_request.field_violations[:]
        bad_request.field_violations.extend(violations[:count])
        return _wire_bytes(message, _packed(code, message, details)) > _MAX_ERROR_BYTES

    keep(bisect_left(range(1, len(violations) + 1), True, key=keep))


def _packed(code: grpc.StatusCode, message: str, details: list[Message]) -> bytes:
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    packed: bytes = status.SerializeToString()
    return packed


def _wire_bytes(message: str, packed: bytes) -> int:
    """Return the size in headers, where the message is percent-encoded and the details are in base64."""
    return len(quote(message)) + len(packed) * 4 // 3


def _clipped(message: str) -> str:
    kept = message[:_MAX_CLIPPED_BYTES]
    while len(quote(kept)) > _MAX_CLIPPED_BYTES:
        kept = kept[: len(kept) * _MAX_CLIPPED_BYTES // len(quote(kept))]
    return message if kept == message else f"{kept}…"

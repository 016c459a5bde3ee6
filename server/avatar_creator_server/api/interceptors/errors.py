"""Translation of exceptions into a gRPC status with `google.rpc` details, for all calls."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn
from urllib.parse import quote

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc.aio import AbortError

from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.errors import (
    AlreadyExistsError,
    AvatarCreatorError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)

log = structlog.get_logger()

DOMAIN = "avatar-creator"
"""The `domain` of every `ErrorInfo`."""

_DETAILS_KEY = "grpc-status-details-bin"

_MAX_ERROR_BYTES = 7_500
"""Maximum size of message and details on the wire. Clients refuse more than 8 KiB of headers, at random."""
_MAX_CLIPPED_BYTES = 1_000
"""Size on the wire to which a message is shortened if the error is too large."""

STATUS_OF: dict[type[AvatarCreatorError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}


@asynccontextmanager
async def translate_errors(method: str, context: Context) -> AsyncIterator[None]:
    """End the call with the status and details of the error that it raises.

    An unexpected exception is a defect. The caller receives INTERNAL with an incident id, and the log has the
    traceback.
    """
    try:
        yield
    except AbortError:
        # Raised by `context.abort`: the call has its status already.
        raise
    except AvatarCreatorError as error:
        await _abort(context, STATUS_OF[type(error)], error.message, _details(error))
    except Exception:
        incident_id = uuid.uuid4().hex
        log.exception("incident_recorded", method=method, incident_id=incident_id)
        info = _error_info("INTERNAL", {"incident_id": incident_id})
        await _abort(
            context,
            grpc.StatusCode.INTERNAL,
            f"internal error: report the incident {incident_id} to the operator",
            [info],
        )


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


async def _abort(
    context: Context,
    code: grpc.StatusCode,
    message: str,
    details: list[Message],
) -> NoReturn:
    message, packed = _fitted(code, message, details)
    await context.abort(code, message, ((_DETAILS_KEY, packed),))


def _fitted(code: grpc.StatusCode, message: str, details: list[Message]) -> tuple[str, bytes]:
    """Return a message and the packed details that every client accepts.

    A message that is too long is shortened first. Then the last violations are left out.
    """
    packed = _packed(code, message, details)
    if _wire_bytes(message, packed) <= _MAX_ERROR_BYTES:
        return message, packed
    message = _clipped(message)
    packed = _packed(code, message, details)
    for detail in details:
        if isinstance(detail, error_details_pb2.BadRequest):
            while detail.field_violations and _wire_bytes(message, packed) > _MAX_ERROR_BYTES:
                detail.field_violations.pop()
                packed = _packed(code, message, details)
    return message, packed


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

"""Errors of the service. `api/statuses.py` turns them into a gRPC status with `google.rpc` details.

`error_reason.proto` documents the reasons, with the status, metadata and advice of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OVERLOADED_RETRY_SECONDS = 2.0
"""Delay that a caller receives if the calls are too many, in seconds. The client adds jitter."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks a rule."""

    field: str
    """Path in the request, for example `persona.personality[3]`."""
    description: str
    """Description of the error, for a person."""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """A limit that a call would exceed."""

    subject: str
    """Name of the limit, for example `per_day`."""
    description: str
    """Description of the limit, for a person."""


class AvatarCreatorError(Exception):
    """An expected error of a call. Each subclass has its gRPC status."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds after which the same call can succeed; None if it cannot."""


class InvalidArgumentError(AvatarCreatorError):
    """The request violates the contract. `violations` names the fields."""

    @classmethod
    def of_field(
        cls, field: str, description: str, *, reason: str = "INVALID_FIELD", **metadata: str
    ) -> InvalidArgumentError:
        """Create the error for one field."""
        return cls(
            reason,
            f"{field}: {description}",
            metadata=metadata,
            violations=[FieldViolation(field, description)],
        )

    def inside(self, field: str) -> InvalidArgumentError:
        """Return the same error for a message inside a field of the request, also in the message's text."""
        violations = [
            FieldViolation(f"{field}.{violation.field}", violation.description)
            for violation in self.violations
        ]
        message = self.message
        for outer, inner in zip(violations, self.violations, strict=True):
            message = message.replace(
                f"{inner.field}: {inner.description}", f"{outer.field}: {outer.description}", 1
            )
        return InvalidArgumentError(self.reason, message, metadata=self.metadata, violations=violations)


class NotFoundError(AvatarCreatorError):
    """The user has no such resource."""

    def __init__(self, resource_type: str, resource_id: str) -> None:
        super().__init__(
            "RESOURCE_NOT_FOUND",
            f"no {resource_type} '{resource_id}'",
            metadata={"resource_type": resource_type, "resource_id": resource_id},
        )


class AlreadyExistsError(AvatarCreatorError):
    """A resource already exists where the call would create another one."""


class FailedPreconditionError(AvatarCreatorError):
    """The resource is not in the state that the call needs."""


class AbortedError(AvatarCreatorError):
    """A concurrent call changed the resource."""


class UnauthenticatedError(AvatarCreatorError):
    """The call has no valid token."""


class PermissionDeniedError(AvatarCreatorError):
    """The caller is not allowed to make this call."""


class ResourceExhaustedError(AvatarCreatorError):
    """The call would exceed a limit of the user."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str],
        quota: QuotaViolation,
        retry_after: float | None,
    ) -> None:
        super().__init__(reason, message, metadata=metadata, retry_after=retry_after)
        self.quota = quota


class TooSlowError(AvatarCreatorError):
    """The client sends or reads too slowly, or the call takes too long."""


class UnavailableError(AvatarCreatorError):
    """A dependency of the service is temporarily unavailable."""


def overloaded_error(problem: str) -> UnavailableError:
    """Return the error for a call that this server has no room for."""
    return UnavailableError("OVERLOADED", f"{problem}; try again soon", retry_after=OVERLOADED_RETRY_SECONDS)

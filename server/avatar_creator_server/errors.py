"""The errors domain code raises. One interceptor turns them into a gRPC status with `google.rpc` details.

Reasons are those of `error_reason.proto`, where each one's status, metadata and advice are documented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks a rule."""

    field: str
    """Path in the request, for example `persona.personality[3]`."""
    description: str
    """What is wrong with it, in a sentence for a person."""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """A limit that a call would go over."""

    subject: str
    """Name of the limit, for example `per_day`."""
    description: str
    """By how much, in words for a person."""


class AvatarCreatorError(Exception):
    """Anything this service refuses on purpose. The subclass decides the gRPC status."""

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
        """Seconds after which the same call may succeed."""


class InvalidArgumentError(AvatarCreatorError):
    """The request breaks the contract; `violations` names the fields."""

    @classmethod
    def of_field(
        cls, field: str, description: str, *, reason: str = "INVALID_FIELD", **metadata: str
    ) -> InvalidArgumentError:
        """The error for a single field."""
        return cls(
            reason,
            f"{field}: {description}",
            metadata=metadata,
            violations=[FieldViolation(field, description)],
        )

    def inside(self, field: str) -> InvalidArgumentError:
        """The same error about a message that stands in a field of the request."""
        violations = [
            FieldViolation(f"{field}.{violation.field}", violation.description)
            for violation in self.violations
        ]
        return InvalidArgumentError(self.reason, self.message, metadata=self.metadata, violations=violations)


class NotFoundError(AvatarCreatorError):
    """No such resource of this user."""

    def __init__(self, resource_type: str, resource_id: str) -> None:
        super().__init__(
            "RESOURCE_NOT_FOUND",
            f"no {resource_type} {resource_id!r}",
            metadata={"resource_type": resource_type, "resource_id": resource_id},
        )


class AlreadyExistsError(AvatarCreatorError):
    """Something else already stands in this place."""


class FailedPreconditionError(AvatarCreatorError):
    """The resource is not in the state the call needs."""


class UnauthenticatedError(AvatarCreatorError):
    """The caller did not show who they are."""


class PermissionDeniedError(AvatarCreatorError):
    """The caller may not do this."""


class ResourceExhaustedError(AvatarCreatorError):
    """The caller is over a limit."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str],
        quota: QuotaViolation,
        retry_after: float,
    ) -> None:
        super().__init__(reason, message, metadata=metadata, retry_after=retry_after)
        self.quota = quota


class UnavailableError(AvatarCreatorError):
    """Something this service needs is away for now."""

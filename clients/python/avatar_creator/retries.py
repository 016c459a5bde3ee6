"""Decisions about retries: which failed call to send again, after which delay, and when to stop.

Nothing here waits, sends, or reads a clock of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from avatar_creator.errors import (
    AvatarCreatorError,
    DeadlineExceededError,
    Resource,
    ResourceExhaustedError,
    UnavailableError,
)

T = TypeVar("T")

_ACCEPTED_SECONDS = 1.0
"""Age in seconds from which an expired token counts as accepted before it expired."""

_CONNECTED_SECONDS = 25.0
"""Age in seconds from which a call without messages counts as connected before it failed. gRPC gives up a
connection after 20 seconds. Source: gRPC's "Connection Backoff Protocol", `MIN_CONNECT_TIMEOUT`."""

_PASSING_LIMITS = frozenset({"TRANSFER_LIMIT", "DATABASE_LIMIT", "CALL_LIMIT"})
"""Reasons of RESOURCE_EXHAUSTED for a limit of calls at the same time, ending within seconds."""

_NOT_BEGUN = frozenset({"DATABASE_LIMIT", "CALL_LIMIT", "OVERLOADED"})
"""Reasons with which the service refuses a call before it begins it, so that every call may be sent again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: each delay is random, from 0 to a bound that grows per failure.

    Full jitter spreads the reconnects of all watchers after a server restart.
    """

    initial: float = 0.1
    """Upper bound of the first delay, in seconds."""
    factor: float = 2.0
    """Growth of the upper bound per failure."""
    maximum: float = 5.0
    """Largest upper bound, in seconds."""
    random: Callable[[], float] = random.random
    """Source of the jitter: returns a number in [0, 1)."""

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return the delay before the next attempt, in seconds.

        Args:
            failures: Number of consecutive failures, at least 1.
            retry_after: Minimum delay that the service asked for, in seconds; None if it asked for none.
        """
        # The exponent is capped: 2.0**1024 overflows, and a watch may fail that often.
        bound = min(self.maximum, self.initial * self.factor ** min(failures - 1, 64))
        return (retry_after or 0.0) + bound * self.random()


class CallRetries:
    """Attempts of one logical call. Its timeout starts when this object is created."""

    def __init__(
        self,
        backoff: Backoff,
        clock: Callable[[], float],
        *,
        timeout: float,
        resendable: bool,
        retryable: bool,
        retries: int | None,
        renews_token: bool,
    ) -> None:
        """Start the first attempt.

        Args:
            backoff: The delays.
            clock: Returns the seconds since any fixed moment.
            timeout: Maximum time for all attempts, in seconds.
            resendable: True if the request can be sent a second time.
            retryable: True if a second call is safe although the first one may have succeeded.
            retries: Largest number of further attempts; None for as many as the timeout allows.
            renews_token: True if a function returns the token, so that an expired one can be replaced.
        """
        self._backoff = backoff
        self._clock = clock
        self._deadline = clock() + timeout
        self._resendable = resendable
        self._retryable = retryable
        self._retries = retries
        self._renews_token = renews_token
        self._token_expired: AvatarCreatorError | None = None
        self._last_authorization: object = None
        self._failures = 0

    def sending_with(self, authorization: T) -> T:
        """Record that an attempt starts now with this authorization, and return it.

        Raises:
            AvatarCreatorError: The error of the last attempt, if this is the token that had expired.
        """
        if self._token_expired is not None and authorization == self._last_authorization:
            raise self._token_expired
        self._last_authorization = authorization
        return authorization

    def remaining(self) -> float:
        """Return the seconds left for the next attempt."""
        return max(0.0, self._deadline - self._clock())

    def seconds_to_send(self) -> float:
        """Return the seconds for an attempt that is sent now.

        Raises:
            DeadlineExceededError: There are none left.
        """
        seconds = self.remaining()
        if not seconds:
            raise DeadlineExceededError(
                "the timeout had passed before the call was sent, so the service has not seen it"
                if not self._failures
                else "the timeout had passed before the call was sent again"
            )
        return seconds

    def delay_after(self, error: AvatarCreatorError) -> float | None:
        """Return the seconds to wait before the next attempt; None if the caller must raise `error`."""
        if self._renews_token and error.reason == "TOKEN_EXPIRED" and self._token_expired is None:
            self._token_expired = error
            return 0.0 if self._resendable and self.remaining() else None
        safe = self._retryable or error.reason in _NOT_BEGUN
        if not (self._resendable and safe and _is_passing(error)):
            return None
        if self._retries is not None and self._failures >= self._retries:
            return None
        self._failures += 1
        delay = self._backoff.delay(self._failures, error.retry_after)
        return delay if delay < self.remaining() else None


def _is_passing(error: AvatarCreatorError) -> bool:
    """Return whether the same call can succeed within seconds."""
    if isinstance(error, ResourceExhaustedError):
        return error.reason in _PASSING_LIMITS and error.retry_after is not None
    return isinstance(error, UnavailableError)


class Reconnects:
    """Connections of one watch. Its timeout starts when this object is created."""

    def __init__(
        self,
        backoff: Backoff,
        clock: Callable[[], float],
        *,
        reconnect_for: float,
        timeout: float | None,
        resource: Resource | None,
        renews_token: bool,
    ) -> None:
        self._backoff = backoff
        self._clock = clock
        self._reconnect_for = reconnect_for
        self._resource = resource
        self._renews_token = renews_token
        self._token_expired: AvatarCreatorError | None = None
        self._last_authorization: object = None
        self._connect_time = clock()
        self._deadline = None if timeout is None else clock() + timeout
        self._failures = 0
        self._failing_since: float | None = None

    def connecting_with(self, authorization: T) -> T:
        """Record that a connection starts now with this authorization, and return it.

        Raises:
            AvatarCreatorError: The error of the last connection, if this is the token that had expired.
        """
        if self._token_expired is not None and authorization == self._last_authorization:
            raise self._token_expired
        self._token_expired = None
        self._last_authorization = authorization
        self._connect_time = self._clock()
        return authorization

    def remaining(self) -> float | None:
        """Return the seconds left for the next connection; None if there is no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    @property
    def failures(self) -> int:
        """Number of failures since the last message."""
        return self._failures

    def progressed(self) -> None:
        """Forget earlier failures, because a message arrived."""
        self._failures = 0
        self._failing_since = None

    def delay_after(self, error: AvatarCreatorError) -> float:
        """Return the seconds to wait before the next connection.

        Raises:
            AvatarCreatorError: `error` itself, if it is final or if no connection worked for `reconnect_for`.
            DeadlineExceededError: The timeout of the watch passed; `resource` is what it watched.
        """
        now = self._clock()
        if self._deadline is not None and (
            isinstance(error, DeadlineExceededError)
            or (isinstance(error, UnavailableError) and now >= self._deadline)
        ):
            raise DeadlineExceededError(
                "the timeout of the watch passed; the service continues the work, so watch it again",
                resource=self._resource,
            ) from error
        if self._renews_token and error.reason == "TOKEN_EXPIRED":
            self._token_expired = error
            if now - self._connect_time >= _ACCEPTED_SECONDS:
                self.progressed()
        elif not _is_passing(error):
            raise error
        if now - self._connect_time >= _CONNECTED_SECONDS:
            # A proxy may cut a watch without news, again and again.
            self.progressed()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= self._reconnect_for:
            raise error
        self._failures += 1
        delay = self._backoff.delay(self._failures, error.retry_after)
        remaining = self.remaining()
        return delay if remaining is None else min(delay, remaining)

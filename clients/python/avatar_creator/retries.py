"""When a failed call is sent again, and when it is given up. Nothing here waits, sends or reads a clock of
its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from avatar_creator.errors import AvatarCreatorError, DeadlineExceededError, Resource, UnavailableError

T = TypeVar("T")

_ACCEPTED_SECONDS = 1.0
"""A watch whose token expires after this long was accepted before, and did not fail."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with full jitter: each is random between 0 and a bound that grows per failure.

    Full jitter, because a restarted server meets all its watchers at once.
    """

    initial: float = 0.1
    """Bound of the first delay, seconds."""
    factor: float = 2.0
    """Growth of the bound per failure."""
    maximum: float = 5.0
    """Largest bound, seconds."""
    random: Callable[[], float] = random.random
    """Where jitter comes from: a number in [0, 1)."""

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after this many failures in a row, never less than `retry_after`."""
        # The exponent is capped because 2.0**1024 overflows and a watch may fail that often.
        bound = min(self.maximum, self.initial * self.factor ** min(failures - 1, 64))
        return (retry_after or 0.0) + bound * self.random()


class CallRetries:
    """The attempts of one logical call. It began when this was made."""

    def __init__(
        self, backoff: Backoff, clock: Callable[[], float], *, timeout: float, repeatable: bool
    ) -> None:
        self._backoff = backoff
        self._clock = clock
        self._deadline = clock() + timeout
        self._repeatable = repeatable
        self._failures = 0

    def remaining(self) -> float:
        """Seconds the next attempt may take."""
        return max(0.0, self._deadline - self._clock())

    def delay_after(self, error: AvatarCreatorError) -> float | None:
        """Seconds to wait before the next attempt; None: there is none, raise `error`."""
        if not (self._repeatable and isinstance(error, UnavailableError)):
            return None
        self._failures += 1
        delay = self._backoff.delay(self._failures, error.retry_after)
        return delay if delay < self.remaining() else None


class Reconnects:
    """The connections of one watch. It began when this was made."""

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
        self._expired: AvatarCreatorError | None = None
        self._shown: object = None
        self._connected = clock()
        self._deadline = None if timeout is None else clock() + timeout
        self._failures = 0
        self._failing_since: float | None = None

    def show(self, authorization: T) -> T:
        """Connect with this now.

        Raises:
            AvatarCreatorError: what the last connection ended with, if this is the token that had expired.
        """
        if self._expired is not None and authorization == self._shown:
            raise self._expired
        self._expired, self._shown, self._connected = None, authorization, self._clock()
        return authorization

    def remaining(self) -> float | None:
        """Seconds the next connection may last; None: as long as it does."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def progressed(self) -> None:
        """A message came: earlier failures no longer count."""
        self._failures = 0
        self._failing_since = None

    def delay_after(self, error: AvatarCreatorError) -> float:
        """Seconds to wait before connecting again.

        Raises:
            AvatarCreatorError: `error` itself, when it is final or has lasted for `reconnect_for`.
            DeadlineExceededError: the watch's own time is over; it names what was watched.
        """
        now = self._clock()
        if self._deadline is not None and (
            isinstance(error, DeadlineExceededError)
            or (isinstance(error, UnavailableError) and now >= self._deadline)
        ):
            raise DeadlineExceededError(
                "the watch's timeout passed; what it watched goes on", resource=self._resource
            ) from error
        if self._renews_token and error.reason == "TOKEN_EXPIRED":
            self._expired = error
            if now - self._connected >= _ACCEPTED_SECONDS:
                self.progressed()
        elif not isinstance(error, UnavailableError):
            raise error
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= self._reconnect_for:
            raise error
        self._failures += 1
        delay = self._backoff.delay(self._failures, error.retry_after)
        remaining = self.remaining()
        return delay if remaining is None else min(delay, remaining)

"""The part of a connection that both clients share: deadlines, retries and closing, without the waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from avatar_creator.errors import CallCancelledError
from avatar_creator.retries import Backoff, CallRetries, Reconnects
from avatar_creator.rpcs import Rpc
from avatar_creator.watching import ResumePoint

Metadata: TypeAlias = tuple[tuple[str, str], ...]
"""Call metadata of an attempt: its authorization."""


class BaseConnection:
    """Default deadlines and the backoff of a client, and its closed state."""

    def __init__(
        self, *, timeout: float, transfer_timeout: float, backoff: Backoff, clock: Callable[[], float]
    ) -> None:
        self._timeout = timeout
        self._transfer_timeout = transfer_timeout
        self._backoff = backoff
        self._clock = clock
        self._closed = False

    def at_most(self, timeout: float) -> float:
        """Return the default deadline of a call that is one step of a task with this timeout, in seconds."""
        return min(self._timeout, timeout)

    def countdown(self, timeout: float) -> Callable[[], float]:
        """Return a function that returns how many of these seconds are left."""
        deadline = self._clock() + timeout
        return lambda: max(0.0, deadline - self._clock())

    def _retries(self, rpc: Rpc[Any], timeout: float | None, *, resendable: bool) -> CallRetries:
        default = self._transfer_timeout if rpc.transfer else self._timeout
        return CallRetries(
            self._backoff,
            self._clock,
            timeout=default if timeout is None else timeout,
            resendable=resendable,
            retryable=rpc.retryable,
        )

    def _reconnects(
        self, resume: ResumePoint, *, timeout: float | None, reconnect_for: float, renews_token: bool
    ) -> Reconnects:
        return Reconnects(
            self._backoff,
            self._clock,
            reconnect_for=reconnect_for,
            timeout=timeout,
            resource=resume.resource,
            renews_token=renews_token,
        )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise CallCancelledError("the client is closed; create a new one")

"""The part of a connection that both clients share: deadlines, retries and closing, without the waiting."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self, TypeAlias

from avatar_creator.arguments import Arguments
from avatar_creator.errors import AvatarCreatorError, CallCancelledError
from avatar_creator.hooks import Attempts, OnReconnect, ReconnectEvent
from avatar_creator.options import CallOptions
from avatar_creator.retries import CallRetries, Reconnects
from avatar_creator.rpcs import Rpc
from avatar_creator.tracing import trace_context
from avatar_creator.watching import WatchCall

Metadata: TypeAlias = tuple[tuple[str, str], ...]
"""Call metadata of an attempt: its authorization and the trace that it is a part of."""


class BaseConnection:
    """Options of the calls of a client, and its closed state."""

    def __init__(self, *, options: CallOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._closed = False
        self._original: Self | None = None

    @property
    def options(self) -> CallOptions:
        """Options of the calls."""
        return self._options

    def countdown(self, timeout: float | None) -> Callable[[], float | None]:
        """Return a function that returns how many of these seconds are left; None for no limit."""
        with Arguments() as given:
            timeout = given.seconds("timeout", timeout)
        if timeout is None:
            return lambda: None
        deadline = self._clock() + timeout
        return lambda: max(0.0, deadline - self._clock())

    def _copy(self, options: CallOptions) -> Self:
        """Return a connection on the same channel with other options. Closing this one closes it too."""
        connection = copy(self)
        connection._options = options
        connection._original = self
        return connection

    def _retries(
        self, rpc: Rpc[Any], timeout: float | None, *, resendable: bool, renews_token: bool
    ) -> CallRetries:
        options = self._options
        with Arguments() as given:
            timeout = given.seconds("timeout", timeout)
        default = options.transfer_timeout if rpc.transfer else options.timeout
        return CallRetries(
            options.backoff,
            self._clock,
            timeout=default if timeout is None else timeout,
            resendable=resendable,
            retryable=rpc.retryable,
            retries=options.retries,
            renews_token=renews_token,
        )

    def _reconnects(self, watch: WatchCall, *, renews_token: bool) -> Reconnects:
        return Reconnects(
            self._options.backoff,
            self._clock,
            reconnect_for=watch.reconnect_for,
            timeout=watch.timeout,
            resource=watch.resume.resource,
            renews_token=renews_token,
        )

    def _delay_after(
        self, error: AvatarCreatorError, reconnects: Reconnects, on_reconnect: OnReconnect | None
    ) -> float:
        """Return the seconds before the next connection of a watch, after its function has learned of it."""
        delay = reconnects.delay_after(error)
        if on_reconnect is not None:
            on_reconnect(ReconnectEvent(reconnects.failures, error, delay))
        return delay

    def _attempts(self, rpc: Rpc[Any], request: Any = None) -> Attempts:
        return Attempts(
            rpc.path.removeprefix("/"),
            getattr(request, "request_id", ""),
            on_request=self._options.on_request,
            on_response=self._options.on_response,
            clock=self._clock,
        )

    def _metadata(self, authorization: Metadata) -> Metadata:
        return authorization + trace_context()

    def _is_closed(self) -> bool:
        return self._closed or (self._original is not None and self._original._is_closed())

    def _refuse_if_closed(self) -> None:
        if self._is_closed():
            raise CallCancelledError("the client is closed; create a new one")

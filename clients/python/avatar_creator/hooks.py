"""Hooks that see every attempt of a call, for logs and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from avatar_creator.errors import AvatarCreatorError, from_rpc_error


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """An attempt of a call is about to be sent."""

    method: str
    """Full name of the RPC, for example `avatar_creator.v1.AvatarProjectService/GetProject`."""
    attempt: int
    """Number of the attempt, from 1. For a watch, the number of the connection."""
    request_id: str
    """`request_id` of the logical call, the same for all attempts; empty for calls that have none."""
    timeout: float | None
    """Seconds left for the attempt; None for a watch without a timeout."""


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """An attempt of a call has ended."""

    method: str
    """Full name of the RPC, for example `avatar_creator.v1.AvatarProjectService/GetProject`."""
    attempt: int
    """Number of the attempt, from 1. For a watch, the number of the connection."""
    request_id: str
    """`request_id` of the logical call, the same for all attempts; empty for calls that have none."""
    duration: float
    """Seconds from the request to the end. For a watch, the lifetime of the connection."""
    code: grpc.StatusCode
    """Status of the attempt. CANCELLED if the caller left, UNKNOWN if the caller's own code failed."""
    reason: str
    """Name of an `ErrorReason` without its prefix; empty if the service gave none."""


OnRequest: TypeAlias = Callable[[RequestEvent], object]
"""Function that the client calls before it sends an attempt."""

OnResponse: TypeAlias = Callable[[ResponseEvent], object]
"""Function that the client calls after an attempt has ended."""


@dataclass(frozen=True, slots=True)
class ReconnectEvent:
    """A watch has lost its connection and is about to connect again."""

    attempt: int
    """Number of the new connection since the last message, from 1."""
    error: AvatarCreatorError
    """Error that ended the last connection, or that prevented it."""
    delay: float
    """Seconds that the watch waits before it connects."""


OnReconnect: TypeAlias = Callable[[ReconnectEvent], object]
"""Function that a watch calls each time before it connects again."""


class Attempts:
    """Attempts of one logical call, and the hooks that see them."""

    def __init__(
        self,
        method: str,
        request_id: str,
        *,
        on_request: OnRequest | None,
        on_response: OnResponse | None,
        clock: Callable[[], float],
    ) -> None:
        self._method = method
        self._request_id = request_id
        self._on_request = on_request
        self._on_response = on_response
        self._clock = clock
        self._count = 0

    def next(self, timeout: float | None) -> AbstractContextManager[None]:
        """Return a context manager that reports the next attempt, which runs inside it, to the hooks."""
        self._count += 1
        if self._on_request is None and self._on_response is None:
            return nullcontext()
        return self._reported(timeout)

    @contextmanager
    def _reported(self, timeout: float | None) -> Generator[None, None, None]:
        if self._on_request is not None:
            self._on_request(RequestEvent(self._method, self._count, self._request_id, timeout))
        began = self._clock()
        try:
            yield
        except BaseException as error:
            self._report_end(began, *_code_and_reason(error))
            raise
        self._report_end(began, grpc.StatusCode.OK, "")

    def _report_end(self, began: float, code: grpc.StatusCode, reason: str) -> None:
        if self._on_response is not None:
            duration = self._clock() - began
            self._on_response(
                ResponseEvent(self._method, self._count, self._request_id, duration, code, reason)
            )


def _code_and_reason(error: BaseException) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, grpc.RpcError):
        error = from_rpc_error(error)
    if isinstance(error, AvatarCreatorError):
        return error.code, error.reason
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt):
        return grpc.StatusCode.CANCELLED, ""
    return grpc.StatusCode.UNKNOWN, ""

"""The limits of the current call at the database. The API sets them; work without a caller has none."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_current: ContextVar[CallLimits | None] = ContextVar("call_limits", default=None)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The user and the deadline of a call."""

    user_id: str
    deadline: float
    """Time of `time.monotonic` at which the caller no longer waits; infinite if the caller set none."""
    is_patient: bool = False
    """True for a watch, which stays open for long. After a restart, thousands of them begin at once."""


def set_call_limits(user_id: str, seconds: float | None, *, is_patient: bool = False) -> None:
    """Set the limits of the current call.

    Args:
        user_id: The user who makes the call, and whose share of the database connections it uses.
        seconds: Seconds for which the caller waits; None if there is no limit.
        is_patient: True if the call may wait longer than others for its turn.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    _current.set(CallLimits(user_id, deadline, is_patient))


def current_call_limits() -> CallLimits | None:
    """Return the limits of the current call; None for background work, which no user waits for."""
    return _current.get()


@contextmanager
def as_background() -> Iterator[None]:
    """Work without the limits of the current call while the context is open, to clean up after the call."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def start_shared(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start background work for several callers, without the limits of the caller who starts it.

    The task may have an error that no caller waits for.
    """
    task = asyncio.create_task(work, name=name, context=Context())
    task.add_done_callback(_retrieve_error)
    return task


def _retrieve_error(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from reporting an error that no caller has waited for."""
    if not task.cancelled():
        task.exception()

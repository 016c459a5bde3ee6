"""The limits of the current call at the database. The API sets them; work without a caller has none."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from dataclasses import dataclass

_current: ContextVar[CallLimits | None] = ContextVar("call_limits", default=None)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The user and the deadline of a call."""

    user_id: str
    deadline: float
    """Time of `time.monotonic` at which the caller no longer waits; infinite if the caller set none."""


def set_call_limits(user_id: str, seconds: float | None) -> None:
    """Set the limits of the current call.

    Args:
        user_id: The user who makes the call, and whose share of the database threads it uses.
        seconds: Seconds for which the caller waits; None if there is no limit.
    """
    _current.set(CallLimits(user_id, math.inf if seconds is None else time.monotonic() + seconds))


def current_call_limits() -> CallLimits | None:
    """Return the limits of the current call; None for background work, which no user waits for."""
    return _current.get()

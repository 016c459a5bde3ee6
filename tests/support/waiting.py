"""Waiting for a condition: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_SECONDS = 0.02


def wait_until(
    condition: Callable[[], T | None],
    timeout: float = 10.0,
    message: str | Callable[[], str] = "the condition never held",
) -> T:
    """Call `condition` until what it returns is true, and return that.

    It blocks its thread; an async test says `await asyncio.to_thread(wait_until, ...)`.

    Args:
        condition: asked at once and then about 50 times a second; what it raises goes to the caller.
        timeout: seconds.
        message: what did not happen, or a function that says so with what is known by then.

    Raises:
        TimeoutError: the time is up.
    """
    deadline = time.monotonic() + timeout
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message if isinstance(message, str) else message()} (waited {timeout:g} s)")
        time.sleep(_INTERVAL_SECONDS)

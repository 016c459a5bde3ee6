"""Waiting for a condition. No other module of the tests sleeps."""

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
    """Call `condition` until it returns a true value, and return that value.

    It blocks its thread. An async test must use `await asyncio.to_thread(wait_until, ...)`.

    Args:
        condition: Called at once and then about 50 times per second. Its exceptions reach the caller.
        timeout: Maximum time to wait, in seconds.
        message: Text of the error, or a function that returns the text.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message if isinstance(message, str) else message()} (waited {timeout:g} s)")
        time.sleep(_INTERVAL_SECONDS)


def let_pass(seconds: float) -> None:
    """Let the duration of a load or an attack pass. To wait for something else, use `wait_until`."""
    time.sleep(seconds)

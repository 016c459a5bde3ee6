"""A limit of time that costs little."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, waiting: Awaitable[T]) -> T:
    """Return the result of `waiting`, as in a context of `asyncio.timeout`, at less than half of its cost.

    For what each call of the API waits for.

    Raises:
        TimeoutError: There was no result after so many seconds.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations, has_expired = task.cancelling(), False

    def expire() -> None:
        nonlocal has_expired
        has_expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        return await waiting
    except asyncio.CancelledError as error:
        if has_expired and task.cancelling() == cancellations + 1:
            raise TimeoutError from error
        raise  # Someone else has cancelled the task too.
    finally:
        timer.cancel()
        if has_expired:
            task.uncancel()

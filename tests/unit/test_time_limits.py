"""The limit of time of what each call waits for: it ends only what takes too long."""

from __future__ import annotations

import asyncio

import pytest

from avatar_creator_server.shared.time_limits import within


async def test_a_result_in_time_is_returned() -> None:
    assert await within(60, asyncio.sleep(0, "result")) == "result"


async def test_what_takes_too_long_is_ended() -> None:
    forever = asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await within(0, forever)

    task = asyncio.current_task()
    assert task is not None
    assert forever.cancelled()
    assert not task.cancelling(), "the caller goes on"


async def test_an_error_stays() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await within(60, fail())


async def test_a_task_that_is_cancelled_as_its_time_ends_is_cancelled() -> None:
    async def wait() -> None:
        await within(0, asyncio.get_running_loop().create_future())

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    # After the timer of the limit, and before the task goes on.
    asyncio.get_running_loop().call_later(0, waiting.cancel)
    await asyncio.wait([waiting])

    assert waiting.cancelled()

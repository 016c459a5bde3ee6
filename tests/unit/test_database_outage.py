"""Retries while the database is unavailable."""

from __future__ import annotations

import asyncio

import pytest

from avatar_creator_server.errors import UnavailableError
from avatar_creator_tasks.database_outage import retry_through_outage


async def test_an_operation_is_repeated_until_the_database_answers() -> None:
    answers: list[Exception | str] = [UnavailableError("DATABASE_UNAVAILABLE", "it restarts"), "written"]

    async def write() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await retry_through_outage(write) == "written"


async def test_a_task_that_reports_its_end_after_a_cancellation_does_not_wait_for_the_database() -> None:
    begun = asyncio.Event()

    async def write() -> None:
        raise UnavailableError("DATABASE_UNAVAILABLE", "it is away")

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await retry_through_outage(write)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(UnavailableError):
        await task

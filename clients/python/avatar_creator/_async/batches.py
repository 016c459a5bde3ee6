"""Work on many files at the same time, in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from avatar_creator._async.connection import AsyncConnection
from avatar_creator.outcomes import BatchProgress, Outcome, Result, Source


async def outcome_of_each(
    connection: AsyncConnection,
    sources: Sequence[Source],
    work: Callable[[AsyncConnection, int], Awaitable[Result]],
    *,
    concurrency: int,
    on_progress: BatchProgress | None,
) -> tuple[Outcome[Source, Result], ...]:
    """Return the outcome of the work on each source, in the order of the sources.

    `work` receives the number of its source. An error of one source does not stop the others. If this task is
    cancelled, or `on_progress` fails, the work on all sources is cancelled.
    """
    outcomes: dict[int, Outcome[Source, Result]] = {}
    waiting = iter(enumerate(sources))

    async def work_on_next() -> None:
        for number, source in waiting:
            try:
                outcomes[number] = Outcome(source, None, await work(connection, number))
            except Exception as error:
                outcomes[number] = Outcome(source, error)
            if on_progress is not None:
                on_progress(len(outcomes), len(sources))

    count = min(concurrency, len(sources))
    tasks = [asyncio.create_task(work_on_next()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tuple(outcomes[number] for number in range(len(sources)))

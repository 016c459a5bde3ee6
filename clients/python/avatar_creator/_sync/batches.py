"""Work on many files at the same time, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context

from avatar_creator._sync.connection import Connection
from avatar_creator.outcomes import BatchProgress, Outcome, Result, Source


def outcome_of_each(
    connection: Connection,
    sources: Sequence[Source],
    work: Callable[[Connection, int], Result],
    *,
    concurrency: int,
    on_progress: BatchProgress | None,
) -> tuple[Outcome[Source, Result], ...]:
    """Return the outcome of the work on each source, in the order of the sources.

    `work` receives the number of its source. An error of one source does not stop the others. If this thread
    is interrupted, or `on_progress` fails, the work on all sources stops.
    """
    stoppable = connection.stoppable()

    def outcome_of(number: int) -> Outcome[Source, Result]:
        source = sources[number]
        try:
            return Outcome(source, None, work(stoppable, number))
        except Exception as error:
            return Outcome(source, error)

    executor = ThreadPoolExecutor(concurrency, "avatar-creator")
    try:
        # Each thread has the context of this one, so that its calls belong to the same trace.
        futures = [executor.submit(copy_context().run, outcome_of, number) for number in range(len(sources))]
        for ended, _ in enumerate(as_completed(futures), 1):
            if on_progress is not None:
                on_progress(ended, len(sources))
    except BaseException:
        stoppable.stop()
        raise
    finally:
        # A thread that waits before a retry ends after that wait. It sends nothing more.
        executor.shutdown(wait=False, cancel_futures=True)
    return tuple(future.result() for future in futures)

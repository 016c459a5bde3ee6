"""Threads that a test runs calls on. None can keep the test run from ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

_END_SECONDS = 60.0


class Threads:
    """A pool of threads with a limit to its end.

    `ThreadPoolExecutor` waits for its threads without a limit, at the end of its block and when Python exits.
    """

    def __init__(self, number: int) -> None:
        """Start so many threads."""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all calls are done, or not at all if the block failed.

        Raises:
            TimeoutError: a call still runs after 60 s. Its thread is a daemon and does not outlive Python.
                If the block failed, a note on that error says so.
        """
        for _ in self._threads:
            self._calls.put(None)
        seconds = _END_SECONDS if error is None else 0.0
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if running := sum(thread.is_alive() for thread in self._threads):
            message = f"{running} of {len(self._threads)} threads still run {seconds:g} s after their block"
            if error is None:
                raise TimeoutError(message)
            error.add_note(message)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function on the next free thread."""
        future: Future[T] = Future()
        self._calls.put(partial(_fulfill, future, partial(function, *args, **kwargs)))
        return future

    def map(self, function: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
        """Call a function for each item and return the results in the order of the items."""
        futures = [self.submit(function, item) for item in items]
        return [future.result() for future in futures]

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _fulfill(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)

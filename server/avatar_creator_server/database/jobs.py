"""Jobs: functions that run on a database thread. A job can be stopped until it has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

BACKGROUND = ""
"""The user id of work without a caller."""

_of_this_thread = threading.local()


class StoppedError(Exception):
    """The job was stopped. No caller waits for its result."""


class Job:
    """A function that runs on a database thread, and the future of its caller.

    A write is never stopped after it has begun: its caller could not know what it has changed.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        future: asyncio.Future[Any],
        *,
        user_id: str,
        reads: bool,
        deadline: float,
    ) -> None:
        """Create a job that waits.

        Args:
            function: The function.
            future: The future of the caller, for the event loop's thread only.
            user_id: The user whose turn the job uses; `BACKGROUND` for work without a caller.
            reads: True if the function only reads, so that it can be stopped.
            deadline: Time of `time.monotonic` at which the caller no longer waits.
        """
        self.future = future
        self.user_id = user_id
        self.reads = reads
        self.deadline = deadline
        self.timer: asyncio.TimerHandle | None = None
        """Timer that ends the wait for a turn, and later a read that takes too long."""
        self.connection: Any = None
        """The driver's connection, as soon as the thread has one."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self._function = function
        self._stopped = False
        self._ending = threading.Lock()

    def run(self) -> Any:
        """Call the function on a database thread.

        Raises:
            StoppedError: The job was stopped.
        """
        if self._stopped:
            raise StoppedError
        _of_this_thread.job = self
        try:
            return self._function()
        finally:
            _of_this_thread.job = None
            with self._ending:
                self.ended = True

    def stop(self) -> None:
        """Stop the job before its next statement, or before it begins if it writes. Never waits."""
        self._stopped = True

    @property
    def is_stopped(self) -> bool:
        """True if `stop` was called."""
        return self._stopped

    def unless_ended(self, cancel: Callable[[], None]) -> None:
        """Call `cancel` unless the job has ended, and keep it from ending until `cancel` returns.

        So `cancel` never reaches the next job of the thread.
        """
        with self._ending:
            if not self.ended:
                cancel()

    def require_going(self) -> None:
        """Refuse another statement if the job was stopped.

        Raises:
            StoppedError: The job only reads, and was stopped.
        """
        if self._stopped and self.reads:
            raise StoppedError


def require_job_going() -> None:
    """Refuse another statement of this thread's job if the job was stopped.

    Raises:
        StoppedError: The job only reads, and was stopped.
    """
    job: Job | None = getattr(_of_this_thread, "job", None)
    if job is not None:
        job.require_going()


class JobThread:
    """A thread that runs jobs in the order in which it gets them. It does not keep the process alive."""

    def __init__(self, name: str, work: Callable[[JobThread, Job], None]) -> None:
        """Start the thread.

        Args:
            name: Name of the thread.
            work: Runs a job on the thread, and raises nothing.
        """
        # A `queue.SimpleQueue` is written in C, and so much faster than a `queue.Queue`.
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Run the job when the earlier ones have ended."""
        self._jobs.put(job)

    def end(self) -> None:
        """Wait until all jobs have ended, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._work(self, job)
            del job  # The thread would keep its result until the next job.

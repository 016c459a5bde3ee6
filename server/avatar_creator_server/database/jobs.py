"""Jobs: functions that query the database. A job can be stopped until it has ended.

Jobs run on threads (SQLite), or in greenlets of the event loop (PostgreSQL). A greenlet needs no hop to
another thread and back: while its job waits for PostgreSQL, the event loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

BACKGROUND = ""
"""The user id of work without a caller."""

T = TypeVar("T")

_of_this_thread = threading.local()


class StoppedError(Exception):
    """The job was stopped. No caller waits for its result."""


class Job:
    """A function that queries the database, and the future of its caller.

    A write is never stopped after it has begun: its caller could not know what it has changed.
    """

    __slots__ = (
        "_function",
        "_stopped",
        "connection",
        "deadline",
        "ended",
        "error",
        "future",
        "reads",
        "result",
        "runner",
        "timer",
        "user_id",
    )

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
        self.runner: JobRunner | None = None
        """The runner of the job, as soon as the job begins."""
        self.connection: Any = None
        """The driver's connection, as soon as the runner has one."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self._function = function
        self._stopped = False

    def run(self) -> Any:
        """Call the function on its runner.

        Raises:
            StoppedError: The job was stopped.
            RuntimeError: The function raised StopIteration, which a future cannot keep.
        """
        if self._stopped:
            raise StoppedError
        assert self.runner is not None
        try:
            return self._function()
        except StopIteration as error:
            raise RuntimeError("a database job raised StopIteration") from error
        finally:
            with self.runner.ending:
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

        So `cancel` never reaches the next job of the runner.
        """
        if self.runner is not None:
            with self.runner.ending:
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


class JobRunner(ABC):
    """Runs jobs one after the other, in the order in which it gets them."""

    ending: AbstractContextManager[Any]
    """Lock that a job takes to end, and that keeps it from ending."""
    connection: Any = None
    """The driver's connection; None until the first job."""
    outages = 0
    """Number of outages that the database had before this runner connected."""

    def __init__(
        self, run: Callable[[JobRunner, Job], None], finish: Callable[[JobRunner, Job], None]
    ) -> None:
        """Create a runner for the running event loop.

        Args:
            run: Runs a job, and raises nothing.
            finish: Receives each job on the event loop after it has run.
        """
        self._run_job = run
        self._finish = finish
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    def put(self, job: Job) -> None:
        """Run the job when the earlier ones have ended."""

    @abstractmethod
    async def end(self) -> None:
        """Wait until all jobs have ended, and end the runner."""


class JobThread(JobRunner):
    """A thread that runs jobs. It does not keep the process alive."""

    def __init__(
        self, run: Callable[[JobRunner, Job], None], finish: Callable[[JobRunner, Job], None]
    ) -> None:
        """Start the thread; see `JobRunner`."""
        super().__init__(run, finish)
        self.ending = threading.Lock()
        # A `queue.SimpleQueue` is written in C, and so much faster than a `queue.Queue`.
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Run the job when the earlier ones have ended."""
        self._jobs.put(job)

    async def end(self) -> None:
        """Wait until all jobs have ended, and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.runner = self
            _of_this_thread.job = job
            self._run_job(self, job)
            _of_this_thread.job = None
            with contextlib.suppress(RuntimeError):  # the event loop has been closed
                self._loop.call_soon_threadsafe(self._finish, self, job)
            del job  # The thread would keep its result until the next job.


class JobGreenlet(JobRunner):
    """A greenlet of the event loop's thread that runs jobs.

    A job that waits pauses the greenlet, and the event loop resumes it. The methods are for the event loop's
    thread only; `pause` and `in_thread` are for the greenlet itself.
    """

    def __init__(
        self, run: Callable[[JobRunner, Job], None], finish: Callable[[JobRunner, Job], None]
    ) -> None:
        """Create the greenlet; see `JobRunner`."""
        super().__init__(run, finish)
        self.ending = _GreenletLock()
        self.job: Job | None = None
        """The job that runs."""
        self.of_database: Any = None
        """State that the database keeps for this greenlet, as it does for a thread."""
        self._jobs: deque[Job] = deque()
        self._has_ended = False
        self._idling: asyncio.Event | None = None
        self._root = _root()
        self._greenlet = _Greenlet(self, self._run, self._root)

    def put(self, job: Job) -> None:
        """Run the job when the earlier ones have ended, and return as soon as it waits."""
        self._jobs.append(job)
        self._begin()

    async def end(self) -> None:
        """Wait until all jobs have ended, and end the greenlet."""
        while self.job is not None or self._jobs:
            self._idling = asyncio.Event()
            await self._idling.wait()
        self._greenlet.switch()

    def pause(self) -> None:
        """Let the event loop go on until it resumes this greenlet."""
        self._root.switch()

    def resume(self) -> None:
        """Go on with a greenlet that has paused, until it pauses again or its job has ended."""
        self._greenlet.switch()
        if self._has_ended:
            job, self.job, self._has_ended = self.job, None, False
            assert job is not None
            self._finish(self, job)
            if self._jobs:
                # Not at once, because each job that never waits would nest the calls deeper.
                self._loop.call_soon(self._begin)
            elif self._idling is not None:
                self._idling.set()

    def in_thread(self, function: Callable[[], T]) -> T:
        """Run a function that blocks on a thread of its own, and pause until it has returned."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:  # the greenlet raises it
                errors.append(error)
            with contextlib.suppress(RuntimeError):  # the event loop has been closed
                self._loop.call_soon_threadsafe(self.resume)

        threading.Thread(target=run, name="database-connect", daemon=True).start()
        self.pause()
        if errors:
            raise errors[0]
        return results[0]

    def _begin(self) -> None:
        if self.job is None and self._jobs:
            self.job = self._jobs.popleft()
            self.job.runner = self
            self.resume()

    def _run(self) -> None:
        while self.job is not None:
            self._run_job(self, self.job)
            self._has_ended = True
            self.pause()


def current_greenlet() -> JobGreenlet | None:
    """Return the runner of the current greenlet; None outside of jobs in greenlets."""
    return getattr(getcurrent(), "runner", None)


class _Greenlet(greenlet):
    def __init__(self, runner: JobGreenlet, run: Callable[[], None], parent: greenlet) -> None:
        super().__init__(run, parent)
        self.runner = runner


def _root() -> greenlet:
    """Return the greenlet of the event loop."""
    root = getcurrent()
    while root.parent is not None:
        root = root.parent
    return root


class _GreenletLock(AbstractContextManager[None]):
    """A lock between the greenlets of one thread."""

    def __init__(self) -> None:
        self._is_held = False
        self._waiting: list[JobGreenlet] = []

    def __enter__(self) -> None:
        while self._is_held:
            waiting = current_greenlet()
            assert waiting is not None
            self._waiting.append(waiting)
            waiting.pause()
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            asyncio.get_running_loop().call_soon(each.resume)

"""Turns at the database threads: a share for each user, a fair order, and a reserve for background work."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

from avatar_creator_server.database.jobs import Job
from avatar_creator_server.errors import (
    AvatarCreatorError,
    QuotaViolation,
    ResourceExhaustedError,
    UnavailableError,
)

BACKGROUND = ""
"""The user id of work without a caller."""

WAITING_FACTOR = 256
"""Maximum number of waiting calls, of all users and of one, as a multiple of their threads."""

_RETRY_AFTER_SECONDS = 2.0
_LIMIT = "database_connections"


class ThreadTurns:
    """Gives jobs their turns. Not for several threads.

    A free turn goes to the user who was served longest ago. Background work takes turns like one more user,
    without a share of its own that limits it, and users leave one thread to it.
    """

    def __init__(self, *, threads: int, threads_per_user: int) -> None:
        """Create the turns.

        Args:
            threads: Number of threads.
            threads_per_user: Maximum number of threads of one user at the same time.
        """
        self._threads = threads
        self._threads_of_users = max(threads - 1, 1)
        self._threads_per_user = min(threads_per_user, self._threads_of_users)
        self._running: Counter[str] = Counter()
        self._running_in_all = 0
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._waiting_of_users = 0

    @property
    def is_idle(self) -> bool:
        """True if no job runs or waits."""
        return not self._running_in_all and not self._waiting

    def begin(self, job: Job, *, is_patient: bool) -> bool:
        """Return True if the job has a turn now. Otherwise it waits, and `end` returns it later.

        Args:
            job: The job.
            is_patient: True if the job is not refused, however many wait.

        Raises:
            ResourceExhaustedError: The user has too many waiting calls.
            UnavailableError: All users together have too many waiting calls.
        """
        user_id = job.user_id
        if user_id not in self._waiting and self._is_free(user_id):
            self._take(user_id)
            return True
        if not is_patient:
            if len(self._waiting.get(user_id, ())) >= WAITING_FACTOR * self._threads_per_user:
                raise self._own_refusal()
            if self._waiting_of_users >= WAITING_FACTOR * self._threads:
                raise _overloaded()
        self._waiting_of_users += user_id != BACKGROUND
        self._waiting.setdefault(user_id, deque()).append(job)
        return False

    def leave(self, job: Job) -> bool:
        """Take back a job that waits, and return True; return False if it does not wait."""
        waiting = self._waiting.get(job.user_id)
        if waiting is None or job not in waiting:
            return False
        waiting.remove(job)
        self._waiting_of_users -= job.user_id != BACKGROUND
        if not waiting:
            del self._waiting[job.user_id]
        return True

    def end(self, job: Job) -> Job | None:
        """End a turn, and return the waiting job that has the next one; None if none can have it."""
        user_id = job.user_id
        self._running_in_all -= 1
        self._running[user_id] -= 1
        if not self._running[user_id]:
            del self._running[user_id]
        for waiting_user in self._waiting:
            if self._is_free(waiting_user):
                return self._next_of(waiting_user)
        return None

    def refusal(self, job: Job) -> AvatarCreatorError:
        """Return the error for a job that has waited too long."""
        if self._running[job.user_id] >= self._threads_per_user:
            return self._own_refusal()
        return _overloaded()

    def _is_free(self, user_id: str) -> bool:
        if self._running_in_all >= self._threads:
            return False
        if user_id == BACKGROUND:
            return True
        of_users = self._running_in_all - self._running[BACKGROUND]
        return of_users < self._threads_of_users and self._running[user_id] < self._threads_per_user

    def _take(self, user_id: str) -> None:
        self._running[user_id] += 1
        self._running_in_all += 1

    def _next_of(self, user_id: str) -> Job:
        waiting = self._waiting[user_id]
        job = waiting.popleft()
        self._waiting_of_users -= user_id != BACKGROUND
        if waiting:
            self._waiting.move_to_end(user_id)
        else:
            del self._waiting[user_id]
        self._take(user_id)
        return job

    def _own_refusal(self) -> ResourceExhaustedError:
        most = self._threads_per_user
        return ResourceExhaustedError(
            "DATABASE_LIMIT",
            f"your other calls keep the database busy, and at most {most} of them can use it at the same "
            "time; wait for some to end",
            metadata={"limit": _LIMIT, "most": str(most)},
            quota=QuotaViolation(_LIMIT, f"at most {most} calls of a user at the database at the same time"),
            retry_after=_RETRY_AFTER_SECONDS,
        )


def _overloaded() -> UnavailableError:
    return UnavailableError(
        "OVERLOADED",
        "the server has too many calls that wait for the database right now; try again soon",
        retry_after=_RETRY_AFTER_SECONDS,
    )

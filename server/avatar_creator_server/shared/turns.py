"""Turns at a scarce resource: so many at once, so many for each user, and the others wait in a fair order."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from avatar_creator_server.errors import (
    AvatarCreatorError,
    QuotaViolation,
    ResourceExhaustedError,
    UnavailableError,
)

OVERLOADED_RETRY_SECONDS = 2.0
"""Delay that a refused caller receives, in seconds. The client adds jitter."""

_SAFETY = 1.5
"""Time that a waiting call must have left, as a multiple of the time that it will probably take."""
_LEAST_WEIGHT = 0.1
"""Least weight of the newest value in the average of the time between two turns."""


class Turns:
    """Gives turns to users.

    A free turn goes to the user who was served longest ago. So a user with many waiting calls delays the
    single call of another user by at most one turn.

    A call that would wait too long, or beyond its deadline, is refused at once: the place in the queue and
    the recent time between two turns say how long it would wait.
    """

    def __init__(
        self,
        subject: str,
        *,
        at_once: int,
        at_once_per_user: int | None = None,
        waiting_factor: int | None = None,
        wait_seconds: float,
        reason: str = "TRANSFER_LIMIT",
    ) -> None:
        """Create the turns of one process.

        Args:
            subject: Name of the limit in errors, in the plural, for example `uploads`.
            at_once: Maximum number of turns at the same time.
            at_once_per_user: Maximum number of turns of one user at the same time; None for no such limit.
            waiting_factor: Maximum number of waiting calls, of all users and of one, as a multiple of the
                turns at the same time; None for no such limit.
            wait_seconds: Maximum time that a call waits for its turn.
            reason: Reason of the error for a user with too many calls.
        """
        self._subject = subject
        self._reason = reason
        self._at_once = at_once
        self._at_once_per_user = min(at_once, at_once_per_user or at_once)
        self._waiting_factor = waiting_factor
        self._wait_seconds = wait_seconds
        self._running: Counter[str] = Counter()
        self._running_count = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting_count = 0
        self._last_grant: float | None = None
        self._turns_measured = 0
        self._seconds_per_turn = 0.0
        """Average of the time between two turns that waiting calls got; 0 while it is not known."""

    @asynccontextmanager
    async def turn(self, user_id: str, seconds_left: float | None = None) -> AsyncIterator[None]:
        """Hold a turn while the context is open.

        Takes the arguments of `begin`, and raises what it raises.
        """
        await self.begin(user_id, seconds_left)
        try:
            yield
        finally:
            self.end(user_id)

    async def begin(self, user_id: str, seconds_left: float | None = None) -> None:
        """Wait for a turn. The caller must end it.

        Args:
            user_id: The user.
            seconds_left: Seconds until the deadline of the call; None if it has none.

        Raises:
            ResourceExhaustedError: The user has too many turns, or too many waiting calls.
            UnavailableError: All turns are taken, most of them by others, or the deadline cannot be met.
        """
        error = self.refusal(user_id, seconds_left)
        if error is not None:
            raise error
        if user_id not in self._waiting and self._is_free(user_id):
            self._take(user_id)
            return
        waiting = self._waiting.setdefault(user_id, deque())
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(granted)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(
                self._wait_seconds if seconds_left is None else min(self._wait_seconds, seconds_left)
            ):
                await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled():
                # Granted at the very moment of the time-out or of the cancellation.
                self.end(user_id)
            else:
                self._leave(user_id, granted)
            if isinstance(error, TimeoutError):
                raise self._refusal(user_id) from error
            raise

    def end(self, user_id: str) -> None:
        """End a turn, and give it to the next user."""
        self._running_count -= 1
        self._running[user_id] -= 1
        if not self._running[user_id]:
            del self._running[user_id]
        for waiting_user in list(self._waiting):
            if self._running_count >= self._at_once:
                return
            if self._is_free(waiting_user):
                self._grant(waiting_user)

    def refusal(self, user_id: str, seconds_left: float | None = None) -> AvatarCreatorError | None:
        """Return the error that a call which begins now would receive at once; None if it may wait or run.

        Takes the arguments of `begin`.
        """
        if seconds_left is not None and seconds_left <= 0:
            return self._refusal(user_id)
        if user_id not in self._waiting and self._is_free(user_id):
            return None
        if self._queue_is_full(user_id) or (
            self._waiting_factor is not None and self._waiting_count >= self._waiting_factor * self._at_once
        ):
            return self._refusal(user_id)
        own = len(self._waiting.get(user_id, ()))
        users = len(self._waiting) + (0 if own else 1)
        # Each other user gets at most one turn before each turn of this user.
        wait = self._seconds_per_turn * min(self._waiting_count + 1, (own + 1) * users)
        run = self._seconds_per_turn * self._running_count
        if wait > self._wait_seconds or (seconds_left is not None and seconds_left < _SAFETY * (wait + run)):
            return self._refusal(user_id)
        return None

    def has(self, user_id: str) -> bool:
        """Return whether the user has a turn, or waits for one."""
        return user_id in self._running or user_id in self._waiting

    @property
    def is_full(self) -> bool:
        """True if a call waits, or would wait."""
        return bool(self._waiting) or self._running_count >= self._at_once

    @property
    def is_idle(self) -> bool:
        """True if no user has a turn."""
        return not self._running

    def _queue_is_full(self, user_id: str) -> bool:
        if self._waiting_factor is None:
            return False
        return len(self._waiting.get(user_id, ())) >= self._waiting_factor * self._at_once_per_user

    def _is_free(self, user_id: str) -> bool:
        return self._running_count < self._at_once and self._running[user_id] < self._at_once_per_user

    def _take(self, user_id: str) -> None:
        self._running[user_id] += 1
        self._running_count += 1

    def _grant(self, user_id: str) -> None:
        """Give a turn to the first call of the user that still waits."""
        waiting = self._waiting[user_id]
        while waiting:
            granted = waiting.popleft()
            self._waiting_count -= 1
            if not granted.done():
                granted.set_result(None)
                self._take(user_id)
                break
        if waiting:
            self._waiting.move_to_end(user_id)
        else:
            del self._waiting[user_id]
        self._measure()

    def _leave(self, user_id: str, granted: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(user_id, ())
        # A turn that came between the cancellation and this moment has passed the call over.
        if granted not in waiting:
            return
        self._waiting[user_id].remove(granted)
        self._waiting_count -= 1
        if not self._waiting[user_id]:
            del self._waiting[user_id]

    def _measure(self) -> None:
        """Measure the time between two turns that waiting calls got, while there is a queue."""
        if not self._waiting:
            self._last_grant, self._turns_measured, self._seconds_per_turn = None, 0, 0.0
            return
        now = asyncio.get_running_loop().time()
        if self._last_grant is not None:
            self._turns_measured += 1
            weight = max(1 / self._turns_measured, _LEAST_WEIGHT)
            self._seconds_per_turn += weight * (now - self._last_grant - self._seconds_per_turn)
        self._last_grant = now

    def _refusal(self, user_id: str) -> AvatarCreatorError:
        own = self._running[user_id] >= self._at_once_per_user or (
            user_id in self._waiting and self._queue_is_full(user_id)
        )
        if not own:
            return overloaded_error(f"the server has too many {self._subject} right now")
        return ResourceExhaustedError(
            self._reason,
            f"you have too many {self._subject} at the same time, and the maximum is "
            f"{self._at_once_per_user}; wait for some to end",
            metadata={"limit": self._subject.replace(" ", "_"), "most": str(self._at_once_per_user)},
            quota=QuotaViolation(
                self._subject, f"at most {self._at_once_per_user} {self._subject} of a user at the same time"
            ),
            retry_after=OVERLOADED_RETRY_SECONDS,
        )


def overloaded_error(problem: str) -> UnavailableError:
    """Return the error for a call that this server has no room for."""
    return UnavailableError("OVERLOADED", f"{problem}; try again soon", retry_after=OVERLOADED_RETRY_SECONDS)

"""Turns at a scarce resource, for calls that wait on the event loop; see `fair_queue.py` for their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.fair_queue import FairQueue, UserLimit

_SAFETY = 1.5
"""Time that a waiting call must have left, as a multiple of the time that it will probably take."""
_LEAST_WEIGHT = 0.1
"""Least weight of the newest value in the average of the time between two turns."""


@dataclass(eq=False, slots=True)
class _Call:
    """A call that waits for its turn."""

    user_id: str
    granted: asyncio.Future[None]


class Turns:
    """Gives turns to users, in a fair order.

    A call that would wait too long, or beyond its deadline, is refused at once: the place in the queue and
    the recent time between two turns say how long it would wait.
    """

    def __init__(
        self,
        subject: str,
        *,
        at_once: int,
        user_limit: UserLimit | None = None,
        waiting_factor: int | None = None,
        wait_seconds: float,
    ) -> None:
        """Create the turns of one process.

        Args:
            subject, at_once, user_limit, waiting_factor: As in `FairQueue`. Without a `user_limit`, every
                refusal is the server's: OVERLOADED.
            wait_seconds: Maximum time that a call waits for its turn.
        """
        self._queue: FairQueue[_Call] = FairQueue(
            subject, at_once=at_once, user_limit=user_limit, waiting_factor=waiting_factor
        )
        self._wait_seconds = wait_seconds
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
        if (seconds_left is None or seconds_left > 0) and self._queue.begin_at_once(user_id):
            return
        error = self.refusal(user_id, seconds_left)
        if error is not None:
            raise error
        call = _Call(user_id, asyncio.get_running_loop().create_future())
        self._queue.begin(call)
        try:
            async with asyncio.timeout(
                self._wait_seconds if seconds_left is None else min(self._wait_seconds, seconds_left)
            ):
                await call.granted
        except BaseException as error:
            if call.granted.done() and not call.granted.cancelled():
                # Granted at the very moment of the time-out or of the cancellation.
                self.end(user_id)
            else:
                # A turn that came between the cancellation and this moment has passed the call over.
                self._queue.leave(call)
            if isinstance(error, TimeoutError):
                raise self._queue.refusal(user_id) from error
            raise

    def end(self, user_id: str) -> None:
        """End a turn, and give it to the next user."""
        call = self._queue.end(user_id)
        while call is not None and call.granted.done():
            # Its caller has just left.
            call = self._queue.end(call.user_id)
        if call is not None:
            call.granted.set_result(None)
            self._measure()

    def refusal(self, user_id: str, seconds_left: float | None = None) -> AvatarCreatorError | None:
        """Return the error that a call which begins now would receive at once; None if it may wait or run.

        Takes the arguments of `begin`.
        """
        queue = self._queue
        if seconds_left is not None and seconds_left <= 0:
            return queue.refusal(user_id)
        if queue.is_free(user_id):
            return None
        if not queue.has_place(user_id):
            return queue.refusal(user_id)
        own = queue.waiting_of(user_id)
        users = queue.waiting_users + (0 if own else 1)
        # Each other user gets at most one turn before each turn of this user.
        wait = self._seconds_per_turn * min(queue.waiting_count + 1, (own + 1) * users)
        run = self._seconds_per_turn * queue.running_count
        if wait > self._wait_seconds or (seconds_left is not None and seconds_left < _SAFETY * (wait + run)):
            return queue.refusal(user_id)
        return None

    def has(self, user_id: str) -> bool:
        """Return whether the user has a turn, or waits for one."""
        return self._queue.has(user_id)

    @property
    def is_full(self) -> bool:
        """True if a call of some user would wait."""
        return self._queue.is_full

    @property
    def is_idle(self) -> bool:
        """True if no user has a turn or waits for one."""
        return self._queue.is_idle

    def _measure(self) -> None:
        """Measure the time between two turns that waiting calls got, while there is a queue."""
        if not self._queue.waiting_users:
            self._last_grant, self._turns_measured, self._seconds_per_turn = None, 0, 0.0
            return
        now = asyncio.get_running_loop().time()
        if self._last_grant is not None:
            self._turns_measured += 1
            weight = max(1 / self._turns_measured, _LEAST_WEIGHT)
            self._seconds_per_turn += weight * (now - self._last_grant - self._seconds_per_turn)
        self._last_grant = now

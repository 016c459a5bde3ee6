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


class Turns:
    """Gives turns to users.

    A free turn goes to the user who was served longest ago. So a user with many waiting calls delays the
    single call of another user by at most one turn.
    """

    def __init__(
        self,
        subject: str,
        *,
        at_once: int,
        at_once_per_user: int | None = None,
        waiting_factor: int | None = None,
        wait_seconds: float,
    ) -> None:
        """Create the turns of one process.

        Args:
            subject: Name of the limit in errors, in the plural, for example `uploads`.
            at_once: Maximum number of turns at the same time.
            at_once_per_user: Maximum number of turns of one user at the same time; None for no such limit.
            waiting_factor: Maximum number of waiting calls, of all users and of one, as a multiple of the
                turns at the same time; None for no such limit.
            wait_seconds: Maximum time that a call waits for its turn.
        """
        self._subject = subject
        self._at_once = at_once
        self._at_once_per_user = min(at_once, at_once_per_user or at_once)
        self._waiting_factor = waiting_factor
        self._wait_seconds = wait_seconds
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, user_id: str) -> AsyncIterator[None]:
        """Hold a turn while the context is open.

        Raises what `begin` raises.
        """
        await self.begin(user_id)
        try:
            yield
        finally:
            self.end(user_id)

    async def begin(self, user_id: str) -> None:
        """Wait for a turn. The caller must end it.

        Raises:
            ResourceExhaustedError: The user has too many turns, or too many waiting calls.
            UnavailableError: All turns are taken, most of them by others.
        """
        if user_id not in self._waiting and self._is_free(user_id):
            self._running[user_id] += 1
            return
        self._require_room(user_id)
        waiting = self._waiting.setdefault(user_id, deque())
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(granted)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled():
                # Granted at the very moment of the time-out or of the cancellation.
                self.end(user_id)
            else:
                self._leave(user_id, granted)
            if isinstance(error, TimeoutError):
                own = self._running[user_id] >= self._at_once_per_user
                raise self._refusal(own=own) from error
            raise

    def end(self, user_id: str) -> None:
        """End a turn, and give it to the next user."""
        self._running[user_id] -= 1
        if not self._running[user_id]:
            del self._running[user_id]
        for waiting_user in list(self._waiting):
            if self._running.total() >= self._at_once:
                return
            if self._is_free(waiting_user):
                self._grant(waiting_user)

    @property
    def is_idle(self) -> bool:
        """True if no user has a turn."""
        return not self._running

    def _require_room(self, user_id: str) -> None:
        if self._waiting_factor is None:
            return
        if len(self._waiting.get(user_id, ())) >= self._waiting_factor * self._at_once_per_user:
            raise self._refusal(own=True)
        if sum(map(len, self._waiting.values())) >= self._waiting_factor * self._at_once:
            raise self._refusal(own=False)

    def _is_free(self, user_id: str) -> bool:
        return self._running.total() < self._at_once and self._running[user_id] < self._at_once_per_user

    def _grant(self, user_id: str) -> None:
        waiting = self._waiting[user_id]
        granted = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(user_id)
        else:
            del self._waiting[user_id]
        self._running[user_id] += 1
        granted.set_result(None)

    def _leave(self, user_id: str, granted: asyncio.Future[None]) -> None:
        waiting = self._waiting[user_id]
        waiting.remove(granted)
        if not waiting:
            del self._waiting[user_id]

    def _refusal(self, *, own: bool) -> AvatarCreatorError:
        if not own:
            return overloaded_error(f"the server has too many {self._subject} right now")
        return ResourceExhaustedError(
            "TRANSFER_LIMIT",
            f"you have too many {self._subject} at the same time, and the maximum is "
            f"{self._at_once_per_user}; wait for some to end",
            metadata={"limit": self._subject, "most": str(self._at_once_per_user)},
            quota=QuotaViolation(
                self._subject, f"at most {self._at_once_per_user} {self._subject} of a user at the same time"
            ),
            retry_after=OVERLOADED_RETRY_SECONDS,
        )


def overloaded_error(problem: str) -> UnavailableError:
    """Return the error for a call that this server has no room for."""
    return UnavailableError("OVERLOADED", f"{problem}; try again soon", retry_after=OVERLOADED_RETRY_SECONDS)

"""A fair queue: users take turns at a limited resource, and a bounded number of calls wait."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from avatar_creator_server.errors import (
    OVERLOADED_RETRY_SECONDS,
    AvatarCreatorError,
    QuotaViolation,
    ResourceExhaustedError,
    overloaded_error,
)

_NEWCOMERS_FACTOR = 2
"""Maximum number of waiting calls while each further one is the only one of its user, as a multiple of the
maximum for all other calls."""
_NEWCOMERS_SHARE = 8
"""One of so many turns is for users without a turn, if no call may wait."""


class Waiting(Protocol):
    """A call that waits. Equal to itself only."""

    user_id: str


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class UserLimit:
    """The limit of one user."""

    at_once: int
    """Maximum number of turns at the same time."""
    reason: str
    """Reason of the error for a user with too many calls."""
    name: str = ""
    """Name of the limit in the error's metadata; if empty, it is made from the subject of the queue."""


class FairQueue(Generic[W]):
    """Gives turns to calls. Not for several threads.

    A free turn goes to the user who was served longest ago. So a user with many waiting calls delays the
    single call of another user by at most one turn.

    Some users may fill the queue, and then the only waiting call of another user still finds a place. Such
    calls have a bound of their own. If no call may wait, some of the turns are for users without a turn.
    """

    def __init__(
        self,
        subject: str,
        *,
        at_once: int,
        user_limit: UserLimit | None = None,
        waiting_factor: int | None = None,
        background: str | None = None,
    ) -> None:
        """Create the queue of one process.

        Args:
            subject: Name of what is limited, in errors and in the plural, for example `uploads`.
            at_once: Maximum number of turns at the same time.
            user_limit: The limit of each user; None if a user may have all turns.
            waiting_factor: Maximum number of waiting calls, of all users and of one, as a multiple of the
                turns at the same time; None for no such limit.
            background: User without a limit, for which the others leave one turn; None for no such user.
        """
        self._subject = subject
        self._user_limit = user_limit
        self._background = background
        self._at_once = at_once
        self._at_once_of_users = at_once if background is None else max(at_once - 1, 1)
        self._for_newcomers = at_once // _NEWCOMERS_SHARE if waiting_factor == 0 else 0
        self._at_once_per_user = min(
            self._at_once_of_users - self._for_newcomers,
            user_limit.at_once if user_limit is not None else at_once,
        )
        self._waiting_factor = waiting_factor
        # Not a counter: each call of the API has several turns, and a counter's methods are slower.
        self._running: dict[str, int] = {}
        self._running_count = 0
        self._users_at_limit = 0
        self._waiting: OrderedDict[str, dict[W, bool]] = OrderedDict()
        """The waiting calls of each user in their order, and whether a call is patient."""
        self._impatient: Counter[str] = Counter()
        self._impatient_count = 0

    @property
    def running_count(self) -> int:
        """Number of turns."""
        return self._running_count

    @property
    def waiting_count(self) -> int:
        """Number of waiting calls that are not patient."""
        return self._impatient_count

    @property
    def waiting_users(self) -> int:
        """Number of users with waiting calls."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """True if a call of some user would wait."""
        most = self._at_once - self._for_newcomers
        return bool(self._waiting or self._users_at_limit) or self._running_count >= most

    @property
    def is_idle(self) -> bool:
        """True if no call has a turn or waits."""
        return not self._running_count and not self._waiting

    def waiting_of(self, user_id: str) -> int:
        """Return the number of the user's waiting calls that are not patient."""
        return self._impatient[user_id]

    def has(self, user_id: str) -> bool:
        """Return whether the user has a turn, or waits for one."""
        return user_id in self._running or user_id in self._waiting

    def is_free(self, user_id: str) -> bool:
        """Return whether a call of the user would have a turn at once."""
        return user_id not in self._waiting and self._may_run(user_id)

    def begin_at_once(self, user_id: str) -> bool:
        """Return True if a call of the user has a turn now; False if it would have to wait."""
        if user_id in self._waiting or not self._may_run(user_id):
            return False
        self._take(user_id)
        return True

    def begin(self, call: W, *, is_patient: bool = False) -> bool:
        """Return True if the call has a turn now. Otherwise it waits, and `end` returns it later.

        Args:
            call: The call.
            is_patient: True if the call is not refused, however many wait, and takes no place of the others.

        Raises:
            ResourceExhaustedError: The user has too many waiting calls.
            UnavailableError: All users together have too many waiting calls.
        """
        user_id = call.user_id
        if self.begin_at_once(user_id):
            return True
        if not is_patient:
            if not self.has_place(user_id):
                raise self.refusal(user_id)
            self._impatient[user_id] += 1
            self._impatient_count += 1
        self._waiting.setdefault(user_id, {})[call] = is_patient
        return False

    def leave(self, call: W) -> bool:
        """Take back a call that waits, and return True; return False if it does not wait."""
        if call not in self._waiting.get(call.user_id, ()):
            return False
        self._remove(call)
        return True

    def end(self, user_id: str) -> W | None:
        """End a turn, and return the waiting call that has the next one; None if none can have it."""
        running = self._running[user_id]
        if running == self._at_once_per_user:
            self._users_at_limit -= 1
        self._running_count -= 1
        if running == 1:
            del self._running[user_id]
        else:
            self._running[user_id] = running - 1
        for next_user in self._candidates():
            if self._may_run(next_user):
                call = next(iter(self._waiting[next_user]))
                self._remove(call)
                if next_user in self._waiting:
                    self._waiting.move_to_end(next_user)
                self._take(next_user)
                return call
        return None

    def has_place(self, user_id: str) -> bool:
        """Return whether another call of the user may wait."""
        if self._waiting_factor is None:
            return True
        most = self._waiting_factor * self._at_once
        if not self._impatient[user_id]:
            most *= _NEWCOMERS_FACTOR
        return self._impatient_count < most and not self._has_all_places(user_id)

    def refusal(self, user_id: str) -> AvatarCreatorError:
        """Return the error for a call that finds no place, or has waited too long."""
        limit = self._user_limit
        is_own = self._running.get(user_id, 0) >= self._at_once_per_user or (
            self._impatient[user_id] > 0 and self._has_all_places(user_id)
        )
        if limit is None or not is_own:
            return overloaded_error(f"the server has too many {self._subject} right now")
        name = limit.name or self._subject.replace(" ", "_")
        most = self._at_once_per_user
        return ResourceExhaustedError(
            limit.reason,
            f"you have too many {self._subject} at the same time, and the maximum is {most}; wait for some "
            "to end",
            metadata={"limit": name, "most": str(most)},
            quota=QuotaViolation(name, f"at most {most} {self._subject} of a user at the same time"),
            retry_after=OVERLOADED_RETRY_SECONDS,
        )

    def _has_all_places(self, user_id: str) -> bool:
        if self._waiting_factor is None:
            return False
        return self._impatient[user_id] >= self._waiting_factor * self._at_once_per_user

    def _may_run(self, user_id: str) -> bool:
        running = self._running.get(user_id, 0)
        kept = self._for_newcomers if running else 0
        if self._running_count >= self._at_once - kept:
            return False
        if user_id == self._background:
            return True
        return running < self._at_once_per_user and (self._background is None or self._users_have_room())

    def _users_have_room(self) -> bool:
        """Return whether a user has a turn left next to the background."""
        assert self._background is not None
        return self._running_count - self._running.get(self._background, 0) < self._at_once_of_users

    def _candidates(self) -> Iterable[str]:
        """Return the users who may have the next turn, the one served longest ago first."""
        background = self._background
        if not self._waiting or background is None or self._users_have_room():
            return self._waiting
        return (background,) if background in self._waiting else ()

    def _take(self, user_id: str) -> None:
        running = self._running[user_id] = self._running.get(user_id, 0) + 1
        self._running_count += 1
        if running == self._at_once_per_user:
            self._users_at_limit += 1

    def _remove(self, call: W) -> None:
        user_id = call.user_id
        waiting = self._waiting[user_id]
        if not waiting.pop(call):
            self._impatient_count -= 1
            self._impatient[user_id] -= 1
            if not self._impatient[user_id]:
                del self._impatient[user_id]
        if not waiting:
            del self._waiting[user_id]

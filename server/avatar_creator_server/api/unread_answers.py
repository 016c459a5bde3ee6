"""Answers that their clients have not read yet.

gRPC keeps an answer until the client has taken it, and a client may take nothing for as long as it likes. So
the bytes are bounded: a user whose clients leave too many unread gets no further answers until they read.
Large requests of calls that wait or run count too.
"""

from __future__ import annotations

from collections import defaultdict

from avatar_creator_server.api.context import when_call_ends
from avatar_creator_server.errors import (
    OVERLOADED_RETRY_SECONDS,
    AvatarCreatorError,
    QuotaViolation,
    ResourceExhaustedError,
    overloaded_error,
)

_CALL_BYTES = 8 * 1024
"""Memory of a call besides its answer, roughly."""
_SUBJECT = "bytes_of_unread_answers"


class UnreadAnswers:
    """The unread answers of one server."""

    def __init__(self, *, most_bytes: int, most_bytes_per_user: int) -> None:
        self._most = most_bytes
        self._most_per_user = min(most_bytes, most_bytes_per_user)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._total = 0

    def add(self, user_id: str, answer_bytes: int) -> None:
        """Count an answer until the current call ends."""
        size = answer_bytes + _CALL_BYTES
        self._bytes[user_id] += size
        self._total += size
        when_call_ends(lambda: self._remove(user_id, size))

    @property
    def is_much(self) -> bool:
        """True if a user may have reached the limit."""
        return self._total >= self._most_per_user

    def refusal(self, user_id: str) -> AvatarCreatorError | None:
        """Return the error for a call of a user while too much is unread; None if there is room."""
        if self._total >= self._most and self._bytes.get(user_id, 0) < self._most_per_user:
            return overloaded_error("the server has too many answers that were not read")
        return self.own_refusal(user_id)

    def own_refusal(self, user_id: str) -> AvatarCreatorError | None:
        """Return the error for a user who must first read; None if the user has room."""
        if self._bytes.get(user_id, 0) < self._most_per_user:
            return None
        return ResourceExhaustedError(
            "CALL_LIMIT",
            f"your clients have not read {self._most_per_user:,} bytes of answers; read them first, or "
            "cancel their calls",
            metadata={"limit": _SUBJECT, "most": str(self._most_per_user)},
            quota=QuotaViolation(
                _SUBJECT, f"at most {self._most_per_user:,} bytes of unread answers of a user"
            ),
            retry_after=OVERLOADED_RETRY_SECONDS,
        )

    def _remove(self, user_id: str, size: int) -> None:
        self._total -= size
        self._bytes[user_id] -= size
        if not self._bytes[user_id]:
            del self._bytes[user_id]

"""Claim order of the queue, computed from the lengths and the heads of the users' queues.

Users take turns, and a claim moves a user behind all others. So the users have the same order in each round
of a priority, and the number of claims before a generation follows from counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from avatar_creator_server.generations.claims import BULK, INTERACTIVE, NORMAL, Shares


class Lengths:
    """Number of queues of each length."""

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """Take lengths and the number of queues with each; a length may come several times."""
        ordered = sorted(counts)
        self._lengths = [length for length, _ in ordered]
        self._queues = [0, *accumulate(number for _, number in ordered)]
        self._generations = [0, *accumulate(length * number for length, number in ordered)]

    @property
    def total(self) -> int:
        """The number of generations in all these queues."""
        return self._generations[-1]

    def at_least(self, length: int) -> int:
        """Return the number of queues with so many generations or more."""
        return self._queues[-1] - self._queues[bisect_left(self._lengths, length)]

    def up_to(self, rounds: int) -> int:
        """Return the number of generations that are among the first `rounds` of their queue."""
        shorter = bisect_left(self._lengths, rounds)
        return self._generations[shorter] + rounds * (self._queues[-1] - self._queues[shorter])


_NO_QUEUES = Lengths()


@dataclass(frozen=True)
class ClaimOrder:
    """The queues of all users at one moment."""

    lengths: Mapping[int, Lengths]
    """Lengths of the queues, by priority."""
    bulk_waiting: int
    """Number of users who are waiting with a bulk generation; see `Shares`."""
    waiting_heads: Sequence[tuple[str, int]]
    """Id and priority of the first generation of each normal queue and of each bulk queue that is waiting, in
    the order of the turns. Empty if no bulk queue is waiting."""
    shares: Shares

    @property
    def total(self) -> int:
        """The number of queued generations."""
        return sum(lengths.total for lengths in self.lengths.values())

    def position(self, priority: int, nth: int, earlier: Lengths, *, own: int = 0, head_id: str = "") -> int:
        """Return the number of claims before that of a generation.

        Args:
            priority: Index into `PRIORITIES`.
            nth: Place of the generation in its queue, from 1.
            earlier: Lengths of the queues of this priority whose turn is earlier.
            own: Number of generations of its queue before it that `lengths` lacks.
            head_id: Id of the first generation of its queue; empty if `lengths` lacks the queue.
        """
        same = self._of(priority).up_to(nth - 1) + own + earlier.at_least(nth)
        more_urgent = sum(self._of(urgency).total for urgency in range(priority))
        if self.bulk_waiting and priority == NORMAL:
            return self._normal_position(same, more_urgent, nth, head_id)
        if priority == BULK and nth == 1 and head_id in self._places:
            return self._waiting_bulk_position(same, more_urgent, self._places[head_id])
        less_urgent = self._of(NORMAL).total + self.bulk_waiting if priority == INTERACTIVE else 0
        return self.shares.claims_before(
            priority, same=same, more_urgent=more_urgent, less_urgent=less_urgent
        )

    def _of(self, priority: int) -> Lengths:
        return self.lengths.get(priority, _NO_QUEUES)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {head_id: place for place, (head_id, _) in enumerate(self.waiting_heads)}

    @cached_property
    def _bulk_before(self) -> list[int]:
        """Number of bulk generations before each place of the waiting heads."""
        return [0, *accumulate(priority == BULK for _, priority in self.waiting_heads)]

    def _normal_position(self, same: int, more_urgent: int, nth: int, head_id: str) -> int:
        """Return the position of a normal generation while users wait with bulk ones."""
        last = len(self._bulk_before) - 1
        bulk = self._bulk_before[self._places.get(head_id, last) if nth == 1 else last]
        by_urgency = more_urgent + same
        # After so many claims by urgency, a claim for waiting users takes it.
        by_waiting = self.shares.urgent_claims * (same + bulk + 1)
        if by_waiting <= by_urgency:
            return same + bulk + min(more_urgent, by_waiting)
        return by_urgency + min(bulk, self._bulk_before[min(by_urgency // self.shares.urgent_claims, last)])

    def _waiting_bulk_position(self, same: int, more_urgent: int, place: int) -> int:
        """Return the position of the first bulk generation of a waiting user."""
        by_waiting = self.shares.urgent_claims * (place + 1)
        if by_waiting > more_urgent + same:
            return same + more_urgent
        normal = place - self._bulk_before[place]
        # Of those that a claim for a waiting user takes before, the ones that claims by urgency do not take.
        normal -= max(by_waiting - self._of(INTERACTIVE).total, 0)
        bulk = same - max(by_waiting - more_urgent, 0)
        return by_waiting + max(normal, 0) + max(bulk, 0)

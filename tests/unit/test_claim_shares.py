"""The shares of the claims: which claims are for waiting users, and how long a new generation waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from avatar_creator_server.database.models.states import PRIORITIES, GenerationPriority
from avatar_creator_server.generations.claims import Shares

SHARES = Shares(3, timedelta(minutes=5))
INTERACTIVE, NORMAL, BULK = map(PRIORITIES.index, GenerationPriority)


def claimed(interactive: int, normal: int) -> list[int]:
    """Return the priorities of the claims of one worker, of so many pending generations."""
    left = {INTERACTIVE: interactive, NORMAL: normal}
    order = []
    for number in range(interactive + normal):
        preferred = NORMAL if SHARES.is_for_waiting(number) else INTERACTIVE
        taken = preferred if left[preferred] else NORMAL + INTERACTIVE - preferred
        left[taken] -= 1
        order.append(taken)
    return order


def test_every_fourth_claim_is_for_a_waiting_user() -> None:
    assert claimed(7, 3) == [0, 0, 0, 1, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("interactive", [0, 1, 2, 3, 4, 7, 30])
@pytest.mark.parametrize("normal", [1, 2, 5, 30])
def test_a_new_generation_waits_for_the_claims_before_it(interactive: int, normal: int) -> None:
    order = claimed(interactive, normal)

    last_normal = SHARES.claims_before(NORMAL, same=normal - 1, more_urgent=interactive, less_urgent=0)
    assert last_normal == len(order) - 1 - order[::-1].index(NORMAL)
    if interactive:
        last = SHARES.claims_before(INTERACTIVE, same=interactive - 1, more_urgent=0, less_urgent=normal)
        assert last == len(order) - 1 - order[::-1].index(INTERACTIVE)


def test_a_new_bulk_generation_waits_for_all_more_urgent_ones() -> None:
    assert SHARES.claims_before(BULK, same=2, more_urgent=40, less_urgent=0) == 42

"""Claim order: positions computed from counts are the order in which one worker claims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest

from avatar_creator_server.database.models.states import PRIORITIES, GenerationPriority
from avatar_creator_server.generations.claim_order import ClaimOrder, Lengths
from avatar_creator_server.generations.claims import Shares

SHARES = Shares(3, timedelta(minutes=5))
INTERACTIVE, NORMAL, BULK = map(PRIORITIES.index, GenerationPriority)


@dataclass
class Queue:
    """The queue of a user and priority. A lower turn is earlier."""

    name: str
    priority: int
    length: int
    turn: int
    waits: bool
    """True if a claim for a waiting user may take its first generation."""


def random_queues(random: Random, priorities: list[int], *, waiting_bulk: bool) -> list[Queue]:
    """Return queues of five users, with turns of their own. Earlier ones of bulk queues may be waiting."""
    queues = [
        Queue(f"{user}{priority}", priority, random.randrange(1, 9), random.randrange(10**6), False)
        for priority in priorities
        for user in "ABCDE"
        if random.random() < 0.8
    ]
    for queue in queues:
        queue.waits = queue.priority == NORMAL or (
            queue.priority == BULK and waiting_bulk and queue.turn < 5 * 10**5
        )
    return queues


def claimed(queues: list[Queue]) -> list[tuple[str, int]]:
    """Return the order in which one worker claims while no bulk generation is waiting.

    Each claim is the name of the queue, and the place in it from 1.
    """
    left = {queue.name: queue.length for queue in queues}
    turns = {queue.name: queue.turn for queue in queues}
    claims: list[tuple[str, int]] = []
    while any(left.values()):
        open_queues = [queue for queue in queues if left[queue.name]]
        waiting = [queue for queue in open_queues if queue.waits and SHARES.is_for_waiting(len(claims))]
        next_queue = min(
            waiting or open_queues,
            key=lambda queue: (NORMAL if waiting else queue.priority, turns[queue.name]),
        )
        left[next_queue.name] -= 1
        claims.append((next_queue.name, next_queue.length - left[next_queue.name]))
        turns[next_queue.name] = 10**6 + len(claims)
    return claims


def positions(queues: list[Queue]) -> dict[tuple[str, int], int]:
    """Return the position of each generation, by the name of its queue and its place in it."""
    waiting = sorted((queue for queue in queues if queue.waits), key=lambda queue: queue.turn)
    bulk_waiting = sum(queue.priority == BULK for queue in waiting)
    order = ClaimOrder(
        lengths={
            priority: Lengths((queue.length, 1) for queue in queues if queue.priority == priority)
            for priority in {queue.priority for queue in queues}
        },
        bulk_waiting=bulk_waiting,
        waiting_heads=[(queue.name, queue.priority) for queue in waiting] if bulk_waiting else [],
        shares=SHARES,
    )
    found = {}
    for queue in queues:
        earlier = Lengths(
            (other.length, 1)
            for other in queues
            if other.priority == queue.priority and other.turn < queue.turn
        )
        for nth in range(1, queue.length + 1):
            found[queue.name, nth] = order.position(queue.priority, nth, earlier, head_id=queue.name)
    return found


@pytest.mark.parametrize("seed", range(100))
def test_positions_are_the_order_of_the_claims(seed: int) -> None:
    random = Random(seed)
    priorities = random.choice([[NORMAL], [INTERACTIVE, NORMAL], [NORMAL, BULK], [INTERACTIVE, NORMAL, BULK]])
    queues = random_queues(random, priorities, waiting_bulk=False)

    found = positions(queues)

    assert sorted(found, key=found.__getitem__) == claimed(queues)
    assert sorted(found.values()) == list(range(len(found)))


@pytest.mark.parametrize("seed", range(100))
def test_positions_merge_the_orders_by_urgency_and_by_waiting(seed: int) -> None:
    queues = random_queues(Random(seed), [INTERACTIVE, NORMAL, BULK], waiting_bulk=True)

    assert positions(queues) == {each: place for place, each in enumerate(merged(queues))}


def merged(queues: list[Queue]) -> list[tuple[str, int]]:
    """Return the generations at their place by urgency, or by waiting if that is sooner.

    The n-th waiting generation comes after three others for each of the n.
    """
    rounds = [(queue, nth) for queue in queues for nth in range(1, queue.length + 1)]
    by_urgency = sorted(rounds, key=lambda each: (each[0].priority, each[1], each[0].turn))
    waiting = [each for each in rounds if each[0].waits and (each[0].priority == NORMAL or each[1] == 1)]
    waiting.sort(key=lambda each: (each[1], each[0].turn))
    places = {(queue.name, nth): float(place) for place, (queue, nth) in enumerate(by_urgency, start=1)}
    for number, (queue, nth) in enumerate(waiting, start=1):
        places[queue.name, nth] = min(places[queue.name, nth], SHARES.urgent_claims * number + 0.5)
    return sorted(places, key=places.__getitem__)

"""Every attack of the catalogue: another user hardly notices it, and the memory and threads come back."""

from __future__ import annotations

import pytest

from tests.abuse.attacks import ATTACKS, FLOODING_USERS
from tests.abuse.effect import LETTERS, USUAL_THREADS, measure
from tests.abuse.witness import LEAST_QUIET_SECONDS, SLOWER_NEXT_TO_A_FLOOD, SLOWEST_READ_SECONDS
from tests.support.postgres import Postgres
from tests.support.redis import Redis

pytestmark = pytest.mark.abuse

ATTACK_SECONDS = 6.0
ROUNDS = 1.5
"""Maximum number of times that each of many users has a turn before another user has one."""
MAX_KEPT_MIB = 200.0
"""Maximum memory that the server and its decoders keep. Idle decoders alone take 120 MiB."""


@pytest.mark.parametrize("name", [LETTERS, *ATTACKS])
def test_another_user_hardly_notices_an_attack(name: str, postgres: Postgres, redis_server: Redis) -> None:
    figures = measure(name, postgres, redis_server, seconds=ATTACK_SECONDS)

    print(figures)
    assert sum(figures.outcomes.values()) > 0, "the attacker did nothing"
    assert figures.failed == 0
    one_round = FLOODING_USERS.get(name, 0) * ATTACK_SECONDS * 1000 / sum(figures.outcomes.values())
    least = SLOWER_NEXT_TO_A_FLOOD * max(figures.quiet_p50, LEAST_QUIET_SECONDS * 1000)
    assert figures.p50 < max(least, ROUNDS * one_round)
    assert figures.p99 < SLOWEST_READ_SECONDS * 1000
    assert not figures.draws or figures.generation_seconds is not None, (
        "the other user's picture was not ready"
    )
    assert figures.after_mib - figures.before_mib < MAX_KEPT_MIB
    assert figures.threads_after - figures.threads_before <= USUAL_THREADS

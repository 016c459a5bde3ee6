"""One user calls three times as often as the server can answer: it answers most of what it could, and refuses
the rest."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest

from avatar_creator.v1.avatar_service_pb2 import GetAvatarRequest
from avatar_creator.v1.generation_service_pb2 import CreateGenerationRequest
from tests import pictures
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.load import Load, Outcome, run
from tests.abuse.witness import SLOWER_NEXT_TO_A_FLOOD, Witness
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

ROUNDS = 3
SECONDS = 4.0
CALLERS = 16
TIMES_CAPACITY = 3
LEAST_SHARE = 0.6
"""Minimum answers under overload, as a share of those without. Attacker and server share two cores."""
REFUSALS = {"CALL_LIMIT", "OVERLOADED", "DATABASE_LIMIT", "DATABASE_TOO_SLOW", "DEADLINE_EXCEEDED"}

LoadOf = Callable[..., Load]


@pytest.fixture
def service(distributed: Deployment) -> Deployment:
    """A running service without limits of generations, and without a worker."""
    for limit in ("CONCURRENT", "PER_DAY"):
        distributed.settings[f"GENERATION_LIMIT_{limit}"] = "0"
    distributed.settings["SPEND_LIMIT_PER_DAY"] = "0"
    distributed.start_server()
    return distributed


@pytest.fixture
def project_id(service: Deployment) -> str:
    """A project of the attacker."""
    with service.client("attacker") as client:
        return client.projects.create("Many").id


@pytest.fixture
def reads(service: Deployment, project_id: str) -> LoadOf:
    """A function that returns a load of reads."""
    with service.client("attacker") as client:
        avatar = client.avatars.upload(project_id, pictures.png(), name="Face")
    request = GetAvatarRequest(avatar_id=avatar.id).SerializeToString().hex()

    def load(**rate: float) -> Load:
        path = "/avatar_creator.v1.AvatarService/GetAvatar"
        return Load(service.target, service.token("attacker"), path, request, SECONDS, **rate)  # type: ignore[arg-type]

    return load


def test_reads_at_three_times_the_capacity(service: Deployment, reads: LoadOf) -> None:
    with Witness(service) as witness:
        quiet = witness.quiet_median()
        gauge = Gauge(service)
        run(reads(callers=CALLERS))
        before, threads_before = gauge.server_bytes(), gauge.threads()
        shares: list[float] = []
        outcomes: list[Outcome] = []
        for _ in range(ROUNDS):
            capacity = run(reads(callers=CALLERS)).answered
            outcomes.append(run(reads(per_second=TIMES_CAPACITY * capacity / SECONDS)))
            capacity_after = run(reads(callers=CALLERS)).answered
            shares.append(outcomes[-1].answered / ((capacity + capacity_after) / 2))
        with Threads(1) as threads, witness.reading() as under_overload:
            threads.submit(run, reads(per_second=TIMES_CAPACITY * capacity / SECONDS)).result()

    print(f"shares {shares}, refusals {[outcome.refused for outcome in outcomes]}")
    print(f"another user: {quiet * 1000:.1f} ms quiet, {under_overload.median * 1000:.1f} ms under overload")
    assert statistics.median(shares) >= LEAST_SHARE
    assert {reason for outcome in outcomes for reason in outcome.refused} <= REFUSALS
    refusal_seconds = [seconds for outcome in outcomes for seconds in outcome.refusal_seconds]
    assert len(refusal_seconds) > sum(outcome.answered for outcome in outcomes) / 2
    assert statistics.median(refusal_seconds) < 0.9, (
        "callers learn of a refusal before their deadline of a second"
    )
    under_overload.assert_hardly_slower(quiet, SLOWER_NEXT_TO_A_FLOOD)
    wait_until(lambda: gauge.server_bytes() - before < 100 * MIB)
    wait_until(lambda: gauge.threads() <= threads_before + 10)


def test_generations_beyond_the_capacity_are_not_made_for_callers_who_have_left(
    service: Deployment, project_id: str
) -> None:
    request = CreateGenerationRequest(project_id=project_id, prompt="a woman").SerializeToString().hex()
    path = "/avatar_creator.v1.GenerationService/CreateGeneration"
    token = service.token("attacker")

    def load(**rate: float) -> Load:
        return Load(service.target, token, path, request, SECONDS, timeout=2, **rate)  # type: ignore[arg-type]

    capacity = run(load(callers=CALLERS)).answered
    before = len(service.rows("avatar_generations"))
    outcome = run(load(per_second=TIMES_CAPACITY * capacity / SECONDS))

    made = len(service.rows("avatar_generations")) - before
    print(f"made {made}, answered {outcome.answered}, refused {outcome.refused}")
    assert set(outcome.refused) <= REFUSALS
    assert sum(outcome.refused.values()) > 0
    assert outcome.answered >= 0.9 * made

"""A provider whose answers are hostile: they cost their own generation, and reach nothing in the network."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest

from avatar_creator import AvatarCreator, Generation
from tests import pictures
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import Witness
from tests.support.generations import COMPLETED, FAILED, SMALLEST
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.service import Deployment
from tests.support.trap_server import SECRET, TrapServer
from tests.support.waiting import let_pass, wait_until

pytestmark = pytest.mark.abuse

GENERATIONS = 8
ATTACK_SECONDS = 5.0
MAX_GROWTH_BYTES = 150 * MIB
"""Maximum growth of the process that draws: two pictures of 10 MiB at once, decoded."""
MAX_KEPT_BYTES = 100 * MIB
BOMB = gzip.compress(bytes(256 * MIB))

ANSWERS: dict[str, Callable[[TrapServer, TrapServer], Behavior]] = {
    "pictures at private addresses": lambda trap, bombs: Behavior(
        run_seconds=0, image_url=f"http://localhost:{trap.server_port}/latest/meta-data/"
    ),
    "redirects to private addresses": lambda trap, bombs: Behavior(
        run_seconds=0,
        faults=(Fault(stage="image", status=302, body=SECRET, headers={"Location": f"{trap.url}/a.png"}),),
    ),
    "120 KB of letters as an error": lambda trap, bombs: Behavior(
        faults=(Fault(stage="submit", status=500, body="a" * 120_000),)
    ),
    "1 MB of numbers as an error": lambda trap, bombs: Behavior(
        faults=(Fault(stage="submit", status=400, body='{"detail": ' + "[" * 1_000_000),)
    ),
    "endless pictures": lambda trap, bombs: Behavior(
        run_seconds=0, faults=(Fault(stage="image", how="endless"),)
    ),
    "pictures at ten bytes a second": lambda trap, bombs: Behavior(
        run_seconds=0, faults=(Fault(stage="image", how="trickle"),)
    ),
    "pictures that expand to 256 MiB": lambda trap, bombs: Behavior(
        run_seconds=0, image_url=f"{bombs.url}/a.png"
    ),
}


@pytest.fixture
def bombs() -> Iterator[TrapServer]:
    """A host of pictures that compresses them, and that the service may read."""
    with TrapServer.running(200, "image/png\r\nContent-Encoding: gzip", BOMB) as server:
        yield server


@pytest.fixture
def service(embedded: Deployment, router: RouterFake, bombs: TrapServer) -> Deployment:
    """A running service in one process, whose provider is the fake."""
    embedded.settings |= {
        "HUGGINGFACE_API_KEY": "hf_abuse",
        "HUGGINGFACE_BASE_URL": router.url,
        "PROVIDER_DEADLINE_SECONDS": "3",
        "PROVIDER_RESULT_PRIVATE_HOSTS": f"127.0.0.1:{bombs.server_port}",
        "SPEND_LIMIT_PER_DAY": "0",
    }
    embedded.start()
    return embedded


@pytest.fixture
def trap() -> Iterator[TrapServer]:
    """A web server of the private network."""
    with TrapServer.running(200, "image/png", pictures.png()) as server:
        yield server


@pytest.mark.parametrize("attack", ANSWERS)
def test_hostile_answers_to_one_user_do_not_slow_others(
    service: Deployment, router: RouterFake, trap: TrapServer, bombs: TrapServer, attack: str
) -> None:
    router.behave(always=ANSWERS[attack](trap, bombs))
    gauge = Gauge(service)
    with Witness(service) as witness, service.client("attacker") as attacker:
        project = attacker.projects.create("Attack")
        quiet, before, threads_before = witness.quiet_median(), gauge.server_bytes(), gauge.threads()

        with gauge.sampling(), witness.reading() as reads:
            generations = [create(attacker, project.id) for _ in range(GENERATIONS)]
            let_pass(ATTACK_SECONDS)
        wait_until(lambda: has_answers(attacker, generations), 60.0)
        router.behave(always=Behavior(run_seconds=0))
        picture = create(witness.client, witness.project_id)
        *_, last = witness.client.generations.watch(picture.id, timeout=90)

        assert last.state == COMPLETED
        reads.assert_hardly_slower(quiet)
        assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
        wait_until(lambda: gauge.server_bytes() - before < MAX_KEPT_BYTES)
        wait_until(lambda: gauge.threads() <= threads_before + 8)
        assert trap.requests == []
        for generation in generations:
            assert SECRET not in str(attacker.generations.get(generation.id))
            assert SECRET not in str(attacker.generations.attempts(generation.id))


def create(client: AvatarCreator, project_id: str) -> Generation:
    """Start the generation of a small picture."""
    return client.generations.create(project_id, "a calm man", width=SMALLEST, height=SMALLEST).generation


def has_answers(client: AvatarCreator, generations: list[Generation]) -> bool:
    """Return whether at least one of the generations has an attempt that ended, or has failed."""
    return any(
        client.generations.get(each.id).state == FAILED or client.generations.get(each.id).error is not None
        for each in generations
    )

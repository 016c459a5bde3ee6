"""One user searches much and slowly: others hardly notice, and no search outlives its caller."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator.v1.avatar_service_pb2 import AvatarOrder, ListAvatarsRequest
from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator.v1.generation_service_pb2 import ListGenerationsRequest
from tests import pictures
from tests.abuse.gauge import Gauge
from tests.abuse.witness import SLOWER, Witness
from tests.contract.calls import Calls, refusal_of
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import let_pass, wait_until

pytestmark = pytest.mark.abuse

AVATARS = 50_000
CALLERS = 12
ATTACK_SECONDS = 8.0
SLOWEST = 250.0
"""Maximum ratio of another user's slowest read to the median of a quiet time: about a second."""
WORDS = "seven words that every single avatar has"
RARE = f"{WORDS} unheard"
"""Eight words. Every text must be searched for each of them, and none has the last."""
MANY = " ".join(["a e i o u s"] * 16)
"""96 words, as many as fit into 200 characters."""
TEXT = "0123456789 " * 170 + WORDS
REFUSALS = {"CALL_LIMIT", "DATABASE_LIMIT", "DATABASE_TOO_SLOW", "OVERLOADED", ""}
"""Reasons that a caller among too many may get; empty at the caller's own deadline."""
RUNNING = (
    "SELECT query FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()"
    " AND pid <> pg_backend_pid()"
)


@pytest.fixture
def service(distributed: Deployment) -> Deployment:
    """A running server of this test only, on PostgreSQL."""
    distributed.start_server()
    return distributed


@pytest.fixture
def witness(service: Deployment) -> Iterator[Witness]:
    """Another user."""
    with Witness(service) as witness:
        yield witness


class Attacker:
    """A user with many avatars and many connections."""

    def __init__(self, service: Deployment) -> None:
        self._service = service
        with service.client("attacker") as client:
            project = client.projects.create("Many")
            avatar = client.avatars.upload(project.id, pictures.png(), name="Face")
        self._copy(avatar.id)

    def _copy(self, avatar_id: str) -> None:
        """Write many avatars with SQL, because uploads would take an hour."""
        (row,) = self._service.execute("SELECT * FROM avatars WHERE id = %s", avatar_id)
        columns = {name: name for name in row} | {"id": "id || '-' || n", "search_text": f"'{TEXT}'"}
        self._service.execute(
            f"INSERT INTO avatars ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
            f" FROM avatars, generate_series(1, {AVATARS}) n WHERE id = %s",
            avatar_id,
        )
        self._service.execute("ANALYZE avatars")

    @contextmanager
    def repeating(self, call: Callable[[Calls, float], object], *, timeout: float) -> Iterator[Counter[str]]:
        """Repeat a call on many connections while the context is open, and count the reasons of refusals.

        At the end, all callers leave at once.
        """
        reasons: Counter[str] = Counter()
        stop = threading.Event()

        def repeat(_: int) -> None:
            with Calls(self._service.target, self._service.token("attacker")) as calls:
                while not stop.is_set():
                    try:
                        call(calls, timeout)
                        reasons["OK"] += 1
                    except grpc.RpcError as error:
                        reasons[refusal_of(error).reason] += 1

        with Threads(CALLERS) as threads:
            running = [threads.submit(repeat, number) for number in range(CALLERS)]
            try:
                yield reasons
            finally:
                stop.set()
                for each in running:
                    each.result()


class Health:
    """The health of the server, watched while it is under attack."""

    def __init__(self, service: Deployment) -> None:
        self._channel = grpc.insecure_channel(service.target)
        self.statuses: list[int] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Record every status while the context is open."""
        watch = health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest())

        def record() -> None:
            try:
                for answer in watch:
                    self.statuses.append(answer.status)
            except grpc.RpcError:
                return

        thread = threading.Thread(target=record, daemon=True)
        thread.start()
        try:
            yield
        finally:
            watch.cancel()
            thread.join()
            self._channel.close()


def search(query: str) -> Callable[[Calls, float], object]:
    """Return a call that searches the attacker's avatars."""
    return lambda calls, timeout: calls.avatars.ListAvatars(ListAvatarsRequest(query=query), timeout=timeout)


def nothing(calls: Calls, timeout: float) -> object:
    """List with filters that match nothing, in another order than that of the index."""
    calls.generations.ListGenerations(
        ListGenerationsRequest(states=[GenerationState.GENERATION_STATE_FAILED]), timeout=timeout
    )
    return calls.avatars.ListAvatars(
        ListAvatarsRequest(ethnicity="unheard", order=AvatarOrder.AVATAR_ORDER_LAST_USED_FIRST),
        timeout=timeout,
    )


@pytest.mark.parametrize(
    ("call", "timeout", "reasons"),
    [
        (search(MANY), 60.0, {"INVALID_FIELD"}),
        (search(RARE), 60.0, {"OK", *REFUSALS}),
        (search(RARE), 0.3, {"OK", *REFUSALS}),
        (nothing, 60.0, {"OK", *REFUSALS}),
    ],
    ids=["too many words", "rare words", "callers that leave", "filters that match nothing"],
)
def test_searches_of_one_user(
    service: Deployment,
    witness: Witness,
    call: Callable[[Calls, float], object],
    timeout: float,
    reasons: set[str],
) -> None:
    attacker = Attacker(service)
    gauge, health = Gauge(service), Health(service)
    quiet = witness.quiet_median()
    threads_before = gauge.threads()

    with health.watched(), witness.reading() as reads, attacker.repeating(call, timeout=timeout) as found:
        let_pass(ATTACK_SECONDS)

    assert set(found) <= reasons
    reads.assert_hardly_slower(quiet)
    assert max(reads.seconds) < SLOWEST * quiet
    assert set(health.statuses) == {health_pb2.HealthCheckResponse.SERVING}
    wait_until(lambda: not service.execute(RUNNING), 5.0, lambda: str(service.execute(RUNNING)))
    # The threads for gRPC's own work and the database, which stay, are at most a few more than before.
    assert gauge.threads() <= threads_before + 12
    assert witness.quiet_median() < SLOWER * quiet

"""Workers that start, stop, die, freeze or lose their database, as callers and operators see it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import avatar_creator_server
from avatar_creator import AvatarCreator, Generation
from avatar_creator.channels import connect
from tests.support.command_line import CommandLine
from tests.support.doctor import checks_of
from tests.support.generations import COMPLETED, PENDING, SMALLEST, final_state
from tests.support.postgres import OwnPostgres
from tests.support.proxy import Proxy
from tests.support.rows import copy_row
from tests.support.service import Deployment, ServiceProcess, run_in_turn
from tests.support.shared_services import deployed
from tests.support.waiting import wait_until

LATE = timedelta(seconds=90)
"""Longer than the time after which a worker counts as lost."""
RENEWAL_SECONDS = 30.0
"""Maximum time until a worker that continues has renewed its row: ten seconds, on a busy machine."""
NO_WORKER = re.compile(r"no worker has been seen for (\d+) s; generations wait until one starts")
NEVER_SEEN = "no worker has been seen since this server started; generations wait until one starts"
SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING


class Shop:
    """A user with a project in a service, and the operator of that service."""

    def __init__(self, deployment: Deployment, client: AvatarCreator) -> None:
        self.deployment = deployment
        self.client = client
        self.project_id = client.projects.create("Presence").id

    def draw(self) -> None:
        """Have a picture drawn, so that the duration of a generation is known."""
        drawn = final_state(
            self.client.generations.create(self.project_id, "a woman", width=SMALLEST, height=SMALLEST)
        )
        assert drawn.project_id == self.project_id

    def create(self) -> Generation:
        """Create a generation."""
        return self.client.generations.create(
            self.project_id, "a man", width=SMALLEST, height=SMALLEST
        ).generation

    def expects(self) -> bool:
        """Return whether an estimate has an expected time; if not, it must have the warning."""
        estimate = self.client.generations.estimate(self.project_id, "a man")
        absent = [warning for warning in estimate.warnings if warning.startswith("no worker")]
        assert len(absent) == (0 if estimate.expected_seconds is not None else 1), estimate
        return not absent

    def warning(self) -> str:
        """Return the warning of an estimate that no worker is alive."""
        return str(self.client.generations.estimate(self.project_id, "a man").warnings[-1])

    def workers(self) -> list[dict[str, Any]]:
        """Return the rows of the workers."""
        return self.deployment.rows("workers")

    def age(self, worker: ServiceProcess | str, by: timedelta = LATE) -> None:
        """Make time pass for the row of a worker: move its last renewal back."""
        name = worker if isinstance(worker, str) else name_of(worker)
        assert self.deployment.execute(
            "UPDATE workers SET last_seen_time = %s WHERE name = %s RETURNING name",
            datetime.now(UTC) - by,
            name,
        )

    def doctor(self) -> tuple[str, str, int]:
        """Return the mark and the text of the doctor's check of the workers, and the exit code."""
        finished = self.deployment.run_command("doctor")
        check = checks_of(finished.stdout)["workers"]
        return check.result, check.message if check.fix else check.found, finished.returncode

    def health(self) -> int:
        """Return the health of the name `worker`."""
        with connect(self.deployment.target, tls=False, root_certificates=None) as channel:
            request = health_pb2.HealthCheckRequest(service="worker")
            return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=10.0).status)


def name_of(process: ServiceProcess) -> str:
    """Return the name of a worker."""
    return str(process.events("worker_ready")[0]["worker"])


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A server without a worker, for all tests here. It knows how long a generation takes."""
    with deployed(request, "distributed") as deployment:
        deployment.start_server()
        worker = deployment.start_worker()
        with deployment.client("founder") as client:
            Shop(deployment, client).draw()
        worker.terminate()
        yield deployment


@pytest.fixture
def shop(service: Deployment, user: str) -> Iterator[Shop]:
    """A user of that server. The workers that the test starts end with the test."""
    with service.client(user) as client:
        opened = Shop(service, client)
        wait_until(lambda: not opened.expects())
        yield opened
        for worker in service.workers:
            worker.close()
        service.execute("DELETE FROM workers")
        # A later worker must not draw what this test has left.
        client.projects.delete(opened.project_id)


@pytest.fixture
def new_shop(distributed: Deployment, user: str) -> Iterator[Shop]:
    """A service with one server, which has never seen a worker."""
    distributed.start_server()
    with distributed.client(user) as client:
        yield Shop(distributed, client)


def test_an_expected_time_needs_a_live_worker_with_the_same_provider(new_shop: Shop) -> None:
    shop = new_shop
    other = shop.deployment.start_worker(PROVIDER="huggingface", HUGGINGFACE_API_KEY="hf_x")
    assert shop.warning().startswith(
        "no worker that draws with sketch has been seen since this server started"
    )
    mark, text, code = shop.doctor()
    assert (mark, code) == ("failed", 1)
    assert f"{name_of(other)} draws with huggingface" in text
    assert "the same PROVIDER" in text
    assert other.terminate() == 0
    wait_until(lambda: shop.warning() == NEVER_SEEN)

    waiting = shop.create()
    assert waiting.warnings[-1] == NEVER_SEEN
    assert shop.health() == NOT_SERVING

    worker = shop.deployment.start_worker()
    [drawn] = [state for state in shop.client.generations.watch(waiting.id) if state.state == COMPLETED]

    assert len(drawn.warnings) == 1, "the warning is not stored"
    assert shop.expects()
    wait_until(lambda: shop.health() == SERVING)
    assert worker.terminate() == 0
    assert shop.workers() == []
    wait_until(lambda: not shop.expects())
    assert NO_WORKER.fullmatch(shop.warning())
    wait_until(lambda: shop.health() == NOT_SERVING)

    created = shop.create()
    read = shop.client.generations.get(created.id)
    [listed] = shop.client.generations.list(states=[PENDING])
    watched = next(shop.client.generations.watch(created.id))
    for state in (created, read, listed, watched):
        assert state.state == PENDING
        assert (state.queue_position, state.revision) == (0, created.revision)
        assert state.expected_seconds is None
        assert NO_WORKER.fullmatch(state.warnings[-1])
    [stored] = shop.deployment.execute("SELECT warnings FROM avatar_generations WHERE id = %s", created.id)
    assert len(stored["warnings"]) == 1


def test_a_row_describes_its_worker_and_only_the_live_one_counts(new_shop: Shop) -> None:
    shop = new_shop
    killed, other = shop.deployment.start_worker(), shop.deployment.start_worker()
    rows = {row["name"]: row for row in shop.workers()}
    assert rows.keys() == {name_of(killed), name_of(other)}
    for name, row in rows.items():
        assert name.startswith(f"{row['host']}-")
        assert (row["version"], row["provider"]) == (avatar_creator_server.__version__, "sketch")
        assert row["slots"] == 2
        assert timedelta(0) <= row["last_seen_time"] - row["start_time"] < LATE
    assert shop.doctor() == ("ok", "2 alive with 4 slots", 0)
    shop.draw()
    killed.kill()
    assert len(shop.workers()) == 2

    shop.age(killed)

    assert shop.expects()
    mark, text, code = shop.doctor()
    assert (mark, code) == ("warning", 0)
    assert f"1 alive with 2 slots; {name_of(killed)} was lost 9" in text
    assert "look in the logs of the lost workers" in text

    other.kill()
    shop.age(other, timedelta(minutes=2))
    wait_until(lambda: not shop.expects())
    found = NO_WORKER.fullmatch(shop.warning())
    assert found is not None
    assert 90 <= int(found[1]) < 200, "the worker that was seen last counts"
    mark, text, code = shop.doctor()
    assert (mark, code) == ("failed", 1)
    assert "none that draws with sketch is alive" in text
    assert f"{name_of(other)} was lost 2 minutes ago" in text
    assert "start `avatar-creator worker`" in text

    shop.deployment.start_worker()
    assert shop.expects(), "a new worker counts at once"


def test_a_server_that_starts_later_knows_for_how_long_a_worker_is_lost(shop: Shop) -> None:
    worker = shop.deployment.start_worker()
    worker.kill()
    shop.age(worker, timedelta(hours=5))
    shop.deployment.servers[-1].terminate()
    shop.deployment.start_server()

    found = NO_WORKER.fullmatch(shop.warning().replace(",", ""))

    assert found is not None
    assert int(found[1]) >= 5 * 3600


def test_a_suspended_worker_is_lost_and_comes_back(shop: Shop) -> None:
    worker = shop.deployment.start_worker()
    wait_until(shop.expects)
    worker.suspend()
    wait_until(worker.is_suspended)
    shop.age(worker)
    wait_until(lambda: not shop.expects())
    [before] = shop.workers()

    worker.resume()

    wait_until(shop.expects, RENEWAL_SECONDS)
    [after] = shop.workers()
    assert after["last_seen_time"] > before["last_seen_time"]
    assert after["start_time"] == before["start_time"]


def test_doctor_names_workers_of_another_version_and_a_worker_writes_a_deleted_row_again(shop: Shop) -> None:
    worker = shop.deployment.start_worker()
    [before] = shop.workers()
    shop.deployment.execute("UPDATE workers SET version = '0.0.9'")

    mark, text, code = shop.doctor()

    assert (mark, code) == ("warning", 0)
    assert f"{name_of(worker)} has version 0.0.9" in text
    assert "finish the upgrade" in text

    shop.deployment.execute("DELETE FROM workers")

    wait_until(lambda: len(shop.workers()) == 1, RENEWAL_SECONDS)

    [after] = shop.workers()
    assert (after["name"], after["start_time"]) == (name_of(worker), before["start_time"])


def test_a_worker_without_its_database_is_lost_and_comes_back(shop: Shop) -> None:
    proxy = Proxy(shop.deployment.settings["DATABASE_URL"])
    worker = shop.deployment.start_worker(DATABASE_URL=proxy.url)
    wait_until(shop.expects)
    proxy.blackhole()
    shop.age(worker)
    wait_until(lambda: not shop.expects())

    proxy.recover()

    wait_until(shop.expects, RENEWAL_SECONDS)
    assert worker.exit_code() is None
    proxy.close()


def test_a_worker_stops_without_its_database(
    breakable: Deployment, own_postgres: OwnPostgres, user: str
) -> None:
    worker = breakable.start_worker()
    own_postgres.kill()

    assert worker.terminate() == 0

    assert worker.events("presence_not_removed")
    own_postgres.restart()
    [row] = breakable.rows("workers")
    assert row["name"] == name_of(worker)


def test_a_stopping_worker_does_not_count_while_it_finishes(shop: Shop) -> None:
    worker = shop.deployment.start_worker(
        fault="suspend before avatar_creator_server.generations.leases:GenerationLeases.complete"
    )
    generation = shop.create()
    wait_until(worker.is_suspended, 20.0)
    worker.send(signal.SIGTERM)
    worker.resume()

    assert worker.wait(30.0) == 0

    assert shop.workers() == []
    assert shop.client.generations.get(generation.id).state == COMPLETED


def test_the_sweeper_deletes_a_worker_that_was_lost_a_day_ago(shop: Shop) -> None:
    old = shop.deployment.start_worker()
    old.kill()
    copy_row(shop.deployment, "workers", {"name": name_of(old)}, [{"name": "recent"}])
    for name, age in ((name_of(old), timedelta(days=2)), ("recent", timedelta(hours=20))):
        shop.age(name, age)

    sweeper = shop.deployment.start_worker()

    wait_until(lambda: {row["name"] for row in shop.workers()} == {"recent", name_of(sweeper)})


def test_the_command_line_shows_the_warning(shop: Shop, user: str) -> None:
    directory = shop.deployment.directory
    environment = CommandLine(shop.deployment.target, shop.deployment.token(user), directory).environment
    generate = ("generate", "a man", "--project", shop.project_id, "--width", "256", "--height", "256")
    *printed, as_json = run_in_turn(
        [
            ((*generate, *options, "--target", shop.deployment.target), environment, directory)
            for options in ((), ("--estimate",), ("--estimate", "--json"))
        ]
    )
    for finished in printed:
        assert finished.returncode == 0
        assert "done in about" not in finished.stdout
        assert re.search(r"^note: no worker has been seen", finished.stderr, re.MULTILINE)
    assert as_json.returncode == 0
    document = json.loads(as_json.stdout)
    assert document["warnings"][-1].startswith("no worker has been seen")
    assert document["expected_seconds"] is None


def test_the_worker_of_an_embedded_service_has_a_row(embedded: Deployment, user: str) -> None:
    server = embedded.start_server()
    with embedded.client(user) as client:
        shop = Shop(embedded, client)
        assert len(shop.create().warnings) == 1, "the worker is there before the first call"
        shop.draw()
        assert shop.expects()
        assert shop.health() == SERVING
        [first] = shop.workers()
        assert shop.doctor() == ("ok", "one inside the `serve` process, which runs", 0)
        server.kill()
        shop.age(server)
        mark, text, code = shop.doctor()
        assert (mark, code) == ("ok", 0)
        assert "which ended without a clean stop 9" in text

        server = embedded.start_server()

        [second] = shop.workers()
        assert second["name"] != first["name"]
        assert server.terminate() == 0
        assert shop.workers() == []
        assert shop.doctor() == ("ok", "one inside the `serve` process, which does not run", 0)

"""A server of several processes: all answer at one address, start and end together, and count as one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator import AvatarCreator
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarRequest
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationRequest,
    WatchGenerationRequest,
    WatchGenerationResponse,
)
from tests import pictures
from tests.contract.calls import TIMEOUT_SECONDS, Calls, refusal, refusal_of, upload_messages
from tests.integration.test_metrics import addresses, metrics_text, scraped, value
from tests.support.background import InBackground
from tests.support.certificate import Certificate
from tests.support.child_process import ChildProcess
from tests.support.command_line import error_message, printed
from tests.support.doctor import checks_of
from tests.support.generations import CANCELLED, COMPLETED, PENDING
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Postgres
from tests.support.server_processes import connected_to_each, processes_of
from tests.support.service import Deployment, ServiceProcess, run_in_turn
from tests.support.waiting import wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ADDRESSES = ("127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "localhost:0")
"""An address of each form, with a port that the system chooses."""


@pytest.fixture
def several(distributed: Deployment) -> Deployment:
    """A distributed service whose servers have two processes. The test starts them."""
    distributed.settings["SERVER_PROCESSES"] = "2"
    return distributed


def health_of(channel: grpc.Channel, seconds: float = TIMEOUT_SECONDS) -> int:
    """Return the health of a server, or UNKNOWN if it does not answer in time."""
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=seconds)
    except grpc.RpcError:
        return int(health_pb2.HealthCheckResponse.UNKNOWN)
    return int(answer.status)


def end_of(server: ServiceProcess) -> tuple[int, str]:
    """Wait for the end of a server that refuses to start, and return its exit code and its error."""
    code = server.wait(30)
    return code, server.output().partition("error: ")[2]


def test_the_processes_share_a_port_that_the_system_chooses_and_no_other_server_does(
    several: Deployment, user: str, tmp_path: Path
) -> None:
    taken: dict[str, str] = {}
    for number, address in enumerate(ADDRESSES):
        server = ServiceProcess(
            f"server-{number}",
            "serve",
            settings={**several.settings, "LISTEN_ADDRESS": address},
            directory=tmp_path,
        )
        several.servers.append(server)
        server.wait_for_output("server_processes_ready")
        (chosen,) = {event["address"] for event in server.events("server_processes_ready")}
        assert not chosen.endswith(":0")
        taken[address] = chosen

        target = chosen.replace("0.0.0.0", "127.0.0.1")
        with connected_to_each(several, server, user, target=target) as calls:
            assert sorted(calls) == [1, 2], address

    attempts = [(chosen, processes) for chosen in taken.values() for processes in ("1", "2")]
    outcomes = run_in_turn(
        [
            (
                ["serve"],
                {**several.settings, "LISTEN_ADDRESS": chosen, "SERVER_PROCESSES": processes},
                tmp_path,
            )
            for chosen, processes in attempts
        ]
    )
    for (chosen, processes), outcome in zip(attempts, outcomes, strict=True):
        error = outcome.stderr.partition("error: ")[2]
        assert outcome.returncode == 1, (chosen, processes)
        assert error.startswith(f"cannot listen on LISTEN_ADDRESS {chosen}: Address already in use"), error
        assert "is another server running there?" in error


def test_of_two_servers_that_start_at_the_same_time_one_gets_the_address_and_serves_over_tls(
    several: Deployment, user: str, tmp_path: Path
) -> None:
    certificate = Certificate.make()
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        path = tmp_path / f"{name.lower()}.pem"
        path.write_bytes(content)
        several.settings[f"TLS_{name}_FILE"] = str(path)
    both = [
        ServiceProcess(
            name, "serve", settings={**several.settings, "LISTEN_ADDRESS": several.target}, directory=tmp_path
        )
        for name in ("first", "second")
    ]
    several.servers += both

    ended = wait_until(lambda: [server for server in both if server.exit_code() is not None], 30.0)

    code, error = end_of(ended[0])
    assert (code, "Address already in use" in error) == (1, True), error
    (left,) = (server for server in both if server not in ended)
    left.wait_for_output("server_processes_ready")
    assert len(processes_of(left)) == 2
    with AvatarCreator(
        several.target, token=several.token(user), tls=True, root_certificates=certificate.certificate
    ) as client:
        assert client.projects.create("Over TLS").name == "Over TLS"


def test_the_option_replaces_the_setting_and_needs_postgresql(
    embedded: Deployment, several: Deployment
) -> None:
    refused, too_few = run_in_turn(
        [
            (["serve", "--processes", number], deployment.settings, deployment.directory)
            for number, deployment in (("2", embedded), ("0", several))
        ]
    )

    assert error_message(refused).startswith("SERVER_PROCESSES (serve --processes) is 2, but the database is")
    assert "set DATABASE_URL to a PostgreSQL database" in error_message(refused)
    assert error_message(too_few) == "SERVER_PROCESSES must be greater than or equal to 1"


def test_settings_with_which_no_process_can_start_end_the_server_with_the_error_of_one_process(
    several: Deployment, postgres: Postgres
) -> None:
    several.settings["DATABASE_URL"] = url = postgres.create_database()
    try:
        one, two = (several.run_command("serve", "--processes", number) for number in ("1", "2"))
    finally:
        postgres.drop_database(url)

    assert "avatar-creator migrate" in error_message(one)
    assert (two.returncode, two.stderr.count("error: ")) == (1, 1), printed(two)
    assert error_message(one) in two.stderr


def test_no_process_answers_before_all_can(several: Deployment, user: str) -> None:
    server = several._spawn_server({})
    second = wait_until(lambda: processes_of(server).get(2), 30.0)
    second.suspend()

    with Calls(several.target, several.token(user), own_connection=True) as calls:
        assert health_of(calls.channel, 1.0) != SERVING
    assert server.events("server_ready") == []

    second.resume()
    wait_until(lambda: len(server.events("server_ready")) == 2, 30.0)
    server.wait_until_ready()


def test_sigterm_drains_every_process(several: Deployment, user: str) -> None:
    server = several.start_server()
    with connected_to_each(several, server, user) as calls:
        project = calls[1].create_project()
        generation = calls[1].create_generation(project.id)
        watches, healths, uploads = [], [], []
        may_end = threading.Event()

        def slow_upload() -> Iterator[UploadAvatarRequest]:
            messages = upload_messages(
                {"project_id": project.id, "name": "Sarah"}, pictures.png(pictures.scene())
            )
            yield next(messages)
            assert may_end.wait(20)
            yield from messages

        for each in calls.values():
            health = health_pb2_grpc.HealthStub(each.channel).Watch(health_pb2.HealthCheckRequest())
            assert next(health).status == SERVING
            healths.append(health)
            request = WatchGenerationRequest(generation_id=generation.id)
            watches.append(each.generations.WatchGeneration(request))
            assert next(watches[-1]).generation.state == PENDING.number
            uploads.append(
                InBackground(partial(lambda calls: calls.avatars.UploadAvatar(slow_upload()), each))
            )
            each.create_project("Later")  # on the same connection: the upload has begun by now

        server.send(signal.SIGTERM)

        for health, watch in zip(healths, watches, strict=True):
            assert [answer.status for answer in health] == [NOT_SERVING]
            with pytest.raises(grpc.RpcError) as ended:
                next(watch)
            assert refusal_of(ended.value).reason == "SERVER_DRAINING"
        assert server.exit_code() is None, "the uploads still run"
        may_end.set()
        answers = [upload.outcome() for upload in uploads]
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers

    assert server.wait(20) == 0
    assert {row["id"] for row in several.rows("avatars")} == {answer.avatar.id for answer in answers}
    assert "Traceback" not in server.output()
    assert server.events("server_process_died") == []
    assert len(server.events("server_processes_stopped")) == 1


def test_sigterm_during_the_start_ends_all_processes(several: Deployment) -> None:
    server = several._spawn_server({})
    wait_until(lambda: len(processes_of(server)) == 2, 30.0)
    started = list(processes_of(server).values())

    assert server.terminate() == 0

    assert [process.pid for process in started if process.is_running()] == []
    assert server.events("server_process_died") == []


def test_the_processes_end_with_their_supervisor(several: Deployment, user: str) -> None:
    # Not under the guardian of other tests, which ends the whole process group.
    with ChildProcess(
        [sys.executable, "-m", "avatar_creator_server.cli", "serve"],
        directory=several.directory,
        environment={**several.settings, "LISTEN_ADDRESS": several.target, "PATH": "/usr/bin:/bin"},
    ) as supervisor:
        with grpc.insecure_channel(several.target) as channel:
            wait_until(lambda: health_of(channel, 1.0) == SERVING, 30.0)
        processes = psutil.Process(supervisor.pid).children()
        assert len(processes) == 2

        supervisor.kill()

        gone, alive = psutil.wait_procs(processes, timeout=20)
        assert (len(gone), alive) == (2, [])
    several.start_server(SERVER_PROCESSES="1")


def test_metrics_are_those_of_all_processes_together(several: Deployment, user: str) -> None:
    address, _ = addresses()
    server = several.start_server(METRICS_ADDRESS=address)
    create = {"method": "/avatar_creator.v1.AvatarProjectService/CreateProject", "code": "OK"}
    with connected_to_each(several, server, user) as calls:
        before = value(scraped(address), "requests_total", **create)
        project = calls[1].create_project()
        calls[2].create_project()
        generation = calls[1].create_generation(project.id)
        request = WatchGenerationRequest(generation_id=generation.id)
        watches = {number: each.generations.WatchGeneration(request) for number, each in calls.items()}
        for watch in watches.values():
            next(watch)

        wait_until(lambda: value(scraped(address), "requests_total", **create) == before + 2)
        samples = scraped(address)
        assert value(samples, "watches") == 2
        assert value(samples, "queue_depth", priority="normal", state="due") == 1
        assert value(samples, "database_up") == 1
        assert metrics_text(address).count("\navatar_creator_queue_depth{") == 6

        processes_of(server)[2].kill()
        wait_until(lambda: value(scraped(address), "watches") == 1, 20.0)
        wait_until(lambda: len(server.events("server_ready")) == 3, 30.0)
        assert value(scraped(address), "requests_total", **create) == before + 2, "a dead process counts too"

    with connected_to_each(several, server, user) as calls:
        again = value(scraped(address), "requests_total", **create)
        calls[2].create_project()
        wait_until(lambda: value(scraped(address), "requests_total", **create) == again + 1)
    assert server.terminate() == 0


def test_every_process_answers_and_logs_its_number_and_its_watchers_see_what_others_do(
    several: Deployment, user: str
) -> None:
    server = several.start_server()
    assert sorted(event["process"] for event in server.events("server_ready")) == [1, 2]
    (ready,) = server.events("server_processes_ready")
    assert (ready["processes"], ready["address"]) == (2, several.target)

    with connected_to_each(several, server, user) as calls:
        assert sorted(calls) == [1, 2]
        assert all(health_of(each.channel) == SERVING for each in calls.values())
        project = calls[1].create_project()
        drawn, cancelled = (calls[1].create_generation(project.id) for _ in range(2))
        watches = {
            (number, generation.id): each.generations.WatchGeneration(
                WatchGenerationRequest(generation_id=generation.id)
            )
            for number, each in calls.items()
            for generation in (drawn, cancelled)
        }
        for watch in watches.values():
            assert next(watch).generation.state == PENDING.number

        calls[2].generations.CancelGeneration(CancelGenerationRequest(generation_id=cancelled.id))
        several.start_worker()

        for (_, generation_id), watch in watches.items():
            states = [message.generation for message in watch]
            assert states[-1].state == (
                CANCELLED.number if generation_id == cancelled.id else COMPLETED.number
            )
            if generation_id == drawn.id:
                assert any(0 < state.progress_percent < 100 for state in states), "no live updates"


def test_a_limit_of_the_machine_is_divided_between_the_processes(several: Deployment) -> None:
    several.settings |= {"WATCHES_AT_ONCE": "4", "WATCHES_AT_ONCE_PER_USER": "1"}
    server = several.start_server()

    def watch(calls: Calls) -> Iterator[WatchGenerationResponse]:
        generation = calls.create_generation(calls.create_project().id)
        watching: Iterator[WatchGenerationResponse] = calls.generations.WatchGeneration(
            WatchGenerationRequest(generation_id=generation.id)
        )
        assert next(watching).generation.state == PENDING.number
        return watching

    with ExitStack() as connections:
        users = [
            connections.enter_context(connected_to_each(several, server, name)) for name in ("a", "b", "c")
        ]
        first, second = watch(users[0][1]), watch(users[1][1])

        full = refusal(lambda: watch(users[2][1]))
        elsewhere = watch(users[2][2])

        assert (full.code, full.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        del first, second, elsewhere


def test_doctor_counts_the_connections_to_the_database_and_to_a_pooler(
    several: Deployment, pgbouncer: PgBouncer
) -> None:
    several.start_worker()
    url = several.settings["DATABASE_URL"]
    pooled = {"DATABASE_URL": pgbouncer.url(url), "DATABASE_POOLER": "transaction"}

    enough, behind_pooler = (
        checks_of(finished.stdout)["database"]
        for finished in run_in_turn(
            [(["doctor"], several.settings | changes, several.directory) for changes in ({}, pooled)]
        )
    )
    several.execute(f"ALTER DATABASE {url.rpartition('/')[2]} CONNECTION LIMIT 26")
    few = checks_of(several.run_command("doctor").stdout)["database"]

    assert enough.result == "ok"
    assert "open up to 27 connections to the pooler, which must allow so many clients" in behind_pooler.found
    assert few.result == "warning"
    assert "2 process(es) of this server and 1 worker(s) open up to 27 connections" in few.found
    assert "PostgreSQL allows 26" in few.found
    assert "SERVER_PROCESSES" in few.fix

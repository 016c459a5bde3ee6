"""Commands of operators, against a service of their own: they pause its queue and drain its worker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator.channels import connect
from tests.support.command_line import CommandLine, Terminal
from tests.support.doctor import checks_of
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST
from tests.support.service import CLOSED_ADDRESS, Deployment
from tests.support.service_in_thread import ServiceInThread
from tests.support.waiting import wait_until


@pytest.fixture
def olga(distributed: Deployment, tmp_path: Path) -> CommandLine:
    """An operator's commands against a service with a worker."""
    distributed.start()
    return CommandLine(distributed.target, distributed.token("olga", role="ops"), tmp_path)


@pytest.fixture
def olga_in_thread(distributed: Deployment, tmp_path: Path) -> Iterator[CommandLine]:
    """The same against a service that needs no processes of its own."""
    with ServiceInThread.serving(distributed) as service, service.working():
        yield CommandLine(distributed.target, distributed.token("olga", role="ops"), tmp_path)


def health_of_claims(deployment: Deployment) -> int:
    """Return the health of the name `claims`."""
    with connect(deployment.target, tls=False, root_certificates=None) as channel:
        request = health_pb2.HealthCheckRequest(service="claims")
        return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=10.0).status)


def test_an_operator_pauses_the_queue_and_changes_what_waits(
    distributed: Deployment, olga_in_thread: CommandLine
) -> None:
    deployment, olga = distributed, olga_in_thread
    with deployment.client("sarah") as sarah:
        project = sarah.projects.create("Spring")
        paused = olga.json("queue", "pause", "--note", "new model")
        assert [(each["route"], each["paused_by"]) for each in paused["pauses"]] == [(None, "olga")]
        wait_until(lambda: health_of_claims(deployment) == health_pb2.HealthCheckResponse.NOT_SERVING)
        finished = deployment.run_command("doctor")
        assert "the queue has been paused since" in " ".join(finished.stdout.split())
        assert checks_of(finished.stdout)["workers"].fix

        created = [
            sarah.generations.create(project, "a man", width=SMALLEST, height=SMALLEST, priority=priority)
            for priority in ("normal", "bulk", "bulk")
        ]
        assert "the whole queue, since" in olga.output("queue", "show")
        [first] = olga.json("users", "list", "--by", "queue-depth", "--period", "1h")
        assert (first["user_id"], first["due_count"]) == ("sarah", 3)

        arguments = ("generations", "cancel", "--user", "-", "--priority", "bulk", "--max", "1")
        assert "Would cancel 1 generation; more match than --max 1." in olga.output(*arguments, "--dry-run")
        assert created[1].id in olga.output(*arguments)
        assert "Cancelled 0 generations." in olga.output(*arguments, "--older-than", "1d")
        states = [sarah.generations.get(each.id).state for each in created]
        assert states == [PENDING, CANCELLED, PENDING]
        retried = olga.json("generations", "retry", "--user", "sarah", "--state", "cancelled")
        assert retried["generation_ids"] == [created[1].id]
        assert "only one that waits" in olga.error("generations", "retry-now", created[1].id)
        [due] = olga.json("generations", "retry-now", created[0].id)
        assert due["stage"] == "queued"
        started = olga.run("generations", "retry-now", created[0].id)
        assert started.stderr == (
            "note: the whole queue is paused, so no worker claims these generations before "
            "`avatar-creator queue resume`\n"
        )

        # A route of earlier settings, and a misspelled one.
        distributed.execute(
            "INSERT INTO queue_pauses (route, pause_time, paused_by, note) VALUES (%s, %s, 'olga', '')",
            *("former", datetime.now(UTC)),
        )
        assert "must be former or local" in olga.error("queue", "resume", "--route", "locall")
        assert len(olga.json("queue", "resume", "--route", "former")["pauses"]) == 1
        assert "must be local, or empty" in olga.error("queue", "resume", "--route", "former")
        again = olga.output("queue", "pause", "--note", "new model")
        assert again == (
            "No worker claims generations of the whole queue until "
            f"`avatar-creator queue resume --target {olga.target}`; 0 that run go on.\n"
        )
        olga.output("queue", "pause", "--route", "local")
        assert olga.output("queue", "resume", "--route", "local") == "Still paused: the whole queue.\n"
        assert olga.output("queue", "resume") == "Workers claim all generations.\n"
        repeated = olga.output("queue", "resume")
        assert repeated == "The whole queue was not paused. Workers claim all generations.\n"
        for generation_id in (created[0].id, created[2].id, *retried["retry_ids"]):
            *_, last = sarah.generations.watch(generation_id)
            assert last.state == COMPLETED


def test_an_operator_drains_a_worker_and_limits_a_user(distributed: Deployment, olga: CommandLine) -> None:
    [worker] = olga.json("workers", "list")
    assert (worker["state"], worker["provider"], worker["running"]) == ("live", "sketch", [])
    assert "claims no further generations" in olga.output("workers", "drain", worker["name"])
    assert "draining" in olga.output("workers", "list")
    [ready] = distributed.workers
    wait_until(lambda: ready.events("worker_drained"))
    resumed = olga.output("workers", "resume", worker["name"])
    assert resumed == f"Worker {worker['name']} claims generations again.\n"
    repeated = olga.output("workers", "resume", worker["name"])
    assert repeated == f"Worker {worker['name']} was not drained. It claims generations.\n"
    wait_until(lambda: ready.events("worker_resumed"))
    assert "NOT_FOUND" in olga.error("workers", "drain", "nobody").replace("RESOURCE_", "")

    allowed = olga.output("limits", "set", "--user", "sarah", "--per-day", "5", "--spend-per-day", "2.5")
    assert allowed == (
        "sarah may start generations (50 at the same time, any number per minute, 5 per day) and spend "
        "$2.50 per day.\n"
    )
    limits = olga.json("limits", "get", "--user", "sarah")
    assert limits["own"]["spend_per_day_micros"] == 2_500_000
    assert (limits["effective"]["per_day"], limits["effective"]["concurrent"]) == (5, 50)
    assert olga.json("limits", "clear", "--user", "sarah")["own"]["per_day"] is None
    cleared = olga.output("limits", "clear", "--user", "sarah")
    assert cleared.startswith("sarah has the limits of the settings again, and may start generations (50 at")
    assert "at least one" in olga.error("limits", "set", "--user", "sarah")
    for dollars in ("nan", "inf", "0.0000001", "-1"):
        refused = olga.error("limits", "set", "--user", "sarah", "--spend-per-day", dollars)
        assert "--spend-per-day must be 0, or 0.000001 to" in refused
    assert "--user" in olga.error("generations", "cancel")
    assert "not both" in olga.error("generations", "cancel", "some-id", "--user", "-")
    assert "must be PENDING or PROCESSING" in olga.error("generations", "cancel", "--state", "failed")
    assert "a watch is of one user" in olga.error("generations", "watch", "--user", "-")
    for given, advice in (
        ("PROVIDER_TIMEOT", "did you mean PROVIDER_TIMEOUT?"),
        ("TOKEN_EXPIRED", "INTERNAL"),
    ):
        usage = olga.run("generations", "list", "--reason", given)
        assert usage.returncode == 2
        assert advice in " ".join(usage.stderr.replace("│", " ").split())
    assert "must be pending" in olga.error("generations", "retry-now", "--state", "failed")
    logged = [entry["operation"] for entry in distributed.servers[0].events("operation_requested")]
    assert logged[:2] == ["ListWorkers", "DrainWorker"]


def test_everyone_lists_and_changes_their_own_generations_by_filter(
    distributed: Deployment, olga_in_thread: CommandLine, tmp_path: Path
) -> None:
    olga = olga_in_thread
    sarahs = CommandLine(distributed.target, distributed.token("sarah"), tmp_path)
    with distributed.client("sarah") as sarah:
        spring, summer = (sarah.projects.create(name) for name in ("Spring", "Summer"))
        done = sarah.generations.create(spring, "a man", width=SMALLEST, height=SMALLEST)
        avatar = done.wait()
        olga.output("queue", "pause", "--route", "local", "--note", "outage")
        waiting = [
            sarah.generations.create(project, "a man", avatar_name=name, width=SMALLEST, height=SMALLEST)
            for project, name in ((spring, "Ana"), (spring, "Budi"), (summer, "Cici"))
        ]
    ids = [generation.id for generation in waiting]

    listed = ("generations", "list", "--oldest-first")
    assert [each["id"] for each in sarahs.json(*listed)] == [done.id, *ids]
    assert [each["id"] for each in sarahs.json(*listed, "--state", "pending", "--project", spring.id)] == ids[
        :2
    ]
    assert sarahs.json(*listed, "--older-than", "1h", "--priority", "normal") == []
    shown = olga.terminal_output("generations", "list", "--user", "-", "--limit", "3", columns=80)
    assert all(each in shown for each in (*ids, "queued", "sarah", "there are more results"))
    sheet = sarahs.output("generations", "show", done.id)
    assert f"avatar           {avatar.id}" in sheet
    assert "succeeded" in sheet
    assert len(sarahs.json("generations", "show", done.id)["attempts"]) == 1

    cancel = ("generations", "cancel", "--project", spring.id)
    would = sarahs.output(*cancel, "--dry-run", "--max", "1")
    assert "Would cancel 1 generation; more match than --max 1.\n" in would
    assert ids[0] in would
    assert sarahs.json(*cancel)["generation_ids"] == ids[:2]
    assert "0 generations" in sarahs.output(*cancel)
    retry = ("generations", "retry", "--state", "cancelled")
    assert sarahs.json(*retry, "--dry-run")["generation_ids"] == ids[:2]
    retried = sarahs.json(*retry)
    assert (retried["generation_ids"], len(retried["retry_ids"])) == (ids[:2], 2)
    assert sarahs.json(*retry)["generation_count"] == 0
    [by_id] = sarahs.json("generations", "retry", ids[0])
    assert by_id["retry_of"] == ids[0]

    # Both wait for an hour; the operator finds them and starts them in one command.
    distributed.execute(
        "UPDATE avatar_generations SET stage = 'waiting_to_retry', due_time = %s WHERE id = ANY(%s)",
        datetime.now(UTC) + timedelta(hours=1),
        retried["retry_ids"],
    )
    now = ("generations", "retry-now", "--user", "-")
    assert olga.json(*now, "--dry-run")["generation_ids"] == retried["retry_ids"]
    started = olga.run(*now)
    assert "Started 2 generations.\n" in started.stdout
    assert started.stderr == (
        "note: route local is paused, so no worker claims these generations before "
        "`avatar-creator queue resume --route local`\n"
    )
    assert olga.json(*now)["generation_count"] == 0

    watching = sarahs.start("generations", "watch", "--project", summer.id)
    with watching:
        assert watching.stdout is not None
        assert f" {ids[2]} queued, Cici" in watching.stdout.readline()
        olga.output("queue", "resume", "--route", "local")
        for line in watching.stdout:
            assert ids[2] in line
            if f"{ids[2]} completed, Cici" in line:
                break
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130
    assert "not more than one" in sarahs.error("generations", "watch", ids[0], "--project", spring.id)


def test_an_operator_looks_at_the_live_screen(distributed: Deployment, olga: CommandLine) -> None:
    with distributed.client("sarah") as sarah:
        project = sarah.projects.create("Spring")
        olga.output("queue", "pause", "--note", "new model")
        sarah.generations.create(project, "a man", width=SMALLEST, height=SMALLEST, priority="bulk")

    now = datetime.now(UTC)
    distributed.execute(
        "INSERT INTO route_circuits (route, reason, message, failure_count, open_time, probe_time)"
        " VALUES ('local', 'PROVIDER_CREDIT', '', 3, %s, %s)",
        now - timedelta(hours=3),
        now + timedelta(hours=4, minutes=30),
    )
    outage = "OUTAGE route local for 3h: PROVIDER_CREDIT, retry in 4h"

    look = olga.json("top")
    [route] = look["queue"]["routes"]
    assert (route["outage_reason"], route["outage_start_time"][:4]) == ("PROVIDER_CREDIT", f"{now:%Y}")
    assert "route local, since 2" in olga.output("queue", "show")
    assert list(look) == ["time", "queue", "workers", "users", "price_today_micros"]
    assert [(user["user_id"], user["due_count"]) for user in look["users"]] == [("sarah", 1)]
    assert olga.output("top").startswith(f"{distributed.target}  ")
    live = olga.terminal_output("top", "--interval", "0.5", columns=80, prompt="q ends", typed="q")
    pause = ("PAUSED the whole queue", "new model")
    for fact in ("running 0 of 2 slots", "price today $0.00", *pause, outage, "sarah"):
        assert fact in live
    distributed.servers[0].kill()
    assert olga.error("top").startswith("cannot reach ")


def test_the_live_screen_survives_a_restart_of_the_server(distributed: Deployment, olga: CommandLine) -> None:
    with Terminal(olga, "top", "--interval", "0.5") as terminal:
        terminal.wait_for("nothing failed in the last hour")
        distributed.servers[0].kill()
        terminal.wait_for("no answer since")
        distributed.start_server()
        terminal.wait_for("nothing failed in the last hour")
        terminal.type("q")


@pytest.mark.parametrize(
    "arguments",
    [
        ("queue", "pause", "--route", ""),
        ("queue", "resume", "--route", " "),
        ("generations", "cancel", "--user", "-", "--state", "pending", "--project", ""),
        ("generations", "retry", "--state", "failed", "--user", ""),
        ("generations", "list", "--user", ""),
    ],
    ids=" ".join,
)
def test_an_empty_filter_is_refused_instead_of_left_out(arguments: tuple[str, ...], tmp_path: Path) -> None:
    nowhere = CommandLine(CLOSED_ADDRESS, "a-token", tmp_path)

    finished = nowhere.run(*arguments)

    assert finished.returncode != 0
    assert "must not be empty" in " ".join(finished.stderr.split()), finished.stderr

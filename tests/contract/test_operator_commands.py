"""Commands of operators, against a service of their own: they pause its queue and drain its worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator.channels import connect
from tests.support.command_line import CommandLine
from tests.support.doctor import checks_of
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST
from tests.support.service import Deployment
from tests.support.waiting import wait_until


@pytest.fixture
def olga(distributed: Deployment, tmp_path: Path) -> CommandLine:
    """An operator's commands against a service with a worker."""
    distributed.start()
    return CommandLine(distributed.target, distributed.token("olga", role="ops"), tmp_path)


def health_of_claims(deployment: Deployment) -> int:
    """Return the health of the name `claims`."""
    with connect(deployment.target, tls=False, root_certificates=None) as channel:
        request = health_pb2.HealthCheckRequest(service="claims")
        return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=10.0).status)


def test_an_operator_pauses_the_queue_and_changes_what_waits(
    distributed: Deployment, olga: CommandLine
) -> None:
    deployment = distributed
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
        [first] = olga.json("users", "list", "--by", "queue", "--period", "1h")
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

        assert olga.json("queue", "resume")["pauses"] == []
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
    assert "claims generations again" in olga.output("workers", "resume", worker["name"])
    wait_until(lambda: ready.events("worker_resumed"))
    assert "NOT_FOUND" in olga.error("workers", "drain", "nobody").replace("RESOURCE_", "")

    assert "5" in olga.output("limits", "set", "--user", "sarah", "--per-day", "5", "--spend-per-day", "2.5")
    limits = olga.json("limits", "get", "--user", "sarah")
    assert limits["own"]["spend_per_day_micros"] == 2_500_000
    assert (limits["effective"]["per_day"], limits["effective"]["concurrent"]) == (5, 50)
    assert olga.json("limits", "clear", "--user", "sarah")["own"]["per_day"] is None
    assert "at least one" in olga.error("limits", "set", "--user", "sarah")
    assert "--user" in olga.error("generations", "cancel")
    assert "not both" in olga.error("generations", "cancel", "some-id", "--user", "-")
    logged = [entry["operation"] for entry in distributed.servers[0].events("operation_requested")]
    assert logged[:2] == ["ListWorkers", "DrainWorker"]

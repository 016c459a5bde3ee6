"""kill -9 of a worker or server at every half-done step of a generation."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator
from tests.support.background import InBackground
from tests.support.generations import COMPLETED, SMALLEST, make_due, row_of
from tests.support.huggingface_router import RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.watcher import Watcher

WORKER_LOST = AttemptOutcome.WORKER_LOST
SUBMIT_UNKNOWN = AttemptOutcome.SUBMIT_UNKNOWN
SUCCEEDED = AttemptOutcome.SUCCEEDED


@dataclass(frozen=True)
class KillPoint:
    """A point at which a worker is killed, and the expected result."""

    fault: str
    outcomes: tuple[AttemptOutcome, ...]
    submissions: int
    """Total number of requests that the provider receives."""


LEASES = "avatar_creator_server.generations.leases:GenerationLeases"
KILL_POINTS = {
    "after_the_claim": KillPoint(f"kill after {LEASES}.claim found", (WORKER_LOST, SUCCEEDED), 1),
    "before_the_submission": KillPoint(
        "kill before avatar_creator_tasks.providers.huggingface.fal_queue:FalQueue.submit",
        (SUBMIT_UNKNOWN, SUCCEEDED),
        1,
    ),
    "before_the_request_id_is_written": KillPoint(
        f"kill before {LEASES}.submitted", (SUBMIT_UNKNOWN, SUCCEEDED), 2
    ),
    "while_polling": KillPoint(
        "kill before avatar_creator_tasks.providers.huggingface.fal_queue:FalQueue._status",
        (WORKER_LOST, SUCCEEDED),
        1,
    ),
    "before_saving": KillPoint(
        "kill before avatar_creator_server.images.store:Files.stage", (WORKER_LOST, SUCCEEDED), 1
    ),
    "before_the_commit": KillPoint(f"kill before {LEASES}.complete", (WORKER_LOST, SUCCEEDED), 1),
    "within_the_commit": KillPoint(f"kill after {LEASES}._complete", (WORKER_LOST, SUCCEEDED), 1),
    "after_the_commit": KillPoint(
        "kill before avatar_creator_server.generations.events:GenerationEvents.publish_changed ended",
        (SUCCEEDED,),
        1,
    ),
}
FAST = {("after_the_commit", "distributed"), ("before_the_request_id_is_written", "distributed")}


def cases() -> list[Any]:
    return [
        pytest.param(name, mode, marks=() if (name, mode) in FAST else pytest.mark.slow)
        for name in KILL_POINTS
        for mode in ("distributed", "embedded")
    ]


def create_generation(client: AvatarCreator, project_id: str, **options: Any) -> str:
    return client.generations.create(project_id, "a woman", width=SMALLEST, height=SMALLEST, **options).id


@pytest.mark.parametrize(("name", "mode"), cases())
def test_a_generation_completes_after_its_worker_is_killed(
    request: pytest.FixtureRequest, router: RouterFake, user: str, name: str, mode: str
) -> None:
    point = KILL_POINTS[name]
    if mode == "embedded":
        deployment: Deployment = request.getfixturevalue("hosted_embedded")
        victim = deployment.start_server(fault=point.fault)
    else:
        deployment = request.getfixturevalue("hosted")
        deployment.start_server()
        victim = deployment.start_worker(fault=point.fault)
    with deployment.client(user) as client:
        generation_id = create_generation(client, client.projects.create("Killed").id)
        watcher = Watcher(client, generation_id)
        assert victim.wait(20.0) == -signal.SIGKILL
        if mode == "embedded":
            # Only one process uses the SQLite file, so the new one claims the running generation at once.
            deployment.start_server()
        else:
            deployment.start_worker()
            assert make_due(deployment, generation_id, attempt=1) == (len(point.outcomes) > 1)
        states = watcher.states(30.0)
        attempts = client.generations.attempts(generation_id)

    assert states[-1].state == COMPLETED
    assert tuple(attempt.outcome for attempt in attempts) == point.outcomes
    assert router.count == point.submissions
    assert states[-1].retry_count == 0
    revisions = [state.revision for state in states]
    assert revisions == sorted(set(revisions))
    assert_promise_kept(deployment, router, outcomes_seen=states[-1:])


@pytest.mark.parametrize("mode", ["distributed", pytest.param("embedded", marks=pytest.mark.slow)])
def test_a_generation_is_accepted_when_its_server_is_killed_after_the_commit(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str
) -> None:
    fixture = "hosted_embedded" if mode == "embedded" else "hosted"
    deployment: Deployment = request.getfixturevalue(fixture)
    victim = deployment.start_server(
        fault="kill before avatar_creator_server.shared.worker_notifier:WorkerNotifier.notify_generation"
    )
    with deployment.client(user) as client:
        project = client.projects.create("Killed")
        # The client repeats the call with the same `request_id` until a server answers.
        creation = InBackground(lambda: create_generation(client, project.id, timeout=30.0))
        assert victim.wait(20.0) == -signal.SIGKILL
        (row,) = deployment.rows("avatar_generations")
        deployment.start_server()
        if mode == "distributed":
            deployment.start_worker()
        assert creation.outcome() == row["id"]
        last = Watcher(client, row["id"]).states()[-1]

    assert last.state == COMPLETED
    assert row_of(deployment, row["id"])["attempt_number"] == 1
    assert router.count == 1
    assert_promise_kept(deployment, router, outcomes_seen=[last])

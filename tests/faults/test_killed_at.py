"""kill -9 at every point of a generation's life where something is half done."""

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

WORKER_LOST = AttemptOutcome.ATTEMPT_OUTCOME_WORKER_LOST
SUBMIT_UNKNOWN = AttemptOutcome.ATTEMPT_OUTCOME_SUBMIT_UNKNOWN
SUCCEEDED = AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED


@dataclass(frozen=True)
class Point:
    """Where a worker is killed, and what that costs."""

    fault: str
    outcomes: tuple[int, ...]
    submissions: int
    """How many the provider gets in all."""


LEASES = "avatar_creator_server.generations.leases:GenerationLeases"
POINTS = {
    "after_the_claim": Point(f"kill after {LEASES}.claim", (WORKER_LOST, SUCCEEDED), 1),
    "before_the_submission": Point(
        "kill before avatar_creator_tasks.providers.huggingface.fal_queue:FalQueue.submit",
        (SUBMIT_UNKNOWN, SUCCEEDED),
        1,
    ),
    "before_the_request_id_is_written": Point(
        f"kill before {LEASES}.submitted", (SUBMIT_UNKNOWN, SUCCEEDED), 2
    ),
    "while_polling": Point(
        "kill before avatar_creator_tasks.providers.huggingface.fal_queue:FalQueue._status",
        (WORKER_LOST, SUCCEEDED),
        1,
    ),
    "before_saving": Point(
        "kill before avatar_creator_server.images.store:Files.stage", (WORKER_LOST, SUCCEEDED), 1
    ),
    "before_the_commit": Point(f"kill before {LEASES}.complete", (WORKER_LOST, SUCCEEDED), 1),
    "within_the_commit": Point(f"kill after {LEASES}._complete", (WORKER_LOST, SUCCEEDED), 1),
    "after_the_commit": Point(
        "kill before avatar_creator_server.generations.events:GenerationEvents.publish_changed ended",
        (SUCCEEDED,),
        1,
    ),
}
FAST = {("after_the_commit", "distributed"), ("before_the_request_id_is_written", "distributed")}


def cases() -> list[Any]:
    return [
        pytest.param(name, mode, marks=() if (name, mode) in FAST else pytest.mark.slow)
        for name in POINTS
        for mode in ("distributed", "embedded")
    ]


def order(client: AvatarCreator, project_id: str, **wishes: Any) -> str:
    return client.generations.create(project_id, "a woman", width=SMALLEST, height=SMALLEST, **wishes).id


@pytest.mark.parametrize(("name", "mode"), cases())
def test_a_worker_killed_there_costs_no_more_than_that(
    request: pytest.FixtureRequest, router: RouterFake, user: str, name: str, mode: str
) -> None:
    point = POINTS[name]
    if mode == "embedded":
        deployment: Deployment = request.getfixturevalue("hosted_embedded")
        doomed = deployment.start_server(fault=point.fault)
    else:
        deployment = request.getfixturevalue("hosted")
        deployment.start_server()
        doomed = deployment.start_worker(fault=point.fault)
    with deployment.client(user) as client:
        generation_id = order(client, client.projects.create("Killed").id)
        watcher = Watcher(client, generation_id)
        assert doomed.wait(20.0) == -signal.SIGKILL
        if mode == "embedded":
            # Whoever starts on this file is alone, and takes what was being made at once.
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
def test_a_server_killed_after_the_commit_has_accepted_the_generation(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str
) -> None:
    fixture = "hosted_embedded" if mode == "embedded" else "hosted"
    deployment: Deployment = request.getfixturevalue(fixture)
    doomed = deployment.start_server(
        fault="kill before avatar_creator_server.shared.job_notifier:JobNotifier.notify_generation"
    )
    with deployment.client(user) as client:
        project = client.projects.create("Killed")
        # The client asks again with the same `request_id` until a server answers.
        ordering = InBackground(lambda: order(client, project.id, timeout=30.0))
        assert doomed.wait(20.0) == -signal.SIGKILL
        (row,) = deployment.rows("avatar_generations")
        deployment.start_server()
        if mode == "distributed":
            deployment.start_worker()
        assert ordering.outcome() == row["id"]
        last = Watcher(client, row["id"]).states()[-1]

    assert last.state == COMPLETED
    assert row_of(deployment, row["id"])["attempt_number"] == 1
    assert router.count == 1
    assert_promise_kept(deployment, router, outcomes_seen=[last])

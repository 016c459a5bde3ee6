"""Workers that are killed, frozen and stopped in the middle of their work."""

from __future__ import annotations

import signal
import time

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, ErrorReason, Generation
from tests.support.generations import (
    COMPLETED,
    FAILED,
    LARGEST,
    PROCESSING,
    freeze_while_drawing,
    make_due,
    row_of,
)
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

WORKER_LOST = AttemptOutcome.ATTEMPT_OUTCOME_WORKER_LOST
SUCCEEDED = AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED

TRIES = 10
"""How often a moment in the middle of half a second's work is looked for."""


def order(client: AvatarCreator, project_id: str) -> Generation:
    return client.generations.create(project_id, "a busy woman", width=LARGEST, height=LARGEST)


def frozen_in_the_middle(
    deployment: Deployment, client: AvatarCreator, project_id: str, worker: ServiceProcess
) -> Generation:
    """A generation whose drawing this worker has begun and, suspended now, does not go on with."""
    for _ in range(TRIES):
        generation = order(client, project_id)
        Watcher(client, generation.id).wait_for(lambda state: state.state == PROCESSING)
        if freeze_while_drawing(deployment, worker, generation.id):
            return generation
        client.generations.create_and_wait(project_id, "until it is idle", timeout=20.0)
    raise AssertionError(f"{TRIES} generations were all drawn before the worker could be suspended")


def outcomes(client: AvatarCreator, generation_id: str) -> list[int]:
    return [attempt.outcome for attempt in client.generations.attempts(generation_id)]


def avatars_of(deployment: Deployment, generation_id: str) -> int:
    return len(deployment.execute("SELECT id FROM avatars WHERE generation_id = %s", generation_id))


def no_file_is_left_over(deployment: Deployment) -> bool:
    """Whether every stored picture is an avatar's, and the database knows of no other."""
    wanted = 2 * len(deployment.rows("avatars"))
    states = [row["state"] for row in deployment.rows("files")]
    return states == ["owned"] * wanted and len(deployment.files()) == wanted


def test_another_worker_finishes_what_a_killed_one_began(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    worker = distributed.start_worker()
    with distributed.client(user) as client:
        project = client.projects.create("Killed")
        generation = frozen_in_the_middle(distributed, client, project.id, worker)
        watcher = Watcher(client, generation.id)
        worker.kill()
        survivor = distributed.start_worker()
        assert make_due(distributed, generation.id, attempt=1)
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert last.attempt_number == 2
        assert last.retry_count == 0
        assert outcomes(client, generation.id) == [WORKER_LOST, SUCCEEDED]
        assert avatars_of(distributed, generation.id) == 1
        assert [event["generation"] for event in survivor.events("generation_completed")] == [generation.id]


def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    sleeper = distributed.start_worker()
    with distributed.client(user) as client:
        project = client.projects.create("Frozen")
        generation = frozen_in_the_middle(distributed, client, project.id, sleeper)
        assert make_due(distributed, generation.id, attempt=1)
        distributed.start_worker()
        completed = Watcher(client, generation.id).states()[-1]
        assert completed.state == COMPLETED

        sleeper.resume()
        wait_until(
            lambda: generation.id in {lost["generation"] for lost in sleeper.events("generation_lost")}
        )

        assert client.generations.get(generation.id) == completed
        assert outcomes(client, generation.id) == [WORKER_LOST, SUCCEEDED]
        assert avatars_of(distributed, generation.id) == 1
        wait_until(lambda: no_file_is_left_over(distributed), message="a file is left over")
        # It still works.
        assert sleeper.exit_code() is None


def kill_workers_in_the_middle(
    deployment: Deployment, client: AvatarCreator, project_id: str, number: int
) -> Generation | None:
    """A generation in the middle of which so many workers were killed; None if one of them was faster."""
    worker = deployment.start_worker()
    generation = frozen_in_the_middle(deployment, client, project_id, worker)
    worker.kill()
    for attempt in range(1, number):
        worker = deployment.start_worker()
        assert make_due(deployment, generation.id, attempt=attempt)
        wait_until(lambda at=attempt: row_of(deployment, generation.id)["attempt_number"] == at + 1)  # type: ignore[misc]
        frozen = freeze_while_drawing(deployment, worker, generation.id)
        worker.kill()
        if not frozen:
            return None
    return generation


def test_a_generation_that_costs_three_workers_fails(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    with distributed.client(user) as client:
        project = client.projects.create("Deadly")
        tries = (kill_workers_in_the_middle(distributed, client, project.id, 3) for _ in range(TRIES))
        generation = next(found for found in tries if found is not None)
        watcher = Watcher(client, generation.id)
        distributed.start_worker()
        assert make_due(distributed, generation.id, attempt=3)
        failed = watcher.states()[-1]

        assert failed.state == FAILED
        assert failed.error.reason == ErrorReason.ERROR_REASON_WORKER_LOST
        assert outcomes(client, generation.id) == [WORKER_LOST] * 3
        assert avatars_of(distributed, generation.id) == 0


def test_an_idle_worker_told_to_stop_exits_with_0_at_once(distributed: Deployment) -> None:
    worker = distributed.start_worker()
    begun = time.monotonic()

    assert worker.terminate() == 0
    assert time.monotonic() - begun < 2.0, "a blocked read of Redis lasts as long"
    assert "Traceback" not in worker.output()


def test_a_busy_worker_told_to_stop_ends_its_generation_first(distributed: Deployment, user: str) -> None:
    distributed.start_server()
    with distributed.client(user) as client:
        project = client.projects.create("Orderly")
        for _ in range(TRIES):
            worker = distributed.start_worker()
            generation = order(client, project.id)
            watcher = Watcher(client, generation.id)
            watcher.wait_for(lambda state: state.state == PROCESSING)
            exit_code = worker.terminate()
            assert exit_code == 0
            completed = watcher.states()[-1]
            stopping, ended = (
                worker.output().index(f'"{word}"') for word in ("worker_stopping", "generation_completed")
            )
            if stopping < ended:
                break
        else:
            pytest.fail(f"{TRIES} generations all ended before the worker was told to stop")

        assert completed.state == COMPLETED
        assert outcomes(client, generation.id) == [SUCCEEDED]
        assert "Traceback" not in worker.output()


def test_an_embedded_service_killed_in_the_middle_finishes_after_its_restart(
    embedded: Deployment, user: str
) -> None:
    server = embedded.start_server()
    with embedded.client(user) as client:
        project = client.projects.create("Laptop")
        for _ in range(TRIES):
            generation = order(client, project.id)
            watcher = Watcher(client, generation.id)
            watcher.wait_for(lambda state: state.state == PROCESSING)
            server.send(signal.SIGKILL)
            server.wait()
            if row_of(embedded, generation.id)["state"] == "processing":
                break
            server = embedded.start_server()
        else:
            pytest.fail(f"{TRIES} generations all ended before the service was killed")
        assert make_due(embedded, generation.id, attempt=1)
        embedded.start_server()
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert outcomes(client, generation.id) == [WORKER_LOST, SUCCEEDED]
        assert avatars_of(embedded, generation.id) == 1

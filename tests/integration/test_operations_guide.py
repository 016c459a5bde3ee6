"""The operations guide: its commands, run in order, print the output that the guide shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from avatar_creator_tasks.generation_runner import STORAGE_SECONDS
from tests.support.console_guide import REPOSITORY, Command, commands, run_session
from tests.support.generations import SMALLEST, row_of
from tests.support.service import Deployment
from tests.support.waiting import wait_until

GUIDE = REPOSITORY / "docs" / "operations.md"
FEWEST_COMMANDS = 25

_FAILURES = ("ERROR:", "Error ", "Failed ")


def fails(command: Command) -> bool:
    """Return true if the guide shows an error of grpcurl for the command."""
    return any(line.startswith(_FAILURES) for line in command.shown)


def create_generation_that_waits_for_retry(deployment: Deployment, user: str) -> None:
    """Create a generation that fails once and whose retry is an hour away."""
    obstacle = deployment.upload_path / "avatar-creator"
    obstacle.write_bytes(b"a file in the place of the folder")
    with deployment.client(user) as client:
        project = client.projects.create("Autumn campaign")
        generation = client.generations.create(
            project.id, "calm man with a beard", width=SMALLEST, height=SMALLEST
        )
    # The worker first keeps the picture for a while, in case the storage comes back.
    wait_until(
        lambda: row_of(deployment, generation.id)["stage"] == "waiting_to_retry", STORAGE_SECONDS + 20.0
    )
    deployment.execute(
        "UPDATE avatar_generations SET due_time = %s WHERE id = %s",
        datetime.now(UTC) + timedelta(hours=1),
        generation.id,
    )
    obstacle.unlink()


def test_the_guide_has_a_command_for_every_task() -> None:
    assert len(commands(GUIDE)) >= FEWEST_COMMANDS


@pytest.mark.parametrize("deployment", ["distributed"], indirect=True)
def test_every_command_prints_the_output_that_the_guide_shows(deployment: Deployment) -> None:
    create_generation_that_waits_for_retry(deployment, "sarah")
    guide = commands(GUIDE)

    results = run_session(guide, deployment)

    for command, result in zip(guide, results, strict=True):
        report = f"{GUIDE.name}, line {command.line}, exit status {result.status}, printed:\n{result.output}"
        assert command.matches(result.output), report
        assert (result.status != 0) == fails(command), report
    (server,) = deployment.servers
    logged = [(call["request"], call["user"], call.get("user_id")) for call in server.events("ops_role_used")]
    assert ("GetStatsRequest", "olga", "-") in logged

"""The night cookbook: its commands, run in order, print the output that the page shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from avatar_creator import AvatarCreator, Generation, GenerationHandle, GenerationStage
from tests.support.console_guide import REPOSITORY, commands, run_session
from tests.support.generations import SMALLEST
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.service import Deployment
from tests.support.waiting import wait_until

PAGE = REPOSITORY / "docs" / "cookbook.md"
UNTIL_DRAWN = (
    "while avatar-creator generations list --user - --state pending --state processing --json"
    " | grep -q '\"id\"'; do sleep 0.05; done"
)
"""Waits for the generations that earlier commands have retried, as the person who reads does."""
OUTAGE = Behavior(faults=(Fault(status=503),))


@pytest.fixture
def night(distributed: Deployment, router: RouterFake) -> Deployment:
    """A service whose provider had an outage: a generation of sarah's failed, and one waits for its retry."""
    deployment = distributed
    deployment.settings |= {
        "HUGGINGFACE_API_KEY": "hf_0123456789abcdef",
        "HUGGINGFACE_BASE_URL": router.url,
        "PRICES_PER_MEGAPIXEL": '{"fal-ai": 0.035}',
    }
    deployment.start()
    with deployment.client("sarah") as sarah, deployment.client("olga", role="ops") as olga:
        project = sarah.projects.create("Spring campaign")
        sarah.generations.create(project, "calm woman", width=SMALLEST, height=SMALLEST).wait()
        router.behave(always=OUTAGE)
        failing = sarah.generations.create(project, "serious man", width=SMALLEST, height=SMALLEST)
        while not rests(sarah, failing).ended:
            olga.operations.retry_now(failing)
        waiting = sarah.generations.create(project, "calm man", width=SMALLEST, height=SMALLEST)
        rests(sarah, waiting)
        deployment.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE id = %s",
            datetime.now(UTC) + timedelta(hours=1),
            waiting.id,
        )
        router.behave(always=Behavior())
    return deployment


def rests(client: AvatarCreator, generation: GenerationHandle) -> Generation:
    """Wait until no worker has the generation and none will take it soon, and return it."""
    stages = (GenerationStage.WAITING_TO_RETRY, GenerationStage.ENDED)
    wait_until(lambda: client.generations.get(generation).stage in stages)
    return client.generations.get(generation)


def test_every_command_prints_the_output_that_the_page_shows(night: Deployment) -> None:
    [waiting] = night.execute("SELECT id FROM avatar_generations WHERE stage = 'waiting_to_retry'")
    page = commands(PAGE)
    for command in page:
        # The page shortens this id.
        command.typed = [line.replace("01a204d8-…", str(waiting["id"])) for line in command.typed]
        if command.typed[0].startswith("avatar-creator queue pause"):
            command.typed.insert(0, UNTIL_DRAWN)

    results = run_session(page, night)

    for command, result in zip(page, results, strict=True):
        report = f"{PAGE.name}, line {command.line}, exit status {result.status}, printed:\n{result.output}"
        assert command.matches(result.output), report
        assert result.status == 0, report

"""The command `generate` on the real service: its project, its files, its progress and its failures."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import AvatarCreator
from tests.support.command_line import SMALL, CommandLine
from tests.support.generations import LARGEST, final_state, row_of
from tests.support.service import Deployment
from tests.support.waiting import wait_until

MARKUP = "[red]x[/]"
"""A prompt that rich would print in red."""


def test_a_portrait_goes_to_the_newest_project_and_to_the_file(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    preset = next(shared_client.presets.list(query="batik"))
    persona = next(shared_client.personas.list())

    first = command_line.run("generate", "--preset", preset.id, *SMALL, "--to", "first.png")
    (project,) = shared_client.projects.list()
    (avatar,) = shared_client.avatars.list()
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[0] == f"note: created project Avatars ({project.id})"
    assert first.stdout.splitlines() == [
        f"Created avatar {avatar.name} ({avatar.id}), drawn by sketch with seed {avatar.seed_used}.",
        "Saved the 256x256 picture to first.png.",
    ]
    with Image.open(command_line.directory / "first.png") as picture:
        assert picture.size == (256, 256)

    message = command_line.error("generate", "--preset", preset.id, *SMALL, "--to", "first.png")
    assert "first.png already exists" in message
    second = command_line.run("generate", "a portrait", "--persona-example", persona.id, *SMALL, "--json")
    started = json.loads(second.stdout)
    assert second.stderr == f"note: using your newest project, Avatars ({project.id})\n"
    assert (started["project_id"], started["persona_example_id"]) == (project.id, persona.id)
    third = command_line.run("generate", "a portrait", "--project", project.id, *SMALL)
    newest = next(shared_client.generations.list())
    assert third.stdout.startswith(f"Started generation {newest.id}: ")
    assert [project.avatar_count >= 1 for project in shared_client.projects.list()] == [True]


def test_a_terminal_shows_the_progress(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")

    shown = command_line.terminal_output(
        "generate",
        MARKUP,
        *("--project", project.id, "--width", str(LARGEST), "--height", str(LARGEST), "--watch"),
        columns=100,
    )

    assert re.search(r"drawing\s.*\d+ %.*0:00:0\d", shown), shown
    assert re.search(r"completed\s.*100 %", shown), shown
    assert f"Created avatar {MARKUP} (" in shown


Hold = Callable[[str], None]


@pytest.fixture
def hold(shared_deployment: Deployment) -> Iterator[Hold]:
    """Keeps a generation in the queue; before that, the workers are busy with portraits of other users."""

    def postpone(generation_id: str) -> None:
        assert shared_deployment.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE id = %s AND state = 'pending' RETURNING id",
            datetime.now(UTC) + timedelta(hours=1),
            generation_id,
        ), row_of(shared_deployment, generation_id)["state"]

    with ExitStack() as clients:
        crowd = []
        for number in range(20):
            client = clients.enter_context(shared_deployment.client(f"crowd-{number}-{uuid.uuid4().hex}"))
            project = client.projects.create("Spring")
            generation = client.generations.create(project.id, "x", width=LARGEST, height=LARGEST)
            crowd.append((client, project.id, generation.id))
        yield postpone
        for client, project_id, _ in crowd:
            client.projects.delete(project_id)


def test_a_watch_reports_how_the_generation_failed(
    command_line: CommandLine, shared_client: AvatarCreator, shared_deployment: Deployment, hold: Hold
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--watch", "--json")
    cancelled, failed, interrupted = (command_line.start(*command) for _ in range(3))
    with cancelled, failed, interrupted:
        ids = {}
        for process in (cancelled, failed, interrupted):
            assert process.stdout is not None
            state = json.loads(process.stdout.readline())
            assert state["state"] == "pending"
            assert state["queue_position"] >= 0
            hold(state["id"])
            ids[process] = state["id"]

        shared_client.generations.cancel(ids[cancelled])
        shared_deployment.execute(
            "UPDATE avatar_generations SET state = 'failed', stage = 'ended', revision = revision + 1,"
            " due_time = NULL, error_reason = 'PROVIDER_REJECTED', error_message = %s WHERE id = %s",
            f"no {MARKUP}",
            ids[failed],
        )
        interrupted.send_signal(signal.SIGINT)
        output = {process: process.communicate(timeout=20) for process in ids}

    assert (interrupted.returncode, output[interrupted]) == (130, ("", ""))
    assert output[cancelled][1] == f"error: CANCELLED: generation {ids[cancelled]} was cancelled\n"
    assert output[failed][1] == f"error: PROVIDER_REJECTED: no {MARKUP}\n"
    for process, ended in ((cancelled, "CANCELLED"), (failed, "FAILED")):
        assert process.returncode == 1
        assert json.loads(output[process][0].splitlines()[-1])["state"] == ended.lower()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_command_says_how_to_go_on(
    command_line: CommandLine,
    shared_client: AvatarCreator,
    hold: Hold,
    number: signal.Signals,
    status: int,
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--variations", "2", "--watch")

    with command_line.start(*command) as process:
        assert process.stderr is not None
        assert (
            "words of the prompt that it knows: it uses no word of this prompt" in process.stderr.readline()
        )
        started = list(shared_client.generations.list())
        for generation in started:
            hold(generation.id)
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)

    assert (process.returncode, output) == (status, "")
    followed, cancelled = (
        re.findall(rf"`avatar-creator generations ({name}) ([^`]+)`", errors) for name in ("watch", "cancel")
    )
    assert errors.startswith("note: 2 generations go on: follow them with `avatar-creator generations watch ")
    assert errors.count("\n") == 1
    ((_, options),) = cancelled
    assert [(name, text) for name, text in followed] == [("watch", options)]
    assert options.split()[2:] == ["--target", command_line.target]
    assert set(options.split()[:2]) == {generation.id for generation in started}

    with command_line.start("generations", "watch", *options.split()[:2]) as watching:
        cancelling = command_line.run("generations", "cancel", *options.split()[:2])
        _, causes = watching.communicate(timeout=20)
    assert cancelling.returncode == 0, cancelling.stderr
    assert {line.removesuffix(".") for line in cancelling.stdout.splitlines()} == {
        f"Cancelled generation {generation.id}" for generation in started
    }
    assert watching.returncode == 1
    assert "2 of 2 variations were not created" in causes


def test_an_interruption_while_a_note_is_written_does_not_repeat_the_note(
    command_line: CommandLine, shared_client: AvatarCreator, hold: Hold
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--watch")
    with (
        full_pipe() as (reading_end, writing_end),
        command_line.start(*command, stderr=writing_end) as process,
    ):
        os.close(writing_end)
        wait_until(lambda: writes_to_stderr(process.pid), 20.0)
        [started] = shared_client.generations.list()
        hold(started.id)
        process.send_signal(signal.SIGINT)
        with open(reading_end, encoding="utf-8", closefd=False) as stream:
            errors = stream.read().lstrip(FILLING)
        process.communicate(timeout=20)

    assert process.returncode == 130
    first, second = errors.splitlines()
    assert "words of the prompt that it knows: it uses no word" in first
    assert second.startswith(f"note: generation {started.id} goes on: ")


FILLING = "."


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe without room: a process that writes to it waits. The caller closes the writing end."""
    reading_end, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing_end, FILLING.encode() * 4096)
    os.set_blocking(writing_end, True)
    try:
        yield reading_end, writing_end
    finally:
        os.close(reading_end)


def writes_to_stderr(pid: int) -> bool:
    """Return whether the main thread of a process is in a system call on its standard error."""
    number, *arguments = Path(f"/proc/{pid}/syscall").read_text().split()
    return number.isdigit() and int(arguments[0], 16) == 2


def test_an_ended_generation_can_be_watched_and_not_cancelled(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    generation = final_state(shared_client.generations.create(project.id, "x", width=256, height=256))
    unknown = str(uuid.uuid4())

    watched = command_line.run("generations", "watch", generation.id)
    assert (watched.returncode, watched.stdout.split(" (")[0]) == (0, "Created avatar x")
    assert command_line.error("generations", "cancel", generation.id).startswith("GENERATION_FINISHED: ")
    assert command_line.error("generations", "watch", unknown).startswith("RESOURCE_NOT_FOUND: ")
    message = command_line.error("generations", "cancel", generation.id, unknown)
    assert message.startswith(
        f"2 of 2 generations were not cancelled: {generation.id}: GENERATION_FINISHED: "
    )
    assert f"; {unknown}: RESOURCE_NOT_FOUND: " in message


def test_the_queue_position_is_printed(
    command_line: CommandLine, shared_client: AvatarCreator, hold: Hold
) -> None:
    project = shared_client.projects.create("Spring")
    # A completed generation lets the service estimate the duration of the next one.
    shared_client.generations.create(project.id, "x", width=256, height=256)

    text = command_line.run("generate", "a portrait", "--project", project.id).stdout
    (generation_id,) = re.findall(r"Started generation (\S+): ", text)
    hold(generation_id)

    assert re.search(r": pending, \d+ ahead in the queue", text), text
    shared_client.generations.cancel(generation_id)

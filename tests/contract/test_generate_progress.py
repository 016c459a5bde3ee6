"""The command `generate` on the real service: its project, its files, its progress and its failures."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import AvatarCreator
from tests.support.command_line import SMALL, CommandLine
from tests.support.generations import LARGEST, final_state
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
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


@pytest.fixture
def idle(embedded: Deployment) -> Iterator[Deployment]:
    """A service whose generations stay in the queue: its worker exists in the database only."""
    with ServiceInThread.serving(embedded):
        later = datetime.now(UTC) + timedelta(hours=1)
        embedded.execute(
            "INSERT INTO workers (name, version, host, provider, slots, start_time, last_seen_time)"
            " VALUES ('busy', '1', 'host', 'sketch', 1, %s, %s)",
            *(later, later),
        )
        yield embedded


@pytest.fixture
def idle_client(idle: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of `idle`, as `user`."""
    with idle.client(user) as connected:
        yield connected


@pytest.fixture
def idle_commands(idle: Deployment, user: str, tmp_path: Path) -> CommandLine:
    """Commands of `user` against `idle`."""
    return CommandLine(idle.target, idle.token(user), tmp_path)


def test_a_watch_reports_how_the_generation_failed(
    idle_commands: CommandLine, idle_client: AvatarCreator, idle: Deployment
) -> None:
    project = idle_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--watch", "--json")
    cancelled, failed, interrupted = (idle_commands.start(*command) for _ in range(3))
    with cancelled, failed, interrupted:
        ids = {}
        for process in (cancelled, failed, interrupted):
            assert process.stdout is not None
            state = json.loads(process.stdout.readline())
            assert state["state"] == "pending"
            assert state["queue_position"] >= 0
            ids[process] = state["id"]

        idle_client.generations.cancel(ids[cancelled])
        idle.execute(
            "UPDATE avatar_generations SET state = 'failed', stage = 'ended', revision = revision + 1,"
            " due_time = NULL, error_reason = 'PROVIDER_REJECTED', error_message = %s WHERE id = %s",
            f"no {MARKUP}",
            ids[failed],
        )
        wait_until(lambda: watches(interrupted.pid), 20.0)
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
    idle_commands: CommandLine,
    idle_client: AvatarCreator,
    number: signal.Signals,
    status: int,
) -> None:
    project = idle_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--variations", "2", "--watch")

    with idle_commands.start(*command) as process:
        assert process.stderr is not None
        assert (
            "words of the prompt that it knows: it uses no word of this prompt" in process.stderr.readline()
        )
        wait_until(lambda: watches(process.pid), 20.0)
        started = list(idle_client.generations.list())
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
    assert options.split()[2:] == ["--target", idle_commands.target]
    assert set(options.split()[:2]) == {generation.id for generation in started}

    with idle_commands.start("generations", "watch", *options.split()[:2]) as watching:
        cancelling = idle_commands.run("generations", "cancel", *options.split()[:2])
        _, causes = watching.communicate(timeout=20)
    assert cancelling.returncode == 0, cancelling.stderr
    assert {line.removesuffix(".") for line in cancelling.stdout.splitlines()} == {
        f"Cancelled generation {generation.id}" for generation in started
    }
    assert watching.returncode == 1
    assert "2 of 2 variations were not created" in causes


def test_an_interruption_while_a_note_is_written_does_not_repeat_the_note(
    idle_commands: CommandLine, idle_client: AvatarCreator
) -> None:
    project = idle_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--watch")
    buffered = copy(idle_commands)
    # As at a terminal: without a buffer, an interrupted write loses its text.
    buffered.environment = idle_commands.environment | {"PYTHONUNBUFFERED": ""}
    with (
        full_pipe() as (reading_end, writing_end),
        buffered.start(*command, stderr=writing_end) as process,
    ):
        os.close(writing_end)
        wait_until(lambda: writes_to_stderr(process.pid), 20.0)
        [started] = idle_client.generations.list()
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


def watches(pid: int) -> bool:
    """Return whether a process has the thread in which gRPC receives the answers of a stream."""
    names = [(task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return names.count(Path(f"/proc/{pid}/comm").read_text()) > 1


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


def test_the_queue_position_is_printed(idle_commands: CommandLine, idle_client: AvatarCreator) -> None:
    project = idle_client.projects.create("Spring")
    idle_client.generations.create(project.id, "x", width=256, height=256)

    text = idle_commands.run("generate", "a portrait", "--project", project.id).stdout
    (generation_id,) = re.findall(r"Started generation (\S+): ", text)

    assert re.search(r": pending, \d+ ahead in the queue", text), text
    idle_client.generations.cancel(generation_id)

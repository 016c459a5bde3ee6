"""A user of the command `avatar-creator`: runs commands against a server and returns what they print."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.child_process import ChildProcess
from tests.support.service import run_command, run_in_turn

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--width", "256", "--height", "256")
"""Options of `generate` for a picture that is drawn quickly."""

FinishedCommand = subprocess.CompletedProcess[str]

_TERMINAL_SECONDS = 60.0
_OTHER_SCREEN, _FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
"""Sequences that switch to the alternate screen of a terminal and back."""
_HIDDEN_CURSOR, _CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class CommandLine:
    """Commands of one user, with a token and a working directory, and without the service's settings."""

    def __init__(self, target: str, token: str, directory: Path) -> None:
        self.target = target
        self.directory = directory
        self.environment = {"AVATAR_CREATOR_TOKEN": token, "TZ": "WIB-7"}

    def run(self, *arguments: str, **environment: str) -> FinishedCommand:
        """Run a command to its end."""
        return run_command(
            *arguments,
            "--target",
            self.target,
            settings=self.environment | environment,
            directory=self.directory,
        )

    def output(self, *arguments: str) -> str:
        """Run a command that succeeds without notes, and return what it prints."""
        finished = self.run(*arguments)
        assert (finished.returncode, finished.stderr) == (0, "")
        return finished.stdout

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds, with --json, and return the JSON document that it prints."""
        finished = self.run(*arguments, "--json")
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def error(self, *arguments: str, **environment: str) -> str:
        """Run a command that fails, and return its error message."""
        [message] = self.errors([(arguments, environment)])
        return message

    def errors(self, commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> list[str]:
        """Run several commands that fail, each with extra environment variables; return their messages."""
        target = ("--target", self.target)
        finished = run_in_turn(
            [
                ((*arguments, *target), self.environment | dict(changes), self.directory)
                for arguments, changes in commands
            ]
        )
        return [error_message(each) for each in finished]

    def start(self, *arguments: str, **streams: Any) -> ChildProcess:
        """Start a command and return without waiting; its output goes to pipes unless `streams` differ."""
        return ChildProcess(
            [sys.executable, "-m", "avatar_creator_server.cli", *arguments, "--target", self.target],
            directory=self.directory,
            environment={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "clients" / "python")]),
                "TERM": "xterm",
                **self.environment,
            },
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )

    def terminal_output(
        self, *arguments: str, columns: int, prompt: str = "", typed: str = "", status: int = 0
    ) -> str:
        """Run a command in a terminal of this width, and return the text that it shows.

        Args:
            arguments: The command.
            columns: Width of the terminal.
            prompt: Text of the command after which the person types; empty for none.
            typed: The text that the person types.
            status: Exit status that the command must have.
        """
        terminal, end = pty.openpty()
        termios.tcsetwinsize(end, (50, columns))
        before = termios.tcgetattr(end)
        try:
            with self.start(*arguments, stdin=end, stdout=end, stderr=end) as process:
                os.close(end)
                shown = _read_to_end(terminal, prompt.encode(), typed.encode())
                assert termios.tcgetattr(terminal) == before
        finally:
            os.close(terminal)
        assert shown.count(_OTHER_SCREEN) == shown.count(_FIRST_SCREEN)
        assert shown.rfind(_HIDDEN_CURSOR) <= shown.rfind(_CURSOR)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n")
        assert process.returncode == status, text
        return text


def error_message(finished: FinishedCommand) -> str:
    """Return the message of a failed command, which prints that line and nothing for scripts."""
    assert (finished.returncode, finished.stdout) == (1, ""), finished.stdout + finished.stderr
    # gRPC's C++ core logs an address in use too.
    lines = [line for line in finished.stderr.splitlines() if not re.match(r"E\d{4} .*\.cc:\d+\]", line)]
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: "), finished.stderr
    return lines[0].removeprefix("error: ")


def printed(finished: FinishedCommand) -> str:
    """Return everything that a command printed, as one line with single spaces."""
    text = finished.stdout + finished.stderr
    assert "Traceback" not in text
    return " ".join(text.split())


def _read_to_end(terminal: int, prompt: bytes, typed: bytes) -> bytes:
    """Read until the command has closed its end of the terminal; type after the prompt."""
    shown = b""
    deadline = time.monotonic() + _TERMINAL_SECONDS
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # on Linux, once no process has the terminal open
            return shown
        if not chunk:
            return shown
        shown += chunk
        if typed and prompt in shown:
            os.write(terminal, typed)
            typed = b""
    raise TimeoutError(f"the command still ran after {_TERMINAL_SECONDS:g} s: {shown!r}")

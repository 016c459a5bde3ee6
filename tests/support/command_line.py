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
from types import TracebackType
from typing import Any, Self

from tests.support.child_process import ChildProcess
from tests.support.service import environment_of, run_command

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
        return [error_message(self.run(*arguments, **changes)) for arguments, changes in commands]

    def start(self, *arguments: str, **streams: Any) -> ChildProcess:
        """Start a command and return without waiting; its output goes to pipes unless `streams` differ."""
        return ChildProcess(
            [sys.executable, "-m", "avatar_creator_server.cli", *arguments, "--target", self.target],
            directory=self.directory,
            environment=environment_of({"TERM": "xterm", **self.environment}),
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
        with Terminal(self, *arguments, columns=columns) as terminal:
            if prompt:
                terminal.wait_for(prompt)
                terminal.type(typed)
            text = terminal.read_to_end()
        assert terminal.status == status, text
        return text


class Terminal:
    """A person at a terminal who has started a command.

    The end of the block waits for the command, and requires that it left the terminal as it was.
    """

    def __init__(self, command_line: CommandLine, *arguments: str, columns: int = 80) -> None:
        self._terminal, end = pty.openpty()
        termios.tcsetwinsize(end, (50, columns))
        self._before = termios.tcgetattr(end)
        self._shown = b""
        self._seen = 0
        self._deadline = time.monotonic() + _TERMINAL_SECONDS
        self._process = command_line.start(*arguments, stdin=end, stdout=end, stderr=end)
        os.close(end)

    def __enter__(self) -> Self:
        """Return itself: the command runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end of the command, and check the terminal."""
        try:
            with self._process:
                if kind is not None:
                    self._process.kill()
                    return
                self.read_to_end()
                assert termios.tcgetattr(self._terminal) == self._before
        finally:
            os.close(self._terminal)
        assert self._shown.count(_OTHER_SCREEN) == self._shown.count(_FIRST_SCREEN)
        assert self._shown.rfind(_HIDDEN_CURSOR) <= self._shown.rfind(_CURSOR)

    @property
    def status(self) -> int:
        """Exit status of the command, which has ended."""
        return self._process.wait(_TERMINAL_SECONDS)

    def type(self, text: str) -> None:
        """Type text."""
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the command shows the text, after what an earlier call has waited for."""
        while (found := self._shown.find(text.encode(), self._seen)) < 0:
            assert self._read(), _plain(self._shown)
        self._seen = found + len(text.encode())

    def read_to_end(self) -> str:
        """Wait for the end of the command, and return all text that it has shown."""
        while self._read():
            pass
        return _plain(self._shown)

    def _read(self) -> bool:
        """Read what the command shows next; return false when it has ended."""
        left = max(0.0, self._deadline - time.monotonic())
        if not select.select([self._terminal], [], [], left)[0]:
            raise TimeoutError(f"the command still ran after {_TERMINAL_SECONDS:g} s: {_plain(self._shown)}")
        try:
            chunk = os.read(self._terminal, 65536)
        except OSError:  # on Linux, once no process has the terminal open
            return False
        self._shown += chunk
        return bool(chunk)


def _plain(shown: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace")).replace("\r", "\n")


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

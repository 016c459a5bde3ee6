"""Commands that a test starts in the foreground. Every wait for one has a limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.support.warm_start import Process

_GRACE_SECONDS = 20.0


class ChildProcess(Process):
    """A process that ends with its `with` block.

    The end of the block waits 20 s, or not at all if the block failed. Then it kills the process, if that
    still runs, and all that it started. `Popen` alone waits without a limit.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            directory: its working directory; by default ours.
            environment: its whole environment; by default ours.
            stdin: its standard input; by default empty.
            stdout: its standard output; by default ours.
            stderr: its standard error; by default ours.
        """
        super().__init__(
            [str(part) for part in command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            cwd=directory,
            env=environment,
            start_new_session=True,  # a process group that we can kill as a whole
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its pipes, wait for its end and kill all that it started.

        Raises:
            TimeoutError: it did not end, so we killed it. If the block failed, a note on that error says so.
        """
        try:
            for pipe in (self.stdin, self.stdout, self.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self.wait(_GRACE_SECONDS if error is None else 0)
        except subprocess.TimeoutExpired:
            message = f"process {self.pid} still ran at the end of its block, so we killed it: {self.args!r}"
            if error is None:
                raise TimeoutError(message) from None
            error.add_note(message)
        finally:
            # The processes that it started keep its process group alive after its own end.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait(_GRACE_SECONDS)


def run(
    command: Sequence[str | Path],
    *,
    timeout: float,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    input: str | None = None,
    merge_errors: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its exit code and its output.

    Args:
        command: the program and its arguments.
        timeout: seconds until it is killed, with all that it started.
        directory: its working directory; by default ours.
        environment: its whole environment; by default ours.
        input: text on its standard input; by default none.
        merge_errors: whether its standard error is part of its standard output.

    Raises:
        subprocess.TimeoutExpired: it did not end within `timeout`.
    """
    with ChildProcess(
        command,
        directory=directory,
        environment=environment,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge_errors else subprocess.PIPE,
    ) as process:
        output, errors = process.communicate(input, timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

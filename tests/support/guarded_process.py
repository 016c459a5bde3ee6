"""A real process that cannot outlive the test run."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.warm_start import Process, is_program

_GUARDIAN = Path(__file__).with_name("guardian.py")
_LINE_SECONDS = 30.0
_KILL_SECONDS = 10.0


class GuardedProcess:
    """A command that runs under `guardian.py`: it ends with this process, however this process ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        end_signal: signal.Signals = signal.SIGKILL,
        scratch: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            log: the file that its standard output and standard error are appended to.
            directory: its working directory.
            environment: its whole environment; by default ours.
            user: the user it runs as, if we are root.
            end_signal: the signal that ends it in `close` and when this process is gone; SIGKILL follows
                after 5 s.
            scratch: a folder that is deleted with it, unless it has ended before.

        Raises:
            RuntimeError: it could not be started.
        """
        options = ["--log", str(log), "--end-signal", str(int(end_signal))]
        if user:
            options += ["--user", user]
        if scratch:
            options += ["--scratch", str(scratch)]
        self.log = log
        self._command = command
        # -I and -S: it needs nothing installed, and this folder has modules named like installed ones.
        guardian = [sys.executable, "-I", "-S", str(_GUARDIAN)]
        if user is None and is_program(command, environment):
            guardian = [sys.executable, "-m", "tests.support.guardian"]
            options += ["--fork"]
        self._guarded = [*guardian, *options, "--", *command]
        self._directory = directory
        self._environment = environment
        self._start()

    def start_again(self) -> None:
        """Start it once more, in the same way; it must have ended."""
        if self.exit_code() is None:
            raise RuntimeError("it still runs")
        self._start()

    def _start(self) -> None:
        self._guardian = Process(
            self._guarded,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            env=self._environment,
            start_new_session=True,
        )
        self._exit_code: int | None = None
        word, _, value = self._read_line().partition(" ")
        if word != "pid":
            self._guardian.kill()
            self._guardian.communicate()
            raise RuntimeError(f"{self._command[0]} did not start: {value or 'its guardian ended'}")
        self.pid = int(value)

    def exit_code(self) -> int | None:
        """Return its exit code (negative: the signal that ended it), or None while it runs."""
        return None if self._guardian.poll() is None else self.wait()

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for its end and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self._guardian.wait(timeout)
        if self._exit_code is None:
            word, _, value = self._read_line().partition(" ")
            if word != "exit":
                self._kill_group()
                raise RuntimeError(f"the guardian of process {self.pid} was killed, so we killed the process")
            self._exit_code = int(value)
            self._close_pipes()
        return self._exit_code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.exit_code() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                self.wait()  # it has ended since the line above

    def terminate(self, timeout: float = 30.0) -> int:
        """Ask it to stop (SIGTERM) and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it without notice (SIGKILL), with all that it started, and wait for that."""
        self.send(signal.SIGKILL)
        self.wait()

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def is_suspended(self) -> bool:
        """Return whether it is frozen, by `suspend` or by itself."""
        return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        """Let it continue after `suspend`."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """End it by its end signal, if it still runs, and delete its scratch folder.

        Raises:
            TimeoutError: its guardian did not end it within 10 s, so we killed both.
        """
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait(_KILL_SECONDS)
            self._kill_group()
            self._close_pipes()
            raise TimeoutError(
                f"the guardian of process {self.pid} did not end it, so we killed both: {self._command}"
            ) from None

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close it if the block fails, for example because it never becomes ready."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def output(self) -> str:
        """Return what it has written to its standard output and standard error."""
        return self.log.read_text(errors="replace")

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _close_pipes(self) -> None:
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._guardian.stdin.close()
        self._guardian.stdout.close()

    def _read_line(self) -> str:
        """Return the guardian's next line; an empty one if there is none in time."""
        assert self._guardian.stdout is not None
        readable, _, _ = select.select([self._guardian.stdout], [], [], _LINE_SECONDS)
        return self._guardian.stdout.readline().rstrip("\n") if readable else ""

"""A real process that cannot outlive the test run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_GUARDIAN = Path(__file__).with_name("guardian.py")


class GuardedProcess:
    """A command running under `guardian.py`: it ends with this process, however this process ends."""

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
            log: its standard output and standard error are appended to this file.
            directory: its working directory.
            environment: its whole environment; by default ours.
            user: who it runs as, if we are root.
            end_signal: what ends it in `close` and when we are gone; SIGKILL follows after 5 s.
            scratch: a folder that is deleted with it, unless it ends by itself or by a signal before.

        Raises:
            RuntimeError: it could not be started.
        """
        options = ["--log", str(log), "--end-signal", str(int(end_signal))]
        if user:
            options += ["--user", user]
        if scratch:
            options += ["--scratch", str(scratch)]
        self.log = log
        # -I and -S: it needs nothing installed, and this folder has modules named like installed ones.
        self._guarded = [sys.executable, "-I", "-S", str(_GUARDIAN), *options, "--", *command]
        self._directory = directory
        self._environment = environment
        self._start(command[0])

    def start_again(self) -> None:
        """Start it once more, as it was started before; it must have ended."""
        if self.exit_code() is None:
            raise RuntimeError("it still runs")
        self._start("it")

    def _start(self, name: str) -> None:
        self._guardian = subprocess.Popen(
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
            self._guardian.communicate()
            raise RuntimeError(f"{name} did not start: {value or 'its guardian ended'}")
        self.pid = int(value)

    def exit_code(self) -> int | None:
        """What it ended with (negative: by that signal); None while it runs."""
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
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                raise RuntimeError(f"the guardian of process {self.pid} was killed, so we killed the process")
            self._exit_code = int(value)
            self._release_files()
        return self._exit_code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.exit_code() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                self.wait()  # it ended in between

    def terminate(self, timeout: float = 30.0) -> int:
        """Ask it to stop (SIGTERM) and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it without notice (SIGKILL), with whatever it started, and wait for that."""
        self.send(signal.SIGKILL)
        self.wait()

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def is_suspended(self) -> bool:
        """Whether it is frozen, by `suspend` or by itself."""
        return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """End it by its end signal, if it still runs, and delete its scratch folder."""
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        self.wait()

    def output(self) -> str:
        """What it wrote to its standard output and standard error so far."""
        return self.log.read_text(errors="replace")

    def _release_files(self) -> None:
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._guardian.stdin.close()
        self._guardian.stdout.close()

    def _read_line(self) -> str:
        assert self._guardian.stdout is not None
        return self._guardian.stdout.readline().rstrip("\n")

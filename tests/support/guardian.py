"""Run one command and end it when the process that asked for it is gone, even by `kill -9`.

`guarded_process.py` starts this program. It uses the standard library only, so that it starts in 40 ms. Its
standard input is a pipe that the parent holds open and never writes to: the kernel closes it however the
parent ends. It prints `pid N`, and `exit N` when the command has ended (negative: the signal that ended it).

With `--fork`, it is itself a fork of the fork server (`warm_start.py`), and forks once more for the command.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

_GRACE_SECONDS = 5.0
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Run the command given after `--`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, help="file the command's output is appended to")
    parser.add_argument("--user", help="run the command as this user (we are root)")
    parser.add_argument("--end-signal", type=int, required=True, help="sent when the parent is gone")
    parser.add_argument("--scratch", help="folder to delete when the parent is gone and the command ended")
    parser.add_argument("--fork", action="store_true", help="the command is `python -m`, and we can run it")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    # A user who ends processes by name ends us as well as the parent, and we still have to end the command.
    # A handler rather than SIG_IGN, which the command would inherit from us as we may from the parent.
    for ignored in _END_SIGNALS:
        signal.signal(ignored, lambda *_: None)

    pid, wait = _fork(arguments.command, arguments.log) if arguments.fork else _start(arguments)
    _print(f"pid {pid}")

    parent_gone = threading.Event()
    ended = threading.Event()

    def end_when_alone() -> None:
        sys.stdin.buffer.read()
        parent_gone.set()
        _signal_group(pid, arguments.end_signal)
        _signal_group(pid, signal.SIGCONT)  # a frozen process takes no signal but SIGKILL
        if not ended.wait(_GRACE_SECONDS):
            _signal_group(pid, signal.SIGKILL)

    threading.Thread(target=end_when_alone, daemon=True).start()
    code = wait()
    ended.set()
    _signal_group(pid, signal.SIGKILL)  # what the command itself started and left behind
    if parent_gone.is_set() and arguments.scratch:
        shutil.rmtree(arguments.scratch, ignore_errors=True)
    _print(f"exit {code}")
    # A normal exit would wait for the lock on standard input, which the thread holds.
    os._exit(0)


def _start(arguments: argparse.Namespace) -> tuple[int, Callable[[], int]]:
    """Start the command; return its id, and the function that waits for it and returns its exit code."""
    try:
        child = _popen(arguments.command, arguments.log, arguments.user)
    except OSError as error:
        _print(f"error {error}")
        sys.exit(1)
    return child.pid, child.wait


def _popen(command: list[str], log: str, user: str | None) -> subprocess.Popen[bytes]:
    # Its own session: Ctrl-C on the test run must not reach it, and we can kill its whole group.
    with open(log, "ab") as output:  # noqa: PTH123 - importing pathlib would double the time to start
        if user is None:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        import pwd

        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=[],
        )


def _fork(command: list[str], log: str) -> tuple[int, Callable[[], int]]:
    """Run the module of `python -m` in a fork of this process; return what `_start` returns."""
    from tests.support.warm_start import begin_session, run_as_program

    has_begun, begins = os.pipe()
    pid = os.fork()
    if pid == 0:
        for each in _END_SIGNALS:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        begin_session(os.open(os.devnull, os.O_RDONLY), output, os.dup(output))
        os.close(has_begun)
        os.close(begins)
        run_as_program(*command[2:])
        sys.exit()
    os.close(begins)
    os.read(has_begun, 1)  # its session has begun
    os.close(has_begun)
    return pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _print(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


if __name__ == "__main__":
    main()

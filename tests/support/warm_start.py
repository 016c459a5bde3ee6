"""Starts Python programs of the service without importing its modules again.

To import the service takes 0.4 s of CPU time, half of what a short test needs. So one process of the test run
imports everything once, and forks itself for each `python -m` of the service. There is no other difference:
the process has its own session, environment, folder and streams, and runs the module as a program.

After `enable`, each `Process` starts so, if it can. This module is also the program that forks itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGES = ("avatar_creator_server", "avatar_creator_tasks")
_NOT_IMPORTED = ("__main__", "avatar_creator_server.images.decoding.child", ".diffusers")
"""Parts of the names of modules that are programs, or that no process of the tests imports."""
_PROGRAMS = ("avatar_creator_server.cli", "tests.support.fault_point", "tests.support.guardian")
_READ_AT_START = ("PYTHON", "LANG", "LC_", "GRPC_", "COLUMNS", "TERMINAL_WIDTH", "COVERAGE_")
"""Beginnings of the variables that Python or a library reads when it starts."""
_STREAMS = 3
_REQUEST_BYTES = 128 * 1024
_START_SECONDS = 60


class Process(subprocess.Popen[str]):
    """A `Popen`. After `enable`, a program of the service starts with its modules imported already."""

    _exit: socket.socket | None = None
    """Receives the exit status of a process that is not our child."""

    def _execute_child(self, *given: Any) -> None:
        command, directory, environment = given[0], given[5], given[6]
        streams = given[10], given[13], given[15]
        if not is_program(command, environment):
            super()._execute_child(*given)  # type: ignore[misc]  # Popen's types leave its own parts out
            return
        self._exit = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._exit.connect(_address())
        order = json.dumps([command[2:], environment, str(directory or Path.cwd())]).encode()
        own = [stream if stream != -1 else number for number, stream in enumerate(streams)]
        socket.send_fds(self._exit, [order], own)
        self.pid = int(self._exit.recv(64))
        self._child_created = True
        self._close_pipe_fds(*given[10:16])  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **named: Any) -> int | None:
        if self._exit is None:
            code: int | None = super()._internal_poll(*given, **named)  # type: ignore[misc]
            return code
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._exit is None:
            ended: tuple[int, int] = super()._try_wait(wait_flags)  # type: ignore[misc]
            return ended
        try:
            status = self._exit.recv(64, socket.MSG_DONTWAIT if wait_flags else 0)
        except BlockingIOError:
            return 0, 0
        self._exit.close()
        # Without a status, the process that forks itself has ended, and has killed all that it started.
        return self.pid, int(status or signal.SIGKILL)


_environment: dict[str, str] | None = None
"""The environment of the process that forks itself; None until `enable`."""
_folder: tempfile.TemporaryDirectory[str] | None = None


def enable(environment: Mapping[str, str]) -> None:
    """Let the programs of the service start from a process that has imported it.

    Args:
        environment: The environment of all processes, apart from their settings.
    """
    global _environment
    _environment = dict(environment)


def is_program(command: Sequence[str], environment: Mapping[str, str] | None) -> bool:
    """Return whether a command is a program that can start with its modules imported already."""
    if _environment is None or environment is None or sys.platform != "linux":
        return False
    if list(command[:2]) != [sys.executable, "-m"] or command[2] not in _PROGRAMS:
        return False
    differing = dict(environment.items() ^ _environment.items())
    return not any(name.startswith(_READ_AT_START) for name in differing)


def _address() -> str:
    """Return the socket of the process that forks itself, which starts with the first order."""
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="warm-start-")
        address = f"{_folder.name}/socket"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_start", address],
            stdin=subprocess.PIPE,  # the kernel closes it however we end
            stdout=subprocess.PIPE,
            env=_environment,
            start_new_session=True,
        )
        atexit.register(process.communicate)
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(_START_SECONDS) or process.stdout.readline() != b"ready\n":
                raise RuntimeError("the process that starts others could not import the service")
    return f"{_folder.name}/socket"


def main() -> None:
    """Take orders until standard input closes. In the process that an order starts, run its program."""
    atexit.register(_exit_at_once)  # before the imports, so that it is called last
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # as the service sets it before it imports gRPC
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork would lose its threads
    _import_all()
    gc.freeze()
    program = _next_program()
    if program is not None:
        run_as_program(*program)


def run_as_program(module: str, *arguments: str) -> None:
    """Run a module as the program of this process, which was forked for it, and exit."""
    global _exit_code
    sys.argv = [module, *arguments]
    time.tzset()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        _exit_code = 0
    except SystemExit as ended:
        _exit_code = ended.code
        raise


_exit_code: object = None
"""What the program has passed to `sys.exit`, or 0 after its last line; None while it runs."""


def _exit_at_once() -> None:
    """Exit before Python deletes all modules, for which it would copy the memory that the fork shares."""
    if isinstance(_exit_code, int):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_code)


def begin_session(*streams: int) -> None:
    """Begin a session of this process with these as standard input, output and error."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams):
        os.close(stream)


def _import_all() -> None:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not any(part in found.name for part in _NOT_IMPORTED):
                importlib.import_module(found.name)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a module has started a thread, which a fork would lose")


def _next_program() -> Sequence[str] | None:
    """Fork for each order, and return its module and arguments in the new process.

    Returns:
        None when standard input closes.
    """
    running: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ended, wake = map(opened.enter_context, socket.socketpair())
        selector = opened.enter_context(selectors.DefaultSelector())
        listener.bind(sys.argv[1])
        listener.listen(64)
        ended.setblocking(False)
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        for readable in (sys.stdin.buffer, listener, ended):
            selector.register(readable, selectors.EVENT_READ)
        print("ready", flush=True)
        while sys.stdin.buffer not in (found := [key.fileobj for key, _ in selector.select()]):
            if ended in found:
                ended.recv(4096)
                _tell_ended(running)
            if listener in found:
                connection, _ = listener.accept()
                order, streams, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, _STREAMS)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    program: Sequence[str]
                    program, environment, directory = json.loads(order)
                    begin_session(*streams)
                    os.chdir(directory)
                    os.environ.clear()
                    os.environ.update(environment)
                    # Not before its session has begun: from now on, its group may be ended.
                    connection.send(str(os.getpid()).encode())
                    for each in (connection, *running.values()):
                        each.close()
                    return program
                for stream in streams:
                    os.close(stream)
                running[pid] = connection
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    return None


def _tell_ended(running: dict[int, socket.socket]) -> None:
    """Tell the statuses of the processes that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection, contextlib.suppress(OSError):  # nobody may wait any longer
            connection.send(str(status).encode())


if __name__ == "__main__":
    main()

"""The fork server of the tests: it starts programs of the service without importing its modules again.

To import the service takes 0.4 s of CPU time, half of what a short test needs. So after `enable`, the first
`Process` of a test process starts a fork server. That imports everything once, and forks itself for each
`python -m` of the service. The new process has its own session, environment, folder and streams, and runs the
module as a program. It differs from one that has imported the service itself in this:

- All modules are imported already, also those that a program imports late or never.
- `sys.path` begins with the folder of the tests, and `/proc/PID/cmdline` shows the fork server.
- NumPy calculates on one thread, and garbage that existed before the fork stays.
- Python does not delete its modules at the exit.

A process whose variables include some that Python or a library reads when it starts gets no fork.
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
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGES = ("avatar_creator_server", "avatar_creator_tasks")
_NOT_IMPORTED = ("__main__", "avatar_creator_server.images.decoding.child", ".diffusers")
"""Parts of the names of modules that are programs, or that no process of the tests imports."""
_GUARDIAN = "tests.support.guardian"
_PROGRAMS = ("avatar_creator_server.cli", "tests.live", "tests.support.fault_point", _GUARDIAN)
_READ_AT_START = (
    *("PYTHON", "COVERAGE_", "LANG", "LC_", "LD_", "MALLOC_", "GLIBC_"),
    *("OMP_", "OPENBLAS_", "GRPC_", "COLUMNS", "TERMINAL_WIDTH"),
)
"""Beginnings of the variables that Python or a library reads when it starts."""
_STREAMS = 3
_REQUEST_BYTES = 128 * 1024
_START_SECONDS = 60.0
_END_SECONDS = 10.0


class Process(subprocess.Popen[str]):
    """A `Popen`. After `enable`, a program of the service starts as a fork of the fork server.

    It always begins a session. It must not be given a user, a umask, descriptors to inherit or a function to
    call before it runs.
    """

    _answers: socket.socket | None = None
    """The connection to the fork server, which sends the exit status; None for a child of ours."""

    def _execute_child(self, *given: Any) -> None:
        command, *_, directory, environment = given[:7]
        if not is_program(command, environment):
            super()._execute_child(*given)  # type: ignore[misc]  # Popen's types leave its own parts out
            return
        streams = given[10], given[13], given[15]
        own = [stream if stream != -1 else number for number, stream in enumerate(streams)]
        with contextlib.ExitStack() as on_error:
            answers = on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            answers.settimeout(_START_SECONDS)
            answers.connect(f"\0{address()}")
            self.pid = request_fork(answers, command[2:], environment, str(directory or Path.cwd()), own)
            self._answers = answers
            on_error.pop_all()
        self._child_created = True
        self._close_pipe_fds(*given[10:16])  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **named: Any) -> int | None:
        if self._answers is None:
            code: int | None = super()._internal_poll(*given, **named)  # type: ignore[misc]
            return code
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._answers is None:
            ended: tuple[int, int] = super()._try_wait(wait_flags)  # type: ignore[misc]
            return ended
        self._answers.settimeout(0 if wait_flags else None)
        try:
            status = self._answers.recv(64)
        except BlockingIOError:
            return 0, 0
        self._answers.close()
        if not status:  # the fork server was killed
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return self.pid, int(status or signal.SIGKILL)


def request_fork(
    answers: socket.socket,
    program: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    streams: Sequence[int],
) -> int:
    """Let the fork server start a program, and return the id of its process.

    Args:
        answers: A connection to the fork server. Its next message is the status of the process.
        program: The module and its arguments.
        environment: The whole environment.
        directory: The working directory.
        streams: The descriptors of standard input, output and error.

    Raises:
        OSError: The process could not start.
    """
    request = json.dumps([list(program), dict(environment), directory]).encode()
    socket.send_fds(answers, [request], list(streams))
    answer = answers.recv(1024).decode()
    if not answer.isdecimal():
        raise OSError(f"{program[0]} did not start: {answer or 'the fork server has ended'}")
    return int(answer)


_environment: dict[str, str] | None = None
"""The environment of the fork server; None until `enable`."""
_address = ""
"""The abstract address of the socket of the fork server; empty before it runs."""


def enable(environment: Mapping[str, str]) -> None:
    """Let the programs of the service start as forks of a process that has imported it.

    Args:
        environment: The environment of all processes, without the settings of one.
    """
    global _environment
    _environment = dict(environment)


def is_program(command: Sequence[str], environment: Mapping[str, str] | None) -> bool:
    """Return whether a command is a program that the fork server can run."""
    if _environment is None or environment is None or sys.platform != "linux":
        return False
    if list(command[:2]) != [sys.executable, "-m"] or command[2] not in _PROGRAMS:
        return False
    differing = dict(environment.items() ^ _environment.items())
    return not any(name.startswith(_READ_AT_START) for name in differing)


def address() -> str:
    """Return the abstract address of the fork server, and start it if it does not run.

    Raises:
        RuntimeError: It could not import the service.
    """
    global _address
    if not _address:
        name = f"avatar-creator-tests-{secrets.token_hex(16)}"
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_start", name],
            stdin=subprocess.PIPE,  # the kernel closes it however we end
            stdout=subprocess.PIPE,
            env=_environment,
            start_new_session=True,
        )
        atexit.register(_end, server)
        assert server.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(server.stdout, selectors.EVENT_READ)
            if not selector.select(_START_SECONDS) or server.stdout.readline() != b"ready\n":
                raise RuntimeError("the fork server of the tests could not import the service")
        _address = name
    return _address


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def main() -> None:
    """Serve requests until standard input closes. In a fork, run the requested program."""
    atexit.register(_exit_at_once)  # before the imports, so that it is called last
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # as the service sets it before it imports gRPC
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork would lose its threads
    _import_all()
    importlib.import_module("tests.support.command_tree").build_commands_once()
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
"""The argument of `sys.exit` of the program, or 0 after its last line; None while it runs."""


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
    """Fork for each request, and return its module and arguments in the fork.

    Returns:
        None when standard input closes.
    """
    running: dict[int, tuple[str, socket.socket]] = {}
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ended, wake = map(opened.enter_context, socket.socketpair())
        selector = opened.enter_context(selectors.DefaultSelector())
        listener.bind(f"\0{sys.argv[1]}")
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
                _report_statuses(running)
            if listener not in found:
                continue
            answers, _ = listener.accept()
            answers.settimeout(_END_SECONDS)
            request, streams, _, _ = socket.recv_fds(answers, _REQUEST_BYTES, _STREAMS)
            program, environment, directory = json.loads(request)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for _, other in running.values():
                    other.close()
                with answers:
                    _enter(answers, environment, directory, streams)
                return list(program)
            for stream in streams:
                os.close(stream)
            running[pid] = program[0], answers
        # A guardian ends its command by itself, because its standard input closes too.
        for pid in (pid for pid, (module, _) in running.items() if module != _GUARDIAN):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    return None


def _enter(
    answers: socket.socket, environment: Mapping[str, str], directory: str, streams: Sequence[int]
) -> None:
    """Take the session, folder and environment of a requested process, and answer with its id."""
    begin_session(*streams)
    try:
        os.chdir(directory)
    except OSError as error:
        answers.send(str(error).encode())
        os._exit(1)
    os.environ.clear()
    os.environ.update(environment)
    # Not before its session has begun: from now on, its group may be ended.
    answers.send(str(os.getpid()).encode())


def _report_statuses(running: dict[int, tuple[str, socket.socket]]) -> None:
    """Report the exit statuses of the forks that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _, answers = running.pop(pid)
        with answers, contextlib.suppress(OSError):  # its test may have ended
            answers.send(str(status).encode())


if __name__ == "__main__":
    main()

"""A test run always ends, and it leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.child_process import ChildProcess, run
from tests.support.threads import Threads
from tests.support.waiting import wait_until

_REPOSITORY = Path(__file__).parents[2]
_RUN_SECONDS = 60.0

# What `tests/conftest.py` imports for this, without the servers and clients that it also imports.
_CONFTEST = """
from tests.support.hang_guard import pytest_configure, pytest_runtest_teardown, pytest_unconfigure
from tests.support.inherited_signals import default_signals
"""

_HANGING = """
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.child_process import ChildProcess

STUBBORN = "trap '' HUP INT QUIT TERM; sleep 1000 & echo $$ $!; wait"


def test_fails_and_leaves_a_process_that_ignores_signals():
    with ChildProcess(["/bin/sh", "-c", STUBBORN], stdout=subprocess.PIPE) as child:
        Path("pids").write_text(child.stdout.readline())
        raise AssertionError("a reason")


@pytest.fixture
def cleaned():
    yield
    Path("cleaned").touch()


def test_hangs(cleaned):
    threading.Event().wait()


@pytest.fixture
def hanging():
    yield
    threading.Event().wait()


@pytest.mark.timeout(timeout=2)
def test_fails_with_a_fixture_that_hangs(cleaned, hanging):
    raise AssertionError("another reason")


def test_leaves_a_thread_that_hangs():
    threading.Thread(target=threading.Event().wait).start()
"""

_DEAF = """
import signal
import threading


def test_hangs_and_cannot_be_interrupted():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Event().wait()
"""

_PASSING = """
def test_passes():
    pass
"""

_SIGNALS = """
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.support.child_process import run
from tests.support.guarded_process import GuardedProcess

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
PROGRAM = f"from signal import *; print([n for n in {[*map(int, NUMBERS)]} if getsignal(n) == SIG_IGN])"
COMMAND = [sys.executable, "-c", PROGRAM]


def test_a_child_ignores_none():
    assert run(COMMAND, timeout=30.0).stdout == "[]\\n"


def test_a_guarded_process_ignores_none():
    process = GuardedProcess(COMMAND, log=Path("log").absolute(), directory=Path.cwd())
    process.wait(30.0)
    assert process.output() == "[]\\n"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_run_itself_still_ignores_them(number):
    os.kill(os.getpid(), number)
"""


def test_a_run_ends_even_if_its_tests_hang(tmp_path: Path) -> None:
    finished = _run_pytest(_HANGING, "--timeout=3", folder=tmp_path)

    assert finished.returncode == 1
    assert "3 failed, 1 passed, 1 error" in finished.stdout, finished.stdout
    assert "still ran at the end of its block, so we killed it" in finished.stdout
    assert "Timeout (>3.0s) from pytest-timeout" in finished.stdout  # the test that hangs
    assert "Timeout (>2.0s) from pytest-timeout" in finished.stdout  # the fixture
    assert (tmp_path / "cleaned").exists()
    # The stack of the thread for which Python waits.
    assert "_shutdown" in finished.stderr
    left = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(left) == 2
    wait_until(lambda: not any(_lives(pid) for pid in left), message="a process survived")


def test_a_test_that_cannot_be_interrupted_ends_with_its_process(tmp_path: Path) -> None:
    finished = _run_pytest(
        _DEAF, "--override-ini=timeout=1", "--override-ini=faulthandler_timeout=3", folder=tmp_path
    )

    assert finished.returncode == 1
    assert "test_hangs_and_cannot_be_interrupted" in finished.stderr


@pytest.mark.parametrize("option", ["--timeout=0", "--override-ini=timeout=0"])
def test_a_run_without_a_limit_ends_as_any_other(tmp_path: Path, option: str) -> None:
    finished = _run_pytest(_PASSING, option, folder=tmp_path)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "1 passed" in finished.stdout


@pytest.mark.parametrize("processes", ["--numprocesses=0", "--numprocesses=1"])
def test_children_react_to_signals_that_the_run_ignores(tmp_path: Path, processes: str) -> None:
    # As nohup, cron and `command &` in a script start it.
    ignoring = ("/bin/sh", "-c", 'trap "" HUP INT QUIT TERM; exec "$@"', "sh")

    finished = _run_pytest(_SIGNALS, processes, folder=tmp_path, prefix=ignoring)

    assert "6 passed" in finished.stdout, finished.stdout + finished.stderr


def test_a_block_kills_a_process_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.child_process._GRACE_SECONDS", 0.1)

    with (
        pytest.raises(TimeoutError, match="still ran at the end of its block, so we killed it"),
        ChildProcess(["/bin/sleep", "1000"]) as child,
    ):
        pass

    assert child.returncode == -signal.SIGKILL


# The second shell ends at once, but what it started keeps its output open.
@pytest.mark.parametrize("script", ["sleep 1000 & echo $!; wait", "sleep 1000 & echo $!"])
def test_a_command_that_takes_too_long_ends_with_all_that_it_started(script: str) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run(["/bin/sh", "-c", script], timeout=0.5)

    assert late.value.output
    started = int(late.value.output)
    wait_until(lambda: not _lives(started), message="a process survived")


def test_a_command_that_succeeds_ends_with_all_that_it_started() -> None:
    finished = run(["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], timeout=_RUN_SECONDS)

    assert finished.returncode == 0
    started = int(finished.stdout)
    wait_until(lambda: not _lives(started), message="a process survived")


def test_threads_that_hang_do_not_hold_up_their_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.threads._END_SECONDS", 0.1)
    may_end = threading.Event()

    with pytest.raises(TimeoutError, match="1 of 2 threads"), Threads(2) as threads:
        hanging = threads.submit(may_end.wait)

    may_end.set()
    assert hanging.result(10)


def test_threads_that_hang_do_not_hide_why_their_block_failed() -> None:
    may_end = threading.Event()

    with pytest.raises(AssertionError, match="a reason") as failed, Threads(2) as threads:
        assert threads.submit(may_end.wait).done(), "a reason"

    may_end.set()
    assert any("of 2 threads still run 0 s after their block" in note for note in failed.value.__notes__)


def _run_pytest(
    tests: str, *options: str, folder: Path, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file with these tests, with the settings of this repository."""
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_inner.py").write_text(tests)
    settings = ("-c", str(_REPOSITORY / "pyproject.toml"), f"--rootdir={folder}", "-p", "no:cacheprovider")
    return run(
        [*prefix, sys.executable, "-m", "pytest", *settings, *options, "test_inner.py"],
        timeout=_RUN_SECONDS,
        directory=folder,
        environment={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), str(_REPOSITORY / "clients" / "python")]),
        },
    )


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

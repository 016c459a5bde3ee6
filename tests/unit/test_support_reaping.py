"""A test run that is killed leaves no server behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.child_process import ChildProcess
from tests.support.guarded_process import GuardedProcess
from tests.support.waiting import wait_until

_REPOSITORY = Path(__file__).parents[2]

_START_SERVERS = """
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import OwnPostgres
from tests.support.redis import OwnRedis

postgres = OwnPostgres()
pgbouncer = PgBouncer(postgres.create_database())
redis = OwnRedis()
print(postgres.pid, pgbouncer.pid, redis.pid, flush=True)
input()
"""


def test_killing_the_test_run_ends_its_servers_and_deletes_their_data(tmp_path: Path) -> None:
    with _test_run(_START_SERVERS, tmp_path) as servers:
        data = [Path(process.cwd()) for process in servers]
        assert all(folder.is_dir() for folder in data)

    wait_until(lambda: not any(_lives(process) for process in servers), 10, "a server survived")
    wait_until(lambda: not any(folder.exists() for folder in data), 10, "a server's data survived")


_START_STUBBORN = """
from pathlib import Path
from tests.support.child_process import ChildProcess
from tests.support.guarded_process import GuardedProcess
from tests.support.waiting import wait_until

script = "trap '' TERM INT HUP; sleep 1000 & echo started; wait"
process = GuardedProcess(["/bin/sh", "-c", script], log=Path("log"), directory=Path.cwd())
wait_until(process.output)
process.suspend()
print(process.pid, flush=True)
input()
"""


def test_killing_the_test_run_ends_a_frozen_process_and_its_children(tmp_path: Path) -> None:
    with _test_run(_START_STUBBORN, tmp_path) as (process,):
        family = [process, *process.children(recursive=True)]
        assert len(family) == 2

    wait_until(lambda: not any(_lives(member) for member in family), 10, "a process survived")


_START_FORKED = """
import sys
from pathlib import Path
from tests.support.guarded_process import GuardedProcess
from tests.support.service import environment_of
from tests.support.warm_start import enable

enable(environment_of({}))
command = [sys.executable, "-m", "avatar_creator_server.cli", "serve"]
environment = environment_of({"LISTEN_ADDRESS": "127.0.0.1:0", "WEB_ADDRESS": ""})
for name in ("a", "b", "c", "d"):
    folder = Path(name).absolute()
    folder.mkdir()
    process = GuardedProcess(
        command, log=Path(f"{name}.log"), directory=folder, environment=environment, scratch=folder
    )
    print(process.pid, end=" ", flush=True)
print(flush=True)
input()
"""


def test_killing_the_test_run_ends_forks_of_the_fork_server_and_deletes_their_data(tmp_path: Path) -> None:
    with _test_run(_START_FORKED, tmp_path) as forks:
        assert len(forks) == 4

    wait_until(lambda: not any(_lives(fork) for fork in forks), 20, "a fork survived")
    wait_until(lambda: not any((tmp_path / name).exists() for name in "abcd"), 20, "its data survived")


def test_a_guardian_that_is_asked_to_end_keeps_guarding(tmp_path: Path) -> None:
    process = _sleeper(tmp_path)
    guardian = psutil.Process(process.pid).parent()
    assert guardian is not None

    guardian.send_signal(signal.SIGTERM)
    assert process.exit_code() is None

    process.close()
    assert process.exit_code() == -signal.SIGKILL


def test_exit_codes_are_the_commands_own(tmp_path: Path) -> None:
    process = GuardedProcess(["/bin/sh", "-c", "exit 3"], log=tmp_path / "log", directory=tmp_path)
    assert process.wait() == 3

    sleeper = _sleeper(tmp_path)
    assert sleeper.terminate() == -signal.SIGTERM
    sleeper.kill()  # nothing is left to kill
    assert sleeper.exit_code() == -signal.SIGTERM


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    script = ["/bin/sh", "-c", "sleep 1000 & echo $!"]
    process = GuardedProcess(script, log=tmp_path / "log", directory=tmp_path)
    assert process.wait() == 0

    left_behind = int(process.output())
    wait_until(
        lambda: not psutil.pid_exists(left_behind) or not _lives(psutil.Process(left_behind)),
        message="what the command started survived it",
    )


def test_a_command_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        GuardedProcess(["/no/such/program"], log=tmp_path / "log", directory=tmp_path)


def test_a_wait_that_fails_says_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"the cows did not come home \(waited 0.05 s\)"):
        wait_until(lambda: False, 0.05, lambda: "the cows did not come home")


def _sleeper(directory: Path) -> GuardedProcess:
    return GuardedProcess(["/bin/sleep", "1000"], log=directory / "log", directory=directory)


@contextmanager
def _test_run(program: str, directory: Path) -> Iterator[list[psutil.Process]]:
    """Run `program`, give the processes whose ids it prints, and kill it with SIGKILL in the end."""
    with ChildProcess(
        [sys.executable, "-c", program],
        directory=directory,
        environment=os.environ | {"PYTHONPATH": str(_REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        yield [psutil.Process(int(pid)) for pid in run.stdout.readline().split()]
        run.kill()


def _lives(process: psutil.Process) -> bool:
    # A child of a killed process stays a zombie until its new parent collects it.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False

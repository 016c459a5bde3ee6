"""Forks of a process that has imported the service do the same as processes that import it themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.child_process import ChildProcess, run
from tests.support.guarded_process import GuardedProcess
from tests.support.service import Deployment, environment_of

COMMAND_LINE = [sys.executable, "-m", "avatar_creator_server.cli"]
SECONDS = 30.0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--version"], id="succeeds"),
        pytest.param(["token", "--user", "sarah", "--hours", "many"], id="misuse"),
        pytest.param(["doctor"], id="fails"),
    ],
)
def test_a_command_ends_as_one_that_imports_the_service_itself(tmp_path: Path, arguments: list[str]) -> None:
    settings = {"JWT_SECRET": "short", "DATA_PATH": str(tmp_path)}
    warm, cold = (
        run(
            [*COMMAND_LINE, *arguments],
            timeout=SECONDS,
            directory=tmp_path,
            environment=environment_of(settings | {name: "1"}),
        )
        for name in ("NOTHING_READS_THIS", "PYTHONNOUSERSITE")
    )

    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_process_that_is_not_our_child_is_waited_for_and_killed_like_one(tmp_path: Path) -> None:
    with ChildProcess(
        [*COMMAND_LINE, "serve"],
        directory=tmp_path,
        environment=environment_of({"LISTEN_ADDRESS": "127.0.0.1:0", "WEB_ADDRESS": ""}),
        stderr=subprocess.DEVNULL,
    ) as process:
        started = psutil.Process(process.pid)
        assert started.ppid() != os.getpid()
        assert (started.cwd(), os.getpgid(process.pid)) == (str(tmp_path), process.pid)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
        assert process.poll() == -signal.SIGKILL


def test_a_guarded_process_ends_with_its_guardian_s_input(tmp_path: Path) -> None:
    process = GuardedProcess(
        [*COMMAND_LINE, "serve"],
        log=tmp_path / "log",
        directory=tmp_path,
        environment=environment_of({"LISTEN_ADDRESS": "127.0.0.1:0", "WEB_ADDRESS": ""}),
    )
    started = psutil.Process(process.pid)
    guardian = started.parent()
    assert guardian is not None
    assert guardian.ppid() != os.getpid()
    process.close()

    assert process.exit_code() == -signal.SIGKILL
    assert not started.is_running()


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        ChildProcess(
            [*COMMAND_LINE, "--version"], directory=tmp_path / "missing", environment=environment_of({})
        )


@pytest.mark.parametrize("settings", [{}, {"PYTHONNOUSERSITE": "1"}], ids=["forked", "importing"])
def test_a_service_works_with_and_without_the_fork_server(
    distributed: Deployment, user: str, settings: dict[str, str]
) -> None:
    distributed.settings |= settings
    distributed.start()

    with distributed.client(user) as client:
        project = client.projects.create("Forks")
        generation = client.generations.create(project, "a portrait", width=256, height=256)
        assert client.generations.wait(generation).project_id == project.id

"""The service for the tests of apps: it runs in any folder, ignores the app's settings and cleans up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

from avatar_creator import AvatarCreator, NotFoundError, PermissionDeniedError, UnauthenticatedError
from avatar_creator.testing import LocalServiceError, local_service
from tests.support.child_process import ChildProcess, run

REPOSITORY = Path(__file__).parents[2]
CLIENT = REPOSITORY / "clients" / "python"
CHECKOUT = os.pathsep.join([str(REPOSITORY), str(CLIENT)])
CONFTEST = 'pytest_plugins = ["avatar_creator.testing"]\n'
TESTS = """
from pathlib import Path

import psutil


def test_a_project_is_made(avatar_creator_service):
    with avatar_creator_service.client("sarah") as avatars:
        assert avatars.projects.create("Spring").user_id == "sarah"
    Path("target").write_text(avatar_creator_service.target)
    Path("pids").write_text(" ".join(str(child.pid) for child in psutil.Process().children(recursive=True)))


async def test_the_service_is_shared(avatar_creator_service):
    async with avatar_creator_service.async_client("sarah") as avatars:
        assert [project.name async for project in avatars.projects.list()] == ["Spring"]
"""

TESTS_THAT_HANG = """
import sys, threading
from avatar_creator.testing import local_service

with local_service(sys.argv[1]):
    print("ready", flush=True)
    threading.Event().wait()
"""

_PYTEST_SECONDS = 60.0
_END_SECONDS = 10.0


def run_pytest(*python: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of an app in `folder`."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_app.py").write_text(TESTS)
    return run(
        [sys.executable, *python, "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"],
        timeout=_PYTEST_SECONDS,
        directory=folder,
        environment={"PATH": os.environ["PATH"], **environment},
    )


def test_the_service_of_an_apps_tests_ignores_the_apps_settings_and_cleans_up(tmp_path: Path) -> None:
    finished = run_pytest(
        folder=tmp_path,
        PYTHONPATH=CHECKOUT,
        DATABASE_URL="postgresql://app@127.0.0.1:1/production",
        REDIS_URL="redis://127.0.0.1:1/0",
        STORAGE_URL="s3://production",
        UPLOAD_PATH=str(tmp_path / "production"),
        JWT_SECRET="too short",
        JWT_ISSUER="production",
        LISTEN_ADDRESS="nowhere",
        LOG_LEVEL="error",
    )

    assert "2 passed" in finished.stdout, finished.stdout + finished.stderr
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    host, _, port = (tmp_path / "target").read_text().partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert not (tmp_path / "production").exists()


def test_without_the_service_an_apps_tests_fail_and_say_what_to_install(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    for package in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not package.name.startswith("avatar_creator-"):
            (installed / package.name).symlink_to(package)
    app = tmp_path / "app"
    app.mkdir()

    # With -S, Python finds only the packages on PYTHONPATH: everything except the service.
    finished = run_pytest("-S", folder=app, PYTHONPATH=os.pathsep.join([str(installed), str(CLIENT)]))

    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "2 errors" in finished.stdout
    assert "the service is not installed: install the distribution avatar-creator" in finished.stdout


def test_tokens_have_the_requested_user_app_and_role(tmp_path: Path) -> None:
    with local_service(tmp_path) as service:
        with service.client("sarah", app_id="pose-generator") as sarahs:
            project = sarahs.projects.create("Spring")
            with pytest.raises(PermissionDeniedError, match="APP_MISMATCH"):
                sarahs.usage.record(project.id, action="draw", app_id="video-generator")
        with service.client("dewi") as dewis, pytest.raises(NotFoundError):
            dewis.projects.get(project.id)
        with service.client("olga", role="ops") as operators:
            assert [each.id for each in operators.projects.list(user_id="sarah")] == [project.id]
        expired = service.token("sarah", expires_in=0)
        with (
            AvatarCreator(service.target, token=expired) as late,
            pytest.raises(UnauthenticatedError, match="TOKEN_EXPIRED"),
        ):
            late.projects.get(project.id)


def test_a_service_that_fails_to_start_reports_why_and_leaves_no_process(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with local_service(tmp_path):
        running = set(psutil.Process().children()) - before

        with pytest.raises(LocalServiceError, match="another service runs on"), local_service(tmp_path):
            pass

        assert set(psutil.Process().children()) - before == running
    assert set(psutil.Process().children()) == before


def test_the_service_ends_when_the_tests_are_killed(tmp_path: Path) -> None:
    with ChildProcess(
        [sys.executable, "-c", TESTS_THAT_HANG, tmp_path],
        environment={**os.environ, "PYTHONPATH": CHECKOUT},
        stdout=subprocess.PIPE,
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "ready\n"
        (service,) = psutil.Process(tests.pid).children()

        tests.kill()

        # Within the block: its end would kill the service too.
        service.wait(timeout=_END_SECONDS)

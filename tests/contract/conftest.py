"""Users of the shared service, through RPCs and on the command line."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.contract.calls import Calls
from tests.support.command_line import CommandLine, FinishedCommand
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.service import CLOSED_ADDRESS, Deployment, run_command

ONE_STACK = pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)
"""Marks a test of what the API decides before it reaches the database: it needs one of the two stacks."""

RunWithSettings: TypeAlias = Callable[..., FinishedCommand]


@pytest.fixture
def calls(shared_deployment: Deployment, user: str) -> Iterator[Calls]:
    """RPCs to `shared_deployment`, as `user`."""
    with Calls(shared_deployment.target, shared_deployment.token(user)) as opened:
        yield opened


@pytest.fixture
def stranger() -> str:
    """The id of another user, which only this test uses."""
    return f"stranger-{uuid.uuid4().hex}"


@pytest.fixture
def strangers_calls(shared_deployment: Deployment, stranger: str) -> Iterator[Calls]:
    """RPCs to `shared_deployment`, as `stranger`."""
    with Calls(shared_deployment.target, shared_deployment.token(stranger)) as opened:
        yield opened


@pytest.fixture
def command_line(shared_deployment: Deployment, user: str, tmp_path: Path) -> CommandLine:
    """Commands of `user` against `shared_deployment`."""
    return CommandLine(shared_deployment.target, shared_deployment.token(user), tmp_path)


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing in it."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings of an embedded service, whose folders do not exist yet."""
    return embedded_settings(tmp_path)


@pytest.fixture
def run(tmp_path: Path, settings: dict[str, str]) -> RunWithSettings:
    """Runs a command with `settings`; keyword arguments change a setting, and None removes it."""

    def run_with(*arguments: str, **changes: str | None) -> FinishedCommand:
        chosen = {name: value for name, value in {**settings, **changes}.items() if value is not None}
        return run_command(*arguments, settings=chosen, directory=tmp_path)

    return run_with


def embedded_settings(directory: Path) -> dict[str, str]:
    """Return the settings of an embedded service in `directory`, on a free port."""
    return {
        "JWT_SECRET": "0123456789abcdef" * 4,
        "DATA_PATH": str(directory / "data"),
        "UPLOAD_PATH": str(directory / "uploads"),
        "LISTEN_ADDRESS": f"127.0.0.1:{free_port()}",
        "WEB_ADDRESS": "127.0.0.1:0",
        "HUGGINGFACE_HUB_URL": f"http://{CLOSED_ADDRESS}",
    }


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests of commands against the distributed service only.

    A client cannot distinguish it from the embedded service, as the tests without commands show. Each command
    starts a process, which takes time.
    """
    repeated = {item for item in items if _runs_commands(item) and _mode_of(item) == "embedded"}
    config.hook.pytest_deselected(items=[item for item in items if item in repeated])
    items[:] = [item for item in items if item not in repeated]


def _runs_commands(item: pytest.Item) -> bool:
    return "command_line" in getattr(item, "fixturenames", ())


def _mode_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return callspec and callspec.params.get("shared_deployment")

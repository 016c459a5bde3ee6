"""Users of the shared service, with raw calls and at the command line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.calls import Calls
from tests.support.person import Person
from tests.support.service import Deployment


@pytest.fixture
def calls(shared_deployment: Deployment, user: str) -> Iterator[Calls]:
    """Calls of `shared_deployment`, as `user`."""
    with Calls(shared_deployment.target, shared_deployment.token(user)) as opened:
        yield opened


@pytest.fixture
def stranger() -> str:
    """Another user, of this test only."""
    return f"stranger-{uuid.uuid4().hex}"


@pytest.fixture
def strangers_calls(shared_deployment: Deployment, stranger: str) -> Iterator[Calls]:
    """Calls of `shared_deployment`, as `stranger`."""
    with Calls(shared_deployment.target, shared_deployment.token(stranger)) as opened:
        yield opened


@pytest.fixture
def person(shared_deployment: Deployment, user: str, tmp_path: Path) -> Person:
    """`user`, at a command line."""
    return Person(shared_deployment.target, shared_deployment.token(user), tmp_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests of commands on the distributed service only.

    Each command needs a process, which takes time. The tests without commands show that both kinds of service
    behave the same.
    """
    deselected = [item for item in items if _runs_commands(item) and _mode_of(item) == "embedded"]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in set(deselected)]


def _runs_commands(item: pytest.Item) -> bool:
    return "person" in getattr(item, "fixturenames", ())


def _mode_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return callspec and callspec.params.get("shared_deployment")

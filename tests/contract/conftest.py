"""Users of the shared service, by raw calls and at the command line."""

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
    """Another user nobody else is."""
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

"""Databases and servers that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service import Deployment
from tests.support.shared_services import deployed, deployed_with_tables, emptied


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def tables(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The databases of the tests of one file: once SQLite, and once PostgreSQL and Redis."""
    yield from deployed_with_tables(request)


@pytest.fixture
def databases(tables: Deployment) -> Iterator[Deployment]:
    """A service on each of the two databases, with empty tables, of which no process runs yet."""
    yield from emptied(tables)


@pytest.fixture(scope="module")
def server_alone(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A running server on PostgreSQL and Redis, for the tests of one file."""
    with deployed(request, "distributed") as deployment:
        deployment.start_server()
        yield deployment


@pytest.fixture
def without_worker(server_alone: Deployment) -> Iterator[Deployment]:
    """The running server without a worker. A worker that the test starts ends with the test."""
    yield server_alone
    for worker in server_alone.workers:
        worker.close()

"""A service for the tests of a file, which the shared service does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.postgres import Postgres
from tests.support.redis import OwnRedis
from tests.support.service import Deployment


@contextmanager
def group_deployment(
    mode: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, **settings: str
) -> Iterator[Deployment]:
    """Create a service of which no process runs, with databases of its own.

    It is for fixtures with the scope of a module. The tests must not disturb each other: each has its own
    `user`.

    Args:
        mode: `embedded` or `distributed`.
        request: The request of the fixture.
        tmp_path_factory: Pytest's fixture.
        settings: Environment variables of all processes.
    """
    directory = tmp_path_factory.mktemp(f"group-{mode}")
    if mode == "embedded":
        deployment = Deployment.embedded(directory, **settings)
        try:
            yield deployment
        finally:
            deployment.close()
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create_database(request.getfixturevalue("database_template"))
    # The tests may use only two databases of the Redis of the run, and other services have both.
    redis = OwnRedis()
    deployment = Deployment.distributed(directory, url, redis.url(), **settings)
    try:
        yield deployment
    finally:
        deployment.close()
        redis.close()
        postgres.drop_database(url)

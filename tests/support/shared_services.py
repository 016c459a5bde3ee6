"""Services that the tests of one file share, because a service costs more than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment

_REDIS_DATABASE = 2
"""Not that of a single test, and not that of `shared_deployment`."""


@contextmanager
def deployed(request: pytest.FixtureRequest, mode: str, **settings: str) -> Iterator[Deployment]:
    """Create a service for a fixture of a module. The fixture starts its processes.

    Only one distributed service may be open at a time, because all have the same Redis database.

    Args:
        request: The request of the fixture, of the scope `module`.
        mode: `embedded` or `distributed`.
        settings: Settings of the service.
    """
    directory = request.getfixturevalue("tmp_path_factory").mktemp(mode)
    if mode == "embedded":
        running = Deployment.embedded(directory, **settings)
        try:
            yield running
        finally:
            running.close()
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    redis: Redis = request.getfixturevalue("redis_server")
    redis.flush(_REDIS_DATABASE)
    url = postgres.create_database(request.getfixturevalue("database_template"))
    running = Deployment.distributed(directory, url, redis.url(_REDIS_DATABASE), **settings)
    try:
        yield running
    finally:
        running.close()
        postgres.drop_database(url)

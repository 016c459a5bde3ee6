"""Services that the tests of one file share, because a service costs more than most tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avatar_creator_server.database.models import TABLES, AvatarPreset, PersonaExample, RunningWorker
from tests.support.postgres import Postgres
from tests.support.redis import OwnRedis
from tests.support.service import Deployment
from tests.support.sqlite_template import create_tables


@contextmanager
def deployed(request: pytest.FixtureRequest, mode: str, **settings: str) -> Iterator[Deployment]:
    """Create a service for a fixture of a module or of the session. The fixture starts its processes.

    Args:
        request: The request of the fixture.
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
    # The databases of the Redis of the run belong to other services that may still run.
    redis = OwnRedis()
    url = postgres.create_database(request.getfixturevalue("database_template"))
    running = Deployment.distributed(directory, url, redis.url(), **settings)
    try:
        yield running
    finally:
        running.close()
        redis.close()
        postgres.drop_database(url)


def deployed_with_tables(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Yield a service with tables, of which no process runs, on the databases of the fixture's parameter.

    For the body of a fixture with the scope of a module. `emptied` is the fixture of a test.
    """
    with deployed(request, request.param) as deployment:
        if deployment.is_embedded:
            create_tables(deployment)
        yield deployment


def emptied(deployment: Deployment) -> Iterator[Deployment]:
    """Yield the service; after the test, end all processes, and restore settings, tables and files."""
    settings = dict(deployment.settings)
    yield deployment
    deployment.close()
    deployment.settings.clear()
    deployment.settings.update(settings)
    remove_contents(deployment)


def remove_contents(deployment: Deployment) -> None:
    """Remove all files and all rows that a test has left, but not the gallery and the running workers."""
    processes = (*deployment.servers, *deployment.workers)
    is_running = any(process.exit_code() is None for process in processes)
    kept = (AvatarPreset, PersonaExample, *[RunningWorker][: int(is_running)])
    statements = [f"DELETE FROM {table._meta.table_name}" for table in reversed(TABLES) if table not in kept]
    for statement in statements if deployment.is_embedded else ["; ".join(statements)]:
        deployment.execute(statement)
    folder = deployment.upload_path / "avatar-creator"
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

"""A service for the tests of a file, which the shared service does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avatar_creator_server.database.models import TABLES, AvatarPreset, PersonaExample, RunningWorker
from tests.support.lent_databases import LentDatabases
from tests.support.redis import OwnRedis
from tests.support.service import Deployment
from tests.support.sqlite_template import create_tables


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
    databases: LentDatabases = request.getfixturevalue("lent_databases")
    url = databases.lend()
    # The tests may use only two databases of the Redis of the run, and other services have both.
    redis = OwnRedis()
    deployment = Deployment.distributed(directory, url, redis.url(), **settings)
    try:
        yield deployment
    finally:
        deployment.close()
        redis.close()
        databases.take_back(url)


def group_of_tables(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Yield a service with tables, of which no process runs, on the databases of the fixture's parameter.

    For the body of a fixture with the scope of a module. `emptied` is the fixture of a test.
    """
    with group_deployment(request.param, request, tmp_path_factory) as deployment:
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

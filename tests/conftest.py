"""Fixtures for all tests: real database servers, a database for each test, and the service that uses them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from avatar_creator_server.cli import keep_loopback_direct
from tests.support.decoders import DECODERS
from tests.support.hang_guard import pytest_configure, pytest_runtest_teardown, pytest_unconfigure
from tests.support.huggingface_router import RouterFake
from tests.support.inherited_signals import default_signals
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import OwnPostgres, Postgres
from tests.support.redis import OwnRedis, Redis
from tests.support.replicate_api import ReplicateFake
from tests.support.service import Deployment, environment_of, run_command
from tests.support.warm_start import enable

if TYPE_CHECKING:
    from avatar_creator import AvatarCreator

__all__ = ["default_signals", "pytest_configure", "pytest_runtest_teardown", "pytest_unconfigure"]

_SHARED_REDIS_DATABASE = 0
_TEST_REDIS_DATABASE = 1
_SLOW_SECONDS = 600


@pytest.fixture(scope="session", autouse=True)
def direct_loopback() -> None:
    """Reach the services of the tests directly, even if the developer has a proxy."""
    keep_loopback_direct(os.environ)


@pytest.fixture(scope="session", autouse=True)
def warm_start() -> None:
    """Start the processes of the service from one that has imported it."""
    enable(environment_of({}))


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Log exceptions of services in this process without their local variables.

    Those are structlog's default if Rich is installed, and take it a second for an exception.
    """
    structlog.configure(
        processors=[
            *structlog.get_config()["processors"][:-1],
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session", autouse=True)
def no_decoder_is_left() -> Iterator[None]:
    """End the decoders that tests of providers share."""
    yield
    asyncio.run(DECODERS.close())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL of the test run, started for the first test that needs it."""
    server = Postgres.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The Redis of the test run, started for the first test that needs it."""
    server = Redis.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def database_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that `avatar-creator migrate` has migrated."""
    directory = tmp_path_factory.mktemp("migrate")
    return postgres.template(lambda url: _migrate(url, directory))


@pytest.fixture
def database_url(postgres: Postgres, database_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test only."""
    url = postgres.create_database(database_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis database."""
    redis_server.flush(_TEST_REDIS_DATABASE)
    return redis_server.url(_TEST_REDIS_DATABASE)


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL that the test may kill, suspend and restart."""
    server = OwnPostgres()
    yield server
    server.close()


@pytest.fixture
def own_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis that the test may kill, suspend and restart. The parameter `durable` makes it keep its data."""
    server = OwnRedis(tmp_path if getattr(request, "param", "") == "durable" else None)
    yield server
    server.close()


@pytest.fixture(scope="session")
def router_process() -> Iterator[RouterFake]:
    """The fake Hugging Face router of the test run, started for the first test that needs it."""
    with RouterFake() as running:
        yield running


@pytest.fixture
def router(router_process: RouterFake) -> RouterFake:
    """A fake Hugging Face router without jobs or faults. The test may kill and suspend it."""
    router_process.make_ready()
    return router_process


@pytest.fixture(scope="session")
def replicate_process() -> Iterator[ReplicateFake]:
    """The fake of Replicate of the test run, started for the first test that needs it."""
    with ReplicateFake() as running:
        yield running


@pytest.fixture
def replicate_api(replicate_process: ReplicateFake) -> ReplicateFake:
    """A fake of Replicate without predictions or faults. The test may kill and suspend it."""
    replicate_process.make_ready()
    return replicate_process


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Deployment]:
    """An embedded service that the test starts."""
    deployment = Deployment.embedded(tmp_path)
    yield deployment
    deployment.close()


@pytest.fixture
def distributed(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Deployment]:
    """A distributed service. The test starts its servers and workers."""
    deployment = Deployment.distributed(tmp_path, database_url, redis_url)
    yield deployment
    deployment.close()


@pytest.fixture
def pgbouncer(database_url: str) -> Iterator[PgBouncer]:
    """A pooler in transaction mode in front of PostgreSQL."""
    pooler = PgBouncer(database_url)
    yield pooler
    pooler.close()


@pytest.fixture
def pooled(tmp_path: Path, pgbouncer: PgBouncer, database_url: str, redis_url: str) -> Iterator[Deployment]:
    """A distributed service that reaches its database through `pgbouncer`. The test starts its processes."""
    deployment = Deployment.distributed(
        tmp_path, pgbouncer.url(database_url), redis_url, DATABASE_POOLER="transaction"
    )
    yield deployment
    deployment.close()


@pytest.fixture
def breakable(tmp_path: Path, own_postgres: OwnPostgres, own_redis: OwnRedis) -> Iterator[Deployment]:
    """A distributed service on `own_postgres` and `own_redis`. The test starts it and may break both."""
    url = own_postgres.create_database()
    _migrate(url, tmp_path)
    deployment = Deployment.distributed(tmp_path, url, own_redis.url())
    yield deployment
    deployment.close()


@pytest.fixture(params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """A running service of this test only: once embedded, once with a server and a worker.

    A test can also choose `pooled`.
    """
    running: Deployment = request.getfixturevalue(request.param)
    running.start()
    return running


@pytest.fixture(scope="session", params=["embedded", "distributed"])
def shared_deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A running service that many tests share, each as its own `user`. The tests must not disturb it."""
    directory = tmp_path_factory.mktemp(f"shared-{request.param}")
    if request.param == "embedded":
        running = Deployment.embedded(directory)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        redis: Redis = request.getfixturevalue("redis_server")
        redis.flush(_SHARED_REDIS_DATABASE)
        url = postgres.create_database(request.getfixturevalue("database_template"))
        running = Deployment.distributed(directory, url, redis.url(_SHARED_REDIS_DATABASE))
    try:
        running.start()
        yield running
    finally:
        running.close()
        if not running.is_embedded:
            postgres.drop_database(url)


@pytest.fixture
def user() -> str:
    """A user of this test only."""
    return f"user-{uuid.uuid4().hex}"


@pytest.fixture
def client(deployment: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of `deployment`, as `user`."""
    with deployment.client(user) as connected:
        yield connected


@pytest.fixture
def shared_client(shared_deployment: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of `shared_deployment`, as `user`."""
    with shared_deployment.client(user) as connected:
        yield connected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests more time."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(_SLOW_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the output of the service's processes to the report of a failed test."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        deployments = {id(value): value for value in used if isinstance(value, Deployment)}
        for deployment in deployments.values():
            report.sections += deployment.output_sections()
    return report


def _migrate(database_url: str, directory: Path) -> None:
    outcome = run_command("migrate", settings={"DATABASE_URL": database_url}, directory=directory)
    if outcome.returncode != 0:
        raise RuntimeError(f"migrate ended with {outcome.returncode}:\n{outcome.stdout}{outcome.stderr}")

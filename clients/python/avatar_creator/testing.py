"""A real Avatar Creator for the tests of apps that use this client.

With pytest, the app's top `conftest.py` names this module:

    pytest_plugins = ["avatar_creator.testing"]

and a test asks for the service:

    def test_a_project_is_made(avatar_creator_service):
        with avatar_creator_service.client("sarah") as avatars:
            assert avatars.projects.create("Spring campaign").user_id == "sarah"

With anything else, `local_service` is a context manager. Both need the service beside the client: install its
repository, or its wheel `avatar_creator-*.whl`, into the environment of the tests.
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

from avatar_creator.aio import AsyncAvatarCreator
from avatar_creator.sync import AvatarCreator

Role: TypeAlias = Literal["", "ops"]
"""What a token lets its user do beyond their own things: nothing, or what operators may."""

_DISTRIBUTION = "avatar-creator"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_SHOWN_LINES = 50

# What its process needs of ours. Nothing else passes: a developer's own DATABASE_URL or API key must not
# decide what is tested, nor be used by it.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH")

# `python -m avatar_creator_server.cli serve` that ends with its standard input, too: if we are killed, so is our end of it.
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
    """The service is not installed, or did not start; the message says what to do, or what it wrote."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A running service, and the tokens it accepts.

    Whatever it is told by one test is there for the next, so each test should be a user of its own.
    """

    target: str
    """Where it listens, `host:port`."""
    _secret: str = field(repr=False)

    def token(
        self,
        user_id: str,
        *,
        app_id: str = "",
        role: Role = "",
        expires_in: int = 3600,
    ) -> str:
        """Makes a token.

        Args:
            user_id: letters, digits and `. _ @ | : + -`, at most 128, the first a letter or digit.
            app_id: the app the token is bound to; empty: none.
            role: `ops` for an operator's powers.
            expires_in: seconds it is valid; less than 1 makes one that has expired.
        """
        import jwt  # comes with the service

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
        """A client that calls as `user_id`, to be closed by the caller; args as for `token`."""
        return AvatarCreator(
            self.target, token=self.token(user_id, app_id=app_id, role=role), timeout=timeout
        )

    def async_client(
        self, user_id: str, *, app_id: str = "", role: Role = "", timeout: float = 10.0
    ) -> AsyncAvatarCreator:
        """As `client`, for asyncio."""
        return AsyncAvatarCreator(
            self.target, token=self.token(user_id, app_id=app_id, role=role), timeout=timeout
        )


@contextmanager
def local_service(folder: str | os.PathLike[str]) -> Iterator[LocalService]:
    """Runs an embedded service while the context is open, on a free port of 127.0.0.1.

    It is a process of its own, because asyncio gRPC allows one event loop a process, and that one is for the
    tests. It has a secret of its own, and none of the environment's settings reach it.

    Args:
        folder: gets its database, its pictures and its log; made if need be. One service at a time may run
            in it.

    Raises:
        LocalServiceError: it is not installed, or did not start.
    """
    try:
        distribution(_DISTRIBUTION)
    except PackageNotFoundError as error:
        raise LocalServiceError(
            f"the service is not installed beside its client: install the distribution {_DISTRIBUTION}, "
            "from its repository or its wheel"
        ) from error
    place = Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    # Its output goes to a file, because a pipe that nobody reads would stop it once it is full.
    with NamedTemporaryFile(prefix="service-", suffix=".log", dir=place, delete=False) as output:
        process = subprocess.Popen(
            # -P: what lies in the folder is never taken for a module.
            [sys.executable, "-P", "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=place,
            env={
                **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                "LISTEN_ADDRESS": "127.0.0.1:0",
                "DATA_PATH": str(place / "data"),
                "UPLOAD_PATH": str(place / "uploads"),
                "JWT_SECRET": secret,
            },
        )
    try:
        yield LocalService(f"127.0.0.1:{_port_of(process, Path(output.name))}", secret)
    finally:
        _end(process)


def _port_of(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the system chose, once the service says that it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        code = process.poll()
        written = log.read_text(errors="replace")
        for line in written.splitlines(keepends=True):
            if '"server_ready"' in line and line.endswith("\n"):
                return int(json.loads(line)["port"])
        if code is not None or time.monotonic() > deadline:
            happened = f"did not start within {_START_SECONDS:g} s" if code is None else f"ended with {code}"
            end = "\n".join(written.splitlines()[-_SHOWN_LINES:])
            raise LocalServiceError(f"the service {happened}; the end of {log}:\n{end}")
        time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        process.kill()
        process.communicate()


try:
    import pytest
except ModuleNotFoundError:  # other test runners use `local_service`
    pass
else:

    @pytest.fixture(scope="session")
    def avatar_creator_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
        """A real service for the whole run; fails, and does not skip, where it cannot be started."""
        try:
            with local_service(tmp_path_factory.mktemp("avatar-creator")) as service:
                yield service
        except LocalServiceError as error:
            pytest.fail(str(error), pytrace=False)

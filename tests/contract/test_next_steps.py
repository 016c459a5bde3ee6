"""`serve` in a terminal says what to do next, with commands that work, and nothing of it in a log."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import jwt
import pytest

from tests.support import child_process
from tests.support.certificate import Certificate
from tests.support.child_process import ChildProcess
from tests.support.command_line import REPOSITORY
from tests.support.ports import free_port
from tests.support.service import Deployment

_SECONDS = 60.0
_LAST_WORDS = "portrait.png"


def _environment(**settings: str) -> dict[str, str]:
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "clients" / "python")]),
        "HOME": os.environ["HOME"],
        "TERM": "xterm",
        **settings,
    }


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
def test_the_next_steps_in_a_terminal_work(tmp_path: Path, with_tls: bool) -> None:
    settings = {"LISTEN_ADDRESS": f"0.0.0.0:{free_port()}", "WEB_ADDRESS": f"127.0.0.1:{free_port()}"}
    trust = {}
    if with_tls:
        certificate = Certificate.make()
        (tmp_path / "certificate.pem").write_bytes(certificate.certificate)
        (tmp_path / "key.pem").write_bytes(certificate.key)
        settings |= {"TLS_CERTIFICATE_FILE": "certificate.pem", "TLS_KEY_FILE": "key.pem"}
        trust = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "certificate.pem")}
    terminal, end = pty.openpty()
    with ChildProcess(
        [sys.executable, "-m", "avatar_creator_server.cli", "serve"],
        directory=tmp_path,
        environment=_environment(**settings),
        stdin=end,
        stdout=end,
        stderr=end,
    ) as server:
        os.close(end)
        shown = _read_until(terminal, f"{_LAST_WORDS}\n")
        logged, _, said = shown.partition("Clients connect")
        assert "server_ready" in logged
        commands = re.findall(r"^  (.+)$", said.replace("\r", ""), re.MULTILINE)
        done = child_process.run(
            ["sh", "-e", "-c", "\n".join(commands)],
            timeout=_SECONDS,
            directory=tmp_path,
            environment=_environment(**settings, **trust),
        )
        server.send_signal(signal.SIGINT)
        server.wait(_SECONDS)
    os.close(terminal)

    link = re.search(r"The page, signed in as me for an hour: (\S+)#token=(\S+)", logged)
    assert link is not None
    assert link[1] == f"{'https' if with_tls else 'http'}://{settings['WEB_ADDRESS']}/"
    claims = jwt.decode(link[2], options={"verify_signature": False})
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("me", 3600)
    scheme = "https://" if with_tls else ""
    port = settings["LISTEN_ADDRESS"].rpartition(":")[2]
    assert f" to {scheme}127.0.0.1:{port}." in said
    assert "in this folder and with the same settings" in said
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "portrait.png").exists()
    assert server.returncode == 0


def test_a_log_has_no_next_steps(shared_deployment: Deployment) -> None:
    output = shared_deployment.servers[0].output()

    assert "server_ready" in output
    assert "Clients connect" not in output
    assert "#token" not in output


def _read_until(terminal: int, words: str) -> str:
    shown = b""
    deadline = time.monotonic() + _SECONDS
    while words not in shown.decode(errors="replace").replace("\r", ""):
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(shown)
        shown += os.read(terminal, 65536)
    return shown.decode()

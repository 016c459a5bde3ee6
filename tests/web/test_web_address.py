"""The address of the web port: its default, an address that is taken, TLS, and several processes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator_server.settings import DEFAULT_WEB_ADDRESS
from tests.support.certificate import Certificate
from tests.support.command_line import error_message
from tests.support.doctor import checks_of
from tests.support.ports import free_port
from tests.support.server_processes import processes_of
from tests.support.service import Deployment, ServiceProcess, run_in_turn
from tests.support.waiting import wait_until
from tests.support.web_calls import WebCalls, rpcs

_CONNECTIONS = 5


@pytest.fixture
def occupied() -> Iterator[str]:
    """An address at which another program listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.fixture
def occupied_default() -> Iterator[None]:
    """Let the address of the default be taken, by this test or by another program."""
    host, _, port = DEFAULT_WEB_ADDRESS.rpartition(":")
    with socket.socket() as other:
        with contextlib.suppress(OSError):
            other.bind((host, int(port)))
            other.listen()
        yield


@pytest.mark.usefixtures("occupied_default")
def test_a_server_without_the_default_port_serves_grpc_and_warns_once(
    embedded: Deployment, user: str
) -> None:
    server = embedded.start_server(WEB_ADDRESS="")

    with embedded.client(user) as client:
        assert client.projects.create("Spring").name == "Spring"
    (warning,) = server.events("web_port_not_opened")
    assert warning["level"] == "warning"
    assert warning["address"] == DEFAULT_WEB_ADDRESS
    assert "WEB_ADDRESS" in warning["advice"]
    assert not server.events("web_ready")
    embedded.settings["WEB_ADDRESS"] = ""
    found = checks_of(embedded.run_command("doctor").stdout)["web"]
    assert (found.result, "WEB_ADDRESS" in found.found) == ("ok", True)


_WITH_ANOTHER_DEFAULT = """
import asyncio, sys
from avatar_creator_server.api.server import running
from avatar_creator_server.settings import Settings, settings

async def main():
    settings.DEFAULT_WEB_ADDRESS = sys.argv[1]
    async with running(Settings.load(metrics_address=sys.argv[1], listen_address="127.0.0.1:0")) as server:
        print("web port:", server.web)

asyncio.run(main())
"""


def test_the_default_address_leaves_the_metrics_theirs(tmp_path: Path) -> None:
    # The default itself may be taken on this machine.
    default = f"127.0.0.1:{free_port()}"

    served = subprocess.run(
        [sys.executable, "-c", _WITH_ANOTHER_DEFAULT, default],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "web port: None" in served.stdout, served.stderr


def test_a_server_refuses_a_taken_address_that_was_set(embedded: Deployment, occupied: str) -> None:
    settings = _settings(embedded, occupied)

    refused, report = run_in_turn(
        [([command], settings, embedded.directory) for command in ("serve", "doctor")]
    )

    assert refused.returncode == 1
    assert f"cannot listen on WEB_ADDRESS {occupied}: Address already in use" in error_message(refused)
    check = checks_of(report.stdout)["web"]
    assert check.result == "failed"
    assert check.found in error_message(refused)


@pytest.fixture(scope="module")
def without_web_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service whose server has no web port."""
    deployment = Deployment.embedded(tmp_path_factory.mktemp("without"))
    try:
        deployment.start_server(WEB_ADDRESS="none")
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def with_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service with TLS, whose server accepts few connections."""
    directory = tmp_path_factory.mktemp("certificate")
    certificate = Certificate.make()
    deployment = Deployment.embedded(directory, CONNECTIONS=str(_CONNECTIONS))
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        path = directory / f"{name.lower()}.pem"
        path.write_bytes(content)
        deployment.settings[f"TLS_{name}_FILE"] = str(path)
    try:
        # `start_server` would wait for a server without TLS.
        settings = _settings(deployment, deployment.web_target)
        server = ServiceProcess("server-with-tls", "serve", settings=settings, directory=directory)
        deployment.servers.append(server)
        server.wait_for_output("server_ready")
        yield deployment
    finally:
        deployment.close()


@pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)
def test_doctor_finds_the_web_port_of_its_own_server_and_takes_no_other_for_it(
    shared_deployment: Deployment, with_certificate: Deployment, without_web_port: Deployment
) -> None:
    address, with_tls = shared_deployment.web_target, with_certificate.web_target
    reports = run_in_turn(
        [
            (["doctor"], _settings(deployment, web_address), deployment.directory)
            for deployment, web_address in (
                (shared_deployment, address),
                (with_certificate, with_tls),
                (without_web_port, address),
            )
        ]
    )

    *own, other = (checks_of(report.stdout)["web"] for report in reports)
    assert [(check.result, check.found) for check in own] == [
        ("ok", f"{each} is held by this service's own server") for each in (address, with_tls)
    ]
    assert other.result == "failed"
    assert f"cannot listen on WEB_ADDRESS {address}" in other.found


def test_a_server_has_no_web_port_if_that_is_set(without_web_port: Deployment) -> None:
    (server,) = without_web_port.servers

    assert not server.events("web_ready")
    assert not server.events("web_port_not_opened")
    with socket.socket() as attempt:
        host, _, port = server.web_target.rpartition(":")
        assert attempt.connect_ex((host, int(port))) != 0


def test_the_web_port_has_the_certificate_of_the_server(with_certificate: Deployment) -> None:
    address = with_certificate.web_target
    trust = ssl.create_default_context(cafile=with_certificate.settings["TLS_CERTIFICATE_FILE"])
    with httpx.Client(verify=trust, trust_env=False) as trusting:
        assert trusting.get(f"https://{address}/readyz").text == "ready\n"
        with pytest.raises(httpx.TransportError):
            trusting.get(f"http://{address}/readyz")

    # A connection counts also before its handshake.
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(_CONNECTIONS):
            stack.enter_context(socket.create_connection((host, int(port)), 30))
        one_more = stack.enter_context(socket.create_connection((host, int(port)), 30))
        assert one_more.recv(1) == b""
    with httpx.Client(verify=trust, trust_env=False) as trusting:
        wait_until(lambda: _is_alive(trusting, f"https://{address}/healthz"), 30)


def _settings(deployment: Deployment, web_address: str) -> dict[str, str]:
    return deployment.settings | {"LISTEN_ADDRESS": deployment.target, "WEB_ADDRESS": web_address}


def _is_alive(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_every_process_of_a_server_serves_the_web_port(distributed: Deployment, user: str) -> None:
    server = distributed.start_server(SERVER_PROCESSES="2")
    method = rpcs()["ListProjects"]
    token = distributed.token(user)

    def answered() -> set[int]:
        # A connection stays with one process, and the system chooses which one.
        with WebCalls(distributed.web_target, token) as web:
            assert web.call(method, [ListProjectsRequest()]).code == "OK"
        return {event["process"] for event in server.events("call_finished") if event["user"] == user}

    wait_until(lambda: answered() == {1, 2}, 30)
    assert len(server.events("web_ready")) == 2
    assert len(processes_of(server)) == 2
    assert server.terminate() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{distributed.web_target}/healthz")

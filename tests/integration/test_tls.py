"""The service over TLS."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from avatar_creator import AvatarCreator, UnavailableError
from tests.support.certificate import Certificate
from tests.support.service import Deployment, ServiceProcess


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    """The certificate of the server."""
    return Certificate.make()


@pytest.fixture
def secured(embedded: Deployment, certificate: Certificate, tmp_path: Path) -> Deployment:
    """A running service that accepts only TLS connections."""
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        path = tmp_path / f"{name.lower()}.pem"
        path.write_bytes(content)
        embedded.settings[f"TLS_{name}_FILE"] = str(path)
    # `start_server` would check its health without TLS.
    server = ServiceProcess(
        "server-with-tls",
        "serve",
        settings={**embedded.settings, "LISTEN_ADDRESS": embedded.target},
        directory=tmp_path,
    )
    embedded.servers.append(server)
    server.wait_for_output("server_ready")
    return embedded


def test_a_client_that_trusts_the_certificate_can_call(
    secured: Deployment, certificate: Certificate, user: str
) -> None:
    with AvatarCreator(
        secured.target,
        token=secured.token(user),
        tls=True,
        root_certificates=certificate.certificate,
    ) as client:
        project = client.projects.create("Over TLS")
        assert [found.id for found in client.projects.list()] == [project.id]


def test_a_client_that_trusts_another_certificate_gets_unavailable(secured: Deployment, user: str) -> None:
    other = Certificate.make().certificate
    with (
        AvatarCreator(
            secured.target,
            token=secured.token(user),
            tls=True,
            root_certificates=other,
            timeout=1.0,
        ) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.projects.create("Never created")
    assert refused.value.code == grpc.StatusCode.UNAVAILABLE


def test_a_client_without_tls_gets_unavailable(secured: Deployment, user: str) -> None:
    with (
        AvatarCreator(secured.target, token=secured.token(user), timeout=1.0) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.projects.create("Never created")
    assert refused.value.message

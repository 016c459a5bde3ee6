"""The service over TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from avatar_creator import AvatarCreator, UnavailableError
from tests.support.service import Deployment, ServiceProcess


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, and its key, both PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def make(cls) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    """The server's certificate."""
    return Certificate.make()


@pytest.fixture
def secured(embedded: Deployment, certificate: Certificate, tmp_path: Path) -> Deployment:
    """A running service that speaks TLS only."""
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        path = tmp_path / f"{name.lower()}.pem"
        path.write_bytes(content)
        embedded.settings[f"TLS_{name}_FILE"] = str(path)
    # Not by `start_server`, whose way to ask whether it is ready speaks no TLS.
    server = ServiceProcess(
        "server-with-tls",
        "serve",
        settings={**embedded.settings, "LISTEN_ADDRESS": embedded.target},
        directory=tmp_path,
    )
    embedded.servers.append(server)
    server.wait_for_output("server_ready")
    return embedded


def test_a_client_that_trusts_the_certificate_is_served(
    secured: Deployment, certificate: Certificate, user: str
) -> None:
    with AvatarCreator(
        secured.target,
        token=secured.token(user),
        tls=True,
        root_certificates=certificate.certificate,
    ) as client:
        project = client.projects.create("Behind a lock")
        assert [found.id for found in client.projects.list()] == [project.id]


def test_a_client_that_trusts_another_certificate_is_told_so(secured: Deployment, user: str) -> None:
    strangers = Certificate.make().certificate
    with (
        AvatarCreator(
            secured.target,
            token=secured.token(user),
            tls=True,
            root_certificates=strangers,
            timeout=1.0,
        ) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.projects.create("Never made")
    assert refused.value.code == grpc.StatusCode.UNAVAILABLE


def test_a_client_without_tls_gets_an_error_of_ours(secured: Deployment, user: str) -> None:
    with (
        AvatarCreator(secured.target, token=secured.token(user), timeout=1.0) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.projects.create("Never made")
    assert refused.value.message

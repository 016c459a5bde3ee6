"""The server that has an address: whether it is this service's own, and healthy."""

from __future__ import annotations

import asyncio
import socket
import ssl
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from avatar_creator import AvatarCreator, AvatarCreatorError, ErrorReason, UnauthenticatedError
from avatar_creator.channels import OPTIONS
from avatar_creator.errors import from_rpc_error
from avatar_creator_server.addresses import parse_address, reachable
from avatar_creator_server.api.tokens import mint_token
from avatar_creator_server.settings import Settings, SettingsError

_USER = "avatar-creator-doctor"
"""User of the token."""
_ANSWER_SECONDS = 5.0
_EXPIRED_SECONDS = 86_400
"""Time since the token's end: longer than any difference of clocks that a server allows."""


async def ask_own_server(settings: Settings, address: str) -> bool:
    """Return whether the server at an address is this service's own: it has our secret.

    Raises:
        SettingsError: It is, but it is not healthy; or it has another certificate than the settings.
    """
    return await asyncio.to_thread(_ask, settings, address)


def _ask(settings: Settings, address: str) -> bool:
    if settings.existing_secret() is None:
        return False
    # Any server may hold the port, so its token is of no use. A server of this service checks the signature
    # first, and then says that the token has expired.
    token = mint_token(settings, _USER, -_EXPIRED_SECONDS)
    try:
        channel = _connect(settings, address)
    except ssl.SSLCertVerificationError as error:
        raise SettingsError(
            f"{address} is held by a server with another certificate than "
            "TLS_CERTIFICATE_FILE: restart that server if it is this service's own, or set another port"
        ) from error
    except OSError:  # also that it has no TLS
        return False
    with channel, AvatarCreator(channel=channel, token=token, timeout=_ANSWER_SECONDS, retries=0) as client:
        try:
            list(islice(client.projects.list(page_size=1), 1))
            return False  # this server accepts any token
        except UnauthenticatedError as error:
            if error.reason != ErrorReason.TOKEN_EXPIRED:
                return False
        except AvatarCreatorError as error:
            if not error.reason:  # not an error of a service like this one
                return False
            raise _not_healthy(address, error.message) from error
        try:
            status = HealthStub(channel).Check(HealthCheckRequest(), timeout=_ANSWER_SECONDS).status
        except grpc.RpcError as error:
            raise _not_healthy(address, from_rpc_error(error).message) from error
    if status != HealthCheckResponse.SERVING:
        raise _not_healthy(address, "its health is NOT_SERVING")
    return True


def _not_healthy(address: str, cause: str) -> SettingsError:
    return SettingsError(
        f"{address} is held by this service's own server, which is not healthy ({cause}): look in its log"
    )


def _connect(settings: Settings, address: str) -> grpc.Channel:
    """Return a channel to the server, which must have the certificate of the settings.

    Raises:
        OSError: It does not answer with that certificate.
    """
    target = reachable(address)
    options = [*OPTIONS, ("grpc.enable_http_proxy", 0)]
    if settings.tls_certificate_file is None:
        return grpc.insecure_channel(target, options)
    name = _name_in_certificate(target, settings.tls_certificate_file)
    credentials = grpc.ssl_channel_credentials(settings.tls_certificate_file.read_bytes())
    return grpc.secure_channel(target, credentials, [*options, ("grpc.ssl_target_name_override", name)])


def _name_in_certificate(target: str, certificate_file: Path) -> str:
    """Return a name that the server's certificate is for: it need not be that of this machine."""
    context = ssl.create_default_context(cafile=str(certificate_file))
    context.check_hostname = False
    # The settings have the server's certificate, and not always the one that signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    address = parse_address(target)
    with (
        socket.create_connection((address.host, address.port), timeout=_ANSWER_SECONDS) as connection,
        context.wrap_socket(connection) as secured,
    ):
        certificate = secured.getpeercert() or {}
    names: Any = certificate.get("subjectAltName", ())
    return next((str(name).replace("*", "any", 1) for _, name in names), address.host)

"""Checks of certificate and key files, before a connection needs them."""

from __future__ import annotations

import ssl
from pathlib import Path

from avatar_creator_server.settings.errors import system_reason


def require_readable(path: str) -> None:
    """Check that a file can be read.

    Raises:
        ValueError: It cannot; the message has the path and the reason.
    """
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {system_reason(error)}") from None


def require_certificates(path: str) -> None:
    """Check that a file contains certificates in PEM.

    Raises:
        ValueError: It does not; the message has the path and the reason.
    """
    require_readable(path)
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError):
        raise ValueError(f"{path} has no certificate in PEM") from None


def require_key_pair(certificate_file: str, key_file: str) -> None:
    """Check that two files contain a certificate chain and its private key, in PEM without a passphrase.

    Raises:
        ValueError: They do not; the message has the paths and the reason.
    """
    require_readable(certificate_file)
    require_readable(key_file)
    try:
        # Without a password, OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_file, key_file, password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ValueError(
            f"{certificate_file} and {key_file} are not a certificate and its private key, in PEM and "
            "without a passphrase"
        ) from None

"""The secret that signs tokens: its rules, and the file in which the embedded service stores its own."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile

from avatar_creator_server.redaction import hide_from_now_on
from avatar_creator_server.settings.errors import SettingsError, system_reason

MIN_SECRET_BYTES = 32
"""Bytes of a key for HS256 (RFC 7518, section 3.2)."""

_KEY_FILE = re.compile(
    r"-----? ?BEGIN [A-Z0-9 ]+-----?"  # PEM, OpenSSH's private keys, and SSH2
    r"|^\s*(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|PuTTY-User-Key-File)"
    r"|^\s*LS0tLS1CRUdJTi"  # the first bytes of PEM in base64
)


def parse_secret(text: str) -> str:
    """Return the text if it can sign tokens.

    Raises:
        ValueError: The text is a key for another algorithm, too short, or has blanks around it. The message
            completes a sentence that begins with the setting's name.
    """
    if _is_key_file(text):
        raise ValueError(
            "is a key or certificate (PEM, SSH or JWK), but tokens are signed with HS256, which needs a "
            "random secret; `openssl rand -hex 32` generates one"
        )
    if text != text.strip():
        raise ValueError(
            "has blanks or a line break at its beginning or end, which would be part of the secret: "
            "remove them"
        )
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` generates one")
    return text


def stored_secret(path: Path) -> str | None:
    """Return the secret in a file; None if there is no file.

    Raises:
        SettingsError: The file cannot be read, or has no complete secret.
    """
    try:
        # An editor may have added a byte order mark and Windows line ends.
        secret = parse_secret(path.read_text(encoding="utf-8-sig").strip())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            f"the secret in DATA_PATH cannot be read: {path}: {system_reason(error)}"
        ) from error
    except ValueError:
        raise SettingsError(
            f"{path} has no complete secret: delete the file, and the service generates a new one"
        ) from None
    hide_from_now_on(secret)
    return secret


def generate_secret(path: Path) -> str:
    """Store a new secret in a file, unless another process has done so, and return the stored one.

    Raises:
        SettingsError: The folder is not writable, or the other process stored no complete secret.
    """
    # Several processes may find no secret at the same time, and all must use the same one: the file gets its
    # name only when it is complete, and the first one wins. A temporary file is private from the start.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}-") as written:
            written.write(secrets.token_hex(MIN_SECRET_BYTES) + "\n")
            written.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(written.name)
    except OSError as error:
        raise SettingsError(
            f"DATA_PATH must be a folder that the service can write to: {path.parent}: {system_reason(error)}"
        ) from error
    secret = stored_secret(path)
    if secret is None:
        raise SettingsError(f"{path} disappeared after it was written: start the service again")
    return secret


def _is_key_file(text: str) -> bool:
    return _KEY_FILE.search(text) is not None or _is_json_web_key(text)


def _is_json_web_key(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(key, dict) and bool(key.keys() & {"kty", "keys"})

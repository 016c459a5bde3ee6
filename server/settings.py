"""Settings by environment variables, and which combinations of them make a service."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_MINIMUM_SECRET_BYTES = 32
_MAXIMUM_PORT = 65535


class SettingsError(Exception):
    """The settings do not make a service; the message says which and what to do."""


class Settings(BaseSettings):
    """What the environment says. Every field is read from the variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    listen_address: str = "127.0.0.1:50051"
    """Where the server listens, `host:port`."""
    data_path: Path = Path("avatar-creator-data")
    """Folder of the embedded service: its SQLite database and its generated secret."""
    upload_path: Path = Path("uploads")
    """Folder of the pictures, under `avatar-creator/{user_id}/`, unless `storage_url` is set."""
    storage_url: str = ""
    """`s3://bucket/prefix` for S3-compatible storage; credentials by the usual `AWS_…` variables."""

    database_url: str = ""
    """`postgresql://user:password@host:port/name`, or `sqlite:///path`; empty: SQLite in `data_path`."""
    redis_url: str = ""
    """`redis://:password@host:port/0`; or the three parts below."""
    redis_host: str = ""
    redis_port: int = Field(default=6379, ge=1, le=_MAXIMUM_PORT)
    redis_password: str = ""

    jwt_secret: str = ""
    """HS256 secret of at least 32 bytes (RFC 7518, section 3.2)."""
    jwt_user_claim: str = "sub"
    """Claim that names the user."""
    jwt_issuer: str = ""
    """Required `iss`, if set."""
    jwt_audience: str = ""
    """Required `aud`, if set."""

    tls_certificate_file: Path | None = None
    """PEM certificate chain; with `tls_key_file` the server speaks TLS."""
    tls_key_file: Path | None = None
    """PEM private key."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged: `debug`, `info`, `warning` or `error`."""

    @property
    def database(self) -> str:
        """The database's URL, the embedded default filled in.

        Raises:
            SettingsError: it is of a kind that this service does not know.
        """
        url = self.database_url or f"sqlite:///{self.data_path / 'avatar-creator.db'}"
        if not url.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise SettingsError("DATABASE_URL must begin with postgresql:// or sqlite:///")
        return url

    @property
    def redis(self) -> str:
        """Redis's URL, made of its parts if it was given in parts; empty without Redis."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host}:{self.redis_port}/0"

    @property
    def secret_file(self) -> Path:
        """Where the embedded service keeps the secret it made."""
        return self.data_path / "jwt-secret"

    @property
    def _redis_variable(self) -> str:
        return "REDIS_URL" if self.redis_url else "REDIS_HOST"

    @property
    def embedded(self) -> bool:
        """Whether everything runs in the one process of `serve`."""
        return self.database.startswith("sqlite:")

    def require_legal_combination(self) -> None:
        """Refuse settings that would lose work or split the service in two.

        Raises:
            SettingsError: names the variables and what to do about them.
        """
        host, _, port = self.listen_address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _MAXIMUM_PORT:
            raise SettingsError(
                f"LISTEN_ADDRESS must be host:port, with a port of 0 to {_MAXIMUM_PORT}, "
                f"not {self.listen_address!r}"
            )
        if self.embedded:
            if self.redis:
                raise SettingsError(
                    f"{self._redis_variable} is set but the database is SQLite, which only one process may "
                    "use: set DATABASE_URL to a PostgreSQL database, or unset "
                    f"{self._redis_variable} to run embedded"
                )
            if self.storage_url:
                raise SettingsError(
                    "STORAGE_URL is set but the database is SQLite on this machine's disk: "
                    "set DATABASE_URL and REDIS_URL too, or unset STORAGE_URL to run embedded"
                )
        elif not self.redis:
            raise SettingsError(
                "DATABASE_URL is PostgreSQL but there is no Redis to reach the workers through: "
                "set REDIS_URL, or unset DATABASE_URL to run embedded"
            )
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise SettingsError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE must be set together")
        if self.storage_url and not self.storage_url.startswith("s3://"):
            raise SettingsError("STORAGE_URL must begin with s3://; for a folder set UPLOAD_PATH")

    def signing_secret(self) -> str:
        """The secret tokens are signed with. The embedded service makes one and keeps it for itself alone.

        Raises:
            SettingsError: it is missing or too short.
        """
        if self.jwt_secret:
            if len(self.jwt_secret.encode()) < _MINIMUM_SECRET_BYTES:
                raise SettingsError(
                    f"JWT_SECRET must have at least {_MINIMUM_SECRET_BYTES} bytes; "
                    "`openssl rand -hex 32` makes one"
                )
            return self.jwt_secret
        if not self.embedded:
            raise SettingsError(
                "JWT_SECRET is not set; `openssl rand -hex 32` makes one, and every server needs the same"
            )
        path = self.secret_file
        try:
            secret = _kept_secret(path)
        except OSError as error:
            raise SettingsError(f"DATA_PATH must be a folder that can be written to: {error}") from error
        if len(secret) < _MINIMUM_SECRET_BYTES:
            raise SettingsError(f"{path} holds no whole secret: delete it, and a new one is made")
        return secret


def _kept_secret(path: Path) -> str:
    if path.exists():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of several processes that find none, all must end with the same: so it gets its name when it is whole.
    # A temporary file is its owner's alone from the first moment.
    with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}-") as written:
        written.write(secrets.token_hex(_MINIMUM_SECRET_BYTES) + "\n")
        written.flush()
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(written.name)
    return path.read_text().strip()

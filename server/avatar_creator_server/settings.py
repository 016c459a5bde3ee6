"""Settings from environment variables, and the valid combinations of them."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_MIN_SECRET_BYTES = 32
_MAX_PORT = 65535

DEFAULT_MODEL = "black-forest-labs/FLUX.1-dev"

DEFAULT_PRICES = {"fal-ai": 0.035, "fal-ai-kontext": 0.035}
"""US dollars per megapixel, https://fal.ai/models/fal-ai/flux-lora."""


class SettingsError(Exception):
    """A setting or a combination of settings is invalid; the message names it and says what to do."""


def _parse_prices(value: Any) -> Any:
    # pydantic-settings would parse the JSON too, but its error does not name the environment variable.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise PydanticCustomError("prices", 'must be JSON, for example {"fal-ai": 0.035}') from error


class Settings(BaseSettings):
    """The settings of a process. Each field is read from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    listen_address: str = "127.0.0.1:50051"
    """Address on which the server listens, `host:port`."""
    data_path: Path = Path("avatar-creator-data")
    """Folder for the embedded service's SQLite database and generated secret."""
    upload_path: Path = Path("uploads")
    """Folder for the pictures, in `avatar-creator/{user_id}/`. Not used if `storage_url` is set."""
    storage_url: str = ""
    """`s3://bucket/prefix` for S3-compatible storage, with credentials in the usual `AWS_…` variables."""

    database_url: str = ""
    """`postgresql://user:password@host:port/name` or `sqlite:///path`; SQLite in `data_path` if empty."""
    redis_url: str = ""
    """Address of Redis, `redis://:password@host:port/0`."""
    redis_host: str = ""
    """Host of Redis, if `redis_url` is empty."""
    redis_port: int = Field(default=6379, ge=1, le=_MAX_PORT)
    """Port of Redis, if `redis_url` is empty."""
    redis_password: str = ""
    """Password for Redis, if `redis_url` is empty."""

    jwt_secret: str = ""
    """Secret that signs tokens with HS256, at least 32 bytes (RFC 7518, section 3.2)."""
    jwt_user_claim: str = "sub"
    """Name of the token's claim with the user id."""
    jwt_issuer: str = ""
    """Value that a token's `iss` claim must have; not checked if empty."""
    jwt_audience: str = ""
    """Value that a token's `aud` claim must have; not checked if empty."""

    tls_certificate_file: Path | None = None
    """PEM file with the certificate chain. With it and `tls_key_file`, the server accepts TLS only."""
    tls_key_file: Path | None = None
    """PEM file with the private key."""

    provider: Literal["", "sketch", "huggingface", "diffusers"] = ""
    """Provider of all servers and workers; if empty, `huggingface` if its key is set, else `sketch`."""
    model: str = DEFAULT_MODEL
    """Id of the model on the Hugging Face hub; `diffusers` also accepts a folder."""
    model_revision: str = ""
    """Commit or tag of the model, for `diffusers`; the newest commit if empty."""
    lora_repository: str = "strangerzonehf/Flux-Super-Realism-LoRA"
    """LoRA for realistic photographs: an id on the hub, a folder for `diffusers`, or `none`."""
    lora_weight_file: str = ""
    """Name of the LoRA's file in its repository; may be empty if there is only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; the newest commit if empty."""
    lora_scale: float = Field(default=1.0, ge=0, le=4)
    """Strength of the LoRA; 1 is the strength it was trained with."""
    lora_trigger: str = "Super Realism"
    """Words that the LoRA needs in the prompt. If a prompt lacks them, they are added in front."""
    provider_deadline_seconds: float = Field(default=600, gt=0)
    """Maximum time for one picture, including the provider's queue."""
    prices_per_megapixel: Annotated[dict[str, float], NoDecode, BeforeValidator(_parse_prices)] = Field(
        default_factory=lambda: dict(DEFAULT_PRICES)
    )
    """Price in US dollars per megapixel for each route, as JSON; other routes cost nothing."""

    huggingface_api_key: SecretStr = SecretStr("")
    """Hugging Face token with permission to call inference providers, `hf_…`."""
    huggingface_route: Literal["fal-ai", "hf-inference", "endpoint"] = "fal-ai"
    """Backend: fal.ai's queue, Hugging Face's own inference, or a dedicated Inference Endpoint."""
    huggingface_base_url: str = "https://router.huggingface.co"
    """URL of the Hugging Face router."""
    huggingface_endpoint_url: str = ""
    """URL of the dedicated Inference Endpoint, for the route `endpoint`."""
    huggingface_bill_to: str = ""
    """Organization on the hub that pays (`X-HF-Bill-To`); the owner of the key if empty."""

    model_device: str = ""
    """Torch device, for `diffusers`; if empty, `cuda` if available, else `cpu`."""
    model_offload: Literal["none", "model", "sequential"] = "none"
    """Parts of the model kept in main memory while unused, for `diffusers`: slower, fits a smaller GPU."""
    model_quantization: Literal["none", "8bit", "4bit"] = "none"
    """Bits of the model's weights, for `diffusers`: fewer bits fit a smaller GPU."""

    prompt_deny_list_file: Path | None = None
    """File of words and phrases that prompts must not contain, one on each line."""
    moderation_url: str = ""
    """URL of a service with the interface of OpenAI's Moderations API, which checks every prompt."""
    moderation_api_key: SecretStr = SecretStr("")
    """Bearer token for the moderation service."""

    generation_limit_concurrent: int = Field(default=50, ge=0)
    """Maximum number of pending and running generations of a user; 0 for no limit."""
    generation_limit_per_minute: int = Field(default=60, ge=0)
    """Maximum number of generations that a user can start in any minute; 0 for no limit."""
    generation_limit_per_day: int = Field(default=1000, ge=0)
    """Maximum number of generations that a user can start in any 24 hours; 0 for no limit."""
    spend_limit_per_day: float = Field(default=20.0, ge=0)
    """Maximum cost in US dollars of a user's generations in any 24 hours; 0 for no limit."""

    metrics_address: str = ""
    """Address at which Prometheus reads this process's metrics, `host:port`; no metrics if empty."""
    shutdown_grace_seconds: float = Field(default=60, ge=0)
    """Maximum time after SIGTERM for running generations to end. Others continue on another worker."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of logged events: `debug`, `info`, `warning` or `error`."""

    @property
    def database(self) -> str:
        """The database's URL; the embedded service's SQLite file if none is set.

        Raises:
            SettingsError: the URL is not a PostgreSQL or SQLite URL.
        """
        url = self.database_url or f"sqlite:///{self.data_path / 'avatar-creator.db'}"
        if not url.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise SettingsError("DATABASE_URL must begin with postgresql:// or sqlite:///")
        return url

    @property
    def chosen_provider(self) -> str:
        """The provider that the settings choose: `sketch`, `huggingface` or `diffusers`."""
        return self.provider or ("huggingface" if self.huggingface_api_key.get_secret_value() else "sketch")

    @property
    def redis(self) -> str:
        """The URL of Redis, made from host, port and password if it is set in parts; empty without Redis."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host}:{self.redis_port}/0"

    @property
    def secret_file(self) -> Path:
        """The file in which the embedded service stores its generated secret."""
        return self.data_path / "jwt-secret"

    @property
    def _redis_variable(self) -> str:
        return "REDIS_URL" if self.redis_url else "REDIS_HOST"

    @property
    def embedded(self) -> bool:
        """True if `serve` runs the whole service in one process."""
        return self.database.startswith("sqlite:")

    def require_legal_combination(self) -> None:
        """Reject settings that would lose work or split the service in two.

        Raises:
            SettingsError: the message names the variables and says what to do.
        """
        host_and_port("LISTEN_ADDRESS", self.listen_address)
        if self.metrics_address:
            host_and_port("METRICS_ADDRESS", self.metrics_address)
        if self.embedded:
            if self.redis:
                raise SettingsError(
                    f"{self._redis_variable} is set, but the database is SQLite, which only one process can "
                    "use: set DATABASE_URL to a PostgreSQL database, or unset "
                    f"{self._redis_variable} to run the embedded service"
                )
            if self.storage_url:
                raise SettingsError(
                    "STORAGE_URL is set, but the database is SQLite on this machine's disk: set DATABASE_URL "
                    "and REDIS_URL too, or unset STORAGE_URL to run the embedded service"
                )
        elif not self.redis:
            raise SettingsError(
                "DATABASE_URL is PostgreSQL, but REDIS_URL is not set: set REDIS_URL, through which servers "
                "notify workers, or unset DATABASE_URL to run the embedded service"
            )
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise SettingsError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE must be set together")
        if self.chosen_provider == "huggingface":
            self._require_huggingface()
        if self.storage_url and not self.storage_url.startswith("s3://"):
            raise SettingsError(
                "STORAGE_URL must begin with s3://; to store pictures in a folder, set UPLOAD_PATH instead"
            )

    def _require_huggingface(self) -> None:
        for name in ("huggingface_base_url", "huggingface_endpoint_url"):
            url = getattr(self, name)
            if url and not url.startswith(("https://", "http://")):
                raise SettingsError(f"{name.upper()} must begin with https:// or http://")
        if self.huggingface_route == "endpoint" and not self.huggingface_endpoint_url:
            raise SettingsError(
                "HUGGINGFACE_ROUTE is endpoint, but HUGGINGFACE_ENDPOINT_URL is not set: set it to the URL "
                "of the Inference Endpoint"
            )
        if self.huggingface_route != "fal-ai":
            return
        if self.model != DEFAULT_MODEL:
            raise SettingsError(
                f"MODEL is {self.model}, but the route fal-ai only has {DEFAULT_MODEL}: unset MODEL, or "
                "set HUGGINGFACE_ROUTE to hf-inference or endpoint"
            )
        if self.lora_revision and not self.lora_weight_file:
            raise SettingsError(
                "LORA_REVISION is set, but LORA_WEIGHT_FILE is not: the route fal-ai needs both"
            )

    def signing_secret(self) -> str:
        """Return the secret that signs tokens. The embedded service generates and stores one if none is set.

        Raises:
            SettingsError: the secret is missing or too short.
        """
        if self.jwt_secret:
            if len(self.jwt_secret.encode()) < _MIN_SECRET_BYTES:
                raise SettingsError(
                    f"JWT_SECRET must have at least {_MIN_SECRET_BYTES} bytes; "
                    "`openssl rand -hex 32` generates one"
                )
            return self.jwt_secret
        if not self.embedded:
            raise SettingsError(
                "JWT_SECRET is not set; `openssl rand -hex 32` generates one, and all servers need the same"
            )
        path = self.secret_file
        try:
            secret = _stored_secret(path)
        except OSError as error:
            raise SettingsError(f"DATA_PATH must be a writable folder: {error}") from error
        if len(secret) < _MIN_SECRET_BYTES:
            raise SettingsError(
                f"{path} has no complete secret: delete the file, and the service generates a new one"
            )
        return secret


def host_and_port(name: str, address: str) -> tuple[str, int]:
    """Split the address that the setting `name` has.

    Raises:
        SettingsError: the address is not `host:port`.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise SettingsError(f"{name} must be host:port, with a port from 0 to {_MAX_PORT} (got {address})")
    return host, int(port)


def _stored_secret(path: Path) -> str:
    if path.exists():
        return path.read_text().strip()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Several processes may find no secret at the same time, and all must use the same one: the file gets its
    # name only when it is complete, and the first one wins. A temporary file is private from the start.
    with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}-") as written:
        written.write(secrets.token_hex(_MIN_SECRET_BYTES) + "\n")
        written.flush()
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(written.name)
    return path.read_text().strip()

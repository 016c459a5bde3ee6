"""Settings by environment variables, and which combinations of them make a service."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal
from urllib.parse import quote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_MINIMUM_SECRET_BYTES = 32
_MAXIMUM_PORT = 65535

DEFAULT_MODEL = "black-forest-labs/FLUX.1-dev"

DEFAULT_PRICES = {"fal-ai": 0.035, "fal-ai-kontext": 0.035}
"""US dollars per megapixel, https://fal.ai/models/fal-ai/flux-lora."""


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

    provider: Literal["", "sketch", "huggingface", "diffusers"] = ""
    """Who draws, for servers and workers alike; empty: `huggingface` where its key is set, else `sketch`."""
    model: str = DEFAULT_MODEL
    """The model's id on the hub; for `diffusers` a folder will do."""
    model_revision: str = ""
    """Commit or tag of the model, for `diffusers`; empty: the newest."""
    lora_repository: str = "strangerzonehf/Flux-Super-Realism-LoRA"
    """The LoRA that makes it a photograph: its id on the hub, or a folder for `diffusers`; or `none`."""
    lora_weight_file: str = ""
    """File of the LoRA in its repository; empty: its only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; empty: the newest."""
    lora_scale: float = Field(default=1.0, ge=0, le=4)
    """How strongly the LoRA acts; 1 is as it was trained."""
    lora_trigger: str = "Super Realism"
    """Words the LoRA needs in the prompt; they are put in front unless they are in it."""
    provider_deadline_seconds: float = Field(default=600, gt=0)
    """How long the provider may take for one picture, its queue included."""
    prices_per_megapixel: dict[str, float] = Field(default_factory=lambda: dict(DEFAULT_PRICES))
    """US dollars per megapixel by route, as JSON; routes left out cost nothing."""

    huggingface_api_key: SecretStr = SecretStr("")
    """Token of HuggingFace with the right to call inference providers, `hf_…`."""
    huggingface_route: Literal["fal-ai", "hf-inference", "endpoint"] = "fal-ai"
    """How HuggingFace is reached: fal.ai's queue, its own inference, or a dedicated Inference Endpoint."""
    huggingface_base_url: str = "https://router.huggingface.co"
    """The router."""
    huggingface_endpoint_url: str = ""
    """The dedicated Inference Endpoint, for the route `endpoint`."""
    huggingface_bill_to: str = ""
    """Organisation on the hub that pays (`X-HF-Bill-To`); empty: the owner of the key."""

    model_device: str = ""
    """For `diffusers`: torch's name of the device; empty: `cuda` where there is one, else `cpu`."""
    model_offload: Literal["none", "model", "sequential"] = "none"
    """For `diffusers`: what rests in main memory while it is not used; slower, and fits on smaller cards."""
    model_quantization: Literal["none", "8bit", "4bit"] = "none"
    """For `diffusers`: weights in fewer bits, which fit on smaller cards."""

    prompt_deny_list_file: Path | None = None
    """Words and phrases that no prompt may have, one a line."""
    moderation_url: str = ""
    """A moderation service that is asked about every prompt, of the shape of OpenAI's Moderations API."""
    moderation_api_key: SecretStr = SecretStr("")
    """Sent to the moderation service as bearer token."""

    generation_limit_concurrent: int = Field(default=50, ge=0)
    """How many generations of a user may wait or run; 0: any number, likewise below."""
    generation_limit_per_minute: int = Field(default=60, ge=0)
    """How many a user may start in any minute."""
    generation_limit_per_day: int = Field(default=1000, ge=0)
    """How many a user may start in any 24 hours."""
    spend_limit_per_day: float = Field(default=20.0, ge=0)
    """How many US dollars a user's generations may cost in any 24 hours."""

    metrics_address: str = ""
    """Where Prometheus reads the metrics of this process, `host:port`; empty: nowhere."""
    shutdown_grace_seconds: float = Field(default=60, ge=0)
    """How long running generations may take to end after SIGTERM before they are handed to other workers."""
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
    def chosen_provider(self) -> str:
        """Who draws: `sketch`, `huggingface` or `diffusers`."""
        return self.provider or ("huggingface" if self.huggingface_api_key.get_secret_value() else "sketch")

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
        host_and_port("LISTEN_ADDRESS", self.listen_address)
        if self.metrics_address:
            host_and_port("METRICS_ADDRESS", self.metrics_address)
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
        if self.chosen_provider == "huggingface":
            self._require_huggingface()
        if self.storage_url and not self.storage_url.startswith("s3://"):
            raise SettingsError("STORAGE_URL must begin with s3://; for a folder set UPLOAD_PATH")

    def _require_huggingface(self) -> None:
        for name in ("huggingface_base_url", "huggingface_endpoint_url"):
            url = getattr(self, name)
            if url and not url.startswith(("https://", "http://")):
                raise SettingsError(f"{name.upper()} must begin with https://")
        if self.huggingface_route == "endpoint" and not self.huggingface_endpoint_url:
            raise SettingsError(
                "HUGGINGFACE_ROUTE is endpoint but HUGGINGFACE_ENDPOINT_URL is not set: set it to the URL of "
                "the Inference Endpoint"
            )
        if self.huggingface_route != "fal-ai":
            return
        if self.model != DEFAULT_MODEL:
            raise SettingsError(
                f"MODEL is {self.model}, but the route fal-ai draws with {DEFAULT_MODEL}: unset MODEL, or "
                "set HUGGINGFACE_ROUTE to hf-inference or endpoint"
            )
        if self.lora_revision and not self.lora_weight_file:
            raise SettingsError("LORA_REVISION is set: the route fal-ai needs LORA_WEIGHT_FILE with it")

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


def host_and_port(name: str, address: str) -> tuple[str, int]:
    """The two parts of an address that the setting `name` gives.

    Raises:
        SettingsError: it is not `host:port`.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _MAXIMUM_PORT:
        raise SettingsError(f"{name} must be host:port, with a port of 0 to {_MAXIMUM_PORT}, not {address!r}")
    return host, int(port)


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

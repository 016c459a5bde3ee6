"""All settings of a process, and the valid combinations of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from avatar_creator_server.addresses import (
    MAX_PORT,
    Address,
    is_loopback,
    parse_address,
    parse_host,
    reachable,
)
from avatar_creator_server.model_table import FAL, MODELS, Model, find_model
from avatar_creator_server.settings import values
from avatar_creator_server.settings.database_urls import (
    SQLITE,
    has_parameter,
    parse_database_url,
    parse_postgresql_url,
)
from avatar_creator_server.settings.errors import SettingsError
from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_server.settings.redis_urls import DEFAULT_PORT, make_redis_url, parse_redis_url
from avatar_creator_server.settings.sibling_apps import SiblingApp, parse_sibling_apps
from avatar_creator_server.settings.signing_secret import generate_secret, parse_secret, stored_secret
from avatar_creator_server.settings.storage_urls import parse_storage_url
from avatar_creator_server.settings.tls_files import require_key_pair
from avatar_creator_server.settings.web_urls import (
    is_web_url,
    parse_origins,
    parse_public_url,
    parse_web_url,
)

DEFAULT_MODEL = "black-forest-labs/FLUX.1-dev"

DEFAULT_LORA = "strangerzonehf/Flux-Super-Realism-LoRA"
"""LoRA for realistic photographs, trained on the default model."""
DEFAULT_LORA_TRIGGER = "Super Realism"
"""Words that this LoRA needs in the prompt (its model card)."""
NO_LORA = "none"

DEFAULT_WEB_ADDRESS = "127.0.0.1:8080"
NO_WEB_PORT = "none"

ROUTES = (
    *("fal-ai", "fal-ai-reference", "hf-inference", "endpoint"),
    *("replicate", "replicate-reference", "local"),
)
"""Names of the routes of all providers; see `avatar_creator_server.generations.routes.Route.name`."""

_SECONDS_PER_DAY = 86_400
_REPLICATE_SECONDS = 1_800
"""Time after which Replicate ends a prediction (https://replicate.com/docs/topics/predictions/lifecycle)."""
_MIN_OBJECT_SECONDS = 7_200
_MAX_OBJECT_SECONDS = 365 * _SECONDS_PER_DAY
_MAX_LIMIT = 1_000_000_000
_MAX_PRICE = 1_000
_MULTILINE = frozenset({"prices_per_megapixel", "sibling_apps", "jwt_secret"})
"""Settings with their own rules for blanks and line breaks."""
_RESERVED_CLAIMS = ("exp", "iat", "nbf", "iss", "aud", "app_id", "role")
_INJECTED_PORT = re.compile(r"(?:tcp|udp|sctp)://.+:([0-9]{1,5})")
"""The value of `REDIS_PORT` that Kubernetes gives to all pods next to a Service named redis."""


def _if_set(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda text: check(text) if text else text)


def _secret_header_text(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value():
        values.header_text(secret.get_secret_value())
    return secret


def _parse_classifier(text: str) -> str:
    """Return the address or the folder of a classifier of pictures."""
    if is_web_url(text):
        return parse_web_url(text)
    if "://" in text:
        raise ValueError("must be a folder, or a full URL that begins with https:// or http://")
    return values.expand_home(text)


def _parse_web_address(text: str) -> str:
    return NO_WEB_PORT if text.lower() == NO_WEB_PORT else str(parse_address(text))


def _user_claim(name: str) -> str:
    if name in _RESERVED_CLAIMS:
        raise ValueError(f"must not be {', '.join(_RESERVED_CLAIMS)}, which have other meanings in a token")
    return name


def _object_seconds(seconds: int) -> int:
    if seconds < _MIN_OBJECT_SECONDS:
        raise ValueError(
            f"must be at least {_MIN_OBJECT_SECONDS} (two hours), because a worker may need so long to fetch "
            "a picture that is paid for: after an outage, or with the last retry"
        )
    return seconds


def _parse_injected_port(value: Any) -> Any:
    injected = _INJECTED_PORT.fullmatch(value) if isinstance(value, str) else None
    return injected[1] if injected else value


def _parse_prices(value: Any) -> Any:
    # pydantic-settings would parse the JSON too, but its error does not name the environment variable.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("prices", 'must be JSON, for example {"fal-ai": 0.035}') from error


def _known_routes(prices: dict[str, float]) -> dict[str, float]:
    for route in prices:
        if route not in ROUTES:
            raise ValueError(f"has the unknown route {route}: the routes are {', '.join(ROUTES)}")
    return prices


_Address = Annotated[str, _if_set(lambda text: str(parse_address(text)))]
_Hosts = Annotated[HostList, NoDecode, PlainValidator(HostList.parse)]
_HostsAndNetworks = Annotated[HostList, NoDecode, PlainValidator(partial(HostList.parse, networks=True))]
_FilePath = Annotated[
    Path, BeforeValidator(lambda path: values.expand_home(path) if isinstance(path, str) else path)
]
_ModelName = Annotated[str, AfterValidator(values.expand_home)]
_WebUrl = Annotated[str, _if_set(parse_web_url)]
_Limit = Annotated[int, Field(ge=0, le=_MAX_LIMIT)]
_ObjectSeconds = Annotated[int, Field(le=_MAX_OBJECT_SECONDS), AfterValidator(_object_seconds)]
_Price = Annotated[float, Field(ge=0, le=_MAX_PRICE, allow_inf_nan=False)]
_Key = Annotated[SecretStr, AfterValidator(_secret_header_text)]


class Settings(BaseSettings):
    """The settings of a process. Each field is read from the environment variable of its name in capitals.

    A blank variable means that the setting is not set. A setting has one form, however it was written: URLs
    and addresses are checked and complete.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    listen_address: _Address = "127.0.0.1:50051"
    """Address on which the server listens, `host:port`."""
    server_processes: int = Field(default=1, ge=1, le=64)
    """Number of processes of a server. They share the address, so that a server can use several cores."""
    web_address: Annotated[str, _if_set(_parse_web_address)] = ""
    """Address of the web port, `host:port`, or `none`; if empty, 127.0.0.1:8080 unless it is taken."""
    web_public_url: Annotated[str, _if_set(parse_public_url)] = ""
    """URL at which people open the web port; if empty, that of `web_address`."""
    web_origins: Annotated[str, _if_set(parse_origins)] = ""
    """Origins of web apps that may call the web port and show the page in a frame, separated by commas."""
    web_behind_proxy: bool = False
    """True if only a proxy reaches the web port, and the proxy has the certificate."""
    sibling_apps: Annotated[tuple[SiblingApp, ...], NoDecode, PlainValidator(parse_sibling_apps)] = Field(
        default="", validate_default=True
    )
    """Apps to which the page hands avatars: a JSON object of names and URLs with `{avatar_id}`."""
    data_path: _FilePath = Path("avatar-creator-data")
    """Folder for the embedded service's SQLite database and generated secret."""
    upload_path: _FilePath = Path("uploads")
    """Folder for the pictures, in `avatar-creator/{user_id}/`. Not used if `storage_url` is set."""
    storage_url: Annotated[str, _if_set(parse_storage_url)] = ""
    """`s3://bucket/prefix` for S3-compatible storage, with credentials in the usual `AWS_…` variables."""

    database_url: Annotated[str, _if_set(parse_database_url)] = ""
    """`postgresql://user:password@host:port/name` or `sqlite:///path`; SQLite in `data_path` if empty."""
    database_pooler: Literal["", "transaction"] = ""
    """`transaction` if `database_url` leads to PgBouncer, or another pooler, in transaction mode."""
    migrate_database_url: Annotated[str, _if_set(parse_postgresql_url)] = ""
    """Address of PostgreSQL itself, for `migrate`; `database_url` if empty."""
    database_connections: int = Field(default=8, ge=1, le=1000)
    """Number of connections of a process to the database."""
    database_connections_per_user: int = Field(default=4, ge=1, le=1000)
    """Maximum number of these connections that one user holds at the same time."""
    database_read_seconds: float = Field(default=10, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time of a read in a call, in seconds. The call's deadline can end it sooner."""
    database_wait_seconds: float = Field(default=5, ge=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time that a call waits for a database connection before it is refused."""
    redis_url: Annotated[str, _if_set(parse_redis_url)] = ""
    """URL of Redis: `redis://:password@host:port/0`, `rediss://…` with TLS, or `unix:///path`."""
    redis_host: Annotated[str, _if_set(parse_host)] = ""
    """Host of Redis, if `redis_url` is empty."""
    redis_port: Annotated[int, BeforeValidator(_parse_injected_port)] = Field(
        default=DEFAULT_PORT, ge=1, le=MAX_PORT
    )
    """Port of Redis, if `redis_url` is empty."""
    redis_password: str = ""
    """Password for Redis, if `redis_url` is empty."""

    jwt_secret: Annotated[str, _if_set(parse_secret)] = ""
    """Secret that signs tokens with HS256, at least 32 bytes (RFC 7518, section 3.2)."""
    jwt_user_claim: Annotated[str, AfterValidator(_user_claim)] = "sub"
    """Name of the token's claim with the user id."""
    jwt_issuer: str = ""
    """Value that a token's `iss` claim must have; not checked if empty."""
    jwt_audience: str = ""
    """Value that a token's `aud` claim must have; not checked if empty."""
    jwt_leeway_seconds: float = Field(default=30, ge=0, le=300)
    """Maximum difference between the clocks of the sign-in system and the servers that does no harm."""

    tls_certificate_file: _FilePath | None = None
    """PEM file with the certificate chain. With it and `tls_key_file`, the server accepts TLS only."""
    tls_key_file: _FilePath | None = None
    """PEM file with the private key."""

    provider: Literal["", "sketch", "huggingface", "replicate", "diffusers"] = ""
    """Provider of all servers and workers; if empty, `huggingface` if its key is set, else `replicate` if its
    token is set, else `sketch`."""
    model: _ModelName = DEFAULT_MODEL
    """Id of the model on the Hugging Face hub; `diffusers` also accepts a folder."""
    model_revision: str = ""
    """Commit or tag of the model, for `diffusers`; the newest commit if empty."""
    lora_repository: _ModelName = ""
    """LoRA: an id on the hub, a folder for `diffusers`, or `none`; if empty, one for realistic photographs if
    `model` is the default, else none."""
    lora_weight_file: str = ""
    """Name of the LoRA's file in its repository; may be empty if there is only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; the newest commit if empty."""
    lora_scale: float = Field(default=1.0, ge=0, le=4, allow_inf_nan=False)
    """Strength of the LoRA; 1 is the strength it was trained with."""
    lora_trigger: str = ""
    """Words that the LoRA needs in the prompt, added in front of a prompt that lacks them; if empty, those of
    the default LoRA, and none for another one."""
    prompt_style: Literal["tags", "prose"] = "tags"
    """Form of the enhanced prompt: `tags`, a list of phrases, or `prose`, the same facts as sentences."""
    provider_deadline_seconds: float = Field(default=600, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time for one picture, including the provider's queue."""
    prices_per_megapixel: Annotated[
        dict[str, _Price], NoDecode, BeforeValidator(_parse_prices), AfterValidator(_known_routes)
    ] = Field(default_factory=dict)
    """Price in US dollars per megapixel by route, as JSON; others have the table's prices."""

    huggingface_api_key: _Key = SecretStr("")
    """Hugging Face token with permission to call inference providers, `hf_…`."""
    huggingface_route: Literal["fal-ai", "hf-inference", "endpoint"] = "fal-ai"
    """Backend: fal.ai's queue, Hugging Face's own inference, or a dedicated Inference Endpoint."""
    huggingface_base_url: _WebUrl = "https://router.huggingface.co"
    """URL of the Hugging Face router."""
    huggingface_hub_url: _WebUrl = "https://huggingface.co"
    """URL of the Hugging Face Hub, whose public list says which models the router offers."""
    huggingface_endpoint_url: _WebUrl = ""
    """URL of the dedicated Inference Endpoint, for the route `endpoint`."""
    huggingface_bill_to: Annotated[str, _if_set(values.header_text)] = ""
    """Organization on the hub that pays (`X-HF-Bill-To`); the owner of the key if empty."""
    replicate_api_token: _Key = SecretStr("")
    """Replicate API token, `r8_…`."""
    replicate_base_url: _WebUrl = "https://api.replicate.com"
    """URL of Replicate's API."""
    provider_object_seconds: _ObjectSeconds = _SECONDS_PER_DAY
    """Time for which fal keeps the file of a picture at a public address."""
    provider_result_hosts: _Hosts = Field(default="", validate_default=True)
    """The only hosts from which pictures of the provider are downloaded; any public host if empty."""
    provider_result_private_hosts: _HostsAndNetworks = Field(default="", validate_default=True)
    """Hosts and networks that are allowed for such downloads although they are not public."""

    model_device: str = ""
    """Torch device, for `diffusers`; if empty, `cuda` if available, else `cpu`."""
    model_offload: Literal["none", "model", "sequential"] = "none"
    """Parts of the model kept in main memory while unused, for `diffusers`: slower, fits a smaller GPU."""
    model_quantization: Literal["none", "8bit", "4bit"] = "none"
    """Bits of the model's weights, for `diffusers`: fewer bits fit a smaller GPU."""
    model_speed: Literal["exact", "compiled", "fast"] = "exact"
    """Means of `diffusers` to draw faster: none, compiled blocks, or also a cache that leaves out blocks."""

    prompt_deny_list_file: _FilePath | None = None
    """File of words and phrases that prompts must not contain, one on each line."""
    moderation_url: _WebUrl = ""
    """URL of a service with the interface of OpenAI's Moderations API, which checks every prompt."""
    moderation_api_key: _Key = SecretStr("")
    """Bearer token for the moderation service."""
    picture_moderation: Annotated[str, _if_set(_parse_classifier)] = ""
    """Classifier that checks each generated picture: a folder of weights, or the URL of a service."""
    picture_moderation_action: Literal["refuse", "blur", "flag"] = "refuse"
    """`refuse` withholds flagged pictures, `blur` stores them blurred, and `flag` stores them as they are."""
    picture_moderation_threshold: float = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)
    """Score from which a picture is flagged, above 0 to 1; 1 is certainly not safe for work."""
    picture_moderation_seconds: float = Field(default=45, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time in which the classifier must give a score. Then the attempt fails."""
    picture_moderation_api_key: _Key = SecretStr("")
    """Bearer token for the service that `picture_moderation` names."""

    generation_limit_concurrent: _Limit = 50
    """Maximum number of pending and running generations of a user; 0 for no limit."""
    generation_limit_per_minute: _Limit = 60
    """Maximum number of generations that a user can start in any minute; 0 for no limit."""
    generation_limit_per_day: _Limit = 1000
    """Maximum number of generations that a user can start in any 24 hours; 0 for no limit."""
    spend_limit_per_day: float = Field(default=20.0, ge=0, le=_MAX_LIMIT, allow_inf_nan=False)
    """Maximum cost in US dollars of a user's generations in any 24 hours; 0 for no limit."""

    reads_at_once: int = Field(default=8, ge=1, le=_MAX_LIMIT)
    """Maximum number of calls that read, which a server runs at the same time."""
    reads_at_once_per_user: int = Field(default=6, ge=1, le=_MAX_LIMIT)
    """Maximum number of such calls of one user at the same time."""
    writes_at_once: int = Field(default=32, ge=1, le=_MAX_LIMIT)
    """Maximum number of calls that write, which a server runs at the same time."""
    writes_at_once_per_user: int = Field(default=8, ge=1, le=_MAX_LIMIT)
    """Maximum number of such calls of one user at the same time."""
    watches_at_once: int = Field(default=10_000, ge=1, le=_MAX_LIMIT)
    """Maximum number of open watches of a server."""
    watches_at_once_per_user: int = Field(default=6_000, ge=1, le=_MAX_LIMIT)
    """Maximum number of open watches of one user at a server."""
    anonymous_streams: int = Field(default=1_000, ge=1, le=_MAX_LIMIT)
    """Maximum number of open streams without a token: health watches and reflection."""
    anonymous_streams_per_peer: int = Field(default=100, ge=1, le=_MAX_LIMIT)
    """Maximum number of such streams of one machine."""
    unread_answers_mib: int = Field(default=128, ge=1, le=1024 * 1024)
    """Maximum size of all answers that clients have not read yet, in MiB."""
    unread_answers_mib_per_user: int = Field(default=16, ge=1, le=1024 * 1024)
    """Maximum size of such answers of one user, in MiB."""
    streams_per_connection: int = Field(default=10_000, ge=1, le=_MAX_LIMIT)
    """Maximum number of calls that run on one connection at the same time. gRPC clients wait beyond it."""
    connections: int = Field(default=5_000, ge=1, le=_MAX_LIMIT)
    """Maximum number of open connections of a server. More are closed at once."""
    connection_idle_seconds: float = Field(default=300, ge=1, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Time after which a connection without a call is closed. gRPC clients connect again by themselves."""
    reflection: Literal["on", "off"] = "on"
    """`off` if the server must not describe its API to tools such as grpcurl."""
    request_seconds: float = Field(default=10, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time in which the request of a call must arrive. Uploads have limits of their own."""
    call_wait_seconds: float = Field(default=2, ge=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time that a call waits for its turn before it is refused."""
    urgent_claims: int = Field(default=3, ge=1, le=_MAX_LIMIT)
    """Number of claims by priority that a worker makes before each claim for a user who waits."""
    bulk_wait_seconds: float = Field(default=300, ge=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Time after which the first bulk generation of a user counts among those that wait."""

    uploads_at_once: int = Field(default=32, ge=1, le=_MAX_LIMIT)
    """Maximum number of uploads that a server receives at the same time, each of up to 10 MiB."""
    uploads_at_once_per_user: int = Field(default=8, ge=1, le=_MAX_LIMIT)
    """Maximum number of uploads of one user at the same time."""
    downloads_at_once: int = Field(default=128, ge=1, le=_MAX_LIMIT)
    """Maximum number of downloads that a server sends at the same time."""
    downloads_at_once_per_user: int = Field(default=32, ge=1, le=_MAX_LIMIT)
    """Maximum number of downloads of one user at the same time."""
    transfer_wait_seconds: float = Field(default=5, ge=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time that an upload or download waits for its turn before it is refused."""
    transfer_seconds: float = Field(default=300, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time for an upload or download."""
    transfer_stall_seconds: float = Field(default=15, gt=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Time that an upload or download may lag behind the least rate."""
    transfer_least_kib_per_second: float = Field(default=16, gt=0, le=_MAX_LIMIT, allow_inf_nan=False)
    """Least rate of an upload or download, in KiB per second."""
    spool_path: Path | None = None
    """Folder for the bytes of uploads that are being received; the system's temporary folder if empty."""
    decoders: int = Field(default=2, ge=1, le=64)
    """Child processes of a server or worker that decode pictures."""
    decoding_memory_mib: int = Field(default=512, ge=32, le=1024 * 1024)
    """Maximum memory of all decoders of a process for pixels, in MiB. One picture may use all of it."""
    decoding_seconds: int = Field(default=10, ge=1, le=_SECONDS_PER_DAY)
    """Maximum CPU time for decoding a picture, in seconds."""

    metrics_address: _Address = ""
    """Address at which Prometheus reads this process's metrics, `host:port`; no metrics if empty."""
    shutdown_grace_seconds: float = Field(default=60, ge=0, le=_SECONDS_PER_DAY, allow_inf_nan=False)
    """Maximum time after SIGTERM for running generations to end. Others continue on another worker."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of logged events: `debug`, `info`, `warning` or `error`."""

    @field_validator("*", mode="before")
    @classmethod
    def _apply_rules_of_all(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        if not isinstance(value, str):
            return value
        if values.is_blank(value):
            return cls.model_fields[name].get_default(call_default_factory=True)
        values.require_text(value)
        if name not in _MULTILINE:
            values.require_single_line(value)
        return value

    @classmethod
    def load(cls, **replacements: Any) -> Self:
        """Read the settings from the environment, except those in `replacements`.

        Raises:
            SettingsError: A setting is invalid. The message names all invalid ones, and contains no secret.
        """
        values.unset_blank_storage_variables()
        try:
            return cls(**replacements)
        except ValidationError as error:
            invalid = error.errors(include_url=False, include_context=False, include_input=False)
        raise SettingsError("; ".join(map(_sentence, invalid)))

    @property
    def database(self) -> str:
        """The database's URL; the embedded service's SQLite file if none is set."""
        return self.database_url or f"{SQLITE}{self.data_path / 'avatar-creator.db'}"

    @property
    def web_listen_address(self) -> str:
        """The address of the web port; empty for none. The default may be taken by another program."""
        return "" if self.web_address == NO_WEB_PORT else self.web_address or DEFAULT_WEB_ADDRESS

    @property
    def web_origin_list(self) -> tuple[str, ...]:
        """The origins of `web_origins`."""
        return tuple(self.web_origins.split(",")) if self.web_origins else ()

    def public_url(self, web_port: int | None) -> str:
        """Return the URL at which people open the web port, without a slash at the end.

        Args:
            web_port: The port on which this server listens; None if it has no web port.

        Returns:
            `web_public_url`, or the URL of the port on this machine; empty if there is neither.
        """
        if self.web_public_url or web_port is None:
            return self.web_public_url
        host = parse_address(reachable(self.web_listen_address)).host
        scheme = "http" if self.tls_certificate_file is None else "https"
        return f"{scheme}://{Address(host, web_port)}"

    @property
    def pooled(self) -> bool:
        """True if each transaction may run in another session of PostgreSQL."""
        return self.database_pooler == "transaction"

    @property
    def migrate_database(self) -> str:
        """The URL of the database for `migrate`.

        Raises:
            SettingsError: `migrate` cannot use the database with these settings.
        """
        self._require_pooler_combination()
        if self.pooled and not self.migrate_database_url:
            raise SettingsError(
                "DATABASE_POOLER is transaction, but MIGRATE_DATABASE_URL is not set: set it to the address "
                "of PostgreSQL itself, because a migration needs one session from its beginning to its end"
            )
        return self.migrate_database_url or self.database

    @property
    def chosen_provider(self) -> str:
        """The provider that the settings choose: `sketch`, `huggingface`, `replicate` or `diffusers`."""
        if self.provider:
            return self.provider
        if self.huggingface_api_key.get_secret_value():
            return "huggingface"
        return "replicate" if self.replicate_api_token.get_secret_value() else "sketch"

    @property
    def missing_key(self) -> str:
        """The variable of the key that the provider needs to draw, if it is not set; else empty."""
        keys = {
            "huggingface": ("HUGGINGFACE_API_KEY", self.huggingface_api_key),
            "replicate": ("REPLICATE_API_TOKEN", self.replicate_api_token),
        }
        variable, key = keys.get(self.chosen_provider, ("", SecretStr("")))
        return "" if key.get_secret_value() else variable

    @property
    def chosen_lora(self) -> str:
        """Id or folder of the LoRA; empty for none."""
        if self.lora_repository:
            return "" if self.lora_repository == NO_LORA else self.lora_repository
        return DEFAULT_LORA if self.model == DEFAULT_MODEL else ""

    @property
    def chosen_lora_trigger(self) -> str:
        """Words that the LoRA needs in the prompt; may be empty."""
        return self.lora_trigger or (DEFAULT_LORA_TRIGGER if self.chosen_lora == DEFAULT_LORA else "")

    @property
    def checks_pictures(self) -> bool:
        """True if a classifier checks generated pictures. Sketches are no photographs, and not checked."""
        return bool(self.picture_moderation) and self.chosen_provider != "sketch"

    @property
    def redis(self) -> str:
        """The URL of Redis, made from host, port and password if it is set in parts; empty without Redis."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        return make_redis_url(self.redis_host, self.redis_port, password=self.redis_password)

    @property
    def secret_file(self) -> Path:
        """The file in which the embedded service stores its generated secret."""
        return self.data_path / "jwt-secret"

    @property
    def redis_variable(self) -> str:
        """Variable that says where Redis is."""
        return "REDIS_URL" if self.redis_url else "REDIS_HOST"

    @property
    def embedded(self) -> bool:
        """True if `serve` runs the whole service in one process."""
        return self.database.startswith(SQLITE)

    def _require_pooler_combination(self) -> None:
        if self.embedded:
            for name, value in (
                ("DATABASE_POOLER", self.database_pooler),
                ("MIGRATE_DATABASE_URL", self.migrate_database_url),
            ):
                if value:
                    raise SettingsError(
                        f"{name} is set, but the database is SQLite: set DATABASE_URL to a PostgreSQL "
                        f"database, or unset {name}"
                    )
        if self.pooled and has_parameter(self.database, "options"):
            raise SettingsError(
                "DATABASE_POOLER is transaction, but DATABASE_URL has options, which change a session that "
                "others use too: remove them, and set them with ALTER ROLE"
            )

    def require_legal_combination(self) -> None:
        """Reject settings that would lose work or split the service in two.

        Raises:
            SettingsError: the message names the variables and says what to do.
        """
        if self.metrics_address == self.listen_address and parse_address(self.listen_address).port:
            raise SettingsError(
                f"METRICS_ADDRESS and LISTEN_ADDRESS are both {self.listen_address}: set another port in "
                "METRICS_ADDRESS"
            )
        self._require_web_combination()
        self._require_pooler_combination()
        if self.embedded:
            if self.redis:
                raise SettingsError(
                    f"{self.redis_variable} is set, but the database is SQLite, which only one process can "
                    "use: set DATABASE_URL to a PostgreSQL database, or unset "
                    f"{self.redis_variable} to run the embedded service"
                )
            if self.storage_url:
                raise SettingsError(
                    "STORAGE_URL is set, but the database is SQLite on this machine's disk: set DATABASE_URL "
                    "and REDIS_URL too, or unset STORAGE_URL to run the embedded service"
                )
            if self.server_processes > 1:
                raise SettingsError(
                    f"SERVER_PROCESSES (serve --processes) is {self.server_processes}, but the database is "
                    "SQLite, which only one process can use: set DATABASE_URL to a PostgreSQL database, or "
                    "run one process"
                )
        elif not self.redis:
            raise SettingsError(
                "DATABASE_URL is PostgreSQL, but REDIS_URL is not set: set REDIS_URL, through which servers "
                "notify workers, or unset DATABASE_URL to run the embedded service"
            )
        self._require_tls_files()
        if self.picture_moderation_api_key.get_secret_value() and not is_web_url(self.picture_moderation):
            raise SettingsError(
                "PICTURE_MODERATION_API_KEY is set but PICTURE_MODERATION is not a URL, so the key is not "
                "used: set PICTURE_MODERATION to the URL of the service, or unset PICTURE_MODERATION_API_KEY"
            )
        if self.chosen_provider == "huggingface":
            self._require_huggingface()
        if self.chosen_provider == "replicate":
            self._require_replicate()
        if self.chosen_provider == "diffusers":
            self._require_downloadable("the provider diffusers", can_edit=True)
            self._require_local_combination()

    def _require_web_combination(self) -> None:
        if not self.web_address or self.web_address == NO_WEB_PORT:
            return
        address = parse_address(self.web_address)
        for name, other in (
            ("LISTEN_ADDRESS", self.listen_address),
            ("METRICS_ADDRESS", self.metrics_address),
        ):
            if other == self.web_address and address.port:
                raise SettingsError(
                    f"WEB_ADDRESS and {name} are both {other}: set another port in WEB_ADDRESS"
                )
        if not (is_loopback(address.host) or self.tls_certificate_file or self.web_behind_proxy):
            raise SettingsError(
                f"WEB_ADDRESS is {self.web_address}, which other machines reach, but TLS_CERTIFICATE_FILE is "
                "not set, so tokens would be readable on the way: set TLS_CERTIFICATE_FILE and TLS_KEY_FILE, "
                "or WEB_BEHIND_PROXY=true if a proxy in front has the certificate"
            )

    def _require_tls_files(self) -> None:
        if self.tls_certificate_file is None and self.tls_key_file is None:
            return
        if self.tls_certificate_file is None or self.tls_key_file is None:
            raise SettingsError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE must be set together")
        try:
            require_key_pair(str(self.tls_certificate_file), str(self.tls_key_file))
        except ValueError as error:
            raise SettingsError(f"TLS_CERTIFICATE_FILE or TLS_KEY_FILE is unusable: {error}") from None

    def _require_huggingface(self) -> None:
        if self.huggingface_route == "endpoint" and not self.huggingface_endpoint_url:
            raise SettingsError(
                "HUGGINGFACE_ROUTE is endpoint, but HUGGINGFACE_ENDPOINT_URL is not set: set it to the URL "
                "of the Inference Endpoint"
            )
        if self.huggingface_route != FAL:
            if self.huggingface_route == "hf-inference":
                self._require_hub_id("the route hf-inference")
            self._require_downloadable(f"the route {self.huggingface_route}", can_edit=False)
            return
        self._require_hosted(FAL, "or set HUGGINGFACE_ROUTE to hf-inference or endpoint")
        if self.lora_revision and not self.lora_weight_file:
            raise SettingsError(
                "LORA_REVISION is set, but LORA_WEIGHT_FILE is not: the route fal-ai needs both"
            )

    def _require_downloadable(self, user: str, *, can_edit: bool) -> None:
        """Refuse a model of the table that has no weights to download.

        Args:
            user: Name of the provider or route that draws with the model.
            can_edit: True if the model may be one that only edits pictures.
        """
        usable = [known for known in MODELS if known.is_local and (can_edit or not known.needs_reference)]
        model = find_model(self.model)
        if model is not None and model not in usable:
            offered = ", ".join(known.id for known in usable)
            draws = "draws" if can_edit else "draws from text"
            raise SettingsError(
                f"MODEL is {self.model}, but {user} {draws} with weights that it can download: set "
                f"MODEL to {offered}, or another model or folder"
            )

    def _require_replicate(self) -> None:
        self._require_hosted("replicate", "or set another PROVIDER")
        if self.provider_deadline_seconds > _REPLICATE_SECONDS:
            raise SettingsError(
                f"PROVIDER_DEADLINE_SECONDS is {self.provider_deadline_seconds:g}, but Replicate ends a "
                f"request after {_REPLICATE_SECONDS} seconds: set it to at most {_REPLICATE_SECONDS}"
            )
        if self.lora_revision and not self.lora_weight_file:
            raise SettingsError(
                "LORA_REVISION is set, but LORA_WEIGHT_FILE is not: the provider replicate needs both"
            )

    def _require_local_combination(self) -> None:
        if self.model_offload != "sequential":
            return
        if self.model_quantization == "4bit":
            # https://github.com/huggingface/diffusers/issues/10800
            raise SettingsError(
                "MODEL_QUANTIZATION is 4bit and MODEL_OFFLOAD is sequential, which do not work together: set "
                "MODEL_OFFLOAD=model"
            )
        if self.model_speed != "exact":
            raise SettingsError(
                f"MODEL_SPEED is {self.model_speed} and MODEL_OFFLOAD is sequential, which do not work "
                "together: set MODEL_OFFLOAD=model, or MODEL_SPEED=exact"
            )

    def _require_hosted(self, provider: str, otherwise: str) -> None:
        """Require that a provider has the model.

        Args:
            provider: Name of the provider in the table of models.
            otherwise: What the operator can do instead.
        """
        self._require_hub_id(provider)
        model = find_model(self.model)
        if model is not None and provider in model.hosted:
            self._refuse_editor(model, provider)
        if model is None or not model.is_drawn_by(provider):
            offered = ", ".join(known.id for known in MODELS if known.is_drawn_by(provider))
            raise SettingsError(
                f"MODEL is {self.model}, but {provider} only has {offered}: change MODEL, {otherwise}"
            )

    def _require_hub_id(self, user: str) -> None:
        if self.model.startswith(("/", ".")):
            raise SettingsError(
                f"MODEL is the folder {self.model}, but {user} only draws with models of the Hub: "
                "set MODEL to the id of a model, or PROVIDER=diffusers"
            )

    def _refuse_editor(self, editor: Model, provider: str) -> None:
        """Refuse a model that a provider has only for references, if another model draws from text."""
        if editor.is_drawn_by(provider):
            return
        for model in MODELS:
            if editor.id in model.reference_models and model.is_drawn_by(provider):
                helpers = map(find_model, model.reference_models)
                drawn_with = next(each.name for each in helpers if each and provider in each.hosted)
                raise SettingsError(
                    f"MODEL is {self.model}, which {provider} only has for edits: set MODEL={model.id}; "
                    f"references are then drawn with {drawn_with}"
                )

    def signing_secret(self) -> str:
        """Return the secret that signs tokens. The embedded service generates and stores one if none is set.

        Raises:
            SettingsError: The secret is missing or incomplete.
        """
        return self.existing_secret() or generate_secret(self.secret_file)

    def require_signing_secret(self) -> None:
        """Check that `signing_secret` has a secret to return, or can generate one.

        Raises:
            SettingsError: The secret is missing or incomplete.
        """
        self.existing_secret()

    def existing_secret(self) -> str | None:
        """Return the secret, or None if the embedded service has not generated its own yet.

        Raises:
            SettingsError: The secret is missing or incomplete.
        """
        if self.jwt_secret:
            return self.jwt_secret
        if not self.embedded:
            raise SettingsError(
                "JWT_SECRET is not set; `openssl rand -hex 32` generates one, and all servers need the same"
            )
        return stored_secret(self.secret_file)


def _sentence(invalid: ErrorDetails) -> str:
    """Return for example `REDIS_PORT must be a valid integer`."""
    setting, *place = map(str, invalid["loc"])
    message = invalid["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message.replace("a valid boolean, unable to interpret input", "true or false")
    # A setting that may be empty is unset for that.
    message = message.replace("'', ", "").replace("'' or ", "")
    return " ".join([setting.upper(), *place, message])

"""Settings that the service accepts, and settings that it refuses with one sentence.

`<postgresql>`, `<redis>`, `<folder>` and so on stand for values of the test run. The folder has
`certificate.pem`, `key.pem`, `other-key.pem`, `text`, `database.db` (a text) and a `folder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.client.connect_proxy import VARIABLES

CANARY = "canary9c1e"
"""A part of secret values that no message may contain."""

ESCAPE = "write @ as %40"

PEM = f"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ{CANARY}\n-----END PUBLIC KEY-----\n"

DEAD_PROXIES = {spelled: "http://127.0.0.1:9" for name in VARIABLES for spelled in (name, name.upper())}
"""Variables that all name a proxy that does not exist."""

Mode = Literal["embedded", "distributed"]

POSTGRESQL = {"DATABASE_URL": "postgresql://localhost/x"}
REDIS = {"REDIS_URL": "redis://localhost"}


@dataclass(frozen=True, slots=True)
class Case:
    """Changes of valid settings, and the verdict that they get."""

    changes: dict[str, str | None]
    """Environment variables; None removes one."""
    message: tuple[str, ...] = ()
    """Texts in the message of a refusal, such as names of variables; empty if the settings work."""
    mode: Mode = "distributed"
    worker: Literal["", "works"] = ""
    """`works` if only servers refuse the settings, because workers do not need them."""


def embedded(changes: dict[str, str | None], *message: str) -> Case:
    """Return a case of the embedded service."""
    return Case(changes, message, "embedded")


def refused(variable: str, value: str, *message: str) -> Case:
    """Return a case in which one variable of a distributed service is refused."""
    return Case({variable: value}, (variable, *message))


def works(variable: str, value: str) -> Case:
    """Return a case in which one variable of a distributed service is accepted."""
    return Case({variable: value})


CASES: dict[str, Case] = {
    # Combinations
    "SQLite with Redis": embedded({**REDIS}, "REDIS_URL", "DATABASE_URL"),
    "SQLite with Redis in parts": embedded({"REDIS_HOST": "localhost"}, "REDIS_HOST", "DATABASE_URL"),
    "SQLite by URL with Redis": embedded(
        {"DATABASE_URL": "sqlite:///x.db", **REDIS}, "REDIS_URL", "DATABASE_URL"
    ),
    "PostgreSQL without Redis": embedded({**POSTGRESQL}, "REDIS_URL", "DATABASE_URL"),
    "embedded with a bucket": embedded(
        {"STORAGE_URL": "s3://bucket"}, "STORAGE_URL", "DATABASE_URL", "REDIS_URL"
    ),
    "TLS key without certificate": embedded(
        {"TLS_KEY_FILE": "key.pem"}, "TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"
    ),
    "TLS certificate without key": embedded(
        {"TLS_CERTIFICATE_FILE": "certificate.pem"}, "TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"
    ),
    "endpoint without URL": embedded(
        {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_ROUTE": "endpoint"}, "HUGGINGFACE_ENDPOINT_URL"
    ),
    "another model on the route fal-ai": embedded(
        {"HUGGINGFACE_API_KEY": "hf_x", "MODEL": "stabilityai/sdxl"},
        *("MODEL", "HUGGINGFACE_ROUTE", "FLUX.1-dev"),
    ),
    "a model that Replicate does not have": embedded(
        {"REPLICATE_API_TOKEN": "r8_x", "MODEL": "stabilityai/sdxl"}, "MODEL", "replicate only has"
    ),
    "a deadline that Replicate does not keep": embedded(
        {"REPLICATE_API_TOKEN": "r8_x", "PROVIDER_DEADLINE_SECONDS": "1801"}, "PROVIDER_DEADLINE_SECONDS"
    ),
    "a model without weights on the own card": embedded(
        {"PROVIDER": "diffusers", "MODEL": "black-forest-labs/FLUX.2-pro"},
        *("MODEL is black-forest-labs/FLUX.2-pro", "FLUX.2-klein-4B"),
    ),
    "a model that only edits at an endpoint": embedded(
        {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_ROUTE": "hf-inference", "MODEL": "Qwen/Qwen-Image-Edit"},
        *("MODEL is Qwen/Qwen-Image-Edit", "hf-inference", "Qwen/Qwen-Image,"),
    ),
    "another style of prompts": refused("PROMPT_STYLE", "poem", "'tags' or 'prose'"),
    "4-bit weights with sequential offload": embedded(
        {"PROVIDER": "diffusers", "MODEL_QUANTIZATION": "4bit", "MODEL_OFFLOAD": "sequential"},
        *("MODEL_QUANTIZATION is 4bit", "set MODEL_OFFLOAD=model"),
    ),
    "compiled blocks with sequential offload": embedded(
        {"PROVIDER": "diffusers", "MODEL_SPEED": "compiled", "MODEL_OFFLOAD": "sequential"},
        *("MODEL_SPEED is compiled", "set MODEL_OFFLOAD=model, or MODEL_SPEED=exact"),
    ),
    "a model that only edits": embedded(
        {"PROVIDER": "huggingface", "MODEL": "Qwen/Qwen-Image-Edit"},
        "set MODEL=Qwen/Qwen-Image; references are then drawn with Qwen-Image-Edit-2511",
    ),
    "a folder at Replicate": embedded(
        {"PROVIDER": "replicate", "MODEL": "/models/FLUX.1-dev"}, "MODEL is the folder /models/FLUX.1-dev"
    ),
    "a folder at Hugging Face's own inference": embedded(
        {"PROVIDER": "huggingface", "HUGGINGFACE_ROUTE": "hf-inference", "MODEL": "./FLUX.1-dev"},
        "MODEL is the folder ./FLUX.1-dev",
    ),
    "an unknown speed": embedded({"PROVIDER": "diffusers", "MODEL_SPEED": "slow"}, "MODEL_SPEED must be"),
    "a LoRA's revision without its file": Case(
        {"PROVIDER": "huggingface", "LORA_REVISION": "abc"}, ("LORA_REVISION", "LORA_WEIGHT_FILE")
    ),
    "moderation key without URL": embedded(
        {"MODERATION_API_KEY": CANARY}, "MODERATION_API_KEY is set but MODERATION_URL is not"
    ),
    "picture moderation's key without an address": embedded(
        {"PICTURE_MODERATION_API_KEY": CANARY},
        "PICTURE_MODERATION_API_KEY is set but PICTURE_MODERATION is not",
    ),
    "picture moderation's key with a folder": embedded(
        {"PICTURE_MODERATION": "weights", "PICTURE_MODERATION_API_KEY": CANARY},
        "PICTURE_MODERATION_API_KEY is set but PICTURE_MODERATION is not a URL",
    ),
    "picture moderation by a service": Case(
        {
            "PROVIDER": "huggingface",
            "PICTURE_MODERATION": "http://127.0.0.1:1/",
            "PICTURE_MODERATION_API_KEY": CANARY,
            "PICTURE_MODERATION_ACTION": "blur",
            "PICTURE_MODERATION_THRESHOLD": "1",
            "PICTURE_MODERATION_SECONDS": "0.5",
        }
    ),
    "picture moderation by another scheme": refused(
        "PICTURE_MODERATION", "ftp://host/", "must be a folder, or"
    ),
    "picture moderation with a password": refused(
        "PICTURE_MODERATION", f"http://x:{CANARY}@127.0.0.1:1/", "without a user name and a password"
    ),
    "picture moderation's key that no header can carry": refused(
        "PICTURE_MODERATION_API_KEY", f"{CANARY}ü", "non-ASCII"
    ),
    "another action of the picture moderation": refused(
        "PICTURE_MODERATION_ACTION", "delete", "must be 'refuse', 'blur' or 'flag'"
    ),
    "a threshold that flags everything": refused("PICTURE_MODERATION_THRESHOLD", "0", "greater than 0"),
    "a threshold that flags nothing": refused(
        "PICTURE_MODERATION_THRESHOLD", "1.1", "less than or equal to 1"
    ),
    "a picture moderation without time": refused("PICTURE_MODERATION_SECONDS", "0", "greater than 0"),
    "metrics on the server's own address": Case(
        {"LISTEN_ADDRESS": "127.0.0.1:50051", "METRICS_ADDRESS": "127.0.0.1:50051"},
        ("METRICS_ADDRESS and LISTEN_ADDRESS",),
    ),
    "web port on the server's own address": Case(
        {"LISTEN_ADDRESS": "127.0.0.1:50051", "WEB_ADDRESS": "127.0.0.1:50051"},
        ("WEB_ADDRESS and LISTEN_ADDRESS",),
    ),
    "web port on the address of the metrics": Case(
        {"METRICS_ADDRESS": "127.0.0.1:9464", "WEB_ADDRESS": "127.0.0.1:9464"},
        ("WEB_ADDRESS and METRICS_ADDRESS",),
    ),
    "web port for other machines without TLS": refused(
        "WEB_ADDRESS", "0.0.0.0:0", "TLS_CERTIFICATE_FILE", "WEB_BEHIND_PROXY=true"
    ),
    "settings of the page": Case(
        {
            "WEB_ADDRESS": "0.0.0.0:0",
            "WEB_BEHIND_PROXY": "true",
            "WEB_PUBLIC_URL": "https://example.com/avatars/",
            "WEB_ORIGINS": "https://app.example.com, http://127.0.0.1:5173",
            "SIBLING_APPS": (
                '{"Poses": "https://poses.example.com/?a={avatar_id}", '
                '"Café": "http://localhost:3000/{avatar_id}"}'
            ),
        }
    ),
    "no web port": works("WEB_ADDRESS", "None"),
    "web port without a number": refused("WEB_ADDRESS", "localhost", "must be host:port"),
    "web port of another machine": Case(
        {"WEB_ADDRESS": "192.0.2.1:8080", "WEB_BEHIND_PROXY": "true"},
        ("WEB_ADDRESS", "is not an address of this machine"),
        worker="works",
    ),
    "public URL without a scheme": refused("WEB_PUBLIC_URL", "avatars.example.com", "https://"),
    "public URL with a query": refused(
        "WEB_PUBLIC_URL", "https://avatars.example.com/?a=1", "without ? and #"
    ),
    "long public URL": refused(
        "WEB_PUBLIC_URL", f"https://example.com/{'a' * 500}", "at most 500 characters"
    ),
    "public URL with letters beyond ASCII": refused(
        "WEB_PUBLIC_URL", "https://example.com/bücher", "only those of ASCII"
    ),
    "origin with a path": refused("WEB_ORIGINS", "https://app.example.com/", "separated by commas"),
    "origin without a scheme": refused("WEB_ORIGINS", "https://a.example, app.example.com", "separated by"),
    "any origin": refused("WEB_ORIGINS", "*", "must be origins"),
    "a proxy that may be there": refused("WEB_BEHIND_PROXY", "perhaps", "must be true or false"),
    "SQLite with several processes": embedded(
        {"SERVER_PROCESSES": "2"},
        "SERVER_PROCESSES (serve --processes) is 2, but the database is SQLite",
        "set DATABASE_URL to a PostgreSQL database, or run one process",
    ),
    "no process": refused("SERVER_PROCESSES", "0", "greater than or equal to 1"),
    "more processes than cores": refused("SERVER_PROCESSES", "65", "less than or equal to 64"),
    "distributed without a secret": Case({"JWT_SECRET": None}, ("JWT_SECRET is not set",), worker="works"),
    "SQLite with a pooler": embedded(
        {"DATABASE_POOLER": "transaction"}, "DATABASE_POOLER is set, but the database is SQLite"
    ),
    "SQLite with an address for migrations": embedded(
        {"MIGRATE_DATABASE_URL": "postgresql://localhost/x"},
        "MIGRATE_DATABASE_URL is set, but the database is SQLite",
    ),
    "a pooler": works("DATABASE_POOLER", "transaction"),
    "another mode of the pooler": refused("DATABASE_POOLER", "session", "'transaction'"),
    "a pooler with settings of the session": Case(
        {"DATABASE_URL": "<postgresql-with>options=-csearch_path%3Dx", "DATABASE_POOLER": "transaction"},
        ("DATABASE_URL has options", "ALTER ROLE"),
    ),
    "another database for migrations": refused(
        "MIGRATE_DATABASE_URL", f"mysql://x:{CANARY}@localhost/x", "must begin with postgresql://"
    ),
    "an unescaped password for migrations": refused(
        "MIGRATE_DATABASE_URL", f"postgresql://x:{CANARY}@a/b@localhost/x", ESCAPE
    ),
    # Files and folders
    "TLS files that do not exist": Case(
        {"TLS_CERTIFICATE_FILE": "none.pem", "TLS_KEY_FILE": "none.pem"},
        ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "none.pem cannot be read: No such file or directory"),
    ),
    "TLS files of another format": Case(
        {"TLS_CERTIFICATE_FILE": "<folder>/text", "TLS_KEY_FILE": "<folder>/text"},
        ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"),
    ),
    "TLS key of another certificate": Case(
        {"TLS_CERTIFICATE_FILE": "<folder>/certificate.pem", "TLS_KEY_FILE": "<folder>/other-key.pem"},
        ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "are not a certificate and its private key"),
    ),
    "deny list that does not exist": refused(
        "PROMPT_DENY_LIST_FILE", "words.txt", "words.txt cannot be read: No such file or directory"
    ),
    "deny list that is a folder": refused("PROMPT_DENY_LIST_FILE", "<folder>/folder", "Is a directory"),
    "uploads in a file": refused("UPLOAD_PATH", "<folder>/text/uploads", "Not a directory"),
    "uploads in the home folder of an unknown user": refused("UPLOAD_PATH", "~nosuchuser/x", "begins with ~"),
    "a name too long for a folder": refused("UPLOAD_PATH", "x" * 300, "File name too long"),
    "data in a file": embedded({"DATA_PATH": "<folder>/text/data"}, "DATA_PATH", "Not a directory"),
    "SQLite in a folder's place": embedded(
        {"DATABASE_URL": "sqlite:///<folder>/folder"}, "DATABASE_URL", "Is a directory"
    ),
    "SQLite in another file": embedded(
        {"DATABASE_URL": "sqlite:///<folder>/database.db"}, "DATABASE_URL", "has another format"
    ),
    "SQLite without a file": embedded({"DATABASE_URL": "sqlite:///"}, "DATABASE_URL must name a file"),
    "SQLite in memory": embedded({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL must name a file"),
    "SQLite with two slashes": embedded(
        {"DATABASE_URL": "sqlite://x.db"}, "DATABASE_URL must begin with postgresql:// or sqlite:///"
    ),
    "SQLite with parameters": embedded(
        {"DATABASE_URL": "sqlite:///x.db?mode=ro"}, "DATABASE_URL must have no"
    ),
    # Blank variables
    "every variable empty": embedded(
        dict.fromkeys(
            (
                *("DATABASE_URL", "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "STORAGE_URL"),
                *("JWT_SECRET", "JWT_USER_CLAIM", "JWT_ISSUER", "JWT_AUDIENCE", "PROVIDER", "MODEL"),
                *("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "LORA_SCALE", "LORA_TRIGGER", "LORA_REPOSITORY"),
                *("PRICES_PER_MEGAPIXEL", "HUGGINGFACE_API_KEY", "HUGGINGFACE_ROUTE", "HUGGINGFACE_BASE_URL"),
                *("REPLICATE_API_TOKEN", "REPLICATE_BASE_URL"),
                *("PROVIDER_DEADLINE_SECONDS", "MODEL_OFFLOAD", "MODEL_QUANTIZATION", "METRICS_ADDRESS"),
                *("GENERATION_LIMIT_CONCURRENT", "GENERATION_LIMIT_PER_DAY", "SPEND_LIMIT_PER_DAY"),
                *("PROMPT_DENY_LIST_FILE", "MODERATION_URL", "MODERATION_API_KEY", "LOG_LEVEL"),
                *("PICTURE_MODERATION", "PICTURE_MODERATION_ACTION", "PICTURE_MODERATION_API_KEY"),
                *("PICTURE_MODERATION_THRESHOLD", "PICTURE_MODERATION_SECONDS"),
                *("SHUTDOWN_GRACE_SECONDS", "AWS_ACCESS_KEY_ID", "AWS_ALLOW_HTTP"),
            ),
            "",
        )
    ),
    "blank numbers, choices and files": Case(
        {
            "SPEND_LIMIT_PER_DAY": " ",
            "LOG_LEVEL": "\t",
            "TLS_KEY_FILE": " ",
            "METRICS_ADDRESS": "\n",
            "PRICES_PER_MEGAPIXEL": "  ",
        }
    ),
    "empty storage variables with a bucket": Case(
        {
            "STORAGE_URL": "s3://bucket/prefix",
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_ALLOW_HTTP", "AWS_PROXY_URL", "AWS_ENDPOINT_URL"), ""),
        }
    ),
    "an empty secret": Case({"JWT_SECRET": ""}, ("JWT_SECRET is not set",), worker="works"),
    # Text
    "blanks around a path": refused("UPLOAD_PATH", " uploads ", "has blanks or a line break"),
    "blanks around a number": refused("REDIS_PORT", " 6379", "has blanks or a line break"),
    "a line break in a claim": refused("JWT_USER_CLAIM", "su\nb", "has control characters"),
    "bytes that are not UTF-8": refused("JWT_ISSUER", "issuer\udcff", "is not UTF-8 text"),
    "a byte order mark": refused("LOG_LEVEL", "\ufeffinfo", "has blanks or a line break"),
    "texts of all characters, and numbers as people write them": Case(
        {
            "JWT_SECRET": "pässwörd {with} -- any \\ characters in it",
            "JWT_ISSUER": "дом",
            "LORA_TRIGGER": "写真",
            "JWT_AUDIENCE": "ünïcode",
            "GENERATION_LIMIT_PER_DAY": "1_000",
            "SPEND_LIMIT_PER_DAY": "1e3",
            # Routes that others draw with.
            "PRICES_PER_MEGAPIXEL": '{"fal-ai-reference": 0.02, "replicate-reference": 0.03, "local": 0}',
            "PROVIDER_RESULT_HOSTS": "fal.media, *.fal.media:8443,8.8.8.8",
            "PROVIDER_RESULT_PRIVATE_HOSTS": "files.internal:9000,10.1.0.0/16,[fd12::1]:80,::1",
        }
    ),
    "moderation key with a line break": embedded(
        {"MODERATION_URL": "http://127.0.0.1:1/", "MODERATION_API_KEY": f"{CANARY}\n"},
        "MODERATION_API_KEY has",
    ),
    "a key that no header can carry": refused("HUGGINGFACE_API_KEY", f"hf_{CANARY}ü", "non-ASCII"),
    "a token that no header can carry": refused("REPLICATE_API_TOKEN", f"r8_{CANARY}ü", "non-ASCII"),
    # Numbers and choices
    "two invalid variables": embedded(
        {"REDIS_PORT": "none", "LOG_LEVEL": "loud"},
        "REDIS_PORT must be a valid integer",
        "LOG_LEVEL must be 'debug', 'info', 'warning' or 'error'",
    ),
    "a limit without an end": refused("SPEND_LIMIT_PER_DAY", "inf", "finite number"),
    "a limit that is not a number": refused("SPEND_LIMIT_PER_DAY", "nan", "finite number"),
    "a deadline that no clock has": refused("PROVIDER_DEADLINE_SECONDS", "1e300", "less than or equal to"),
    "pictures that are deleted before the last retry": refused(
        "PROVIDER_OBJECT_SECONDS", "7199", "must be at least 7200 (two hours), because a worker may need"
    ),
    "pictures that are kept for years": refused("PROVIDER_OBJECT_SECONDS", "9" * 9, "less than or equal to"),
    "a limit in hexadecimal": refused("GENERATION_LIMIT_PER_DAY", "0x10", "must be a valid integer"),
    "a limit below zero": refused("GENERATION_LIMIT_PER_MINUTE", "-1", "greater than or equal to 0"),
    "a limit too large for the database": refused("GENERATION_LIMIT_PER_DAY", "9" * 30, "less than or equal"),
    "unknown provider": embedded({"PROVIDER": "dalle"}, "PROVIDER must be 'sketch', 'huggingface'"),
    "prices that are no table": refused("PRICES_PER_MEGAPIXEL", "0.035", "dictionary"),
    "prices that are no JSON": refused("PRICES_PER_MEGAPIXEL", "fal", "must be JSON"),
    "prices nested too deep": refused("PRICES_PER_MEGAPIXEL", "[" * 100_000, "must be JSON"),
    "a price that is not a number": refused("PRICES_PER_MEGAPIXEL", '{"fal-ai": NaN}', "finite number"),
    "a price of a route that does not exist": refused(
        *("PRICES_PER_MEGAPIXEL", '{"fal-ai": 1, "fal-ai-kontext": 1}'),
        "unknown route fal-ai-kontext: the routes are fal-ai, fal-ai-reference, ",
    ),
    "a price below zero": refused("PRICES_PER_MEGAPIXEL", '{"fal-ai": -1}', "greater than or equal to 0"),
    # Sibling apps
    "sibling apps that are no JSON": refused("SIBLING_APPS", f"Poses=https://{CANARY}", "must be JSON, for"),
    "sibling apps nested too deep": refused("SIBLING_APPS", "[" * 100_000, "must be JSON, for"),
    "sibling apps without names": refused("SIBLING_APPS", f'["{CANARY}"]', "must be a JSON object of names"),
    "a sibling app without an address": refused("SIBLING_APPS", '{"Poses": 1}', "must have a URL for Poses"),
    "sibling apps of one name": refused(
        *("SIBLING_APPS", '{"Poses": "https://a/{avatar_id}", "Poses": "https://b/{avatar_id}"}'),
        "two apps of the same name",
    ),
    "a sibling app without a name": refused(
        "SIBLING_APPS", '{" ": "https://a/{avatar_id}"}', "must have names"
    ),
    "too many sibling apps": refused(
        "SIBLING_APPS",
        "{" + ", ".join(f'"{number}": "https://a/{{avatar_id}}"' for number in range(21)) + "}",
        "at most 20 apps",
    ),
    "a sibling app that runs in the page": refused(
        "SIBLING_APPS",
        '{"Poses": "javascript:alert(1)//{avatar_id}"}',
        "URL for Poses that is not a full one",
    ),
    "a sibling app that cannot know the avatar": refused(
        "SIBLING_APPS", f'{{"Poses": "https://poses.example.com/?key={CANARY}"}}', "lacks {avatar_id}"
    ),
    "a sibling app with another place": refused(
        "SIBLING_APPS", '{"Poses": "https://a/{avatar_id}/{token}"}', "other braces than {avatar_id}"
    ),
    "a sibling app whose host is a place": refused(
        "SIBLING_APPS", '{"Poses": "https://{avatar_id}.example.com/"}', "a host without braces"
    ),
    "a sibling app without encryption": refused(
        "SIBLING_APPS", '{"Poses": "http://poses.example.com/{avatar_id}"}', "use https://"
    ),
    "a sibling app with a password": refused(
        "SIBLING_APPS", f'{{"Poses": "https://sarah:{CANARY}@example.com/{{avatar_id}}"}}', "has a user name"
    ),
    # Secrets
    "a short secret": refused("JWT_SECRET", "x" * 31, "at least 32 bytes"),
    "a public key as the secret": refused("JWT_SECRET", PEM, "is a key or certificate"),
    "a public key on one line": refused("JWT_SECRET", PEM.replace("\n", "\\n"), "is a key or certificate"),
    "a certificate as the secret": refused(
        "JWT_SECRET", PEM.replace("PUBLIC KEY", "CERTIFICATE"), "is a key or certificate"
    ),
    "an OpenSSH key as the secret": refused(
        "JWT_SECRET", f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{CANARY} sarah@host", "is a key or certificate"
    ),
    "a JWK as the secret": refused(
        "JWT_SECRET", f'{{"kty": "EC", "crv": "P-256", "x": "{CANARY}"}}', "is a key or certificate"
    ),
    "a secret with a line break": refused("JWT_SECRET", CANARY * 4 + "\n", "has blanks or a line break"),
    "a claim with another meaning": refused("JWT_USER_CLAIM", "exp", "other meanings"),
    # PostgreSQL
    "another database": Case(
        {"DATABASE_URL": "mysql://localhost/x"},
        ("DATABASE_URL must begin with postgresql:// or sqlite:///",),
    ),
    "a URL of SQLAlchemy": refused(
        "DATABASE_URL", "postgresql+psycopg2://localhost/x", "must begin with postgresql://"
    ),
    "the database's short scheme in capitals": works("DATABASE_URL", "<POSTGRES>"),
    "the database's socket and time-outs": works("DATABASE_URL", "<postgresql-with>connect_timeout=5"),
    "an @ in the database's password": refused("DATABASE_URL", f"postgresql://u:{CANARY}@1@h/x", ESCAPE),
    "a / in the database's password": refused("DATABASE_URL", f"postgresql://u:{CANARY}/1@h/x", ESCAPE),
    "a # in the database's password": refused("DATABASE_URL", f"postgresql://u:{CANARY}#1@h/x", ESCAPE),
    "a % in the database's password": refused("DATABASE_URL", f"postgresql://u:{CANARY}%x@h/x", ESCAPE),
    "a blank in the database's password": refused("DATABASE_URL", f"postgresql://u:{CANARY} 1@h/x", ESCAPE),
    "an unknown parameter of the database": refused(
        "DATABASE_URL", "postgresql://localhost/x?pool_size=5", "the parameter pool_size"
    ),
    "an invalid TLS mode of the database": refused(
        "DATABASE_URL", "postgresql://localhost/x?sslmode=banana", "sslmode", "verify-full"
    ),
    "certificates of the database that do not exist": refused(
        "DATABASE_URL", "postgresql://localhost/x?sslrootcert=none.pem", "sslrootcert", "none.pem"
    ),
    "a URL without a database": refused("DATABASE_URL", "postgresql://localhost", "names no database"),
    "a port of the database out of range": refused("DATABASE_URL", "postgresql://h:99999/x", "invalid port"),
    "the database's IPv6 address without brackets": refused(
        "DATABASE_URL", "postgresql://::1/x", "has an IPv6 address without brackets"
    ),
    # Redis
    "Redis by socket": works("REDIS_URL", "unix://<redis-socket>?db=1"),
    "Redis by socket without a path": refused("REDIS_URL", "unix://redis.sock", "unix:///run"),
    "Redis for any family of addresses": works("REDIS_URL", "<redis>?family=0"),
    "Redis with its database as a parameter": works(
        "REDIS_URL", "redis://<redis-host>:<redis-port>?db=1&protocol=3"
    ),
    "Redis in capitals": works("REDIS_URL", "REDIS://<redis-host>:<redis-port>"),
    "Redis with TLS and unchecked certificates": works(
        "REDIS_URL", "rediss://127.0.0.1:1?ssl_cert_reqs=none"
    ),
    "Redis with TLS and a certificate": works(
        "REDIS_URL", "rediss://127.0.0.1:1?ssl_ca_certs=<folder>/certificate.pem"
    ),
    "Redis with certificates that do not exist": refused(
        "REDIS_URL", "rediss://h?ssl_ca_certs=none.pem", "ssl_ca_certs", "none.pem cannot be read"
    ),
    "Redis with an unknown check of certificates": refused(
        "REDIS_URL", "rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs", "none, optional or required"
    ),
    "Redis with options of TLS without TLS": refused(
        "REDIS_URL", "redis://h?ssl_cert_reqs=none", "rediss://"
    ),
    "Redis for one family of addresses": refused("REDIS_URL", "redis://h?family=6", "family"),
    "Redis with an unknown parameter": refused("REDIS_URL", "redis://h?decode=1", "the parameter decode"),
    "Redis with a time-out of its own": refused("REDIS_URL", "redis://h?socket_timeout=1", "socket_timeout"),
    "Redis with a database that is not a number": refused(
        "REDIS_URL", "redis://h/cache", "redis://host:port/0"
    ),
    "Redis without a host": refused("REDIS_URL", "redis://", "has no host"),
    "Redis without a scheme": refused("REDIS_URL", "h:6379", "must begin with redis://"),
    "Redis by Sentinel": refused("REDIS_URL", "redis+sentinel://h", "must begin with redis://"),
    "an @ in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}@1@h", ESCAPE),
    "a / in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}/1@h:6379/0", ESCAPE),
    "a ? in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}?1@h", ESCAPE),
    "a # in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}#1@h", ESCAPE),
    "a [ in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}[1@h", ESCAPE),
    "a % in Redis's password": refused("REDIS_URL", f"redis://:{CANARY}%@h", ESCAPE),
    "Redis's port is not a number": refused("REDIS_URL", f"redis://h:{CANARY}", "invalid port"),
    "Redis's IPv6 address without brackets": refused("REDIS_URL", "redis://::1:6379", "without brackets"),
    "Redis's host with a port": Case(
        {"REDIS_URL": None, "REDIS_HOST": "localhost:6379"}, ("REDIS_HOST", "without a port")
    ),
    "Redis's host is a URL": Case(
        {"REDIS_URL": None, "REDIS_HOST": f"redis://:{CANARY}@h"}, ("REDIS_HOST", "without a port")
    ),
    "Redis in parts": Case(
        {"REDIS_URL": None, "REDIS_HOST": "<redis-host>", "REDIS_PORT": "<redis-port>"},
    ),
    "Redis's password in parts": Case(
        {"REDIS_URL": None, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1", "REDIS_PASSWORD": "p@s/s:w?o#r%d["}
    ),
    # What Kubernetes sets next to a Service named redis
    "an injected port next to a URL": works("REDIS_PORT", "tcp://10.0.0.1:6379"),
    "an injected port next to a host": Case(
        {"REDIS_URL": None, "REDIS_HOST": "<redis-host>", "REDIS_PORT": "tcp://10.0.0.1:<redis-port>"}
    ),
    "an injected port with IPv6": works("REDIS_PORT", "tcp://[fd00::1]:6379"),
    "an injected port alone": Case(
        {"REDIS_URL": None, "REDIS_PORT": "tcp://10.0.0.1:6379"}, ("REDIS_URL is not set",)
    ),
    "all that is injected, in an embedded service": embedded(
        {
            "REDIS_SERVICE_HOST": "10.0.0.1",
            "REDIS_SERVICE_PORT": "6379",
            "REDIS_PORT": "tcp://10.0.0.1:6379",
            "REDIS_PORT_6379_TCP": "tcp://10.0.0.1:6379",
            "REDIS_PORT_6379_TCP_ADDR": "10.0.0.1",
            "REDIS_PORT_6379_TCP_PORT": "6379",
            "REDIS_PORT_6379_TCP_PROTO": "tcp",
        }
    ),
    "a port that is another URL": refused("REDIS_PORT", "http://10.0.0.1:6379", "must be a valid integer"),
    # Addresses
    "address without a port": refused("LISTEN_ADDRESS", "nowhere:at-all", "must be host:port"),
    "port out of range": refused("LISTEN_ADDRESS", "127.0.0.1:65536", "0 to 65535"),
    "port below zero": refused("LISTEN_ADDRESS", "127.0.0.1:-1", "must be host:port"),
    "port in another script": refused("LISTEN_ADDRESS", "127.0.0.1:٥٠٠٥١", "must be host:port"),
    "a port alone": refused("LISTEN_ADDRESS", ":50051", "must be host:port"),
    "a star for the host": refused("LISTEN_ADDRESS", "*:50051", "must be host:port"),
    "a number for the host": refused("LISTEN_ADDRESS", "0:50051", "must be host:port"),
    "a socket to listen on": refused("LISTEN_ADDRESS", "unix:/tmp/x", "Unix sockets are not supported"),
    "a host in another script": refused("LISTEN_ADDRESS", "дом:50051", "must be host:port"),
    "an IPv6 address without a port": refused("LISTEN_ADDRESS", "::1", "must be host:port"),
    "an open bracket": refused("LISTEN_ADDRESS", "[::1:50051", "must be host:port"),
    "IPv6 in brackets": Case(
        {"LISTEN_ADDRESS": "[::1]:0", "METRICS_ADDRESS": "[::1]:0", "REDIS_URL": "redis://[::1]:1/0"}
    ),
    "IPv6 without brackets": Case(
        {
            "LISTEN_ADDRESS": "::1:0",
            "METRICS_ADDRESS": "::1:0",
            "REDIS_URL": None,
            "REDIS_HOST": "::1",
            "REDIS_PORT": "1",
        }
    ),
    "all IPv6 addresses": Case(
        {"LISTEN_ADDRESS": ":::0", "REDIS_URL": None, "REDIS_HOST": "[::1]", "REDIS_PORT": "1"}
    ),
    "metrics without a port": refused("METRICS_ADDRESS", "localhost", "must be host:port"),
    "an address of another machine for metrics": Case(
        {"METRICS_ADDRESS": "192.0.2.1:9464"}, ("METRICS_ADDRESS", "is not an address of this machine")
    ),
    "a label too long for a host": refused("REDIS_URL", f"redis://{'x' * 64}.internal", "invalid host"),
    "an address of any length": refused("LISTEN_ADDRESS", "a." * 50_000 + ":1", "must be host:port"),
    # Other URLs
    "a URL of any length": refused("MODERATION_URL", "https://" + "h" * 100_000 + " ", "blanks"),
    "a URL that is too long": refused("MODERATION_URL", "https://" + "h" * 100_000, "at most 2,048"),
    "another kind of bucket": refused("STORAGE_URL", "gs://bucket", "UPLOAD_PATH"),
    "a bucket with its keys": refused("STORAGE_URL", f"s3://key:{CANARY}@bucket", "AWS_SECRET_ACCESS_KEY"),
    "a bucket without a name": refused("STORAGE_URL", "s3://", "s3://bucket/prefix"),
    "moderation URL without http": refused("MODERATION_URL", "moderation.example.com", "must be"),
    "moderation URL with a password": refused(
        "MODERATION_URL", f"https://u:{CANARY}@h/", "without a user name"
    ),
    "hub URL with a password": refused("HUGGINGFACE_HUB_URL", f"https://x:{CANARY}@h", "without a user name"),
    "router URL with a port that is none": refused("HUGGINGFACE_BASE_URL", "https://h:port", "invalid port"),
    "URL of Replicate with a password": refused(
        "REPLICATE_BASE_URL", f"https://u:{CANARY}@h/", "without a user name"
    ),
    "a URL for a host of pictures": refused(
        "PROVIDER_RESULT_HOSTS", f"https://u:{CANARY}@fal.media", "separated by commas"
    ),
    "a network of public hosts": refused("PROVIDER_RESULT_HOSTS", "8.8.8.0/24", "separated by commas"),
    "a network that is none": refused("PROVIDER_RESULT_PRIVATE_HOSTS", "10.0.0.0/33", "separated by commas"),
    "an address for a network": refused(
        "PROVIDER_RESULT_PRIVATE_HOSTS", "10.1.2.3/8", "a network begins with its first address"
    ),
    "endpoint URL with blanks": refused("HUGGINGFACE_ENDPOINT_URL", "https://h/a b", "without blanks"),
}

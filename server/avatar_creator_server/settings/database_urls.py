"""The URL of the database, checked before a library reads it.

The errors complete a sentence that begins with the setting's name. They contain no part of the URL except
names of parameters and paths of certificates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from avatar_creator_server.settings.tls_files import require_readable
from avatar_creator_server.settings.urls import Url, parameter_name, split_host, split_url
from avatar_creator_server.settings.values import expand_home

SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"

_POSTGRESQL_SCHEME = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_CHOICES: Mapping[str, frozenset[str]] = {
    "sslmode": frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}),
    "sslcertmode": frozenset({"disable", "allow", "require"}),
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "gssencmode": frozenset({"disable", "prefer", "require"}),
    "channel_binding": frozenset({"disable", "prefer", "require"}),
    "target_session_attrs": frozenset(
        {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}
    ),
    "load_balance_hosts": frozenset({"disable", "random"}),
}
"""Parameters of libpq with a list of values. Source: PostgreSQL's manual, section 34.1.2."""
_NUMBERS = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "port",
        "tcp_user_timeout",
    }
)
_NUMBER = re.compile(r"[0-9]{1,9}")
_SYSTEM_CERTIFICATES = "system"


def parse_database_url(text: str) -> str:
    """Check a URL of PostgreSQL or SQLite, and return it with the usual scheme.

    Raises:
        ValueError: The text is not such a URL.
    """
    if text[: len(SQLITE)].lower() == SQLITE:
        return SQLITE + _sqlite_path(text[len(SQLITE) :])
    if _POSTGRESQL_SCHEME.match(text) is None:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    return parse_postgresql_url(text)


def parse_postgresql_url(text: str) -> str:
    """Check a URL of PostgreSQL, and return it with the usual scheme.

    Raises:
        ValueError: The text is not such a URL.
    """
    scheme = _POSTGRESQL_SCHEME.match(text)
    if scheme is None:
        raise ValueError("must begin with postgresql://")
    rest = text[scheme.end() :]
    _require_postgresql(split_url(rest))
    return POSTGRESQL + rest


def has_parameter(url: str, name: str) -> bool:
    """Return whether a checked `postgresql://` URL has the parameter."""
    return name in dict(split_url(url.removeprefix(POSTGRESQL)).parameters)


def sqlite_path(url: str) -> str:
    """Return the path of the file in a checked `sqlite:///` URL."""
    return url.removeprefix(SQLITE)


def _sqlite_path(path: str) -> str:
    if not path or path == ":memory:":
        raise ValueError("must name a file after sqlite:///")
    if "?" in path:
        raise ValueError("must have no parameters after the file of sqlite:///")
    return expand_home(path)


def _require_postgresql(url: Url) -> None:
    for host in url.hosts.split(","):
        # The folder of a Unix socket may be written here, with %2F for each slash.
        if host and not unquote(host).startswith("/"):
            split_host(host)
    parameters = dict(url.parameters)
    for name, value in parameters.items():
        _require_parameter(name, value)
    if not url.path.removeprefix("/") and not parameters.keys() & {"dbname", "service"}:
        raise ValueError("names no database: write it as postgresql://user:password@host:port/name")


def _require_parameter(name: str, value: str) -> None:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parse_dsn(f"{POSTGRESQL}/?{quote(name, safe='')}={quote(value, safe='')}")
    except ProgrammingError:
        raise ValueError(
            f"has {parameter_name(name)}, which PostgreSQL's client does not know: remove it"
        ) from None
    if name in _CHOICES and value not in _CHOICES[name]:
        allowed = ", ".join(sorted(_CHOICES[name]))
        raise ValueError(f"has an invalid value of the parameter {name}: it must be one of {allowed}")
    if name in _NUMBERS and not _NUMBER.fullmatch(value):
        raise ValueError(f"has an invalid value of the parameter {name}: it must be a number")
    if name == "sslrootcert" and value != _SYSTEM_CERTIFICATES:
        try:
            require_readable(value)
        except ValueError as error:
            raise ValueError(f"has an invalid sslrootcert: {error}") from None

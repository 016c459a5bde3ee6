"""The URL of Redis, checked and written so that every library reads the same from it.

The errors complete a sentence that begins with the setting's name. They contain no part of the URL except
names of parameters and paths of certificates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

from avatar_creator_server.addresses import bracketed
from avatar_creator_server.settings.tls_files import require_certificates, require_key_pair
from avatar_creator_server.settings.urls import Url, parameter_name, split_host, split_url

DEFAULT_PORT = 6379

_SCHEME = re.compile(r"(rediss?|unix)://", re.IGNORECASE)
_DATABASE = re.compile(r"[0-9]{1,9}")


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


_PARAMETERS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "db": (lambda value: bool(_DATABASE.fullmatch(value)), "a number"),
    "username": (bool, "a name"),
    "password": (bool, "a password"),
    "protocol": (_one_of("2", "3"), "2 or 3"),
    # Other clients read it as "IPv4 and IPv6", which is what this service always uses.
    "family": (_one_of("0"), "0"),
    "ssl_cert_reqs": (_one_of("none", "optional", "required"), "none, optional or required"),
    "ssl_check_hostname": (_one_of("true", "false"), "true or false"),
    "ssl_ca_certs": (bool, "a file"),
    "ssl_certfile": (bool, "a file"),
    "ssl_keyfile": (bool, "a file"),
}
"""Parameters that a URL may have: the check of the value, and the value in words."""


def parse_redis_url(text: str) -> str:
    """Check a URL of Redis, and return it in the form in which redis-py understands all of it.

    Raises:
        ValueError: The text is not such a URL.
    """
    scheme_match = _SCHEME.match(text)
    if scheme_match is None:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    scheme = scheme_match[1].lower()
    url = split_url(text[scheme_match.end() :])
    parameters = _checked_parameters(url, scheme)
    user = parameters.pop("username", url.user)
    password = parameters.pop("password", url.password)
    parameters.pop("family", None)
    if scheme == "unix":
        return _unix_url(url, user, password, parameters)
    database = _database(url, parameters.pop("db", None))
    if not url.hosts:
        raise ValueError("has no host: write it as redis://host:port/0")
    host, port = split_host(url.hosts)
    _require_tls_files(parameters)
    return make_redis_url(host, port or DEFAULT_PORT, user, password, database, scheme, parameters)


def make_redis_url(
    host: str,
    port: int,
    user: str = "",
    password: str = "",
    database: int = 0,
    scheme: str = "redis",
    parameters: Mapping[str, str] | None = None,
) -> str:
    """Return the URL of a Redis server that is reached over TCP."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    place = bracketed(host).replace("%", "%25")
    return f"{scheme}://{_credentials(user, password)}{place}:{port}/{database}{query}"


def _unix_url(url: Url, user: str, password: str, parameters: dict[str, str]) -> str:
    if url.hosts or not url.path.startswith("/") or url.path.endswith("/"):
        raise ValueError("must name the file of the socket: write it as unix:///run/redis/redis.sock")
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"unix://{_credentials(user, password)}{quote(url.path)}{query}"


def _credentials(user: str, password: str) -> str:
    if not user and not password:
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"


def _checked_parameters(url: Url, scheme: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in url.parameters:
        if name not in _PARAMETERS:
            raise ValueError(
                f"has {parameter_name(name)}, which is not supported: remove it; "
                f"the supported ones are {', '.join(_PARAMETERS)}"
            )
        if name in parameters:
            raise ValueError(f"has the parameter {name} twice: remove one")
        if name.startswith("ssl_") and scheme != "rediss":
            raise ValueError(f"has the parameter {name}, which needs TLS: write rediss:// in front")
        accepts, expected = _PARAMETERS[name]
        if not accepts(value):
            raise ValueError(f"has an invalid value of the parameter {name}: it must be {expected}")
        parameters[name] = value
    return parameters


def _database(url: Url, chosen: str | None) -> int:
    in_path = url.path.removeprefix("/")
    if in_path and not _DATABASE.fullmatch(in_path):
        raise ValueError("has a path that is not the number of a database: write it as redis://host:port/0")
    return int(chosen or in_path or 0)


def _require_tls_files(parameters: Mapping[str, str]) -> None:
    certificates, certificate, key = (
        parameters.get(name, "") for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    )
    if certificates:
        try:
            require_certificates(certificates)
        except ValueError as error:
            raise ValueError(f"has an invalid ssl_ca_certs: {error}") from None
    if bool(certificate) != bool(key):
        raise ValueError("must have the parameters ssl_certfile and ssl_keyfile together")
    if certificate:
        try:
            require_key_pair(certificate, key)
        except ValueError as error:
            raise ValueError(f"has an invalid ssl_certfile or ssl_keyfile: {error}") from None

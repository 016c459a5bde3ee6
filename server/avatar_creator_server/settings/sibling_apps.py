"""Apps to which the page hands avatars. The errors complete a sentence that begins with the setting."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from avatar_creator_server.addresses import is_loopback
from avatar_creator_server.settings.urls import split_host

AVATAR_PLACE = "{avatar_id}"
"""Part of an address that the page replaces with the id of an avatar."""

_EXAMPLE = 'for example {"Pose Generator": "https://poses.example.com/new?avatar={avatar_id}"}'
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#{}\\\s]+)(?P<rest>[/?#][!-~]*)", re.ASCII)
_MAX_APPS = 20
_MAX_NAME_CHARACTERS = 40
_MAX_URL_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class SiblingApp:
    """An app that can use an avatar."""

    name: str
    """Name on the page: `Use in Pose Generator`."""
    url: str
    """Address that opens the app with an avatar, whose id takes the place of `AVATAR_PLACE`."""


def parse_sibling_apps(value: Any) -> tuple[SiblingApp, ...]:
    """Parse a JSON object of names and addresses, in its order; an empty text is none.

    Raises:
        ValueError: The text is not such an object. The message contains no address, which may have a key.
    """
    if not value:
        return ()
    try:
        # As pairs, because an object silently keeps the last one of equal names only.
        pairs = json.loads(value, object_pairs_hook=_Pairs)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"must be JSON, {_EXAMPLE}") from None
    if not isinstance(pairs, _Pairs):
        raise ValueError(f"must be a JSON object of names and URLs, {_EXAMPLE}")
    if len(pairs) > _MAX_APPS:
        raise ValueError(f"must have at most {_MAX_APPS} apps")
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("has two apps of the same name: give each its own")
    return tuple(_parse_app(name, url) for name, url in pairs)


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object, in their order."""


def _parse_app(name: str, url: Any) -> SiblingApp:
    if not (name.strip() == name and name.isprintable() and 0 < len(name) <= _MAX_NAME_CHARACTERS):
        raise ValueError(
            f"must have names of 1 to {_MAX_NAME_CHARACTERS} characters, without blanks around them and "
            "without line breaks"
        )
    if not isinstance(url, str):
        raise ValueError(f"must have a URL for {name}, {_EXAMPLE}")
    try:
        _require_address(url)
    except ValueError as error:
        raise ValueError(f"has a URL for {name} that {error}") from None
    return SiblingApp(name, url)


def _require_address(text: str) -> None:
    if len(text) > _MAX_URL_CHARACTERS:
        raise ValueError(f"has more than {_MAX_URL_CHARACTERS:,} characters")
    url = _URL.fullmatch(text)
    if url is None:
        raise ValueError(
            "is not a full one: it must begin with https:// (or http:// on this machine) and a host without "
            "braces, and have no blanks"
        )
    if "@" in url["authority"]:
        raise ValueError("has a user name: remove it")
    host, _ = split_host(url["authority"])
    if url["scheme"] == "http" and not is_loopback(host):
        raise ValueError("begins with http://, but leads to another machine: use https://")
    if AVATAR_PLACE not in url["rest"]:
        raise ValueError(f"lacks {AVATAR_PLACE}, without which the app does not know the avatar")
    if set("{}") & set(url["rest"].replace(AVATAR_PLACE, "")):
        raise ValueError(f"has other braces than {AVATAR_PLACE}")

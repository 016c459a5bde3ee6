"""URLs of web services. The errors complete a sentence that begins with the setting's name."""

from __future__ import annotations

import re

from avatar_creator_server.settings.urls import split_host

_URL = re.compile(r"https?://(?P<authority>[^/?#]+)[^\s]*", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://(?P<authority>[^/?#@\s]+)", re.IGNORECASE)
_MAX_CHARACTERS = 2048
_MAX_PUBLIC_CHARACTERS = 500
"""The limit of `Avatar.image_url` less what a link adds: an answer has hundreds of links."""
_MAX_ORIGINS = 20


def is_web_url(text: str) -> bool:
    """Return whether a setting that can also be a path is meant as a URL."""
    return text.lower().startswith(("https://", "http://"))


def parse_web_url(text: str) -> str:
    """Return the URL if it names a web service. Keys belong to their own settings, not into the URL.

    Raises:
        ValueError: The text is not such a URL; the message does not contain it.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"must have at most {_MAX_CHARACTERS:,} characters")
    url = _URL.fullmatch(text)
    if url is None:
        raise ValueError("must be a full URL that begins with https:// or http://, without blanks")
    if "@" in url["authority"]:
        raise ValueError("must be a URL without a user name and a password: remove them")
    split_host(url["authority"])
    return text


def parse_public_url(text: str) -> str:
    """Return the URL at which people open a web port, without slashes at its end.

    Raises:
        ValueError: The text is not such a URL; the message does not contain it.
    """
    url = parse_web_url(text)
    if "?" in url or "#" in url:
        raise ValueError("must be a URL without ? and #")
    if len(url) > _MAX_PUBLIC_CHARACTERS or not url.isascii():
        raise ValueError(f"must have at most {_MAX_PUBLIC_CHARACTERS} characters, and only those of ASCII")
    return url.rstrip("/")


def parse_origins(text: str) -> str:
    """Return origins such as `https://app.example.com`, separated by commas, as browsers write them.

    Raises:
        ValueError: An entry is not an origin; the message does not contain it.
    """
    origins = dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip())
    if len(origins) > _MAX_ORIGINS:
        raise ValueError(f"must have at most {_MAX_ORIGINS} origins")
    for each in origins:
        origin = _ORIGIN.fullmatch(each)
        if origin is None:
            raise ValueError(
                "must be origins separated by commas, such as https://app.example.com, without a path and a "
                "slash at the end"
            )
        split_host(origin["authority"])
    return ",".join(map(_without_default_port, origins))


def _without_default_port(origin: str) -> str:
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")

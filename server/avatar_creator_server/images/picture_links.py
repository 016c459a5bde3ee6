"""Signed addresses of pictures: everyone who has one can read that picture for a while, without a token.

A link has one form for every storage: `…/pictures/{avatar}/{variant}?expires=…&key=…&signature=…`. The
signature is HMAC-SHA256 over the variant, the avatar and the expiry. Its key and its key id come from the
secret that signs tokens, by HKDF-SHA256 (RFC 5869). So all servers of a service make and accept the same
links, and a new secret ends the old links together with the old tokens.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

PICTURES_PATH = "/pictures/"
"""Path below which a web port serves pictures."""

_HOUR_SECONDS = 3600
_SIGNATURE_BYTES = 24
_KEY_ID_BYTES = 6
_PURPOSE = b"avatar-creator picture links"
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_DOWNLOAD = "download"
_MAX_QUERY_CHARACTERS = 500


class Variant(StrEnum):
    """One of the two pictures of an avatar, as links name it."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """A link with a valid signature."""

    seconds_left: int
    """Time until the link ends, at least one second."""
    download: bool
    """True if the reader wants to save the picture, not to show it."""


class PictureLinks:
    """Makes and checks the signed addresses of pictures."""

    def __init__(self, secret: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        """Take the function that returns the secret; the first link calls it.

        Args:
            secret: Returns the secret that signs tokens.
            clock: Returns the seconds since 1970.
        """
        self._secret = secret
        self._clock = clock
        self._address = ""

    def serve_at(self, address: str) -> None:
        """Begin to make links, which start with the public address of the web port, a URL."""
        self._address = address.rstrip("/")

    def make(self, avatar_id: str, variant: Variant) -> str:
        """Return the address of a picture; empty if no web port serves it.

        It is the same for an hour, so that browsers cache the picture.
        """
        if not self._address:
            return ""
        # To the hour after the next one: always at least an hour from now.
        expires = str((int(self._clock()) // _HOUR_SECONDS + 2) * _HOUR_SECONDS)
        signature = self._sign(avatar_id, variant, expires)
        return (
            f"{self._address}{PICTURES_PATH}{avatar_id}/{variant}"
            f"?expires={expires}&key={self._key_id}&signature={signature}"
        )

    def open(self, avatar_id: str, variant: Variant, query: str) -> OpenedLink | None:
        """Check the query of an address, and return what it says; None if it allows nothing.

        Each parameter must have exactly the form that `make` gives it, and there must be no others.
        """
        if len(query) > _MAX_QUERY_CHARACTERS:
            return None
        # Escapes are not decoded: no value needs one, and so each has only one form.
        pairs = [part.partition("=")[::2] for part in query.split("&")]
        values = dict(pairs)
        if len(values) != len(pairs):
            return None
        download = values.pop(_DOWNLOAD, None)
        if values.keys() != {"expires", "key", "signature"}:
            return None
        expires = values["expires"]
        # The texts are compared, not the bytes that they encode: several texts can encode the same bytes.
        expected = f"{self._key_id}:{self._sign(avatar_id, variant, expires)}"
        given = f"{values['key']}:{values['signature']}"
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")):
            return None
        if not _EXPIRY.fullmatch(expires):
            return None
        seconds_left = int(expires) - int(self._clock())
        return OpenedLink(seconds_left, download is not None) if seconds_left > 0 else None

    def _sign(self, avatar_id: str, variant: Variant, expires: str) -> str:
        message = "\0".join((variant, avatar_id, expires)).encode("utf-8", "surrogatepass")
        return _text(hmac.digest(self._key, message, "sha256")[:_SIGNATURE_BYTES])

    @cached_property
    def _key(self) -> bytes:
        return self._derive("signature")

    @cached_property
    def _key_id(self) -> str:
        return _text(self._derive("key id")[:_KEY_ID_BYTES])

    def _derive(self, use: str) -> bytes:
        """Derive a key for one use by HKDF, without a salt and with one block of output."""
        extracted = hmac.digest(bytes(32), self._secret().encode(), "sha256")
        return hmac.digest(extracted, b"\0".join((_PURPOSE, use.encode())) + b"\1", "sha256")


def _text(data: bytes) -> str:
    # Both lengths are multiples of three, so there is no padding.
    return base64.urlsafe_b64encode(data).decode()

"""Pages by key: a token says where the next page starts, and only fits the list it came from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from avatar_creator_server.errors import InvalidArgumentError

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 20
MAXIMUM_PAGE_SIZE = 100

_SEAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list's items and the token of the page after them."""

    items: Sequence[T]
    next_page_token: str
    """Empty on the last page."""


class PageTokens:
    """Makes and reads page tokens.

    A token is the cursor and a seal over user, list, arguments and cursor, so that one made for another user,
    call or set of arguments, or made up, does not fit.
    """

    def __init__(self, secret: Callable[[], str]) -> None:
        """`secret` is asked for when the first token is made or read: workers do neither and need none."""
        self._secret = secret

    def page(
        self, scope: Sequence[object], found: Sequence[T], size: int, cursor_of: Callable[[T], Sequence[str]]
    ) -> Page[T]:
        """The first `size` items of what was found; one item more tells that another page follows."""
        items = found[:size]
        return Page(items, self.make(scope, cursor_of(items[-1])) if len(found) > size else "")

    def make(self, scope: Sequence[object], cursor: Sequence[str]) -> str:
        """The token that continues the list `scope` (user, list's name, arguments) after `cursor`."""
        body = json.dumps(list(cursor)).encode()
        return base64.urlsafe_b64encode(self._seal(scope, body) + body).rstrip(b"=").decode()

    def read(self, scope: Sequence[object], token: str) -> list[str] | None:
        """The cursor of `token`, or None for the first page.

        Raises:
            InvalidArgumentError: the token does not belong to this list.
        """
        if not token:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raw = b""
        seal, body = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(scope, body)):
            raise InvalidArgumentError.of_field(
                "page_token",
                "was not made by this list with these arguments",
                reason="PAGE_TOKEN_INVALID",
            )
        cursor: list[str] = json.loads(body)
        return cursor

    @cached_property
    def _key(self) -> bytes:
        return hashlib.sha256(b"page-token\0" + self._secret().encode()).digest()

    def _seal(self, scope: Sequence[object], body: bytes) -> bytes:
        message = json.dumps(list(scope)).encode() + b"\0" + body
        return hmac.digest(self._key, message, "sha256")[:_SEAL_BYTES]


def page_size(asked: int) -> int:
    """The page size a request gets: 0 is the default, too large is the maximum."""
    return min(asked or DEFAULT_PAGE_SIZE, MAXIMUM_PAGE_SIZE)

"""Pages of lists by key: a page token says where the next page starts and fits only its own list."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

from avatar_creator_server.database.connection import Database
from avatar_creator_server.errors import InvalidArgumentError

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100

_SEAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    next_page_token: str
    """Empty on the last page."""
    token_after: Callable[[T], str]
    """Function that returns the page token that continues the list after an item."""

    def first(self, count: int) -> Page[T]:
        """Return the page with its first `count` items only, at least one; the next page has the others."""
        if count >= len(self.items):
            return self
        items = self.items[:count]
        return replace(self, items=items, next_page_token=self.token_after(items[-1]))


class PageTokens:
    """Makes and reads page tokens.

    A token holds the cursor and a seal (HMAC-SHA256) over user, list, arguments and cursor. A token of
    another user, list or set of arguments does not pass, and a forged one does not either.
    """

    def __init__(self, secret: Callable[[], str]) -> None:
        """Take the function that returns the secret; the first token calls it. Workers need no secret."""
        self._secret = secret

    def make(self, scope: Sequence[object], cursor: Sequence[str]) -> str:
        """Return the token that continues the list `scope` (user, list name, arguments) after `cursor`."""
        body = json.dumps(list(cursor)).encode()
        return base64.urlsafe_b64encode(self._seal(scope, body) + body).rstrip(b"=").decode()

    def read(self, scope: Sequence[object], token: str) -> list[str] | None:
        """Return the cursor in `token`, or None for the first page.

        Raises:
            InvalidArgumentError: The token does not belong to this list.
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


class Pager:
    """Reads one page of a list from the database."""

    def __init__(self, database: Database, tokens: PageTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def read(
        self,
        scope: Sequence[object],
        query: Callable[[int, list[str] | None], list[T]],
        cursor_of: Callable[[T], Sequence[str]],
        *,
        page_size: int,
        page_token: str,
        default_size: int = DEFAULT_PAGE_SIZE,
        max_size: int = MAX_PAGE_SIZE,
    ) -> Page[T]:
        """Read the page that `page_token` names.

        Args:
            scope: User, list name and arguments of the list.
            query: Reads at most so many items after a cursor, in a database job.
            cursor_of: Returns the cursor of an item.
            page_size: Maximum number of items; 0 means `default_size`, more than `max_size` means that.
            page_token: Empty for the first page.
            default_size: Number of items without a `page_size`.
            max_size: Largest number of items.

        Raises:
            InvalidArgumentError: The token does not belong to this list.
        """
        cursor = self._tokens.read(scope, page_token)
        size = min(page_size or default_size, max_size)
        # One more item than the page holds shows that another page follows.
        found = await self._database.read(query, size + 1, cursor)
        page = Page(found, "", lambda item: self._tokens.make(scope, cursor_of(item)))
        return page.first(size)

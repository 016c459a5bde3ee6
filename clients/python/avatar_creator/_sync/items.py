# Generated from avatar_creator/_async/items.py by `make client`. Do not edit: change that file instead.
"""The result of a list call: an iterator over all pages, or a single page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from avatar_creator._requests.calls import Item, ListCall, Page
from avatar_creator._sync.connection import Connection


class Items(Iterator[Item]):
    """Items of a list call. Iterate over all of them, or read a single page with `page`.

    Iteration requests a page only when it reaches that page.
    """

    def __init__(self, connection: Connection, first: ListCall[Any, Item], timeout: float | None) -> None:
        self._connection = connection
        self._timeout = timeout
        self._first = first
        self._next: ListCall[Any, Item] | None = first
        self._of_page: Iterator[Item] = iter(())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a list holds a connection and cannot be pickled; pickle its items, as a tuple")

    def page(self) -> Page[Item]:
        """Return the page where the list starts: the first page, or the page of its `page_token`.

        Use it for a screen that shows one page and a link to the next.

        Raises:
            AvatarCreatorError: The errors of the method that returned this list.

        Examples:
            >>> page = client.avatars.list(project, page_size=10).page()
            >>> print([face.name for face in page.items], page.next_page_token == "")
            ['Sarah'] True
        """
        return self._connection.call(self._first.page(), self._timeout)

    def __next__(self) -> Item:
        while True:
            for item in self._of_page:
                return item
            if self._next is None:
                raise StopIteration
            page = self._connection.call(self._next.page(), self._timeout)
            self._of_page, self._next = iter(page.items), self._next.after(page)

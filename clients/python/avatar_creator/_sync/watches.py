# Generated from avatar_creator/_async/watches.py by `make client`. Do not edit: change that file instead.
"""Watches: iterators over what a stream sends, which close the stream."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType
from typing import NoReturn, Self

from avatar_creator._requests.calls import Item


class Watch(Iterator[Item]):
    """Items of a watch: an iterator, and a context manager that ends the watch.

    A watch that is read to its end closes itself. Use `with` for one that may be left earlier, because
    an open watch keeps a call open.
    """

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._items = items

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch holds a connection and cannot be pickled; pickle the states that it returns")

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """End the watch and its call. Closing it twice is not an error.

        Examples:
            >>> states = client.generations.watch(generation)
            >>> first = next(states)
            >>> states.close()
        """
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

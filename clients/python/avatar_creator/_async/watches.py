"""Watches: iterators over what a stream sends, which close the stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import NoReturn, Self

from avatar_creator._requests.calls import Item


class AsyncWatch(AsyncIterator[Item]):
    """Items of a watch: an iterator, and a context manager that ends the watch.

    A watch that is read to its end closes itself. Use `async with` for one that may be left earlier, because
    an open watch keeps a call open.
    """

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        self._items = items

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch holds a connection and cannot be pickled; pickle the states that it returns")

    async def __anext__(self) -> Item:
        return await anext(self._items)

    async def aclose(self) -> None:
        """End the watch and its call. Closing it twice is not an error.

        Examples:
            >>> states = client.generations.watch(generation)
            >>> first = await anext(states)
            >>> await states.aclose()
        """
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

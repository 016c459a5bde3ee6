"""Types of a call and of a page: a request, with the part of its response that the client returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from avatar_creator.rpcs import Response, Rpc

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Call(Generic[Response, Result]):
    """A call with one response."""

    rpc: Rpc[Response]
    request: Message
    result: Callable[[Response], Result]
    """Function that takes the caller's result from the response."""


@dataclass(frozen=True, slots=True, repr=False)
class Page(Generic[Item]):
    """One page of a list."""

    items: tuple[Item, ...]
    """Items on the page, in the order of the list."""
    next_page_token: str
    """Value of `page_token` that returns the next page with the same arguments; empty on the last page."""

    def __repr__(self) -> str:
        kind = f" of {type(self.items[0]).__name__}" if self.items else ""
        more = ", more follow" if self.next_page_token else ""
        return f"Page(<{len(self.items)}{kind}>{more})"

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import grid

        return grid(self.items)


@dataclass(frozen=True, slots=True)
class ListCall(Generic[Response, Item]):
    """A call for one page of a list."""

    rpc: Rpc[Response]
    request: Any
    items: Callable[[Response], Iterable[Item]]
    """Function that takes the items of the page from the response."""

    def at(self, page_token: str, page_size: int) -> ListCall[Response, Item]:
        """Return the call for the page that starts at the token, in pages of this size."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token, request.page_size = page_token, page_size
        return replace(self, request=request)

    def page(self) -> Call[Any, Page[Item]]:
        """Return the call for this page alone."""
        return Call(
            self.rpc,
            self.request,
            lambda response: Page(tuple(self.items(response)), response.next_page_token),
        )

    def after(self, page: Page[Item]) -> ListCall[Response, Item] | None:
        """Return the call for the page after this one; None if this one is the last."""
        return self.at(page.next_page_token, self.request.page_size) if page.next_page_token else None

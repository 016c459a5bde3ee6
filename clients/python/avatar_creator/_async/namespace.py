"""The base class of `projects`, `avatars` and the other method groups of a client."""

from __future__ import annotations

from typing import Any

from avatar_creator._async.connection import AsyncConnection
from avatar_creator._async.items import AsyncItems
from avatar_creator._requests.calls import Item, ListCall


class AsyncNamespace:
    """Methods of a client for one kind of resource. `AsyncAvatarCreator` creates the object."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def _list(self, call: ListCall[Any, Item], timeout: float | None) -> AsyncItems[Item]:
        return AsyncItems(self._connection, call, timeout)

# Generated from avatar_creator/_async/namespace.py by `make client`. Do not edit: change that file instead.
"""The base class of `projects`, `avatars` and the other method groups of a client."""

from __future__ import annotations

from typing import Any

from avatar_creator._requests.calls import Item, ListCall
from avatar_creator._sync.connection import Connection
from avatar_creator._sync.items import Items


class Namespace:
    """Methods of a client for one kind of resource. `AvatarCreator` creates the object."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _list(self, call: ListCall[Any, Item], timeout: float | None) -> Items[Item]:
        return Items(self._connection, call, timeout)

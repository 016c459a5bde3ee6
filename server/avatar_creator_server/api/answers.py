"""Size of answers: a page ends early if its items would not fit into a message that every client accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

from avatar_creator_server.shared.paging import Page

MAX_ITEM_BYTES = 3584 * 1024
"""Maximum size of all items in an answer together: 3.5 MiB.

gRPC clients refuse messages of more than 4 MiB by default. Source: `GRPC_DEFAULT_MAX_RECV_MESSAGE_LENGTH` in
`include/grpc/impl/grpc_types.h` of gRPC. The rest is for the other fields of the answer.
"""

_FIELD_BYTES = 8
"""Maximum size of a field's number and length in front of its bytes."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)


def fit(
    page: Page[T], encode: Callable[[T], M], further_bytes: Callable[[T], int] = lambda _: 0
) -> tuple[list[M], Page[T]]:
    """Encode the items of a page, as many as fit into one answer, and at least one.

    Args:
        page: The page.
        encode: Encodes an item.
        further_bytes: Returns the size of the bytes that will be added to the message of an item.

    Returns:
        The messages, and the page with their items only. Its token continues the list after them.
    """
    messages: list[M] = []
    total = 0
    for item in page.items:
        message = encode(item)
        total += message.ByteSize() + further_bytes(item) + 2 * _FIELD_BYTES
        if total > MAX_ITEM_BYTES and messages:
            break
        messages.append(message)
    return messages, page.first(len(messages))


def count_fitting(sizes: Iterable[int], used_bytes: int) -> int:
    """Return how many of the sizes fit into one answer that already has `used_bytes`, and at least one."""
    count = 0
    for size in sizes:
        used_bytes += size + _FIELD_BYTES
        if used_bytes > MAX_ITEM_BYTES and count:
            break
        count += 1
    return count

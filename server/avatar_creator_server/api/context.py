"""The gRPC context of a call, and how a stream sends its responses on it."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from grpc.aio import BaseError, ServicerContext

Context: TypeAlias = ServicerContext[Any, Any]
"""The gRPC context of a call, with any types of messages."""


async def send(context: Context, response: bytes) -> None:
    """Send an encoded response of a stream; wait until the reader has made room for it.

    An RPC that sends its responses itself returns nothing. gRPC allows this, but its types know only an RPC
    that yields them.

    Raises:
        CancelledError: The reader is gone. gRPC would log a traceback for each.
    """
    try:
        await context.write(response)
    except BaseError as error:
        raise asyncio.CancelledError("the reader is gone") from error

"""The gRPC context of a call, how a stream sends its responses on it, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from grpc.aio import BaseError, ServicerContext

Context: TypeAlias = ServicerContext[Any, Any]
"""The gRPC context of a call, with any types of messages.

The web port has a context of its own (`web/calls.py`) with the methods that the service uses: `read`,
`write`, `abort`, `code`, `invocation_metadata`, `time_remaining` and `peer`.
"""


async def send(context: Context, response: bytes) -> None:
    """Send an encoded response of a stream; wait until the reader has made room for it.

    An RPC that sends its responses itself returns nothing. gRPC allows this, but its types know only an RPC
    that yields them.

    Raises:
        CancelledError: The reader is gone.
    """
    await end_with_reader(context.write(response))


async def end_with_reader(sending: Awaitable[None]) -> None:
    """Wait for an operation that writes responses.

    Raises:
        CancelledError: The reader is gone.
    """
    try:
        await sending
    except BaseError as error:
        # gRPC would log a traceback for each.
        raise asyncio.CancelledError("the reader is gone") from error


def when_call_ends(run: Callable[[], None]) -> None:
    """Run a function when the current call has ended: its client has read the answer, or is gone.

    gRPC runs each call in a task of its own. A callback of the context would run at the same time. But the
    context and its callbacks keep each other, so only the garbage collector would free each call. Source:
    `add_done_callback` and `_add_callback_handler` in `_cython/_cygrpc/aio/server.pyx.pxi` of gRPC.
    """
    task = asyncio.current_task()
    assert task is not None, "calls run in tasks"
    task.add_done_callback(lambda _: run())

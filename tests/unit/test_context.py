"""The end of a call: what waits for it runs, and the call is freed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from avatar_creator_server.api.context import Context, when_call_ends
from tests.support.waiting import wait_until


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collector")
async def test_a_call_that_has_ended_is_freed_without_the_garbage_collector() -> None:
    kinds: set[type] = set()
    ended: list[bool] = []

    async def handle(_requests: AsyncIterator[bytes], context: Context) -> bytes:
        kinds.add(type(context))
        when_call_ends(lambda: ended.append(True))
        return b"answer"

    def contexts() -> int:
        return sum(type(each) in kinds for each in gc.get_objects())

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Everything(handle),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(3):
            call: Any = channel.unary_unary("/any/Method")
            assert await call(b"request") == b"answer"
        await asyncio.to_thread(wait_until, lambda: len(ended) == 3 and not contexts())
    await server.stop(None)


class _Everything(grpc.GenericRpcHandler):
    """One handler for all methods."""

    def __init__(self, handle: Callable[..., Any]) -> None:
        self._handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(handle)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler."""
        return self._handler

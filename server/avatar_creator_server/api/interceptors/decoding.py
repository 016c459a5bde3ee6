"""Reception and decoding of requests inside the chain of interceptors.

gRPC receives and decodes a request before it calls the handler. It would answer an undecodable request with
UNKNOWN and a Python error text, and write a traceback, even if the call has no token. Inside the chain, such
a request is refused like any other bad request, and a call that another interceptor refuses is never
received.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import EOF, ServerInterceptor

from avatar_creator_server.api.interceptors.context import Context, behavior_of, with_streamed_requests
from avatar_creator_server.errors import InvalidArgumentError


class DecodingInterceptor(ServerInterceptor):
    """Receives and decodes requests for the handler.

    Must be the last interceptor: the interceptors before it receive a stream of undecoded requests, also for
    an RPC with one request.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of the method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        assert handler.request_deserializer is not None, "a method has a request message"
        inner, decode = behavior_of(handler), handler.request_deserializer
        if handler.request_streaming:
            wrapped = _decode_stream(inner, decode)
        elif handler.response_streaming:
            wrapped = _decode_one_and_stream(inner, decode)
        else:
            wrapped = _decode_one(inner, decode)
        return with_streamed_requests(handler, wrapped)


def _decode_one(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    async def behavior(_raws: AsyncIterator[bytes], context: Context) -> Any:
        return await inner(await _received(context, decode), context)

    return behavior


def _decode_one_and_stream(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    async def behavior(_raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async for response in inner(await _received(context, decode), context):
            yield response

    return behavior


def _decode_stream(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    # A function and not a generator expression, which would begin to read: a call that is refused before it
    # reads its requests would leave a coroutine of gRPC that nothing awaits.
    async def decoded(raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raws:
            yield _decoded(raw, decode)

    def behavior(raws: AsyncIterator[bytes], context: Context) -> Any:
        return inner(decoded(raws), context)

    return behavior


async def _received(context: Context, decode: Callable[[bytes], Any]) -> Any:
    raw = await context.read()
    if raw is EOF:
        raise asyncio.CancelledError("the caller is gone")
    return _decoded(raw, decode)


def _decoded(raw: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError.of_field(
            "request", "cannot be decoded: send the request message of this RPC, with all text in UTF-8"
        ) from error

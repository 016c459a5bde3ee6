"""Reception and decoding of requests inside the chain of interceptors.

gRPC receives and decodes a request before it calls the handler. It would answer an undecodable request with
UNKNOWN and a Python error text, and write a traceback, even if the call has no token. Inside the chain, such
a request is refused like any other bad request, and a call that another interceptor refuses is never
received.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServerInterceptor

from avatar_creator_server.api.interceptors.context import (
    CallScope,
    Context,
    behavior_of,
    with_streamed_requests,
)
from avatar_creator_server.errors import InvalidArgumentError


class Receive(Protocol):
    """Function that returns the undecoded request of a call; see `Calls.receive`."""

    def __call__(self, method: str, context: Context, *, until_end: bool) -> Awaitable[bytes]:
        """Return the request."""


class DecodingInterceptor(ServerInterceptor):
    """Receives and decodes requests for the handler.

    Must be the last interceptor: the interceptors before it receive a stream of undecoded requests, also for
    an RPC with one request.
    """

    def __init__(self, receive: Receive, admit: CallScope) -> None:
        """Create the interceptor.

        Args:
            receive: Returns the only request of a call, before the call takes its turn.
            admit: Holds the turn of a call.
        """
        self._receive = receive
        self._admit = admit

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
        method = handler_call_details.method
        inner, decode = behavior_of(handler), handler.request_deserializer
        if handler.request_streaming:
            wrapped = self._decode_stream(method, inner, decode, streams=handler.response_streaming)
        elif handler.response_streaming:
            wrapped = self._decode_one_and_stream(method, inner, decode)
        else:
            wrapped = self._decode_one(method, inner, decode)
        return with_streamed_requests(handler, wrapped)

    def _decode_one(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def behavior(_raws: AsyncIterator[bytes], context: Context) -> Any:
            raw = await self._receive(method, context, until_end=False)
            async with self._admit(method, context):
                return await inner(_decoded(raw, decode), context)

        return behavior

    def _decode_one_and_stream(self, method: str, inner: Any, decode: Callable[[bytes], Any]) -> Any:
        async def behavior(_raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            raw = await self._receive(method, context, until_end=True)
            async with self._admit(method, context):
                async for response in inner(_decoded(raw, decode), context):
                    yield response

        return behavior

    def _decode_stream(
        self, method: str, inner: Any, decode: Callable[[bytes], Any], *, streams: bool
    ) -> Any:
        # A function and not a generator expression, which would begin to read: a call that is refused before
        # it reads its requests would leave a coroutine of gRPC that nothing awaits.
        async def decoded(raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for raw in raws:
                yield _decoded(raw, decode)

        async def unary(raws: AsyncIterator[bytes], context: Context) -> Any:
            async with self._admit(method, context):
                return await inner(decoded(raws), context)

        async def stream(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with self._admit(method, context):
                async for response in inner(decoded(raws), context):
                    yield response

        return stream if streams else unary


def _decoded(raw: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError.of_field(
            "request", "cannot be decoded: send the request message of this RPC, with all text in UTF-8"
        ) from error

"""Decoding of requests inside the chain of interceptors.

gRPC decodes a request before it calls the handler. It would answer an undecodable request with UNKNOWN and a
Python error text, and write a traceback, even if the call has no token. Decoding inside the chain refuses
such a request like any other bad request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServerInterceptor

from avatar_creator_server.api.interceptors.context import Context, behavior_of, with_behavior
from avatar_creator_server.errors import InvalidArgumentError


class DecodingInterceptor(ServerInterceptor):
    """Decodes requests for the handler.

    Must be the last interceptor: the interceptors before it receive undecoded requests.
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
        wrap = _decode_stream if handler.request_streaming else _decode_unary
        return with_behavior(handler, wrap(behavior_of(handler), handler.request_deserializer), None)


def _decode_unary(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    def behavior(raw: bytes, context: Context) -> Any:
        return inner(_decoded(raw, decode), context)

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


def _decoded(raw: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError.of_field(
            "request", "cannot be decoded: send the request message of this RPC, with all text in UTF-8"
        ) from error

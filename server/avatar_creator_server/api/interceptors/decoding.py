"""Decodes requests inside the other interceptors, so that one that cannot be is refused like any other.

gRPC decodes before it calls a handler: it would answer UNKNOWN in Python's own words, and write a traceback,
before anybody asked for a token.
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
    """Hands undecoded requests to whoever is around, and decoded ones to the handler. To be the last."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that is found."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        assert handler.request_deserializer is not None, "a method has a request message"
        wrap = _each_decoded if handler.request_streaming else _decoded
        return with_behavior(handler, wrap(behavior_of(handler), handler.request_deserializer), None)


def _decoded(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    def behaviour(raw: bytes, context: Context) -> Any:
        return inner(_message(raw, decode), context)

    return behaviour


def _each_decoded(inner: Any, decode: Callable[[bytes], Any]) -> Any:
    def behaviour(raws: AsyncIterator[bytes], context: Context) -> Any:
        return inner((_message(raw, decode) async for raw in raws), context)

    return behaviour


def _message(raw: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError.of_field(
            "request", "is not an encoded message of this call, or has text that is not UTF-8"
        ) from error

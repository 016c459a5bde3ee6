"""Wrapping of handlers, shared by all interceptors: the same code for unary and streaming RPCs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

Context: TypeAlias = ServicerContext[Any, Any]
"""The gRPC context of a call, with any types of messages."""

CallScope = Callable[[str, Context], AbstractAsyncContextManager[None]]
"""Function that returns the context manager for one call, given the full method name and the gRPC context."""


_HANDLER_KINDS: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""Attribute with the behavior and constructor of a handler, by (request_streaming, response_streaming)."""


def behavior_of(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """Return the function that the handler calls with the request and the context."""
    attribute, _ = _HANDLER_KINDS[handler.request_streaming, handler.response_streaming]
    return getattr(handler, attribute)


def with_streamed_requests(
    handler: grpc.RpcMethodHandler[Any, Any], behavior: Any
) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a handler that calls `behavior` with a stream of undecoded requests.

    gRPC receives the requests of a stream only when the behavior reads them. To a client, an RPC with one
    request and a stream of one request are the same.
    """
    _, create = _HANDLER_KINDS[True, handler.response_streaming]
    streamed: grpc.RpcMethodHandler[Any, Any] = create(behavior, None, handler.response_serializer)
    return streamed


class ContextInterceptor(ServerInterceptor):
    """Runs every call inside an async context manager.

    The context manager can act before and after the call, and sees its errors. Its code is the same for unary
    and streaming RPCs.
    """

    def __init__(self, scope: CallScope) -> None:
        self._scope = scope
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that the rest of the chain returns, once for each method."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrap = self._wrap_stream if handler.response_streaming else self._wrap_unary
        wrapped = with_streamed_requests(handler, wrap(method, behavior_of(handler)))
        self._wrapped[method] = wrapped
        return wrapped

    def _wrap_unary(self, method: str, inner: Any) -> Any:
        async def behavior(request: Any, context: Context) -> Any:
            async with self._scope(method, context):
                return await inner(request, context)

        return behavior

    def _wrap_stream(self, method: str, inner: Any) -> Any:
        async def behavior(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._scope(method, context):
                async for response in inner(request, context):
                    yield response

        return behavior

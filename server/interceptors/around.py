"""What all interceptors share: putting something around a handler, whatever kind of RPC it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

Context: TypeAlias = ServicerContext[Any, Any]
"""The context of a call, whatever its messages are."""

Around = Callable[[str, Context], AbstractAsyncContextManager[None]]
"""Given the full method name and the context: what happens before, after and on errors of one call."""


class AroundInterceptor(ServerInterceptor):
    """Runs every call inside an async context manager."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that the rest of the chain finds, once for each method."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            behaviour = self._streaming(method, inner)
        else:
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
            behaviour = self._single(method, inner)
        wrapped = make(behaviour, handler.request_deserializer, handler.response_serializer)
        self._wrapped[method] = wrapped
        return wrapped

    def _single(self, method: str, inner: Any) -> Any:
        async def behaviour(request: Any, context: Context) -> Any:
            async with self._around(method, context):
                return await inner(request, context)

        return behaviour

    def _streaming(self, method: str, inner: Any) -> Any:
        async def behaviour(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._around(method, context):
                async for response in inner(request, context):
                    yield response

        return behaviour

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


_KINDS: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""By whether requests and responses stream: where a handler has its behaviour, and what makes one."""


def behavior_of(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """What the handler calls with request and context."""
    name, _ = _KINDS[handler.request_streaming, handler.response_streaming]
    return getattr(handler, name)


def with_behavior(
    handler: grpc.RpcMethodHandler[Any, Any],
    behaviour: Any,
    request_deserializer: Callable[[bytes], Any] | None,
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler with another behaviour; without a deserializer that is called with undecoded requests."""
    _, make = _KINDS[handler.request_streaming, handler.response_streaming]
    made: grpc.RpcMethodHandler[Any, Any] = make(behaviour, request_deserializer, handler.response_serializer)
    return made


class ContextInterceptor(ServerInterceptor):
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
        wrap = self._streaming if handler.response_streaming else self._single
        wrapped = with_behavior(handler, wrap(method, behavior_of(handler)), handler.request_deserializer)
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

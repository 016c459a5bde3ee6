"""Load shedding: calls that the server has no room for are refused before anything else happens to them.

A refusal must cost much less than an answer, or a flood of calls would leave no time for answers. So the
requests of these calls are not received, and the status of each kind of refusal is encoded only once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
from grpc.aio import AbortError, ServerInterceptor

from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.calls import Calls, Refusal
from avatar_creator_server.api.interceptors.access_log import AccessLog
from avatar_creator_server.api.interceptors.context import Context, behavior_of, with_streamed_requests
from avatar_creator_server.api.interceptors.errors import Status, abort, status_of


class SheddingInterceptor(ServerInterceptor):
    """Refuses calls for which there is no room. Must be the first interceptor."""

    def __init__(self, calls: Calls, backlog: Backlog, access_log: AccessLog) -> None:
        self._calls = calls
        self._access_log = access_log
        self._backlog = backlog
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._statuses: dict[tuple[str, str], Status] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that the rest of the chain returns, once for each method."""
        self._backlog.begin()
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        inner = behavior_of(handler)
        if handler.response_streaming:
            wrapped = with_streamed_requests(handler, self._wrap_stream(method, inner))
        else:
            assert handler.response_serializer is not None, "a method has a response message"
            unary = self._wrap_unary(method, inner, handler.response_serializer)
            wrapped = with_streamed_requests(handler, unary, encoded=True)
        self._wrapped[method] = wrapped
        return wrapped

    def _wrap_unary(self, method: str, inner: Any, encode: Callable[[Any], bytes]) -> Any:
        async def behavior(requests: Any, context: Context) -> bytes:
            refusal = self._calls.refusal(method, context, self._backlog)
            if refusal is not None:
                await self._refuse(method, refusal, context)
            answer = b""
            try:
                answer = encode(await inner(requests, context))
            except AbortError as error:
                _forget_frames(error)
                raise
            finally:
                self._calls.send(len(answer), context)
            return answer

        return behavior

    def _wrap_stream(self, method: str, inner: Any) -> Any:
        async def behavior(requests: Any, context: Context) -> AsyncIterator[Any]:
            refusal = self._calls.refusal(method, context, self._backlog)
            if refusal is not None:
                await self._refuse(method, refusal, context)
            try:
                async for response in inner(requests, context):
                    yield response
            except AbortError as error:
                _forget_frames(error)
                raise

        return behavior

    async def _refuse(self, method: str, refusal: Refusal, context: Context) -> NoReturn:
        user_id, error = refusal.user_id, refusal.error
        key = error.reason, error.message
        status = self._statuses.get(key)
        if status is None:
            status = self._statuses[key] = status_of(error)
        self._calls.count_refusal(method, error)
        self._calls.send(0, context, user_id=user_id)
        self._access_log.log_refusal(method, user_id, status.code)
        await abort(context, status)


def _forget_frames(error: BaseException | None) -> None:
    """Let the frames of a refused call go, and with them its request.

    gRPC keeps the error in the state of the call, and the frames keep that state. A frame may also keep the
    error that it raised. Only the garbage collector would find these circles, and it does not know how large
    a request is.
    """
    while error is not None:
        error.__traceback__ = None
        error.__cause__, error.__context__, error = None, None, error.__context__

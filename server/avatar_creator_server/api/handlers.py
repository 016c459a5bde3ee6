"""The way of a call through the server, from its arrival to its answer.

`Handlers` has one handler for each RPC, and `MethodHandler.handle` is the story of a call:

1. A call for which there is no room is refused before anything else happens to it. A refusal must cost much
   less than an answer, or a flood of calls would leave no time for answers.
2. Its token is verified.
3. Its request is received, within a time limit. Then it takes its turn, and its request is decoded: gRPC
   would answer a request that cannot be decoded before the token is verified, and without our details.
4. The servicer answers. In a stream, it yields its responses, or sends them encoded and returns nothing.
5. An error becomes the status of the call.
6. The access log writes its line.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import AbortError

from avatar_creator_server.api.access_log import AccessLog
from avatar_creator_server.api.authentication import Authentication, needs_token
from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.calls import Calls, Refusal
from avatar_creator_server.api.context import Context, send
from avatar_creator_server.api.statuses import Status, abort, status_of, status_of_defect
from avatar_creator_server.errors import AvatarCreatorError, InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Steps:
    """The parts of a server that each call passes."""

    backlog: Backlog
    calls: Calls
    authentication: Authentication
    access_log: AccessLog
    refusal_statuses: dict[tuple[str, str], Status] = field(default_factory=dict)
    """The status of each kind of refusal, by reason and message: it is encoded only once."""


class Handlers(grpc.GenericRpcHandler):
    """The handlers of all RPCs of a server. Servicers are added to them as to a server.

    gRPC does not know the methods. It keeps a queue of arrived calls for each method that it knows, and its
    server waits for all of these queues after each call. With one queue for all methods, each refusal costs a
    fifth less.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.methods: dict[str, MethodHandler] = {}
        """The handler of each RPC by its name, `/package.Service/Method`, for calls of other protocols."""
        self._expected: set[str] = set()
        """The services whose methods have not been added."""

    def require_all(self) -> None:
        """Refuse to serve if a servicer was added without its methods.

        The code that `grpcio-tools` generates adds them; that of an old version of it does not.

        Raises:
            RuntimeError: A service has no methods.
        """
        if self._expected:
            services = ", ".join(sorted(self._expected))
            raise RuntimeError(
                f"no methods of {services} were added: generate the code again with a newer "
                "grpcio-tools, whose code calls add_registered_method_handlers"
            )

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.ServiceRpcHandler]) -> None:
        """Expect the methods of services, which only `add_registered_method_handlers` receives one by one."""
        self._expected.update(str(each.service_name()) for each in handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Add the methods of a service."""
        self._expected.discard(service)
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self.methods[method] = MethodHandler(method, handler, self._steps)
            self._handlers[method] = self.methods[method].as_grpc()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call that the event loop has reached; None for an unknown method."""
        self._steps.backlog.begin()
        return self._handlers.get(handler_call_details.method)


class MethodHandler:
    """The handler of one RPC."""

    def __init__(self, method: str, handler: grpc.RpcMethodHandler[Any, Any], steps: Steps) -> None:
        assert handler.request_deserializer is not None, "a method has a request message"
        assert handler.response_serializer is not None, "a method has a response message"
        self._method = method
        self._needs_token = needs_token(method)
        self._steps = steps
        self.streams_requests: bool = handler.request_streaming
        """True if a call has any number of requests."""
        self.streams_responses: bool = handler.response_streaming
        """True if a call has any number of answers."""
        self._decode = handler.request_deserializer
        self._encode = handler.response_serializer
        self._servicer: Any = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )
        self._yields = inspect.isasyncgenfunction(self._servicer)

    def as_grpc(self) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler for gRPC: its requests are a stream, and not decoded.

        gRPC receives the requests of a stream only when they are read. To a client, an RPC with one request
        and a stream of one request are the same.
        """
        handler: grpc.RpcMethodHandler[Any, Any] = (
            grpc.stream_stream_rpc_method_handler(self.handle, None, None)
            if self.streams_responses
            else grpc.stream_unary_rpc_method_handler(self.handle, None, None)
        )
        return handler

    async def handle(self, raws: AsyncIterator[bytes], context: Context) -> bytes:
        """Handle a call, and return its encoded answer; empty if the answers were written one by one."""
        calls = self._steps.calls
        refusal = calls.refusal(self._method, context, self._steps.backlog)
        if refusal is not None:
            await self._refuse(refusal, context)
        start = time.perf_counter()
        answer, is_cancelled = b"", False
        try:
            answer = await self._answer(raws, context)
            return answer
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        finally:
            if not self.streams_responses:
                calls.send(len(answer), context)
            seconds = time.perf_counter() - start
            self._steps.access_log.log_call(self._method, context, seconds, is_cancelled=is_cancelled)

    async def _refuse(self, refusal: Refusal, context: Context) -> NoReturn:
        user_id, error = refusal.user_id, refusal.error
        statuses = self._steps.refusal_statuses
        status = statuses.get((error.reason, error.message))
        if status is None:
            status = statuses[error.reason, error.message] = status_of(error)
        self._steps.calls.count_refusal(self._method, error)
        self._steps.access_log.log_refusal(self._method, user_id, status.code)
        await self._steps.calls.keep_back(self._method, refusal, context)
        self._steps.calls.send(0, context, user_id=user_id)
        await abort(context, status)

    async def _answer(self, raws: AsyncIterator[bytes], context: Context) -> bytes:
        """Return the encoded answer, or end the call with the status of its error."""
        try:
            if self._needs_token:
                self._steps.authentication.require_token(self._method, context)
            return await self._respond(raws, context)
        except AbortError as error:
            # Raised by `context.abort`: the call has its status already.
            _forget_frames(error)
            raise
        except Exception as error:
            if isinstance(error, AvatarCreatorError):
                status = status_of(error)
            else:
                status = status_of_defect(self._method)
            _forget_frames(error)
        return await abort(context, status)

    async def _respond(self, raws: AsyncIterator[bytes], context: Context) -> bytes:
        """Take the turn of the call, and let the servicer answer."""
        calls, raw = self._steps.calls, b""
        if not self.streams_requests:
            raw = await calls.receive(self._method, context, until_end=self.streams_responses)
        user_id = await calls.begin(self._method, context)
        try:
            # Without names for the request: the call would keep it until its end.
            answering = self._servicer(
                self._decoded_stream(raws) if self.streams_requests else self._decoded(raw), context
            )
            del raw
            if self._yields:
                async with aclosing(answering) as responses:
                    async for response in responses:
                        await send(context, self._encode(response))
                return b""
            answer = await answering
            return b"" if self.streams_responses else self._encode(answer)
        finally:
            calls.end(self._method, user_id)

    # A function and not a generator expression, which would begin to read: a call that is refused before it
    # reads its requests would leave a coroutine of gRPC that nothing awaits.
    async def _decoded_stream(self, raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raws:
            yield self._decoded(raw)

    def _decoded(self, raw: bytes) -> Any:
        try:
            return self._decode(raw)
        except DecodeError as error:
            raise InvalidArgumentError.of_field(
                "request", "cannot be decoded: send the request message of this RPC, with all text in UTF-8"
            ) from error


def _forget_frames(error: BaseException | None) -> None:
    """Let the frames of a refused call go, and with them its request.

    gRPC keeps the error in the state of the call, and the frames keep that state. A frame may also keep the
    error that it raised. Only the garbage collector would find these circles, and it does not know how large
    a request is.
    """
    while error is not None:
        error.__traceback__ = None
        error.__cause__, error.__context__, error = None, None, error.__context__

"""Calls, uploads, downloads and watches of the async client on one channel."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar
from weakref import WeakSet

import grpc
from google.protobuf.message import Message
from grpc import aio

from avatar_creator import rpcs, watching
from avatar_creator._requests.argument_names import name_arguments
from avatar_creator._requests.calls import Call, Result
from avatar_creator.base_connection import BaseConnection, Metadata
from avatar_creator.errors import (
    AvatarCreatorError,
    CallCancelledError,
    FailedPreconditionError,
    UnavailableError,
    from_rpc_error,
)
from avatar_creator.options import CallOptions
from avatar_creator.pictures import (
    DownloadedPicture,
    PictureSource,
    ReceivedPicture,
    UploadProgress,
    save,
    total_bytes,
)
from avatar_creator.rpcs import Response, Rpc, serialize
from avatar_creator.tokens import bearer
from avatar_creator.v1.avatar_service_pb2 import (
    UploadAvatarMetadata,
    UploadAvatarRequest,
    UploadAvatarResponse,
)
from avatar_creator.values import Avatar, Generation

AsyncToken: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A bearer token, or a function, async or not, that the client calls before every attempt to get one."""

AsyncSleep: TypeAlias = Callable[[float], Awaitable[None]]
"""Async function that waits for a number of seconds."""

_Answer = TypeVar("_Answer")


class AsyncConnection(BaseConnection):
    """A channel, and the loops that retry calls on it."""

    def __init__(
        self,
        channel: aio.Channel,
        *,
        token: AsyncToken,
        options: CallOptions,
        clock: Callable[[], float],
        sleep: AsyncSleep,
    ) -> None:
        super().__init__(options=options, clock=clock)
        self._channel = channel
        self._token = token
        self._sleep = sleep
        self._streams: WeakSet[Any] = WeakSet()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None  # the channel was passed to the client

    def with_options(self, token: AsyncToken | None, options: CallOptions) -> Self:
        """Return a connection on the same channel with other options; None keeps the token."""
        connection = self._copy(options)
        if token is not None:
            connection._token = token
        return connection

    async def call(self, call: Call[Response, Result], timeout: float | None) -> Result:
        """Make a call and return the caller's part of its response."""
        multicallable = self._channel.unary_unary(call.rpc.path, serialize, call.rpc.response.FromString)

        async def attempt(seconds: float, metadata: Metadata) -> Response:
            return await multicallable(call.request, timeout=seconds, metadata=metadata)

        return call.result(await self._with_retries(call.rpc, timeout, attempt, call.request))

    async def upload(
        self,
        metadata: UploadAvatarMetadata,
        source: PictureSource,
        on_progress: UploadProgress | None,
        timeout: float | None,
    ) -> Avatar:
        """Upload a picture and return its avatar."""
        rpc = rpcs.UPLOAD_AVATAR
        multicallable = self._channel.stream_unary(rpc.path, serialize, rpc.response.FromString)

        async def attempt(seconds: float, authorization: Metadata) -> UploadAvatarResponse:
            stream = multicallable(timeout=seconds, metadata=authorization)
            server_status = _ServerStatus(stream)
            try:
                await _send(stream, metadata, source, on_progress)
                return await stream
            except grpc.RpcError as raised:
                raise server_status.instead_of(raised) from None
            finally:
                stream.cancel()

        response = await self._with_retries(
            rpc, timeout, attempt, metadata, resendable=source.resendable, picture=source.argument
        )
        return Avatar.from_message(response.avatar)

    async def download(self, request: Message, timeout: float | None) -> DownloadedPicture:
        """Download a picture and return it verified."""
        rpc = rpcs.DOWNLOAD_IMAGE

        async def attempt(seconds: float, metadata: Metadata) -> DownloadedPicture:
            picture = ReceivedPicture()
            stream = self._stream(rpc, request, seconds, metadata)
            try:
                async for message in stream:
                    picture.add(message)
            finally:
                stream.cancel()
            return picture.verified()

        return await self._with_retries(rpc, timeout, attempt, request)

    async def save(self, data: bytes, path: Path) -> None:
        """Write a file, replacing an existing one only as a whole."""
        await asyncio.to_thread(save, data, path)

    async def watch(
        self,
        watch: watching.WatchCall,
    ) -> AsyncGenerator[Generation, None]:
        """Yield the new states of a watch, over as many connections as it takes."""
        resume = watch.resume
        reconnects = self._reconnects(watch, renews_token=callable(self._token))
        attempts = self._attempts(resume.rpc)
        error: AvatarCreatorError
        while not resume.finished:
            self._refuse_if_closed()
            metadata = self._metadata(reconnects.connecting_with(await self._authorization()))
            stream = None
            try:
                seconds = reconnects.remaining()
                with attempts.next(seconds), _call_cancellation_as_error():
                    stream = self._stream(resume.rpc, resume.request(), seconds, metadata)
                    async for message in stream:
                        reconnects.progressed()
                        if resume.is_new(message.generation):
                            yield Generation.from_message(message.generation)
                        if resume.finished:
                            return
                if resume.finished_if_closed:
                    return
                error = watching.stream_ended_early()
            except UnavailableError as unavailable:
                error = unavailable
            except grpc.RpcError as raised:
                error = name_arguments(from_rpc_error(raised), resume.rpc)
            finally:
                if stream is not None:
                    stream.cancel()
            await self._sleep(self._delay_after(error, reconnects, watch.on_reconnect))

    async def close(self, *, channel: bool) -> None:
        """Refuse later calls, and close the channel if asked."""
        self._closed = True
        if channel:
            # When a channel of grpcio 1.76 closes, streams that no task is reading at that moment stay open.
            for stream in list(self._streams):
                stream.cancel()
            await self._channel.close()

    def _refuse_if_closed(self) -> None:
        super()._refuse_if_closed()
        if self._loop not in (None, asyncio.get_running_loop()):
            raise FailedPreconditionError(
                "the client was created in another event loop; create one in each event loop"
            )

    def _stream(self, rpc: Rpc[Response], request: Message, timeout: float | None, metadata: Metadata) -> Any:
        multicallable = self._channel.unary_stream(rpc.path, serialize, rpc.response.FromString)
        stream = multicallable(request, timeout=timeout, metadata=metadata)
        self._streams.add(stream)
        return stream

    async def _with_retries(
        self,
        rpc: Rpc[Any],
        timeout: float | None,
        attempt: Callable[[float, Metadata], Awaitable[_Answer]],
        request: Message,
        *,
        resendable: bool = True,
        picture: str = "picture",
    ) -> _Answer:
        retries = self._retries(rpc, timeout, resendable=resendable, renews_token=callable(self._token))
        attempts = self._attempts(rpc, request)
        while True:
            self._refuse_if_closed()
            metadata = self._metadata(retries.sending_with(await self._authorization()))
            seconds = retries.seconds_to_send()
            try:
                with attempts.next(seconds), _call_cancellation_as_error():
                    return await attempt(seconds, metadata)
            except grpc.RpcError as raised:
                error = name_arguments(from_rpc_error(raised), rpc, picture)
            delay = retries.delay_after(error)
            if delay is None:
                raise error
            await self._sleep(delay)

    async def _authorization(self) -> Metadata:
        token = self._token() if callable(self._token) else self._token
        return bearer(await token if inspect.isawaitable(token) else token)


@contextmanager
def _call_cancellation_as_error() -> Generator[None, None, None]:
    """Raise a typed error for a call that ended because its channel was closed.

    gRPC raises `asyncio.CancelledError` then, which the waiting task would take for its own cancellation.
    """
    try:
        yield
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise CallCancelledError(
                "the channel was closed during the call; create a new client"
            ) from cancelled
        raise


async def _send(
    stream: Any,
    metadata: UploadAvatarMetadata,
    source: PictureSource,
    on_progress: UploadProgress | None,
) -> None:
    file_context = await asyncio.to_thread(source.open)
    with file_context as file:
        total = await asyncio.to_thread(total_bytes, file)
        try:
            await stream.write(UploadAvatarRequest(metadata=metadata))
            sent = 0
            pieces = source.chunks(file)
            while chunk := await asyncio.to_thread(next, pieces, b""):
                await stream.write(UploadAvatarRequest(chunk=chunk))
                sent += len(chunk)
                if on_progress is not None:
                    on_progress(sent, total)
            await stream.done_writing()
        except (asyncio.InvalidStateError, grpc.RpcError):
            # The service has answered before it received everything. Awaiting the stream gives its answer.
            pass


class _ServerStatus:
    """The status with which the server ended an upload before it had received all of it.

    The write that fails then invents an INTERNAL status and may put it in place of the server's status
    (grpc/grpc#36066; grpc/grpc#43486 would fix it). gRPC calls back for each status, in either order.
    """

    def __init__(self, stream: Any) -> None:
        self._status: aio.AioRpcError | None = None
        stream.add_done_callback(self._take)

    def instead_of(self, raised: grpc.RpcError) -> grpc.RpcError:
        """Return the server's status if there is one, else the error that was raised."""
        return self._status or raised

    def _take(self, stream: Any) -> None:
        code, details = _result_now(stream.code()), _result_now(stream.details())
        if code is not grpc.StatusCode.OK and details != "Internal error from Core":
            trailing_metadata = _result_now(stream.trailing_metadata())
            self._status = aio.AioRpcError(code, aio.Metadata(), trailing_metadata, details=details)


def _result_now(coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Return the result of a coroutine that does not wait. A task would return it too late."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: _Answer = done.value
        return answer
    raise RuntimeError("gRPC reported the end of a call without its status; please report this defect")

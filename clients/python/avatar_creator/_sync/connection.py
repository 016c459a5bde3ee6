"""Calls, uploads, downloads and watches of the sync client on one channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from avatar_creator import rpcs, watching
from avatar_creator._requests.argument_names import name_arguments
from avatar_creator._requests.calls import Call, Result
from avatar_creator.base_connection import BaseConnection, Metadata
from avatar_creator.errors import AvatarCreatorError, CallCancelledError, UnavailableError, from_rpc_error
from avatar_creator.options import CallOptions
from avatar_creator.pictures import (
    DownloadedPicture,
    PictureSource,
    ReceivedPicture,
    UploadProgress,
    save,
    upload_messages,
)
from avatar_creator.rpcs import Response, Rpc, serialize
from avatar_creator.tokens import bearer, require_plain_function
from avatar_creator.v1.avatar_service_pb2 import (
    UploadAvatarMetadata,
    UploadAvatarRequest,
    UploadAvatarResponse,
)
from avatar_creator.values import Avatar, Generation

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or a function that the client calls before every attempt to get one."""

Sleep: TypeAlias = Callable[[float], None]
"""Function that waits for a number of seconds."""

_Answer = TypeVar("_Answer")


class Connection(BaseConnection):
    """A channel, and the loops that retry calls on it."""

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        token: Token,
        options: CallOptions,
        clock: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        super().__init__(options=options, clock=clock)
        self._channel = channel
        self._token = token
        self._require_plain_token()
        self._sleep = sleep
        self._running = _RunningCalls()

    def with_options(self, token: Token | None, options: CallOptions) -> Self:
        """Return a connection on the same channel with other options; None keeps the token."""
        connection = self._copy(options)
        if token is not None:
            connection._token = token
            connection._require_plain_token()
        return connection

    def stoppable(self) -> Self:
        """Return a connection on the same channel whose calls other threads can stop."""
        connection = self._copy(self._options)
        connection._running = _RunningCalls()
        return connection

    def stop(self) -> None:
        """Cancel all uploads and downloads of this connection, and refuse later calls."""
        self._closed = True
        self._running.cancel()

    def call(self, call: Call[Response, Result], timeout: float | None) -> Result:
        """Make a call and return the caller's part of its response."""
        multicallable = self._channel.unary_unary(call.rpc.path, serialize, call.rpc.response.FromString)

        def attempt(seconds: float, metadata: Metadata) -> Response:
            return multicallable(call.request, timeout=seconds, metadata=metadata)

        return call.result(self._with_retries(call.rpc, timeout, attempt, call.request))

    def upload(
        self,
        metadata: UploadAvatarMetadata,
        source: PictureSource,
        on_progress: UploadProgress | None,
        timeout: float | None,
    ) -> Avatar:
        """Upload a picture and return its avatar."""
        rpc = rpcs.UPLOAD_AVATAR
        multicallable = self._channel.stream_unary(rpc.path, serialize, rpc.response.FromString)

        def attempt(seconds: float, authorization: Metadata) -> UploadAvatarResponse:
            failures: list[Exception] = []
            messages = _recording(upload_messages(metadata, source, on_progress), failures)
            try:
                call = multicallable.future(messages, timeout=seconds, metadata=authorization)
                with self._running.including(call):
                    answer: UploadAvatarResponse = call.result()
                    return answer
            except grpc.RpcError:
                # gRPC reads the messages on its own thread and reports only that reading failed, not the
                # error.
                if failures:
                    raise failures[0] from None
                raise

        response = self._with_retries(
            rpc, timeout, attempt, metadata, resendable=source.resendable, picture=source.argument
        )
        return Avatar.from_message(response.avatar)

    def download(self, request: Message, timeout: float | None) -> DownloadedPicture:
        """Download a picture and return it verified."""
        rpc = rpcs.DOWNLOAD_IMAGE

        def attempt(seconds: float, metadata: Metadata) -> DownloadedPicture:
            picture = ReceivedPicture()
            stream = self._stream(rpc, request, seconds, metadata)
            with self._running.including(stream):
                for message in stream:
                    picture.add(message)
            return picture.verified()

        return self._with_retries(rpc, timeout, attempt, request)

    def save(self, data: bytes, path: Path) -> None:
        """Write a file, replacing an existing one only as a whole."""
        save(data, path)

    def watch(
        self,
        watch: watching.WatchCall,
    ) -> Generator[Generation, None, None]:
        """Yield the new states of a watch, over as many connections as it takes."""
        resume = watch.resume
        reconnects = self._reconnects(watch, renews_token=callable(self._token))
        attempts = self._attempts(resume.rpc)
        error: AvatarCreatorError
        while not resume.finished:
            self._refuse_if_closed()
            metadata = self._metadata(reconnects.connecting_with(self._authorization()))
            stream = None
            try:
                seconds = reconnects.remaining()
                with attempts.next(seconds):
                    stream = self._stream(resume.rpc, resume.request(), seconds, metadata)
                    for message in stream:
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
            self._sleep(self._delay_after(error, reconnects, watch.on_reconnect))

    def close(self, *, channel: bool) -> None:
        """Refuse later calls, and close the channel if asked."""
        self._closed = True
        if channel:
            self._channel.close()

    def _stream(self, rpc: Rpc[Response], request: Message, timeout: float | None, metadata: Metadata) -> Any:
        multicallable = self._channel.unary_stream(rpc.path, serialize, rpc.response.FromString)
        return multicallable(request, timeout=timeout, metadata=metadata)

    def _with_retries(
        self,
        rpc: Rpc[Any],
        timeout: float | None,
        attempt: Callable[[float, Metadata], _Answer],
        request: Message,
        *,
        resendable: bool = True,
        picture: str = "picture",
    ) -> _Answer:
        retries = self._retries(rpc, timeout, resendable=resendable, renews_token=callable(self._token))
        attempts = self._attempts(rpc, request)
        while True:
            self._refuse_if_closed()
            metadata = self._metadata(retries.sending_with(self._authorization()))
            seconds = retries.seconds_to_send()
            try:
                with attempts.next(seconds):
                    return attempt(seconds, metadata)
            except grpc.RpcError as raised:
                error = name_arguments(from_rpc_error(raised), rpc, picture)
            delay = retries.delay_after(error)
            if delay is None:
                raise error
            self._sleep(delay)

    def _authorization(self) -> Metadata:
        return bearer(self._token() if callable(self._token) else self._token)

    def _require_plain_token(self) -> None:
        require_plain_function(
            self._token, "token", "use AsyncAvatarCreator, or a function that returns text"
        )


class _RunningCalls:
    """Uploads and downloads that run now, so that another thread can cancel them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Any] = set()
        self._cancelled = False

    @contextmanager
    def including(self, call: Any) -> Generator[None, None, None]:
        """Include a call while the context is open. Leaving the context cancels a call that still runs."""
        with self._lock:
            self._calls.add(call)
            if self._cancelled:
                call.cancel()
        try:
            yield
        except grpc.FutureCancelledError as cancelled:
            raise CallCancelledError("the call was stopped together with others") from cancelled
        finally:
            with self._lock:
                self._calls.discard(call)
            call.cancel()

    def cancel(self) -> None:
        """Cancel the calls that run now, and those that begin later."""
        with self._lock:
            self._cancelled = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()


def _recording(
    messages: Iterator[UploadAvatarRequest], failures: list[Exception]
) -> Iterator[UploadAvatarRequest]:
    try:
        yield from messages
    except Exception as failure:
        failures.append(failure)
        raise

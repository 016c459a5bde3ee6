"""The client for asyncio. What it sends, repeats and delivers is decided in the modules it shares with
`sync`; here is only the waiting."""

# A timeout here is the deadline that the server is told, which asyncio.timeout() cannot tell it.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, overload
from weakref import WeakSet

import grpc
from google.protobuf.message import Message
from grpc import aio

from avatar_creator import channels, requests, rpcs, watching
from avatar_creator.errors import (
    AvatarCreatorError,
    CallCancelledError,
    UnavailableError,
    from_rpc_error,
)
from avatar_creator.pictures import (
    Picture,
    PictureSource,
    ReceivedPicture,
    UploadProgress,
    chunks,
    save,
    total_bytes,
)
from avatar_creator.requests import Call, Item, ListCall, Page, Result
from avatar_creator.retries import Backoff, CallRetries, Reconnects
from avatar_creator.rpcs import Response, Rpc, serialize
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.avatar_pb2 import Avatar, SourceType
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import GetProjectResponse
from avatar_creator.v1.avatar_service_pb2 import (
    AvatarOrder,
    BatchGetAvatarsResponse,
    ImageVariant,
    UploadAvatarMetadata,
    UploadAvatarRequest,
    UploadAvatarResponse,
)
from avatar_creator.v1.generation_pb2 import (
    Generation,
    GenerationAttempt,
    GenerationPriority,
    GenerationState,
    Recipe,
)
from avatar_creator.v1.generation_service_pb2 import EstimateGenerationResponse
from avatar_creator.v1.persona_pb2 import Persona, PersonaExample
from avatar_creator.v1.preset_pb2 import AvatarPreset
from avatar_creator.v1.usage_pb2 import AppUsageSummary, UsageRecord
from avatar_creator.v1.usage_service_pb2 import GetStatsResponse, RecordUsageResponse

AsyncToken: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A bearer token, or what is called, and awaited if need be, for one before every attempt."""

_Answer = TypeVar("_Answer")
_Metadata: TypeAlias = tuple[tuple[str, str], ...]


class _AsyncConnection:
    """A channel, and how calls on it are repeated."""

    def __init__(
        self,
        channel: aio.Channel,
        *,
        token: AsyncToken | None,
        timeout: float,
        transfer_timeout: float,
        backoff: Backoff,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._token = token
        self._timeout = timeout
        self._transfer_timeout = transfer_timeout
        self._backoff = backoff
        self._clock = clock
        self._sleep = sleep
        self._closed = False
        self._streams: WeakSet[Any] = WeakSet()

    async def call(self, call: Call[Response, Result], timeout: float | None) -> Result:
        multicallable = self._channel.unary_unary(call.rpc.path, serialize, call.rpc.response.FromString)

        async def attempt(seconds: float, metadata: _Metadata) -> Response:
            return await multicallable(call.request, timeout=seconds, metadata=metadata)

        return call.result(await self._repeat(call.rpc, timeout, attempt))

    def items(
        self, listed: ListCall[Any, Item], page_token: str, page_size: int, timeout: float | None
    ) -> AsyncItems[Item]:
        return AsyncItems(self, listed.at(page_token, page_size), timeout)

    async def upload(
        self,
        metadata: UploadAvatarMetadata,
        source: PictureSource,
        on_progress: UploadProgress | None,
        timeout: float | None,
    ) -> Avatar:
        rpc = rpcs.UPLOAD_AVATAR
        multicallable = self._channel.stream_unary(rpc.path, serialize, rpc.response.FromString)

        async def attempt(seconds: float, authorization: _Metadata) -> UploadAvatarResponse:
            stream = multicallable(timeout=seconds, metadata=authorization)
            status = _TrueStatus(stream)
            try:
                await _send(stream, metadata, source, on_progress)
                return await stream
            except grpc.RpcError as raised:
                raise status.instead_of(raised) from None
            finally:
                stream.cancel()

        response = await self._repeat(rpc, timeout, attempt, repeatable=source.repeatable)
        return response.avatar

    async def download(self, request: Message, timeout: float | None) -> bytes:
        rpc = rpcs.DOWNLOAD_IMAGE

        async def attempt(seconds: float, metadata: _Metadata) -> bytes:
            picture = ReceivedPicture()
            stream = self._stream(rpc, request, seconds, metadata)
            try:
                async for message in stream:
                    picture.take(message)
            finally:
                stream.cancel()
            return picture.checked()

        return await self._repeat(rpc, timeout, attempt)

    async def follow(
        self, resume: watching.ResumePoint, *, timeout: float | None, reconnect_for: float
    ) -> AsyncGenerator[Generation, None]:
        reconnects = Reconnects(
            self._backoff,
            self._clock,
            reconnect_for=reconnect_for,
            timeout=timeout,
            resource=resume.resource,
            renews_token=callable(self._token),
        )
        error: AvatarCreatorError
        while not resume.finished:
            stream = None
            try:
                self._refuse_if_closed()
                stream = self._stream(
                    resume.rpc,
                    resume.request(),
                    reconnects.remaining(),
                    reconnects.show(await self._authorization()),
                )
                with _only_own_cancellation():
                    async for message in stream:
                        reconnects.progressed()
                        if resume.is_news(message.generation):
                            yield message.generation
                        if resume.finished:
                            return
                if resume.finished_if_closed:
                    return
                error = watching.stream_ended_early()
            except UnavailableError as unavailable:
                error = unavailable
            except grpc.RpcError as raised:
                error = from_rpc_error(raised)
            finally:
                if stream is not None:
                    stream.cancel()
            await self._sleep(reconnects.delay_after(error))

    def at_most(self, timeout: float) -> float:
        """The default deadline of a call that is part of something with this timeout."""
        return min(self._timeout, timeout)

    def remaining_of(self, timeout: float) -> Callable[[], float]:
        """Asked later, how many of these seconds are left."""
        deadline = self._clock() + timeout
        return lambda: max(0.0, deadline - self._clock())

    async def close(self, *, channel: bool) -> None:
        self._closed = True
        if channel:
            # A channel of grpcio 1.76 that closes leaves open the streams that nobody reads just then.
            for stream in list(self._streams):
                stream.cancel()
            await self._channel.close()

    def _stream(
        self, rpc: Rpc[Response], request: Message, timeout: float | None, metadata: _Metadata
    ) -> Any:
        multicallable = self._channel.unary_stream(rpc.path, serialize, rpc.response.FromString)
        stream = multicallable(request, timeout=timeout, metadata=metadata)
        self._streams.add(stream)
        return stream

    async def _repeat(
        self,
        rpc: Rpc[Any],
        timeout: float | None,
        attempt: Callable[[float, _Metadata], Awaitable[_Answer]],
        *,
        repeatable: bool = True,
    ) -> _Answer:
        default = self._transfer_timeout if rpc.transfer else self._timeout
        retries = CallRetries(
            self._backoff,
            self._clock,
            timeout=default if timeout is None else timeout,
            repeatable=repeatable and rpc.repeatable,
        )
        while True:
            self._refuse_if_closed()
            authorization = await self._authorization()
            try:
                with _only_own_cancellation():
                    return await attempt(retries.remaining(), authorization)
            except grpc.RpcError as raised:
                error = from_rpc_error(raised)
            delay = retries.delay_after(error)
            if delay is None:
                raise error
            await self._sleep(delay)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise CallCancelledError("the client is closed")

    async def _authorization(self) -> _Metadata:
        token = self._token() if callable(self._token) else self._token
        return channels.bearer(token if token is None or isinstance(token, str) else await token)


@contextmanager
def _only_own_cancellation() -> Generator[None, None, None]:
    """Makes a typed error of gRPC's `asyncio.CancelledError` for a call that a closed channel cut short.

    To the task that waits it would look as if somebody had cancelled the task.
    """
    try:
        yield
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise CallCancelledError("the call was cut short") from cancelled
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
            pieces = chunks(file)
            while chunk := await asyncio.to_thread(next, pieces, b""):
                await stream.write(UploadAvatarRequest(chunk=chunk))
                sent += len(chunk)
                if on_progress is not None:
                    on_progress(sent, total)
            await stream.done_writing()
        except (asyncio.InvalidStateError, grpc.RpcError):
            # The service has answered before it had everything; awaiting the stream tells what.
            pass


class _TrueStatus:
    """The status that a server gave an upload which it ended before it had all of it.

    The write that then fails makes up an INTERNAL status and may put it over the true one (grpc/grpc#36066;
    grpc/grpc#43486 would mend it). The call tells of each status it takes, in whichever order they come.
    """

    def __init__(self, stream: Any) -> None:
        self._true: aio.AioRpcError | None = None
        stream.add_done_callback(self._take)

    def instead_of(self, raised: grpc.RpcError) -> grpc.RpcError:
        """The true status if one came, else what was raised."""
        return self._true or raised

    def _take(self, stream: Any) -> None:
        code, details = _at_once(stream.code()), _at_once(stream.details())
        if code is not grpc.StatusCode.OK and details != "Internal error from Core":
            trailing_metadata = _at_once(stream.trailing_metadata())
            self._true = aio.AioRpcError(code, aio.Metadata(), trailing_metadata, details=details)


def _at_once(coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
    """The result of a coroutine that has nothing to wait for. A task would come too late."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: _Answer = done.value
        return answer
    raise RuntimeError("a call that is done does not know its status")


class AsyncItems(AsyncIterator[Item]):
    """What a list call gives: its items, each page asked for when it is needed, or a single one by `page`."""

    def __init__(
        self, connection: _AsyncConnection, first: ListCall[Any, Item], timeout: float | None
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._first = first
        self._next: ListCall[Any, Item] | None = first
        self._of_page: Iterator[Item] = iter(())

    async def page(self) -> Page[Item]:
        """The page where the call begins. See `Items.page`."""
        return await self._connection.call(self._first.page(), self._timeout)

    async def __anext__(self) -> Item:
        while True:
            for item in self._of_page:
                return item
            if self._next is None:
                raise StopAsyncIteration
            page = await self._connection.call(self._next.page(), self._timeout)
            self._of_page, self._next = iter(page.items), self._next.after(page)


class AsyncProjects:
    """Folders of avatars that belong to the calling user."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        name: str,
        description: str = "",
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AvatarProject:
        """Creates a project. See `Projects.create`."""
        return await self._connection.call(requests.create_project(name, description, request_id), timeout)

    async def get(self, project_id: str, *, timeout: float | None = None) -> AvatarProject:
        """Reads one project. See `Projects.get`."""
        return await self._connection.call(requests.get_project(project_id), timeout)

    async def open(self, project_id: str, *, timeout: float | None = None) -> GetProjectResponse:
        """Reads a project with its newest 20 avatars and their thumbnails in one call.

        See `Projects.open`.
        """
        return await self._connection.call(requests.open_project(project_id), timeout)

    def list(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[AvatarProject]:
        """All projects of the user, newest first; the next page is asked for when it is needed.

        See `Projects.list`.
        """
        return self._connection.items(requests.list_projects(user_id), page_token, page_size, timeout)

    async def update(
        self,
        project_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> AvatarProject:
        """Changes what is given and leaves the rest; `description=""` empties it. See `Projects.update`."""
        return await self._connection.call(requests.update_project(project_id, name, description), timeout)

    async def delete(self, project_id: str, *, timeout: float | None = None) -> None:
        """Deletes a project with all its avatars and generations. See `Projects.delete`."""
        await self._connection.call(requests.delete_project(project_id), timeout)


class AsyncAvatars:
    """Avatars of the calling user."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    async def upload(
        self,
        project_id: str,
        picture: Picture,
        *,
        name: str,
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        content_type: str = "",
        on_progress: UploadProgress | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Avatar:
        """Makes an avatar of a picture: JPEG, PNG or WebP, at most 10 MiB and 50 million pixels.

        See `Avatars.upload`.
        """
        metadata = requests.upload_avatar(project_id, name, persona, attributes, content_type, request_id)
        return await self._connection.upload(metadata, PictureSource(picture), on_progress, timeout)

    async def get(self, avatar_id: str, *, timeout: float | None = None) -> Avatar:
        """Reads one avatar. See `Avatars.get`."""
        return await self._connection.call(requests.get_avatar(avatar_id), timeout)

    async def batch_get(
        self,
        avatar_ids: Iterable[str],
        *,
        include_thumbnails: bool = False,
        timeout: float | None = None,
    ) -> BatchGetAvatarsResponse:
        """Reads 1 to 100 avatars: those found, in the order asked for, and the ids that are missing.

        See `Avatars.batch_get`.
        """
        return await self._connection.call(
            requests.batch_get_avatars(avatar_ids, include_thumbnails), timeout
        )

    def list(
        self,
        project_id: str = "",
        *,
        query: str = "",
        source_types: Iterable[SourceType.ValueType] = (),
        gender: Gender.ValueType = Gender.GENDER_UNSPECIFIED,
        age_range: AgeRange.ValueType = AgeRange.AGE_RANGE_UNSPECIFIED,
        ethnicity: str = "",
        style: Style.ValueType = Style.STYLE_UNSPECIFIED,
        order: AvatarOrder.ValueType = AvatarOrder.AVATAR_ORDER_UNSPECIFIED,
        include_thumbnails: bool = False,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[Avatar]:
        """All avatars that fit every filter given; the next page is asked for when it is needed.

        See `Avatars.list`.
        """
        return self._connection.items(
            requests.list_avatars(
                project_id,
                query,
                source_types,
                gender,
                age_range,
                ethnicity,
                style,
                order,
                include_thumbnails,
                user_id,
            ),
            page_token,
            page_size,
            timeout,
        )

    async def update(
        self,
        avatar_id: str,
        *,
        name: str | None = None,
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        paths: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> Avatar:
        """Replaces what is given and leaves the rest; `persona=Persona()` empties it.

        See `Avatars.update`.
        """
        return await self._connection.call(
            requests.update_avatar(avatar_id, name, persona, attributes, paths), timeout
        )

    async def delete(self, avatar_id: str, *, timeout: float | None = None) -> None:
        """Deletes an avatar and its pictures. See `Avatars.delete`."""
        await self._connection.call(requests.delete_avatar(avatar_id), timeout)

    @overload
    async def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ...,
        to: None = None,
        timeout: float | None = None,
    ) -> bytes: ...

    @overload
    async def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ...,
        to: str | os.PathLike[str],
        timeout: float | None = None,
    ) -> Path: ...

    async def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ImageVariant.IMAGE_VARIANT_ORIGINAL,
        to: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> bytes | Path:
        """Reads a picture and checks its size and SHA-256. See `Avatars.download`."""
        data = await self._connection.download(requests.download_image(avatar_id, variant), timeout)
        if to is None:
            return data
        path = Path(to)
        await asyncio.to_thread(save, data, path)
        return path


class AsyncGenerations:
    """Portraits in the making."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        project_id: str,
        prompt: str = "",
        *,
        avatar_name: str = "",
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        width: int = 0,
        height: int = 0,
        seed: int | None = None,
        steps: int = 0,
        guidance_scale: float = 0.0,
        negative_prompt: str = "",
        strict: bool = False,
        omit_recipe: bool = False,
        preset_id: str = "",
        persona_example_id: str = "",
        reference_avatar_id: str = "",
        reference_strength: float = 0.0,
        priority: GenerationPriority.ValueType = GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Generation:
        """Starts a generation and returns at once; `watch` follows it. See `Generations.create`."""
        return await self._connection.call(
            requests.create_generation(
                requests.wanted_generation(
                    project_id=project_id,
                    prompt=prompt,
                    avatar_name=avatar_name,
                    persona=persona,
                    attributes=attributes,
                    width=width,
                    height=height,
                    seed=seed,
                    steps=steps,
                    guidance_scale=guidance_scale,
                    negative_prompt=negative_prompt,
                    strict=strict,
                    omit_recipe=omit_recipe,
                    preset_id=preset_id,
                    persona_example_id=persona_example_id,
                    reference_avatar_id=reference_avatar_id,
                    reference_strength=reference_strength,
                    priority=priority,
                ),
                request_id,
            ),
            timeout,
        )

    async def create_variations(
        self,
        project_id: str,
        prompt: str,
        count: int,
        *,
        avatar_name: str = "",
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        width: int = 0,
        height: int = 0,
        seed: int | None = None,
        steps: int = 0,
        guidance_scale: float = 0.0,
        negative_prompt: str = "",
        strict: bool = False,
        omit_recipe: bool = False,
        preset_id: str = "",
        persona_example_id: str = "",
        reference_avatar_id: str = "",
        reference_strength: float = 0.0,
        priority: GenerationPriority.ValueType = GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Sequence[Generation]:
        """Starts several generations of the same wishes, with seeds one after the other.

        See `Generations.create_variations`.
        """
        return await self._connection.call(
            requests.create_variations(
                requests.wanted_generation(
                    project_id=project_id,
                    prompt=prompt,
                    avatar_name=avatar_name,
                    persona=persona,
                    attributes=attributes,
                    width=width,
                    height=height,
                    seed=seed,
                    steps=steps,
                    guidance_scale=guidance_scale,
                    negative_prompt=negative_prompt,
                    strict=strict,
                    omit_recipe=omit_recipe,
                    preset_id=preset_id,
                    persona_example_id=persona_example_id,
                    reference_avatar_id=reference_avatar_id,
                    reference_strength=reference_strength,
                    priority=priority,
                ),
                count,
                request_id,
            ),
            timeout,
        )

    async def reproduce(
        self,
        generation_id: str,
        *,
        project_id: str,
        avatar_name: str = "",
        priority: GenerationPriority.ValueType = GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Generation:
        """Runs the recipe of a completed generation again and returns the new one, with `reproduce_of` set.

        See `Generations.reproduce`.
        """
        return await self._connection.call(
            requests.reproduce_generation(generation_id, project_id, avatar_name, priority, request_id),
            timeout,
        )

    async def estimate(
        self,
        project_id: str,
        prompt: str = "",
        *,
        avatar_name: str = "",
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        width: int = 0,
        height: int = 0,
        seed: int | None = None,
        steps: int = 0,
        guidance_scale: float = 0.0,
        negative_prompt: str = "",
        strict: bool = False,
        omit_recipe: bool = False,
        preset_id: str = "",
        persona_example_id: str = "",
        reference_avatar_id: str = "",
        reference_strength: float = 0.0,
        priority: GenerationPriority.ValueType = GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED,
        variation_count: int = 1,
        timeout: float | None = None,
    ) -> EstimateGenerationResponse:
        """Says what `create` would cost and take, and what it would warn of, and creates nothing.

        See `Generations.estimate`.
        """
        return await self._connection.call(
            requests.estimate_generation(
                requests.wanted_generation(
                    project_id=project_id,
                    prompt=prompt,
                    avatar_name=avatar_name,
                    persona=persona,
                    attributes=attributes,
                    width=width,
                    height=height,
                    seed=seed,
                    steps=steps,
                    guidance_scale=guidance_scale,
                    negative_prompt=negative_prompt,
                    strict=strict,
                    omit_recipe=omit_recipe,
                    preset_id=preset_id,
                    persona_example_id=persona_example_id,
                    reference_avatar_id=reference_avatar_id,
                    reference_strength=reference_strength,
                    priority=priority,
                ),
                variation_count,
            ),
            timeout,
        )

    async def get(self, generation_id: str, *, timeout: float | None = None) -> Generation:
        """Reads one generation. See `Generations.get`."""
        return await self._connection.call(requests.get_generation(generation_id), timeout)

    async def attempts(
        self, generation_id: str, *, timeout: float | None = None
    ) -> Sequence[GenerationAttempt]:
        """The tries of the workers at a generation, first to last. See `Generations.attempts`."""
        return await self._connection.call(requests.list_attempts(generation_id), timeout)

    async def recipe(self, generation_id: str, *, timeout: float | None = None) -> Recipe | None:
        """What made the picture of a generation; None until it is COMPLETED. See `Generations.recipe`."""
        return await self._connection.call(requests.get_recipe(generation_id), timeout)

    def list(
        self,
        project_id: str = "",
        *,
        group_id: str = "",
        states: Iterable[GenerationState.ValueType] = (),
        create_time_from: datetime | None = None,
        create_time_to: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[Generation]:
        """All generations that fit every filter given, newest first; the next page is asked for when needed.

        See `Generations.list`.
        """
        return self._connection.items(
            requests.list_generations(
                project_id, group_id, states, create_time_from, create_time_to, user_id
            ),
            page_token,
            page_size,
            timeout,
        )

    def watch(
        self,
        generation_id: str,
        *,
        known_revision: int = 0,
        timeout: float | None = None,
        reconnect_for: float = 60.0,
    ) -> AsyncGenerator[Generation, None]:
        """Follows a generation until it has ended: its state now, then every later one that is caught.

        See `Generations.watch`.
        """
        return self._connection.follow(
            watching.OneGeneration(generation_id, known_revision),
            timeout=timeout,
            reconnect_for=reconnect_for,
        )

    def watch_many(
        self,
        targets: Iterable[str] | Mapping[str, int] | None = None,
        *,
        project_id: str = "",
        group_id: str = "",
        changed_since: datetime | None = None,
        timeout: float | None = None,
        reconnect_for: float = 60.0,
    ) -> AsyncGenerator[Generation, None]:
        """Follows up to 100 generations or a group until all have ended, or a project until it is closed.

        See `Generations.watch_many`.
        """
        return self._connection.follow(
            watching.resume_point(targets, project_id, group_id, changed_since, datetime.now(UTC)),
            timeout=timeout,
            reconnect_for=reconnect_for,
        )

    async def cancel(self, generation_id: str, *, timeout: float | None = None) -> Generation:
        """Cancels a generation that has not ended; one that was cancelled before is returned as it is.

        See `Generations.cancel`.
        """
        return await self._connection.call(requests.cancel_generation(generation_id), timeout)

    async def retry(
        self, generation_id: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Generation:
        """Starts a failed or cancelled generation again and returns the new one, with `retry_of` set.

        See `Generations.retry`.
        """
        return await self._connection.call(requests.retry_generation(generation_id, request_id), timeout)

    async def create_and_wait(
        self,
        project_id: str,
        prompt: str = "",
        *,
        avatar_name: str = "",
        persona: Persona | None = None,
        attributes: Attributes | None = None,
        width: int = 0,
        height: int = 0,
        seed: int | None = None,
        steps: int = 0,
        guidance_scale: float = 0.0,
        negative_prompt: str = "",
        strict: bool = False,
        omit_recipe: bool = False,
        preset_id: str = "",
        persona_example_id: str = "",
        reference_avatar_id: str = "",
        reference_strength: float = 0.0,
        priority: GenerationPriority.ValueType = GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED,
        request_id: str | None = None,
        on_progress: Callable[[Generation], object] | None = None,
        timeout: float = 600.0,
    ) -> Generation:
        """Starts a generation, watches it, and returns it COMPLETED. See `Generations.create_and_wait`."""
        remaining = self._connection.remaining_of(timeout)
        generation = await self.create(
            project_id,
            prompt,
            avatar_name=avatar_name,
            persona=persona,
            attributes=attributes,
            width=width,
            height=height,
            seed=seed,
            steps=steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            strict=strict,
            omit_recipe=omit_recipe,
            preset_id=preset_id,
            persona_example_id=persona_example_id,
            reference_avatar_id=reference_avatar_id,
            reference_strength=reference_strength,
            priority=priority,
            request_id=request_id,
            timeout=self._connection.at_most(timeout),
        )
        async with aclosing(self.watch(generation.id, timeout=remaining())) as states:
            async for state in states:
                generation = state
                if on_progress is not None:
                    on_progress(state)
        return watching.completed(generation)


class AsyncUsage:
    """What apps do with avatars."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    async def record(
        self,
        avatar_id: str,
        *,
        action: str,
        app_id: str = "",
        app_name: str = "",
        reference_id: str = "",
        reference_type: str = "",
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> RecordUsageResponse:
        """Records one use of an avatar: the stored record and the avatar's count after it.

        See `Usage.record`.
        """
        return await self._connection.call(
            requests.record_usage(
                avatar_id, action, app_id, app_name, reference_id, reference_type, metadata, request_id
            ),
            timeout,
        )

    def list(
        self,
        avatar_id: str,
        *,
        app_id: str = "",
        action: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[UsageRecord]:
        """All uses of an avatar, newest first; the next page is asked for when it is needed.

        See `Usage.list`.
        """
        return self._connection.items(
            requests.list_usage(avatar_id, app_id, action), page_token, page_size, timeout
        )

    async def summarize(self, avatar_id: str, *, timeout: float | None = None) -> Sequence[AppUsageSummary]:
        """The uses of an avatar by app, most used first. See `Usage.summarize`."""
        return await self._connection.call(requests.summarize_usage(avatar_id), timeout)

    async def stats(self, *, user_id: str = "", timeout: float | None = None) -> GetStatsResponse:
        """Figures about all avatars and generations of the user. See `Usage.stats`."""
        return await self._connection.call(requests.get_stats(user_id), timeout)


class AsyncPresets:
    """Ready-made starting points for an avatar, the same for every user."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        category: str = "",
        query: str = "",
        include_images: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[AvatarPreset]:
        """All presets that fit, most popular first; the next page is asked for when it is needed.

        See `Presets.list`.
        """
        return self._connection.items(
            requests.list_presets(category, query, include_images), page_token, page_size, timeout
        )

    async def get(self, preset_id: str, *, timeout: float | None = None) -> AvatarPreset:
        """Reads one preset with its picture. See `Presets.get`."""
        return await self._connection.call(requests.get_preset(preset_id), timeout)


class AsyncPersonas:
    """Ready-made personas to start an avatar from, the same for every user."""

    def __init__(self, connection: _AsyncConnection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        category: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[PersonaExample]:
        """All persona examples that fit, most used first; the next page is asked for when it is needed.

        See `Personas.list`.
        """
        return self._connection.items(
            requests.list_persona_examples(category), page_token, page_size, timeout
        )

    async def get(self, persona_example_id: str, *, timeout: float | None = None) -> PersonaExample:
        """Reads one persona example. See `Personas.get`."""
        return await self._connection.call(requests.get_persona_example(persona_example_id), timeout)


class AsyncAvatarCreator:
    """A client of Avatar Creator for one asyncio loop; close it when done.

    Every method raises `AvatarCreatorError`s and takes `timeout`, the seconds its call may take with all
    repetitions. After UNAVAILABLE a call is repeated, within that time, if doing it twice is as good as once:
    all but deletes, and uploads of file objects.

    Attributes:
        projects: folders of avatars.
        avatars: avatars and their pictures.
        generations: portraits in the making.
        usage: what apps do with avatars.
        presets: ready-made starting points.
        personas: ready-made personas.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        token: AsyncToken | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        channel: aio.Channel | None = None,
        timeout: float = 10.0,
        transfer_timeout: float = 60.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Connects at the first call. To be made where the loop runs.

        Args:
            target: host and port, or any gRPC name.
            token: sent as `authorization: Bearer` with every call; a callable, which may be async, is asked
                before every attempt, so that it can give a fresh one. Without TLS it travels in the clear.
            tls: whether to speak TLS.
            root_certificates: PEM of who may vouch for the server; None: gRPC's own list.
            channel: used instead of `target`, and not closed with the client.
            timeout: seconds of a call without one of its own.
            transfer_timeout: likewise for uploads and downloads.
            backoff: how repetitions are spaced.
            clock: seconds, never going back.
            sleep: waits for so many seconds.
        """
        self._owns_channel = channel is None
        self._connection = _AsyncConnection(
            channel or channels.connect_async(target, tls=tls, root_certificates=root_certificates),
            token=token,
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            backoff=backoff or Backoff(),
            clock=clock,
            sleep=sleep,
        )
        self.projects = AsyncProjects(self._connection)
        self.avatars = AsyncAvatars(self._connection)
        self.generations = AsyncGenerations(self._connection)
        self.usage = AsyncUsage(self._connection)
        self.presets = AsyncPresets(self._connection)
        self.personas = AsyncPersonas(self._connection)

    async def close(self) -> None:
        """Ends running calls and watches with `CallCancelledError`; later ones are refused with it.

        A channel that was given is left alone, and so is what runs on it.
        """
        await self._connection.close(channel=self._owns_channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

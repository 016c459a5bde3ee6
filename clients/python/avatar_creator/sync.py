"""The client for ordinary code. What it sends, repeats and delivers is decided in the modules it shares with
`aio`; here is only the waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, overload

import grpc
from google.protobuf.message import Message

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
    save,
    upload_messages,
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

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or what is called for one before every attempt."""

_Answer = TypeVar("_Answer")
_Metadata: TypeAlias = tuple[tuple[str, str], ...]


class _Connection:
    """A channel, and how calls on it are repeated."""

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        token: Token | None,
        timeout: float,
        transfer_timeout: float,
        backoff: Backoff,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._channel = channel
        self._token = token
        self._timeout = timeout
        self._transfer_timeout = transfer_timeout
        self._backoff = backoff
        self._clock = clock
        self._sleep = sleep
        self._closed = False

    def call(self, call: Call[Response, Result], timeout: float | None) -> Result:
        multicallable = self._channel.unary_unary(call.rpc.path, serialize, call.rpc.response.FromString)

        def attempt(seconds: float, metadata: _Metadata) -> Response:
            return multicallable(call.request, timeout=seconds, metadata=metadata)

        return call.result(self._repeat(call.rpc, timeout, attempt))

    def items(
        self, listed: ListCall[Any, Item], page_token: str, page_size: int, timeout: float | None
    ) -> Items[Item]:
        return Items(self, listed.at(page_token, page_size), timeout)

    def upload(
        self,
        metadata: UploadAvatarMetadata,
        source: PictureSource,
        on_progress: UploadProgress | None,
        timeout: float | None,
    ) -> Avatar:
        rpc = rpcs.UPLOAD_AVATAR
        multicallable = self._channel.stream_unary(rpc.path, serialize, rpc.response.FromString)

        def attempt(seconds: float, authorization: _Metadata) -> UploadAvatarResponse:
            failures: list[Exception] = []
            messages = _noting(upload_messages(metadata, source, on_progress), failures)
            try:
                return multicallable(messages, timeout=seconds, metadata=authorization)
            except grpc.RpcError:
                # gRPC reads the messages on a thread of its own and tells only that reading failed.
                if failures:
                    raise failures[0] from None
                raise

        return self._repeat(rpc, timeout, attempt, repeatable=source.repeatable).avatar

    def download(self, request: Message, timeout: float | None) -> bytes:
        rpc = rpcs.DOWNLOAD_IMAGE

        def attempt(seconds: float, metadata: _Metadata) -> bytes:
            picture = ReceivedPicture()
            stream = self._stream(rpc, request, seconds, metadata)
            try:
                for message in stream:
                    picture.take(message)
            finally:
                stream.cancel()
            return picture.checked()

        return self._repeat(rpc, timeout, attempt)

    def follow(
        self, resume: watching.ResumePoint, *, timeout: float | None, reconnect_for: float
    ) -> Generator[Generation, None, None]:
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
                    reconnects.show(self._authorization()),
                )
                for message in stream:
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
            self._sleep(reconnects.delay_after(error))

    def at_most(self, timeout: float) -> float:
        """The default deadline of a call that is part of something with this timeout."""
        return min(self._timeout, timeout)

    def remaining_of(self, timeout: float) -> Callable[[], float]:
        """Asked later, how many of these seconds are left."""
        deadline = self._clock() + timeout
        return lambda: max(0.0, deadline - self._clock())

    def close(self, *, channel: bool) -> None:
        self._closed = True
        if channel:
            self._channel.close()

    def _stream(
        self, rpc: Rpc[Response], request: Message, timeout: float | None, metadata: _Metadata
    ) -> Any:
        multicallable = self._channel.unary_stream(rpc.path, serialize, rpc.response.FromString)
        return multicallable(request, timeout=timeout, metadata=metadata)

    def _repeat(
        self,
        rpc: Rpc[Any],
        timeout: float | None,
        attempt: Callable[[float, _Metadata], _Answer],
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
            try:
                return attempt(retries.remaining(), self._authorization())
            except grpc.RpcError as raised:
                error = from_rpc_error(raised)
            delay = retries.delay_after(error)
            if delay is None:
                raise error
            self._sleep(delay)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise CallCancelledError("the client is closed")

    def _authorization(self) -> _Metadata:
        return channels.bearer(self._token() if callable(self._token) else self._token)


def _noting(
    messages: Iterator[UploadAvatarRequest], failures: list[Exception]
) -> Iterator[UploadAvatarRequest]:
    try:
        yield from messages
    except Exception as failure:
        failures.append(failure)
        raise


class Items(Iterator[Item]):
    """What a list call gives: its items, each page asked for when it is needed, or a single one by `page`."""

    def __init__(self, connection: _Connection, first: ListCall[Any, Item], timeout: float | None) -> None:
        self._connection = connection
        self._timeout = timeout
        self._first = first
        self._next: ListCall[Any, Item] | None = first
        self._of_page: Iterator[Item] = iter(())

    def page(self) -> Page[Item]:
        """The page where the call begins: the first, or that of its `page_token`.

        For a screen that shows one page and a link to the next. Raises what going over the items raises.
        """
        return self._connection.call(self._first.page(), self._timeout)

    def __next__(self) -> Item:
        while True:
            for item in self._of_page:
                return item
            if self._next is None:
                raise StopIteration
            page = self._connection.call(self._next.page(), self._timeout)
            self._of_page, self._next = iter(page.items), self._next.after(page)


class Projects:
    """Folders of avatars that belong to the calling user."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        description: str = "",
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AvatarProject:
        """Creates a project.

        Args:
            name: 1 to 120 characters.
            description: at most 2,000 characters.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 10.

        Raises:
            InvalidArgumentError: name or description breaks its limit.
            AlreadyExistsError: `request_id` was used for another project.
        """
        return self._connection.call(requests.create_project(name, description, request_id), timeout)

    def get(self, project_id: str, *, timeout: float | None = None) -> AvatarProject:
        """Reads one project.

        Raises:
            NotFoundError: there is none, or it is another user's.
        """
        return self._connection.call(requests.get_project(project_id), timeout)

    def open(self, project_id: str, *, timeout: float | None = None) -> GetProjectResponse:
        """Reads a project with its newest 20 avatars and their thumbnails in one call.

        The answer's `next_page_token` goes on with
        `avatars.list(project_id, include_thumbnails=True, page_token=...)`.

        Raises:
            NotFoundError: there is none, or it is another user's.
        """
        return self._connection.call(requests.open_project(project_id), timeout)

    def list(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> Items[AvatarProject]:
        """All projects of the user, newest first; the next page is asked for when it is needed.

        Args:
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before; empty: at the first.
            user_id: for operators: whose, or `-` for all users'; empty: the caller's own.
            timeout: seconds for each page.

        Raises:
            PermissionDeniedError: another user is named, and the token has no role that may.
        """
        return self._connection.items(requests.list_projects(user_id), page_token, page_size, timeout)

    def update(
        self,
        project_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> AvatarProject:
        """Changes what is given and leaves the rest; `description=""` empties it.

        Repeated when the connection breaks, so that somebody else's change of that moment may be overwritten.

        Raises:
            ValueError: nothing is given.
            InvalidArgumentError: name or description breaks its limit.
            NotFoundError: there is no such project, or it is another user's.
        """
        return self._connection.call(requests.update_project(project_id, name, description), timeout)

    def delete(self, project_id: str, *, timeout: float | None = None) -> None:
        """Deletes a project with all its avatars and generations. Never repeated by the client.

        Raises:
            NotFoundError: there is none, or it is another user's.
            UnavailableError: the connection broke; it may be deleted.
        """
        self._connection.call(requests.delete_project(project_id), timeout)


class Avatars:
    """Avatars of the calling user."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def upload(
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

        A path or bytes are sent again when the connection breaks; a file object is not, since it may not be
        readable twice, and stays open.

        Args:
            project_id: the project it goes to.
            picture: path, bytes, or a file open for reading in binary mode.
            name: 1 to 120 characters.
            persona: who the person is.
            attributes: how the person looks.
            content_type: `image/jpeg`, `image/png` or `image/webp`; empty: found from the bytes.
            on_progress: called with the bytes sent and the bytes in all (None if the file cannot tell), on
                another thread than yours; begins again when the upload is repeated.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 60.

        Raises:
            InvalidArgumentError: the picture cannot be taken, or a field breaks its limit.
            NotFoundError: there is no such project, or it is another user's.
            AlreadyExistsError: `request_id` was used for another upload.
            OSError: the file cannot be read.
        """
        metadata = requests.upload_avatar(project_id, name, persona, attributes, content_type, request_id)
        return self._connection.upload(metadata, PictureSource(picture), on_progress, timeout)

    def get(self, avatar_id: str, *, timeout: float | None = None) -> Avatar:
        """Reads one avatar.

        Raises:
            NotFoundError: there is none, or it is another user's.
        """
        return self._connection.call(requests.get_avatar(avatar_id), timeout)

    def batch_get(
        self,
        avatar_ids: Iterable[str],
        *,
        include_thumbnails: bool = False,
        timeout: float | None = None,
    ) -> BatchGetAvatarsResponse:
        """Reads 1 to 100 avatars: those found, in the order asked for, and the ids that are missing.

        Raises:
            InvalidArgumentError: no ids, or more than 100.
        """
        return self._connection.call(requests.batch_get_avatars(avatar_ids, include_thumbnails), timeout)

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
    ) -> Items[Avatar]:
        """All avatars that fit every filter given; the next page is asked for when it is needed.

        Args:
            project_id: only this project's; empty: all projects.
            query: words that must occur in name, persona name or prompt; at most 200 characters.
            source_types: only those that came to be in one of these ways.
            gender: only this one.
            age_range: only this one.
            ethnicity: only this one; case and accents are ignored. At most 60 characters.
            style: only this one.
            order: newest first unless said otherwise.
            include_thumbnails: fill `thumbnail_data`.
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before or from `projects.open`; empty: at the first.
            user_id: for operators: whose, or `-` for all users'; empty: the caller's own, or the project's.
            timeout: seconds for each page.

        Raises:
            InvalidArgumentError: a filter breaks its limit, or the page token is of another list.
            PermissionDeniedError: another user is named, and the token has no role that may.
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

    def update(
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

        `paths` names what is written instead, for single fields of persona and attributes:
        `update(id, persona=Persona(age=33), paths=["persona.age"])` leaves the name in it alone.

        Repeated when the connection breaks, so that somebody else's change of that moment may be overwritten.

        Raises:
            ValueError: nothing is given.
            InvalidArgumentError: a field breaks its limit.
            NotFoundError: there is no such avatar, or it is another user's.
        """
        return self._connection.call(
            requests.update_avatar(avatar_id, name, persona, attributes, paths), timeout
        )

    def delete(self, avatar_id: str, *, timeout: float | None = None) -> None:
        """Deletes an avatar and its pictures. Never repeated by the client.

        Raises:
            NotFoundError: there is none, or it is another user's.
            UnavailableError: the connection broke; it may be deleted.
        """
        self._connection.call(requests.delete_avatar(avatar_id), timeout)

    @overload
    def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ...,
        to: None = None,
        timeout: float | None = None,
    ) -> bytes: ...

    @overload
    def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ...,
        to: str | os.PathLike[str],
        timeout: float | None = None,
    ) -> Path: ...

    def download(
        self,
        avatar_id: str,
        *,
        variant: ImageVariant.ValueType = ImageVariant.IMAGE_VARIANT_ORIGINAL,
        to: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> bytes | Path:
        """Reads a picture and checks its size and SHA-256.

        Args:
            avatar_id: the avatar.
            variant: the original or the 300x300 WebP thumbnail.
            to: where to put it, replacing what is there; it is never there half. None: returned as bytes.
            timeout: seconds for all attempts together; the client's default is 60.

        Returns:
            The bytes, or the path of the file.

        Raises:
            NotFoundError: there is no such avatar, or it is another user's.
            FailedPreconditionError: the thumbnail has not been made; try again after `retry_after` seconds.
            DataLossError: the picture arrived damaged.
            OSError: the file cannot be written.
        """
        data = self._connection.download(requests.download_image(avatar_id, variant), timeout)
        if to is None:
            return data
        path = Path(to)
        save(data, path)
        return path


class Generations:
    """Portraits in the making."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def create(
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
        """Starts a generation and returns at once; `watch` follows it.

        Args:
            project_id: the project the avatar goes to.
            prompt: what to draw, 1 to 2,000 characters; may be empty only with `preset_id`.
            avatar_name: at most 120 characters; empty: the persona's name, else the prompt's first words.
            persona: who the person is.
            attributes: how the person looks.
            width: pixels, 256 to 1,440 in multiples of 16; 0 means 1,024.
            height: pixels, likewise.
            seed: 0 to 2^32-1; None: chosen by the service.
            steps: denoising steps, 1 to 50; 0 means 28.
            guidance_scale: how closely the model follows the prompt, 1 to 20; 0 means 3.5.
            negative_prompt: what is to be kept out, at most 2,000 characters; empty: the service's own list.
            strict: refuse what the service's route cannot honour, instead of warning of it.
            omit_recipe: keep the recipe out of the picture's file.
            preset_id: a preset that fills what is left out.
            persona_example_id: a persona example that fills the persona.
            reference_avatar_id: an avatar to start from the picture of.
            reference_strength: how far the new picture may go from it, above 0 to 1; 0 means 0.6.
            priority: how urgent it is; absent: normal.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 10.

        Raises:
            InvalidArgumentError: a field breaks its limit, has words that are not allowed, or cannot be
                honoured; `field_violations` says which.
            NotFoundError: no such project, preset, persona example or reference; `resource` says which.
            ResourceExhaustedError: over a limit; `quota_violations` says which, `retry_after` when there is
                room.
            AlreadyExistsError: `request_id` was used for another generation.
        """
        return self._connection.call(
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

    def create_variations(
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

        All bear the id of the first as `group_id`, by which they are listed and watched.

        Args as for `create`, and:
            prompt: may be empty only with `preset_id`.
            count: how many, 1 to 8; they are begun all or none.
            seed: that of the first; after 2^32-1 comes 0.

        Returns:
            All of them, in the order of their seeds.

        Raises:
            ValueError: `count` is less than 1.
            AvatarCreatorError: as `create`.
        """
        return self._connection.call(
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

    def reproduce(
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

        Once it is COMPLETED its `reproduction` says how the two pictures compare.

        Args:
            generation_id: the one that is COMPLETED.
            project_id: the project the new avatar goes to.
            avatar_name: at most 120 characters; empty: as that one's.
            priority: how urgent it is; absent: normal.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 10.

        Raises:
            FailedPreconditionError: it has no recipe, or the service now draws by other means; reason
                NOT_REPRODUCIBLE, and `metadata["difference"]` says which.
            NotFoundError: no such generation, project or reference; `resource` says which.
            ResourceExhaustedError: over a limit; `retry_after` says when there is room.
            AlreadyExistsError: `request_id` was used for another generation.
        """
        return self._connection.call(
            requests.reproduce_generation(generation_id, project_id, avatar_name, priority, request_id),
            timeout,
        )

    def estimate(
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

        Args as for `create`, and:
            variation_count: how many, 1 to 8.

        Raises:
            ValueError: `variation_count` is less than 1.
            AvatarCreatorError: as `create`, but for limits, which are not looked at.
        """
        return self._connection.call(
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

    def get(self, generation_id: str, *, timeout: float | None = None) -> Generation:
        """Reads one generation.

        Raises:
            NotFoundError: there is none, or it is another user's.
        """
        return self._connection.call(requests.get_generation(generation_id), timeout)

    def attempts(self, generation_id: str, *, timeout: float | None = None) -> Sequence[GenerationAttempt]:
        """The tries of the workers at a generation, first to last.

        Raises:
            NotFoundError: there is no such generation, or it is another user's.
        """
        return self._connection.call(requests.list_attempts(generation_id), timeout)

    def recipe(self, generation_id: str, *, timeout: float | None = None) -> Recipe | None:
        """What made the picture of a generation; None until it is COMPLETED.

        Raises:
            NotFoundError: there is no such generation, or it is another user's.
        """
        return self._connection.call(requests.get_recipe(generation_id), timeout)

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
    ) -> Items[Generation]:
        """All generations that fit every filter given, newest first; the next page is asked for when needed.

        Args:
            project_id: only this project's; empty: all projects.
            group_id: only the variations that one call asked for; empty: all.
            states: only those in one of these states.
            create_time_from: only those created at or after this time, with its time zone.
            create_time_to: only those created before this time, with its time zone.
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before; empty: at the first.
            user_id: for operators: whose, or `-` for all users'; empty: the caller's own, or the project's.
            timeout: seconds for each page.

        Raises:
            ValueError: a time has no time zone.
            PermissionDeniedError: another user is named, and the token has no role that may.
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
    ) -> Generator[Generation, None, None]:
        """Follows a generation until it has ended: its state now, then every later one that is caught.

        Each state has a higher revision than the one before; states may be skipped, the last never is. When
        the connection breaks or the server shuts down, it connects again and goes on after the last state
        seen. Closing the generator ends the watch.

        Args:
            generation_id: what to follow.
            known_revision: the highest revision seen before; an end comes whatever is known.
            timeout: seconds in all; None: as long as it takes.
            reconnect_for: seconds without a connection after which it gives up; any message starts anew.

        Raises:
            NotFoundError: there is no such generation, or it was deleted.
            UnavailableError: no connection for `reconnect_for` seconds.
            UnauthenticatedError: the token has expired, and a callable token gave no other.
            DeadlineExceededError: `timeout` passed; the generation goes on.
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
    ) -> Generator[Generation, None, None]:
        """Follows up to 100 generations or a group until all have ended, or a project until it is closed.

        As `watch` for each of them. A project's watch sends what is unfinished now, then every change and
        every new one, and misses none while it has no connection.

        Args:
            targets: ids, or a mapping of ids to the highest revisions seen before.
            project_id: a project, instead of targets.
            group_id: the variations that one call asked for, instead of targets.
            changed_since: with a project: also what changed at or after this time, ended ones included. The
                newest `update_time` an earlier watch has seen takes that watch up again.
            timeout: seconds in all; None: as long as it takes.
            reconnect_for: seconds without a connection after which it gives up; any message starts anew.

        Raises:
            ValueError: not exactly one of targets, project and group is given; or a time without its time
                zone.
            NotFoundError: one of the targets, the project or the group does not exist, or was deleted.
            UnavailableError: no connection for `reconnect_for` seconds.
            UnauthenticatedError: the token has expired, and a callable token gave no other.
            DeadlineExceededError: `timeout` passed; the generations go on.
        """
        return self._connection.follow(
            watching.resume_point(targets, project_id, group_id, changed_since, datetime.now(UTC)),
            timeout=timeout,
            reconnect_for=reconnect_for,
        )

    def cancel(self, generation_id: str, *, timeout: float | None = None) -> Generation:
        """Cancels a generation that has not ended; one that was cancelled before is returned as it is.

        Raises:
            FailedPreconditionError: it has completed or failed.
            NotFoundError: there is none, or it is another user's.
        """
        return self._connection.call(requests.cancel_generation(generation_id), timeout)

    def retry(
        self, generation_id: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Generation:
        """Starts a failed or cancelled generation again and returns the new one, with `retry_of` set.

        Args:
            generation_id: the one that failed or was cancelled.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 10.

        Raises:
            FailedPreconditionError: it has neither failed nor been cancelled.
            NotFoundError: there is none, or it is another user's.
            ResourceExhaustedError: too many generations; `retry_after` says when there is room.
        """
        return self._connection.call(requests.retry_generation(generation_id, request_id), timeout)

    def create_and_wait(
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
        """Starts a generation, watches it, and returns it COMPLETED.

        Args as for `create`, and:
            on_progress: called with every state that is caught, the last one too.
            timeout: seconds in all.

        Raises:
            GenerationFailedError: it failed; `reason` says why.
            GenerationCancelledError: somebody cancelled it.
            DeadlineExceededError: `timeout` passed; it goes on, and `resource` has its id.
            AvatarCreatorError: as `create` and `watch`.
        """
        remaining = self._connection.remaining_of(timeout)
        generation = self.create(
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
        with closing(self.watch(generation.id, timeout=remaining())) as states:
            for state in states:
                generation = state
                if on_progress is not None:
                    on_progress(state)
        return watching.completed(generation)


class Usage:
    """What apps do with avatars."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def record(
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

        Args:
            avatar_id: the avatar that was used.
            action: what the app did, 1 to 120 characters, for example `generate_poses`.
            app_id: the app, 1 to 120 characters; may be empty when the token has an app.
            app_name: its name for people, at most 120 characters; empty: the id.
            reference_id: the app's own id of what it made, at most 200 characters.
            reference_type: what that is an id of, at most 120 characters.
            metadata: anything else that JSON can hold, at most 8 KiB (8,192 bytes) as JSON.
            request_id: UUID of this logical call; filled in if absent.
            timeout: seconds for all attempts together; the client's default is 10.

        Raises:
            InvalidArgumentError: a field breaks its limit.
            NotFoundError: there is no such avatar, or it is another user's.
            PermissionDeniedError: the token belongs to another app.
        """
        return self._connection.call(
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
    ) -> Items[UsageRecord]:
        """All uses of an avatar, newest first; the next page is asked for when it is needed.

        Args:
            avatar_id: the avatar.
            app_id: only by this app; empty: by all.
            action: only this action; empty: any.
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before; empty: at the first.
            timeout: seconds for each page.

        Raises:
            NotFoundError: there is no such avatar, or it is another user's.
        """
        return self._connection.items(
            requests.list_usage(avatar_id, app_id, action), page_token, page_size, timeout
        )

    def summarize(self, avatar_id: str, *, timeout: float | None = None) -> Sequence[AppUsageSummary]:
        """The uses of an avatar by app, most used first.

        Raises:
            NotFoundError: there is no such avatar, or it is another user's.
        """
        return self._connection.call(requests.summarize_usage(avatar_id), timeout)

    def stats(self, *, user_id: str = "", timeout: float | None = None) -> GetStatsResponse:
        """Figures about all avatars and generations of the user.

        Args:
            user_id: for operators: whose, or `-` for the sum over all users; empty: the caller's own.
            timeout: seconds.

        Raises:
            PermissionDeniedError: another user is named, and the token has no role that may.
        """
        return self._connection.call(requests.get_stats(user_id), timeout)


class Presets:
    """Ready-made starting points for an avatar, the same for every user."""

    def __init__(self, connection: _Connection) -> None:
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
    ) -> Items[AvatarPreset]:
        """All presets that fit, most popular first; the next page is asked for when it is needed.

        Args:
            category: only this one; empty: all.
            query: words that must occur in name or description; at most 200 characters.
            include_images: fill `image_data`.
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before; empty: at the first.
            timeout: seconds for each page.
        """
        return self._connection.items(
            requests.list_presets(category, query, include_images), page_token, page_size, timeout
        )

    def get(self, preset_id: str, *, timeout: float | None = None) -> AvatarPreset:
        """Reads one preset with its picture.

        Raises:
            NotFoundError: there is none.
        """
        return self._connection.call(requests.get_preset(preset_id), timeout)


class Personas:
    """Ready-made personas to start an avatar from, the same for every user."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        category: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Items[PersonaExample]:
        """All persona examples that fit, most used first; the next page is asked for when it is needed.

        Args:
            category: only this one; empty: all.
            page_size: 1 to 100; 0 means 20.
            page_token: where to begin, from the page before; empty: at the first.
            timeout: seconds for each page.
        """
        return self._connection.items(
            requests.list_persona_examples(category), page_token, page_size, timeout
        )

    def get(self, persona_example_id: str, *, timeout: float | None = None) -> PersonaExample:
        """Reads one persona example.

        Raises:
            NotFoundError: there is none.
        """
        return self._connection.call(requests.get_persona_example(persona_example_id), timeout)


class AvatarCreator:
    """A client of Avatar Creator. It may be used from several threads; close it when done.

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
        token: Token | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        channel: grpc.Channel | None = None,
        timeout: float = 10.0,
        transfer_timeout: float = 60.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects at the first call.

        Args:
            target: host and port, or any gRPC name.
            token: sent as `authorization: Bearer` with every call; a callable is asked before every attempt,
                so that it can give a fresh one. Without TLS it travels in the clear.
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
        self._connection = _Connection(
            channel or channels.connect(target, tls=tls, root_certificates=root_certificates),
            token=token,
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            backoff=backoff or Backoff(),
            clock=clock,
            sleep=sleep,
        )
        self.projects = Projects(self._connection)
        self.avatars = Avatars(self._connection)
        self.generations = Generations(self._connection)
        self.usage = Usage(self._connection)
        self.presets = Presets(self._connection)
        self.personas = Personas(self._connection)

    def close(self) -> None:
        """Ends running calls and watches with `CallCancelledError`; later ones are refused with it.

        A channel that was given is left alone, and so is what runs on it.
        """
        self._connection.close(channel=self._owns_channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

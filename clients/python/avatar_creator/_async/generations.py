"""Generations of a user: portraits that the service draws from a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Unpack

from avatar_creator import watching
from avatar_creator._async.handles import AsyncGenerationGroup, AsyncGenerationHandle
from avatar_creator._async.items import AsyncItems
from avatar_creator._async.namespace import AsyncNamespace
from avatar_creator._async.watches import AsyncWatch
from avatar_creator._requests import generations as requests
from avatar_creator.enums import (
    ErrorReason,
    GenerationOrder,
    GenerationOrderWord,
    GenerationPriority,
    GenerationPriorityWord,
    GenerationState,
    GenerationStateWord,
)
from avatar_creator.handles import WAIT_SECONDS, AnyGeneration
from avatar_creator.hooks import OnReconnect
from avatar_creator.parameters import GenerationParameters
from avatar_creator.pictures import PictureSource
from avatar_creator.v1.generation_service_pb2 import CreateGenerationRequest
from avatar_creator.values import (
    Avatar,
    Estimate,
    Generation,
    GenerationAttempt,
    GenerationDetails,
    Project,
    Recipe,
)


class AsyncGenerations(AsyncNamespace):
    """Generations of the calling user. A generation draws one portrait from a prompt."""

    async def create(
        self,
        project: Project | str,
        prompt: str | None = None,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **parameters: Unpack[GenerationParameters],
    ) -> AsyncGenerationHandle:
        """Start a generation and return its handle at once, without waiting for the picture.

        `wait` of the handle waits for the avatar, and `watch` follows the progress. A reference that is a
        picture is uploaded first. It stays in the project as an avatar, even if the generation is refused.
        Repeating the call with the same `request_id` does not upload it again.

        Args:
            project: Project that gets the avatar, or its id.
            prompt: Description of the picture, 1 to 2,000 characters; None only with `preset`.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for the call and the uploads of references together; None uses the client's
                `timeout` for the call and its `transfer_timeout` for each upload.
            **parameters: Size, seed, persona and other options; see `GenerationParameters`.

        Returns:
            The handle of the new generation, which is PENDING or already further.

        Raises:
            InvalidArgumentError: A field exceeds its limit, contains words that are not allowed, or is not
                supported; `field_violations` lists the fields.
            NotFoundError: The project, preset, persona example or reference does not exist; `resource` names
                it.
            ResourceExhaustedError: The call would exceed a limit; `quota_violations` names it, and the call
                may succeed after `retry_after` seconds.
            AlreadyExistsError: The `request_id` was used for another generation.
            OSError: A file given as `reference` cannot be read.

        Examples:
            >>> generation = await client.generations.create(
            ...     project,
            ...     "confident business woman",
            ...     attributes={"headwear": "hijab"},
            ...     width=256,
            ...     height=256,
            ... )
            >>> avatar = await generation.wait()
            >>> print(avatar.source_type, avatar.image.width)
            text_to_image 256
        """
        request, references = requests.generation_request(project, prompt, parameters, request_id)
        generation, *_ = await self._start(request, references, timeout)
        return self.handle(generation)

    async def create_variations(
        self,
        project: Project | str,
        prompt: str | None,
        count: int,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **parameters: Unpack[GenerationParameters],
    ) -> AsyncGenerationGroup:
        """Start several generations of the same picture with consecutive seeds.

        All of them have the id of the first one as `group_id`; `list` and `watch_many` accept that id.

        Args:
            project: Project that gets the avatars, or its id.
            prompt: Description of the picture, 1 to 2,000 characters; None only with `preset`.
            count: Number of generations, 1 to 8. The service starts all of them or none.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for the call and the uploads of references together; None uses the client's
                `timeout` for the call and its `transfer_timeout` for each upload.
            **parameters: Size, first seed, persona and other options; see `GenerationParameters`.

        Returns:
            The handles of the new generations, in the order of their seeds.

        Raises:
            AvatarCreatorError: The errors of `create`.

        Examples:
            >>> group = await client.generations.create_variations(
            ...     project, "calm man with a beard", 2, seed=7, width=256, height=256
            ... )
            >>> print([avatar.seed_used for avatar in await group.wait_all()])
            [7, 8]
        """
        request, references = requests.variations_request(project, prompt, count, parameters, request_id)
        generations = await self._start(request, references, timeout)
        return AsyncGenerationGroup(self._connection, generations)

    async def reproduce(
        self,
        generation: AnyGeneration,
        *,
        project: Project | str,
        avatar_name: str | None = None,
        priority: GenerationPriority | GenerationPriorityWord | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerationHandle:
        """Start a generation that runs the recipe of a completed one again.

        The new generation has `reproduce_of` set. When it is COMPLETED, its `reproduction` compares the two
        pictures.

        Args:
            generation: The completed generation, its handle or its id.
            project: Project that gets the new avatar, or its id.
            avatar_name: Name of the new avatar, at most 120 characters; None means the name of the first
                one.
            priority: Urgency of the generation; None means normal.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The handle of the new generation.

        Raises:
            FailedPreconditionError: The generation has no recipe, or the service now draws with another
                model, LoRA or route. Its reason is NOT_REPRODUCIBLE, and `metadata["difference"]` names the
                change.
            NotFoundError: The generation, project or reference does not exist; `resource` names it.
            ResourceExhaustedError: The call would exceed a limit; it may succeed after `retry_after` seconds.
            AlreadyExistsError: The `request_id` was used for another generation.

        Examples:
            >>> avatar = await generation.wait()
            >>> again = await client.generations.reproduce(generation, project=project)
            >>> avatar = await again.wait()
            >>> print(again.generation.reproduction.identical_pixels)
            True
        """
        call = requests.reproduce_generation(generation, project, avatar_name, priority, request_id)
        started = await self._connection.call(call, timeout)
        return self.handle(started)

    async def estimate(
        self,
        project: Project | str,
        prompt: str | None = None,
        *,
        variation_count: int | None = 1,
        timeout: float | None = None,
        **parameters: Unpack[GenerationParameters],
    ) -> Estimate:
        """Return the expected price, time and warnings of a generation without creating it.

        Args:
            project: Project that would get the avatar, or its id.
            prompt: Description of the picture, 1 to 2,000 characters; None only with `preset`.
            variation_count: Number of generations, 1 to 8.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.
            **parameters: Size, seed, persona and other options; see `GenerationParameters`.

        Raises:
            InvalidArgumentError: A reference is a picture, which an estimate does not upload.
            AvatarCreatorError: The errors of `create`, except those about limits, which are not checked.

        Examples:
            >>> estimate = await client.generations.estimate(project, "calm man with a beard")
            >>> print(estimate.provider, estimate.price_usd)
            sketch 0
        """
        call = requests.estimate_generation(project, prompt, parameters, variation_count)
        return await self._connection.call(call, timeout)

    async def get(self, generation: AnyGeneration, *, timeout: float | None = None) -> Generation:
        """Return a generation.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> state = await client.generations.get(generation.id)
            >>> print(state.prompt)
            calm man with a beard
        """
        return await self._connection.call(requests.get_generation(generation), timeout)

    async def details(self, generation: AnyGeneration, *, timeout: float | None = None) -> GenerationDetails:
        """Return a generation with its attempts and its recipe, in one call.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds for all attempts of the call together; None uses the client's `timeout`.

        Returns:
            The generation, at most the last 100 attempts, and the recipe; no recipe unless the generation is
            COMPLETED.

        Raises:
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> avatar = await generation.wait()
            >>> details = await client.generations.details(generation)
            >>> print(details.generation.state, len(details.attempts), details.recipe.seed)
            completed 1 7
        """
        return await self._connection.call(requests.get_details(generation), timeout)

    async def attempts(
        self, generation: AnyGeneration, *, timeout: float | None = None
    ) -> Sequence[GenerationAttempt]:
        """Return the attempts of the workers at a generation, oldest first.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds for all attempts of the call together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> avatar = await generation.wait()
            >>> for attempt in await client.generations.attempts(generation):
            ...     print(attempt.attempt_number, attempt.outcome)
            1 succeeded
        """
        return await self._connection.call(requests.list_attempts(generation), timeout)

    async def recipe(self, generation: AnyGeneration, *, timeout: float | None = None) -> Recipe | None:
        """Return the recipe of a generation: provider, model, seed and prompts of its picture.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The recipe; None unless the generation is COMPLETED.

        Raises:
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> avatar = await generation.wait()
            >>> recipe = await client.generations.recipe(generation)
            >>> print(recipe.provider, recipe.seed)
            sketch 7
        """
        return await self._connection.call(requests.get_recipe(generation), timeout)

    def list(
        self,
        project: Project | str | None = None,
        *,
        group_id: str | None = None,
        states: GenerationState
        | GenerationStateWord
        | Iterable[GenerationState | GenerationStateWord]
        | None = None,
        create_time_from: datetime | None = None,
        create_time_to: datetime | None = None,
        error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None = None,
        priorities: GenerationPriority
        | GenerationPriorityWord
        | Iterable[GenerationPriority | GenerationPriorityWord]
        | None = None,
        order: GenerationOrder | GenerationOrderWord | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        user_id: str | None = None,
        timeout: float | None = None,
    ) -> AsyncItems[Generation]:
        """Return an iterator over all generations that match every given filter, newest or oldest first.

        Args:
            project: Only generations of this project, or of the project with this id; None means all.
            group_id: Only the variations of this group; None means all.
            states: Only generations in this state, or in one of these; None means all.
            create_time_from: Only generations created at or after this time, which needs a time zone.
            create_time_to: Only generations created before this time, which needs a time zone.
            error_reasons: Only generations that failed with this reason, or with one of these, or whose last
                attempt did; None means all.
            priorities: Only generations of this priority, or of one of these; None means all.
            order: Order by creation time; None means newest first.
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            user_id: For operators: the owner of the generations, or `-` for all users. None means the
                caller, or the owner of the project.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The generations; iterating requests the pages one by one.

        Raises:
            InvalidArgumentError: A time has no time zone, or the page token belongs to another list.
            PermissionDeniedError: `user_id` is another user and the token has no operator role.

        Examples:
            >>> async for each in client.generations.list(project, order="oldest_first"):
            ...     print(each.prompt)
            calm man with a beard
        """
        return self._list(
            requests.list_generations(
                project,
                group_id,
                states,
                create_time_from,
                create_time_to,
                user_id,
                error_reasons,
                priorities,
                order,
                page_token,
                page_size,
            ),
            timeout,
        )

    def watch(
        self,
        generation: AnyGeneration,
        *,
        known_revision: int | None = None,
        timeout: float | None = None,
        reconnect_for: float | None = watching.RECONNECT_SECONDS,
        on_reconnect: OnReconnect | None = None,
    ) -> AsyncWatch[Generation]:
        """Yield the current state of a generation and then every change, until it has ended.

        Each state has a higher revision than the one before. A slow reader skips states, but never the last
        one. When the connection breaks or the server shuts down, the watch reconnects and continues after the
        last state. The end of its `async with` block, or `aclose()`, ends the watch early.

        Args:
            generation: Generation, its handle or its id.
            known_revision: Highest revision seen before; only later states are sent. A final state is always
                sent.
            timeout: Seconds for the whole watch; None means no limit.
            reconnect_for: Seconds without a connection after which the watch fails. Any message restarts the
                count.
            on_reconnect: Function that receives a `ReconnectEvent` each time the connection is lost. It runs
                where the watch is read.

        Raises:
            NotFoundError: The generation does not exist, or was deleted.
            UnavailableError: There was no connection for `reconnect_for` seconds.
            UnauthenticatedError: The token has expired, and a callable token returned the same token again.
            DeadlineExceededError: The `timeout` passed; the generation continues.

        Examples:
            >>> async with client.generations.watch(generation) as states:
            ...     async for state in states:
            ...         last = f"{state.progress_percent} % {state.stage}"
            >>> print(last)
            100 % ended
        """
        watch = watching.watch_one(generation, known_revision, timeout, reconnect_for, on_reconnect)
        return AsyncWatch(self._connection.watch(watch))

    def watch_many(
        self,
        targets: Iterable[AnyGeneration] | Mapping[str, int] | None = None,
        *,
        project: Project | str | None = None,
        group_id: str | None = None,
        user_id: str | None = None,
        changed_since: datetime | None = None,
        timeout: float | None = None,
        reconnect_for: float | None = watching.RECONNECT_SECONDS,
        on_reconnect: OnReconnect | None = None,
    ) -> AsyncWatch[Generation]:
        """Yield the states of several generations: all of the caller's, a project, a group, or 100 targets.

        Each generation is watched as `watch` does. The watch of targets or of a group ends when all have
        ended. The watch of a project or of a user sends the unfinished generations, then every change and
        every new generation, until the end of its `async with` block, or `aclose()`. It misses no change
        while it reconnects.

        Args:
            targets: Generations, handles or ids, or a mapping of ids to the highest revisions seen before.
                Without targets, project, group and user, the watch is of all generations of the caller.
            project: The project to watch, or its id.
            group_id: The group of variations to watch.
            user_id: For operators: the user whose generations to watch.
            changed_since: With a project or user: also send generations that changed at or after this time,
                including ended ones. To resume an earlier watch, give the newest `update_time` that it
                returned.
            timeout: Seconds for the whole watch; None means no limit.
            reconnect_for: Seconds without a connection after which the watch fails. Any message restarts the
                count.
            on_reconnect: Function that receives a `ReconnectEvent` each time the connection is lost. It runs
                where the watch is read.

        Raises:
            InvalidArgumentError: The arguments name more than one of targets, project, group and user, or
                `changed_since` has no time zone, or comes with targets or a group.
            NotFoundError: A target, the project or the group does not exist, or was deleted.
            PermissionDeniedError: `user_id` is another user and the token has no operator role.
            UnavailableError: There was no connection for `reconnect_for` seconds.
            UnauthenticatedError: The token has expired, and a callable token returned the same token again.
            DeadlineExceededError: The `timeout` passed; the generations continue.

        Examples:
            >>> async with client.generations.watch_many(project=project) as states:
            ...     async for state in states:
            ...         if state.ended:
            ...             print(state.state)
            ...             break
            completed
        """
        watch = watching.watch_several(
            targets,
            project,
            group_id,
            user_id,
            changed_since,
            datetime.now(UTC),
            timeout,
            reconnect_for,
            on_reconnect,
        )
        return AsyncWatch(self._connection.watch(watch))

    async def cancel(self, generation: AnyGeneration, *, timeout: float | None = None) -> Generation:
        """Cancel a generation that has not ended. Cancelling it twice is not an error.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The cancelled generation.

        Raises:
            FailedPreconditionError: The generation has completed or failed.
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> cancelled = await client.generations.cancel(generation)
            >>> print(cancelled.state)
            cancelled
        """
        return await self._connection.call(requests.cancel_generation(generation), timeout)

    async def retry(
        self, generation: AnyGeneration, *, request_id: str | None = None, timeout: float | None = None
    ) -> AsyncGenerationHandle:
        """Start a failed or cancelled generation again, as a new one with `retry_of` set.

        Args:
            generation: Generation that failed or was cancelled, its handle or its id.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The handle of the new generation.

        Raises:
            FailedPreconditionError: The generation has not failed and was not cancelled, or it reproduces a
                recipe that cannot run again or has been deleted.
            NotFoundError: The generation does not exist or belongs to another user.
            ResourceExhaustedError: The call would exceed a limit; it may succeed after `retry_after` seconds.

        Examples:
            >>> cancelled = await client.generations.cancel(generation)
            >>> again = await client.generations.retry(cancelled)
            >>> print(again.generation.retry_of == generation.id)
            True
        """
        call = requests.retry_generation(generation, request_id)
        started = await self._connection.call(call, timeout)
        return self.handle(started)

    async def wait(
        self,
        generation: AnyGeneration,
        *,
        timeout: float | None = WAIT_SECONDS,
        on_progress: Callable[[Generation], object] | None = None,
    ) -> Avatar:
        """Wait until a generation has ended and return the avatar that it made.

        Args:
            generation: Generation, its handle or its id.
            timeout: Seconds to wait for the end of the generation; None means no limit. The call that then
                reads the avatar has the client's `timeout`.
            on_progress: Called with every state of the generation, including the last one.

        Raises:
            GenerationFailedError: The generation failed; `reason` and `message` say why.
            GenerationCancelledError: The generation was cancelled.
            DeadlineExceededError: The `timeout` passed; the generation continues, and `resource` has its id.
            NotFoundError: The generation does not exist, or it or its avatar was deleted.
            AvatarCreatorError: The other errors of `watch`.

        Examples:
            >>> avatar = await client.generations.wait(generation, timeout=60)
            >>> print(avatar.name)
            calm man with a beard
        """
        return await self.handle(generation).wait(timeout=timeout, on_progress=on_progress)

    def handle(self, generation: AnyGeneration) -> AsyncGenerationHandle:
        """Return a handle of a generation, without a call.

        Args:
            generation: Generation, its handle or its id.

        Examples:
            >>> handle = client.generations.handle(generation.id)
            >>> avatar = await handle.wait()
            >>> print(handle.generation.state)
            completed
        """
        return AsyncGenerationHandle(self._connection, generation)

    async def _start(
        self,
        request: CreateGenerationRequest,
        references: Sequence[str | PictureSource],
        timeout: float | None,
    ) -> tuple[Generation, ...]:
        """Upload the pictures among the references, send the request, and return the new generations."""
        remaining = self._connection.countdown(timeout)
        for number, reference in enumerate(references):
            if isinstance(reference, str):
                request.reference_avatar_ids.append(reference)
            else:
                upload = requests.upload_of_reference(request, reference, number)
                avatar = await self._connection.upload(upload, reference, None, remaining())
                request.reference_avatar_ids.append(avatar.id)
        return await self._connection.call(requests.create_generations(request), remaining())

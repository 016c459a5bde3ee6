# Generated from avatar_creator/_async/handles.py by `make client`. Do not edit: change that file instead.
"""Handles of generations: wait for them, watch, cancel and retry them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import NoReturn

from avatar_creator import watching
from avatar_creator._requests import avatars as avatar_requests
from avatar_creator._requests import generations as requests
from avatar_creator._sync.connection import Connection
from avatar_creator._sync.watches import Watch
from avatar_creator.errors import FailedPreconditionError
from avatar_creator.handles import WAIT_SECONDS, AnyGeneration, BaseGenerationHandle, avatar_id_of
from avatar_creator.hooks import OnReconnect
from avatar_creator.values import Avatar, Generation


class GenerationHandle(BaseGenerationHandle):
    """A generation that the app has started or found, with the calls to follow it.

    The methods of the client that take a generation also take its handle. A handle holds the connection of
    its client, so it cannot be pickled: keep `id`, and make a new handle with `generations.handle(id)`.
    """

    def __init__(self, connection: Connection, generation: AnyGeneration) -> None:
        super().__init__(generation)
        self._connection = connection

    def wait(
        self,
        *,
        timeout: float | None = WAIT_SECONDS,
        on_progress: Callable[[Generation], object] | None = None,
    ) -> Avatar:
        """Wait until the generation has ended and return the avatar that it made.

        Args:
            timeout: Seconds to wait for the end of the generation; None means no limit. The call that then
                reads the avatar has the client's `timeout`.
            on_progress: Called with every state of the generation, including the last one.

        Raises:
            GenerationFailedError: The generation failed; `reason` and `message` say why.
            GenerationCancelledError: The generation was cancelled.
            DeadlineExceededError: The `timeout` passed; the generation continues, so you can wait again.
            NotFoundError: The generation does not exist, or it or its avatar was deleted.
            AvatarCreatorError: The other errors of `watch`.

        Examples:
            >>> avatar = generation.wait(on_progress=lambda state: state.progress_percent)
            >>> print(avatar.name)
            calm man with a beard
        """
        if not self._ended:
            with self.watch(timeout=timeout) as states:
                for state in states:
                    if on_progress is not None:
                        on_progress(state)
        elif on_progress is not None:
            on_progress(self.generation)
        return self._connection.call(avatar_requests.get_avatar(avatar_id_of(self.generation)), None)

    def watch(
        self,
        *,
        timeout: float | None = None,
        reconnect_for: float | None = watching.RECONNECT_SECONDS,
        on_reconnect: OnReconnect | None = None,
    ) -> Watch[Generation]:
        """Yield the current state and then every change, until the generation has ended.

        `generation` is always the last state that the watch has returned. See `generations.watch`.

        Args:
            timeout: Seconds for the whole watch; None means no limit.
            reconnect_for: Seconds without a connection after which the watch fails.
            on_reconnect: Function that receives a `ReconnectEvent` each time the connection is lost.

        Raises:
            AvatarCreatorError: The errors of `generations.watch`.

        Examples:
            >>> with generation.watch() as states:
            ...     for state in states:
            ...         last = f"{state.progress_percent} % {state.stage}"
            >>> print(last)
            100 % ended
        """
        watch = watching.watch_one(self, 0, timeout, reconnect_for, on_reconnect)
        return Watch(_seen_by([self], self._connection.watch(watch)))

    def refresh(self, *, timeout: float | None = None) -> Generation:
        """Read the generation again and return it.

        Args:
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> state = generation.refresh()
            >>> print(state.prompt)
            calm man with a beard
        """
        return self._see(self._connection.call(requests.get_generation(self.id), timeout))

    def cancel(self, *, timeout: float | None = None) -> Generation:
        """Cancel the generation and return it. Cancelling it twice is not an error.

        Args:
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            FailedPreconditionError: The generation has completed or failed.
            NotFoundError: The generation does not exist or belongs to another user.

        Examples:
            >>> cancelled = generation.cancel()
            >>> print(cancelled.state)
            cancelled
        """
        return self._see(self._connection.call(requests.cancel_generation(self.id), timeout))

    def retry(self, *, request_id: str | None = None, timeout: float | None = None) -> GenerationHandle:
        """Start the failed or cancelled generation again, as a new one with `retry_of` set.

        Args:
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The handle of the new generation.

        Raises:
            AvatarCreatorError: The errors of `generations.retry`.

        Examples:
            >>> cancelled = generation.cancel()
            >>> again = generation.retry()
            >>> print(again.generation.retry_of == generation.id)
            True
        """
        call = requests.retry_generation(self.id, request_id)
        generation = self._connection.call(call, timeout)
        return GenerationHandle(self._connection, generation)


class GenerationGroup:
    """The variations of one call: a sequence of their handles, in the order of their seeds."""

    def __init__(self, connection: Connection, generations: Iterable[Generation]) -> None:
        self._connection = connection
        self._handles = tuple(GenerationHandle(connection, each) for each in generations)

    @property
    def id(self) -> str:
        """Id of the group, which is that of its first generation.

        `list` and `watch_many` accept it as `group_id` if the group has more than one generation.
        """
        return self._handles[0].id

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[GenerationHandle]:
        return iter(self._handles)

    def __getitem__(self, number: int) -> GenerationHandle:
        return self._handles[number]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, <{len(self)} generations>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a group holds a connection and cannot be pickled; pickle its `id`")

    def wait_all(self, *, timeout: float | None = WAIT_SECONDS) -> tuple[Avatar, ...]:
        """Wait until all variations have ended and return their avatars, in the order of their seeds.

        Use `as_completed` to get the avatars of those that succeeded although others failed.

        Args:
            timeout: Seconds to wait for the end of all; None means no limit.

        Raises:
            GenerationFailedError: A variation failed. The others have ended too: `wait` of their handles
                returns at once.
            GenerationCancelledError: A variation was cancelled.
            DeadlineExceededError: The `timeout` passed; the generations continue.
            AvatarCreatorError: The other errors of `generations.watch_many`.

        Examples:
            >>> for avatar in group.wait_all():
            ...     print(avatar.seed_used)
            7
            8
        """
        with self.as_completed(timeout=timeout) as ended:
            for _ in ended:
                pass
        return tuple([handle.wait() for handle in self])

    def as_completed(self, *, timeout: float | None = WAIT_SECONDS) -> Watch[GenerationHandle]:
        """Yield the handle of each variation as soon as it has ended.

        `wait` of such a handle returns the avatar at once, or raises why there is none.

        Args:
            timeout: Seconds to wait for the end of all; None means no limit.

        Raises:
            DeadlineExceededError: The `timeout` passed; the generations continue.
            AvatarCreatorError: The other errors of `generations.watch_many`.

        Examples:
            >>> with group.as_completed() as ended:
            ...     for each in ended:
            ...         print(each.generation.state)
            completed
            completed
        """
        return Watch(self._as_completed(timeout))

    def watch(
        self,
        *,
        timeout: float | None = None,
        reconnect_for: float | None = watching.RECONNECT_SECONDS,
        on_reconnect: OnReconnect | None = None,
    ) -> Watch[Generation]:
        """Yield the states of all variations until all have ended.

        Args:
            timeout: Seconds for the whole watch; None means no limit.
            reconnect_for: Seconds without a connection after which the watch fails.
            on_reconnect: Function that receives a `ReconnectEvent` each time the connection is lost.

        Raises:
            AvatarCreatorError: The errors of `generations.watch_many`.

        Examples:
            >>> with group.watch() as states:
            ...     for state in states:
            ...         last = state
            >>> print(last.state)
            completed
        """
        return self._watch(self._handles, timeout, reconnect_for, on_reconnect)

    def cancel(self, *, timeout: float | None = None) -> tuple[Generation, ...]:
        """Cancel all variations that have not ended, and return all, in the order of their seeds.

        Args:
            timeout: Seconds for each call; None uses the client's `timeout`.

        Raises:
            NotFoundError: A variation has been deleted.

        Examples:
            >>> for cancelled in group.cancel():
            ...     print(cancelled.state)
            cancelled
            cancelled
        """
        for handle in self:
            if not handle._ended:
                try:
                    handle.cancel(timeout=timeout)
                except FailedPreconditionError:  # it has ended in the meantime
                    handle.refresh(timeout=timeout)
        return tuple(handle.generation for handle in self)

    def _as_completed(self, timeout: float | None) -> Generator[GenerationHandle, None, None]:
        running = {handle.id: handle for handle in self if not handle._ended}
        for handle in self:
            if handle.id not in running:
                yield handle
        with self._watch(running.values(), timeout, None, None) as states:
            for state in states:
                if state.ended:
                    yield running[state.id]

    def _watch(
        self,
        handles: Iterable[GenerationHandle],
        timeout: float | None,
        reconnect_for: float | None,
        on_reconnect: OnReconnect | None,
    ) -> Watch[Generation]:
        ids = [handle.id for handle in handles]
        watch = watching.watch_ids(ids, timeout, reconnect_for, on_reconnect)
        return Watch(_seen_by(handles, self._connection.watch(watch)))


def _seen_by(
    handles: Iterable[GenerationHandle], states: Generator[Generation, None, None]
) -> Generator[Generation, None, None]:
    """Yield the states, and let the handle of each keep it."""
    handle_of = {handle.id: handle for handle in handles}
    with closing(states):
        for state in states:
            yield handle_of[state.id]._see(state)

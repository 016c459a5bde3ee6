"""Watching: one subscription a process, fanned out in memory to one latest-only slot per watcher.

A slow watcher skips states, never the last one. The bus may drop messages, so every few seconds one query
reads the revisions of everything watched: a watcher is late then, never wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from itertools import islice

import structlog

from avatar_creator.v1.generation_pb2 import Generation as GenerationMessage
from avatar_creator.v1.generation_pb2 import GenerationState
from server import wire
from server.domain.caller import Caller
from server.domain.errors import AvatarCreatorError, NotFoundError, UnavailableError
from server.domain.events import GENERATION_CHANGED, GENERATIONS_DELETED, EventBus
from server.domain.generations import Generations

log = structlog.get_logger()

REREAD_SECONDS = 2.0
"""How late a watcher is at most when the bus loses a message, beside the time of one query."""

_IDS_PER_QUERY = 500
_ENDED = frozenset(
    {
        GenerationState.GENERATION_STATE_COMPLETED,
        GenerationState.GENERATION_STATE_FAILED,
        GenerationState.GENERATION_STATE_CANCELLED,
    }
)


class _Slot:
    """What one watcher is to be told next: the latest state or the end, nothing else."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.revision = 0
        """The highest revision put in."""
        self._latest: GenerationMessage | None = None
        self._end: AvatarCreatorError | None = None
        self._filled = asyncio.Event()

    def offer(self, state: GenerationMessage) -> None:
        """Replace what waits here, unless it is as new."""
        if state.revision > self.revision:
            self.revision = state.revision
            self._latest = state
            self._filled.set()

    def end(self, error: AvatarCreatorError) -> None:
        """Let the watch end with `error`, once it has told what waits here."""
        self._end = error
        self._filled.set()

    async def take(self) -> GenerationMessage:
        """The next state, when there is one."""
        while True:
            await self._filled.wait()
            if self._latest is not None:
                state, self._latest = self._latest, None
                if self._end is None:
                    self._filled.clear()
                return state
            if self._end is not None:
                raise self._end


class GenerationWatches:
    """All watches of this process."""

    def __init__(self, generations: Generations, bus: EventBus) -> None:
        self._generations = generations
        self._slots: dict[str, set[_Slot]] = defaultdict(set)
        self._draining = False
        self._rereading: asyncio.Task[None] | None = None
        bus.subscribe(GENERATION_CHANGED, self._changed)
        bus.subscribe(GENERATIONS_DELETED, self._deleted)

    async def watch(
        self, caller: Caller, generation_id: str, known_revision: int
    ) -> AsyncIterator[GenerationMessage]:
        """The state of a generation now, unless it is known and not the last, and every later one.

        Raises:
            NotFoundError: the user has no such generation, or it was deleted.
            UnavailableError: this server is shutting down.
        """
        slot = _Slot(caller.user_id)
        # Registered before the snapshot is read, so that no change falls between the two.
        self._slots[generation_id].add(slot)
        try:
            if self._draining:
                raise _draining()
            snapshot = wire.generation_to_proto(await self._generations.get(caller, generation_id))
            told = known_revision
            if snapshot.revision > known_revision or snapshot.state in _ENDED:
                slot.offer(snapshot)
            while True:
                state = await slot.take()
                if state.revision <= told and state.state not in _ENDED:
                    continue
                told = state.revision
                yield state
                if state.state in _ENDED:
                    return
        finally:
            self._slots[generation_id].discard(slot)
            if not self._slots[generation_id]:
                del self._slots[generation_id]

    async def start(self) -> None:
        """Begin to re-read what is watched."""
        self._rereading = asyncio.create_task(self._reread_for_ever(), name="watch-reread")

    def drain(self) -> None:
        """End every watch with UNAVAILABLE, so that its client goes to another server."""
        self._draining = True
        for slots in self._slots.values():
            for slot in slots:
                slot.end(_draining())

    async def close(self) -> None:
        """Stop re-reading."""
        if self._rereading is not None:
            self._rereading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rereading

    def _changed(self, payload: bytes) -> None:
        state = GenerationMessage.FromString(payload)
        for slot in self._slots.get(state.id, ()):
            slot.offer(state)

    def _deleted(self, payload: bytes) -> None:
        self._end_deleted(payload.decode().splitlines())

    def _end_deleted(self, generation_ids: Iterable[str]) -> None:
        for generation_id in generation_ids:
            for slot in self._slots.get(generation_id, ()):
                slot.end(NotFoundError("generation", generation_id))

    async def _reread_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await self._reread()
            except Exception as error:  # whatever it is, the next time may go well
                log.warning("watches_not_reread", error=repr(error))

    async def _reread(self) -> None:
        watched = iter(list(self._slots))
        while ids := list(islice(watched, _IDS_PER_QUERY)):
            revisions = await self._generations.revisions(ids)
            self._end_deleted(set(ids) - revisions.keys())
            for generation_id, revision in revisions.items():
                slots = self._slots.get(generation_id, set())
                if any(slot.revision < revision for slot in slots):
                    await self._catch_up(generation_id, slots)

    async def _catch_up(self, generation_id: str, slots: set[_Slot]) -> None:
        user_id = next(iter(slots)).user_id
        with contextlib.suppress(NotFoundError):
            generation = await self._generations.get(Caller(user_id), generation_id)
            for slot in self._slots.get(generation_id, ()):
                slot.offer(wire.generation_to_proto(generation))


def _draining() -> UnavailableError:
    return UnavailableError("SERVER_DRAINING", "this server is shutting down", retry_after=0.1)

"""Watching: one subscription a process, fanned out in memory to a slot per watch with the latest states.

A slow watcher skips states, never the last one. The bus may drop messages, so every few seconds one query
reads the revisions of everything watched: a watcher is late then, never wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

import structlog

from avatar_creator.v1.generation_pb2 import Generation as GenerationMessage
from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator_server.contract import mapping as wire
from avatar_creator_server.errors import (
    AvatarCreatorError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.service import Generations
from avatar_creator_server.metrics import WATCHES
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_bus import GENERATION_CHANGED, PROJECT_DELETED, EventBus

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
    """What one watch is to tell next: the latest state of each generation, or the end, nothing else."""

    def __init__(self, known_revisions: Mapping[str, int]) -> None:
        self._known = known_revisions
        self._offered: dict[str, int] = {}
        self._latest: dict[str, GenerationMessage] = {}
        self._end: AvatarCreatorError | None = None
        self._filled = asyncio.Event()
        self.since: datetime | None = None
        """Of a project's watch: re-reading tells nothing that last changed before this; None: nothing yet."""

    def pass_over(self, generation: Generation) -> None:
        """Do not tell this state, nor an earlier one."""
        self._offered[generation.id] = max(generation.revision, self._offered.get(generation.id, 0))

    def is_behind(self, generation_id: str, revision: int) -> bool:
        """Whether no state of this revision, or a later one, was offered yet."""
        return self._offered.get(generation_id, 0) < revision

    def offer(self, state: GenerationMessage) -> None:
        """Replace what waits here of this generation, unless it is as new, or known and not the end.

        Of a watch that is to end nothing more is told: its reader may be so slow that it never came to that.
        """
        if self._end is not None or not self.is_behind(state.id, state.revision):
            return
        self._offered[state.id] = state.revision
        if state.revision > self._known.get(state.id, 0) or state.state in _ENDED:
            # To the back, so that states are told in the order of their changes, by which a watch is resumed.
            self._latest.pop(state.id, None)
            self._latest[state.id] = state
            self._filled.set()

    def end(self, error: AvatarCreatorError) -> None:
        """Let the watch end with `error`, once it has told what waits here."""
        self._end = error
        self._filled.set()

    async def take(self) -> GenerationMessage:
        """The next state, when there is one: the one that has waited longest."""
        while True:
            await self._filled.wait()
            if self._latest:
                return self._latest.pop(next(iter(self._latest)))
            if self._end is not None:
                raise self._end
            self._filled.clear()


class _Slots:
    """The slots of all watches on something, by its id."""

    def __init__(self) -> None:
        self._by_id: defaultdict[str, set[_Slot]] = defaultdict(set)

    @contextlib.contextmanager
    def holding(self, ids: Iterable[str], slot: _Slot) -> Iterator[None]:
        """Have the slot under these ids while the context is open."""
        watched = list(ids)
        for watched_id in watched:
            self._by_id[watched_id].add(slot)
        WATCHES.inc()
        try:
            yield
        finally:
            WATCHES.dec()
            for watched_id in watched:
                self._by_id[watched_id].discard(slot)
                if not self._by_id[watched_id]:
                    del self._by_id[watched_id]

    def of(self, watched_id: str) -> Sequence[_Slot]:
        """The slots under this id."""
        return tuple(self._by_id.get(watched_id, ()))

    def ids(self) -> list[str]:
        """What is watched now."""
        return list(self._by_id)

    def all(self) -> Iterator[_Slot]:
        """Every slot, once for each of its ids."""
        for watched_id in self.ids():
            yield from self.of(watched_id)


class GenerationWatches:
    """All watches of this process."""

    def __init__(self, generations: Generations, bus: EventBus) -> None:
        self._generations = generations
        self._by_generation = _Slots()
        self._by_project = _Slots()
        self._draining = False
        self._rereading: asyncio.Task[None] | None = None
        self._projects_read_time: datetime | None = None
        self._bus = bus

    async def watch(
        self, caller: Caller, known_revisions: Mapping[str, int], *, seconds: float
    ) -> AsyncIterator[GenerationMessage]:
        """The state of each generation now, unless it is known and not the last, and every later one.

        Ends when all have ended. `known_revisions` are by the generations' ids, 0 for one that is not known;
        `seconds` is for how long the caller may watch.

        Raises:
            NotFoundError: the user has no such generation, or one was deleted.
            UnauthenticatedError: the caller's time is over.
            UnavailableError: this server is shutting down.
        """
        slot = _Slot(known_revisions)
        # Registered before the snapshot is read, so that no change falls between the two.
        with self._by_generation.holding(known_revisions, slot), _ending_after(seconds, slot):
            self._refuse_while_draining()
            _offer(slot, await self._generations.batch_get(caller, list(known_revisions)))
            unfinished = set(known_revisions)
            while unfinished:
                state = await slot.take()
                if state.state in _ENDED:
                    unfinished.discard(state.id)
                yield state

    async def watch_project(
        self, caller: Caller, project_id: str, changed_since: datetime | None, *, seconds: float
    ) -> AsyncIterator[GenerationMessage]:
        """What of a project has not ended or has changed since, then every change and every new one.

        `seconds` as in `watch`.

        Raises:
            NotFoundError: the user has no such project, or it was deleted.
            UnauthenticatedError: the caller's time is over.
            UnavailableError: this server is shutting down.
        """
        slot = _Slot({})
        with self._by_project.holding([project_id], slot), _ending_after(seconds, slot):
            self._refuse_while_draining()
            snapshot = await self._generations.snapshot_of_project(caller, project_id, changed_since)
            slot.since = snapshot.complete_since
            for generation in snapshot.ended_before:
                slot.pass_over(generation)
            _offer(slot, snapshot.to_tell)
            self._projects_read_time = self._projects_read_time or snapshot.read_time
            while True:
                yield await slot.take()

    async def start(self) -> None:
        """Listen to the bus, which is to be started afterwards, and begin to re-read what is watched."""
        self._bus.subscribe(GENERATION_CHANGED, self._changed)
        self._bus.subscribe(PROJECT_DELETED, self._project_deleted)
        self._rereading = asyncio.create_task(self._reread_for_ever(), name="watch-reread")

    def drain(self) -> None:
        """End every watch with UNAVAILABLE, so that its client goes to another server."""
        self._draining = True
        for slots in (self._by_generation, self._by_project):
            for slot in slots.all():
                slot.end(_draining())

    async def close(self) -> None:
        """Stop re-reading."""
        if self._rereading is not None:
            self._rereading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rereading

    def _refuse_while_draining(self) -> None:
        if self._draining:
            raise _draining()

    def _changed(self, payload: bytes) -> None:
        state = GenerationMessage.FromString(payload)
        for slot in (*self._by_generation.of(state.id), *self._by_project.of(state.project_id)):
            slot.offer(state)

    def _project_deleted(self, payload: bytes) -> None:
        project_id, *generation_ids = payload.decode().splitlines()
        _end_deleted(self._by_project, "project", [project_id])
        _end_deleted(self._by_generation, "generation", generation_ids)

    async def _reread_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await self._reread_generations()
                await self._reread_projects()
            except Exception as error:  # whatever it is, the next time may go well
                log.warning("watches_not_reread", error=repr(error))

    async def _reread_generations(self) -> None:
        watched = iter(self._by_generation.ids())
        while ids := list(islice(watched, _IDS_PER_QUERY)):
            revisions = await self._generations.revisions(ids)
            _end_deleted(self._by_generation, "generation", set(ids) - revisions.keys())
            await self._catch_up(
                generation_id
                for generation_id, revision in revisions.items()
                if any(
                    slot.is_behind(generation_id, revision) for slot in self._by_generation.of(generation_id)
                )
            )

    async def _reread_projects(self) -> None:
        watched = self._by_project.ids()
        if not watched or self._projects_read_time is None:
            self._projects_read_time = None
            return
        changes = await self._generations.changes_in(watched, self._projects_read_time)
        _end_deleted(self._by_project, "project", set(watched) - changes.project_ids)
        await self._catch_up(
            generation_id
            for project_id, generation_id, revision in changes.revisions
            if any(
                slot.since is not None and slot.is_behind(generation_id, revision)
                for slot in self._by_project.of(project_id)
            )
        )
        self._projects_read_time = changes.read_time

    async def _catch_up(self, generation_ids: Iterable[str]) -> None:
        behind = iter(list(generation_ids))
        while ids := list(islice(behind, _IDS_PER_QUERY)):
            for generation in await self._generations.get_many_unscoped(ids):
                for slot in self._by_generation.of(generation.id):
                    _offer(slot, [generation])
                for slot in self._by_project.of(generation.project_id):
                    if slot.since is not None and generation.update_time >= slot.since:
                        _offer(slot, [generation])


@contextlib.contextmanager
def _ending_after(seconds: float, slot: _Slot) -> Iterator[None]:
    """End the watch when its caller's token has expired: whoever may watch has to show a fresh one."""
    expired = UnauthenticatedError("TOKEN_EXPIRED", "the token has expired")
    expiry = asyncio.get_running_loop().call_later(seconds, slot.end, expired)
    try:
        yield
    finally:
        expiry.cancel()


def _offer(slot: _Slot, generations: Iterable[Generation]) -> None:
    for generation in generations:
        slot.offer(wire.generation_to_proto(generation))


def _end_deleted(slots: _Slots, kind: str, ids: Iterable[str]) -> None:
    for watched_id in ids:
        for slot in slots.of(watched_id):
            slot.end(NotFoundError(kind, watched_id))


def _draining() -> UnavailableError:
    return UnavailableError("SERVER_DRAINING", "this server is shutting down", retry_after=0.1)

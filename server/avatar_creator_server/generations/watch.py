"""Watches: one subscription per process, fanned out in memory to one slot per watch.

A message on the bus is a hint. One query reads all generations with a hint, and its result goes to all their
watchers, so a forged message cannot show a state or end a watch. A slow watcher skips states, but never
the last one. The bus may drop messages, so one query every few seconds reads the revisions of everything
watched: a watcher may be late, but never wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

import structlog

from avatar_creator_server.errors import (
    AvatarCreatorError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from avatar_creator_server.generations.events import ChangeHint
from avatar_creator_server.generations.feed import Changes, GenerationFeed, Snapshot
from avatar_creator_server.generations.updates import GenerationCodec, GenerationUpdate, SendUpdate
from avatar_creator_server.metrics import WATCHES
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_bus import GENERATION_CHANGED, PROJECT_DELETED, EventBus, decode_ids

log = structlog.get_logger()

T = TypeVar("T")

Revisions: TypeAlias = dict[tuple[str, str], int]
"""Revisions of generations, by the id of a watched project or user and the id of the generation."""

REREAD_SECONDS = 2.0
"""Interval between re-reads: the maximum delay of a watcher when the bus loses a message."""

_IDS_PER_QUERY = 500
_STATES_PER_QUERY = 100
"""Whole generations that one job reads: the event loop does nothing else in that time."""
_MAX_HINTS = 10_000
"""Maximum number of ids of each kind that wait for a query. The re-read finds others."""
_FALSE_HINT_PAUSE_SECONDS = 0.05
"""Pause after a hint without a change, so that forged hints cost at most 20 queries a second of each kind."""


class _Slot:
    """The updates that one watch has not sent yet: the latest state of each generation, then the end.

    There may be thousands of them, so they have few objects.
    """

    __slots__ = ("_end", "_known", "_latest", "_loop", "_offered", "_taker", "since")

    def __init__(self, known_revisions: Mapping[str, int]) -> None:
        self._known = known_revisions
        self._offered: dict[str, int] = {}
        self._latest: dict[str, GenerationUpdate] = {}
        self._end: AvatarCreatorError | None = None
        # Kept, because `get_running_loop` asks the system for the id of the process each time.
        self._loop = asyncio.get_running_loop()
        self._taker: asyncio.Future[None] | None = None
        """Done when there is something to take; None while no reader waits."""
        self.since: datetime | None = None
        """Time from which the re-read reports changes of a project or user; None before the snapshot."""

    def skip(self, generation_id: str, revision: int) -> None:
        """Do not send this state or an earlier one."""
        self._offered[generation_id] = max(revision, self._offered.get(generation_id, 0))

    def is_behind(self, generation_id: str, revision: int) -> bool:
        """Return whether the slot has received no state of this revision or a later one."""
        return self._offered.get(generation_id, 0) < revision

    def offer(self, update: GenerationUpdate) -> None:
        """Replace the waiting state of the generation, unless it is as new or the client knows it.

        A final state is always sent. After `end` no further states are queued, so that a slow reader still
        reaches the end.
        """
        if self._end is not None or not self.is_behind(update.generation_id, update.revision):
            return
        self._offered[update.generation_id] = update.revision
        if update.revision > self._known.get(update.generation_id, 0) or update.ended:
            # To the back: a watch resumes by time, so states must leave in the order of their changes.
            self._latest.pop(update.generation_id, None)
            self._latest[update.generation_id] = update
            self._wake_taker()

    def offer_snapshot(self, updates: Iterable[GenerationUpdate]) -> None:
        """Offer the states of a snapshot, before those that were offered while it was read."""
        later, self._latest = self._latest, {}
        for update in updates:
            self.offer(update)
        for generation_id, update in later.items():
            self._latest[generation_id] = self._latest.pop(generation_id, update)

    def end(self, error: AvatarCreatorError) -> None:
        """End the watch with `error` after the waiting states."""
        self._end = error
        self._wake_taker()

    def expire(self) -> None:
        """End the watch, because the caller's token expires: a client must show a valid token to go on."""
        self.end(UnauthenticatedError("TOKEN_EXPIRED", "the token has expired"))

    async def take(self) -> GenerationUpdate:
        """Wait for a state and return the one that has waited longest. One caller at a time."""
        while not self._latest:
            if self._end is not None:
                raise self._end
            self._taker = self._loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        return self._latest.pop(next(iter(self._latest)))

    def _wake_taker(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)


class _OpenWatch:
    """Keeps a slot under its ids, until the watch is closed, and ends it when the caller's token expires."""

    __slots__ = ("_expiry", "_ids", "_slot", "_slots")

    def __init__(self, slots: _Slots, ids: Sequence[str], slot: _Slot, *, seconds: float) -> None:
        """Create the watch.

        Args:
            slots: The slots of all watches of its kind.
            ids: The watched ids.
            slot: The slot.
            seconds: Seconds until the token expires.
        """
        self._slots, self._ids, self._slot = slots, ids, slot
        self._expiry = asyncio.get_running_loop().call_later(seconds, slot.expire)

    def __enter__(self) -> None:
        """Open the watch."""
        self._slots.add(self._ids, self._slot)
        WATCHES.inc()

    def __exit__(self, *_: object) -> None:
        """Close the watch."""
        WATCHES.dec()
        self._slots.remove(self._ids, self._slot)
        self._expiry.cancel()


class _Slots:
    """The slots of all watches on generations, projects or users, by id."""

    def __init__(self) -> None:
        self._by_id: defaultdict[str, set[_Slot]] = defaultdict(set)

    def add(self, ids: Iterable[str], slot: _Slot) -> None:
        """Add the slot under these ids."""
        for watched_id in ids:
            self._by_id[watched_id].add(slot)

    def remove(self, ids: Iterable[str], slot: _Slot) -> None:
        """Remove the slot from these ids."""
        for watched_id in ids:
            self._by_id[watched_id].discard(slot)
            if not self._by_id[watched_id]:
                del self._by_id[watched_id]

    def of(self, watched_id: str) -> Sequence[_Slot]:
        """Return the slots under this id."""
        return tuple(self._by_id.get(watched_id, ()))

    def ids(self) -> list[str]:
        """Return the watched ids."""
        return list(self._by_id)

    def all(self) -> Iterator[_Slot]:
        """Return every slot, once for each of its ids."""
        for watched_id in self.ids():
            yield from self.of(watched_id)


class _WholeSlots(_Slots):
    """The slots of all watches on whole projects or on whole users, which have new generations too."""

    def __init__(
        self, kind: str, read_changes: Callable[[Sequence[str], datetime], Awaitable[Changes]]
    ) -> None:
        """Create the slots.

        Args:
            kind: `project` or `user`.
            read_changes: Reads what has changed in projects, or of users, since an earlier read.
        """
        super().__init__()
        self.kind = kind
        self.read_changes = read_changes
        self.read_time: datetime | None = None
        """Time of the last read of all changes; None while there is no watch."""
        self._reached: Revisions = {}
        """The changes of the last re-read that every watch has received."""

    def to_offer(self, watched_id: str, update_time: datetime, *, is_hinted: bool) -> Iterator[_Slot]:
        """Yield the slots under this id that a change concerns.

        Args:
            watched_id: Id of the project or user.
            update_time: Time of the change.
            is_hinted: See `GenerationWatches._catch_up`.
        """
        for slot in self.of(watched_id):
            if is_hinted if slot.since is None else update_time >= slot.since:
                yield slot

    def lacking(self, revisions: Iterable[tuple[str, str, int]], reached: Revisions) -> Iterator[str]:
        """Yield the generations of which a watch lacks the latest state.

        A re-read names each change for half a minute, so those that no watch lacked are not compared with
        each watch again. A later watch has them in its snapshot.

        Args:
            revisions: Watched id, generation and revision of each change.
            reached: Receives the changes that every watch has received.
        """
        for watched_id, generation_id, revision in revisions:
            change = watched_id, generation_id
            if self._reached.get(change) != revision:
                slots = self.of(watched_id)
                if any(slot.since is not None and slot.is_behind(generation_id, revision) for slot in slots):
                    yield generation_id
                    continue
                if any(slot.since is None for slot in slots):
                    continue
            reached[change] = revision

    def end_reread(self, read_time: datetime | None, reached: Revisions) -> None:
        """Keep what a re-read has found: its time, and the changes that every watch has received."""
        self.read_time, self._reached = read_time, reached


class _Hints(Generic[T]):
    """Ids that the bus has named, in the order of their arrival, each with the last that it said about it."""

    def __init__(self) -> None:
        self._waiting: dict[str, T] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, hints: Mapping[str, T]) -> None:
        """Add hints by id, unless too many ids wait already."""
        for each, hint in hints.items():
            if each in self._waiting or len(self._waiting) < _MAX_HINTS:
                self._waiting[each] = hint

    def take(self) -> dict[str, T]:
        """Remove and return the hints of the first ids, for one query."""
        return {each: self._waiting.pop(each) for each in list(islice(self._waiting, _IDS_PER_QUERY))}


class GenerationWatches:
    """All watches of this process."""

    def __init__(self, feed: GenerationFeed, bus: EventBus, codec: GenerationCodec) -> None:
        self._feed = feed
        self._bus = bus
        self._codec = codec
        self._by_generation = _Slots()
        self._by_project = _WholeSlots("project", feed.changes_in_projects)
        self._by_user = _WholeSlots("user", feed.changes_of_users)
        self._draining = False
        self._changed: _Hints[ChangeHint] = _Hints()
        self._deleted_generations: _Hints[None] = _Hints()
        self._deleted_projects: _Hints[None] = _Hints()
        self._hinted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def watch(
        self, caller: Caller, known_revisions: Mapping[str, int], send: SendUpdate, *, seconds: float
    ) -> None:
        """Send the current state of each generation, then every later one. End when all have ended.

        Args:
            caller: The user who watches.
            known_revisions: Revision that the client knows, by generation id; 0 if it knows none. A known
                state is not sent again, except a final one.
            send: Sends an update to the client.
            seconds: Seconds until the caller's token expires.

        Raises:
            NotFoundError: The user has no such generation, or one was deleted.
            UnauthenticatedError: The token has expired.
            UnavailableError: This server is shutting down.
        """
        slot = _Slot(known_revisions)
        # Registered before the snapshot is read, so that no change falls between the two.
        with _OpenWatch(self._by_generation, tuple(known_revisions), slot, seconds=seconds):
            self._refuse_while_draining()
            slot.offer_snapshot(
                map(self._codec.update, await self._feed.batch_get(caller, list(known_revisions)))
            )
            unfinished = set(known_revisions)
            while unfinished:
                update = await slot.take()
                if update.ended:
                    unfinished.discard(update.generation_id)
                await send(update)
                del update  # an open watch does not keep what it has sent

    async def watch_project(
        self,
        caller: Caller,
        project_id: str,
        changed_since: datetime | None,
        send: SendUpdate,
        *,
        seconds: float,
    ) -> None:
        """Send a project's unfinished and recently changed generations, then every change and new
        generation, until an error ends the watch.

        Args:
            caller: The user who watches.
            project_id: The project.
            changed_since: Time of the newest change that the client knows; None on a first watch.
            send: Sends an update to the client.
            seconds: Seconds until the caller's token expires.

        Raises:
            NotFoundError: The user has no such project, or it was deleted.
            UnauthenticatedError: The token has expired.
            UnavailableError: This server is shutting down.
        """
        slot = _Slot({})
        with _OpenWatch(self._by_project, (project_id,), slot, seconds=seconds):
            self._refuse_while_draining()
            read = self._feed.snapshot_of_project(caller, project_id, changed_since)
            await self._offer_first(slot, self._by_project, await read)
            while True:
                await send(await slot.take())

    async def watch_user(
        self, user_id: str, changed_since: datetime | None, send: SendUpdate, *, seconds: float
    ) -> None:
        """Send a user's unfinished and recently changed generations, then every change and new generation.

        Args:
            user_id: The user whose generations to watch.
            changed_since: Time of the newest change that the client knows; None on a first watch.
            send: Sends an update to the client.
            seconds: Seconds until the caller's token expires.

        Raises:
            UnauthenticatedError: The token has expired.
            UnavailableError: This server is shutting down.
        """
        slot = _Slot({})
        with _OpenWatch(self._by_user, (user_id,), slot, seconds=seconds):
            self._refuse_while_draining()
            read = self._feed.snapshot_of_user(user_id, changed_since)
            await self._offer_first(slot, self._by_user, await read)
            while True:
                await send(await slot.take())

    async def _offer_first(self, slot: _Slot, slots: _WholeSlots, snapshot: Snapshot) -> None:
        """Offer the first states of a watch of a project or user. An open watch does not keep them."""
        states = [
            self._codec.update(generation)
            for ids in _batches(snapshot.ids, _STATES_PER_QUERY)
            for generation in await self._feed.with_positions(ids)
        ]
        slot.since = snapshot.complete_since
        for generation_id, revision in snapshot.ended_before:
            slot.skip(generation_id, revision)
        slot.offer_snapshot(states)
        slots.read_time = slots.read_time or snapshot.read_time

    async def start(self) -> None:
        """Subscribe to the bus, and start to read. The bus must start after this."""
        self._bus.subscribe(GENERATION_CHANGED, self._on_changed)
        self._bus.subscribe(PROJECT_DELETED, self._on_project_deleted)
        self._tasks = [
            asyncio.create_task(self._read_hinted_forever(), name="watch-read"),
            asyncio.create_task(self._reread_forever(), name="watch-reread"),
        ]

    def drain(self) -> None:
        """End every watch with UNAVAILABLE, so that its client connects to another server."""
        self._draining = True
        for slots in (self._by_generation, self._by_project, self._by_user):
            for slot in slots.all():
                slot.end(_draining())

    async def close(self) -> None:
        """Stop to read."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _refuse_while_draining(self) -> None:
        if self._draining:
            raise _draining()

    def _on_changed(self, payload: bytes) -> None:
        hint = ChangeHint.decode(payload)
        if self._is_news(hint):
            self._changed.add({hint.generation_id: hint})
            self._hinted.set()

    def _is_news(self, hint: ChangeHint) -> bool:
        """Return whether a watch has not received the state that a hint names."""
        slots = (
            *self._by_generation.of(hint.generation_id),
            *self._by_project.of(hint.project_id),
            *self._by_user.of(hint.user_id),
        )
        return any(slot.is_behind(hint.generation_id, hint.revision) for slot in slots)

    def _on_project_deleted(self, payload: bytes) -> None:
        project_id, *generation_ids = decode_ids(payload)
        self._deleted_projects.add(dict.fromkeys(filter(self._by_project.of, [project_id])))
        self._deleted_generations.add(dict.fromkeys(filter(self._by_generation.of, generation_ids)))
        self._hinted.set()

    async def _read_hinted_forever(self) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            # A hint is old, and not false, if an earlier query has already read the state that it names.
            changed = [each for each, hint in self._changed.take().items() if self._is_news(hint)]
            generations, projects = [*self._deleted_generations.take()], [*self._deleted_projects.take()]
            try:
                true_hints = await self._catch_up(changed, is_hinted=True)
                true_hints += await self._end_if_deleted(generations, projects)
            except Exception as error:  # the re-read finds the changes, so any error must not end the loop
                log.warning("watch_read_failed", error=repr(error))
                true_hints = 0
            if self._changed or self._deleted_generations or self._deleted_projects:
                self._hinted.set()
            if true_hints < len(changed) + len(generations) + len(projects):
                await asyncio.sleep(_FALSE_HINT_PAUSE_SECONDS)

    async def _end_if_deleted(self, generation_ids: Sequence[str], project_ids: Sequence[str]) -> int:
        """End the watches of those generations and projects that are gone, and return their number."""
        gone, gone_projects = set(generation_ids), set(project_ids)
        if gone:
            gone -= (await self._feed.revisions(generation_ids)).keys()
            _end_deleted(self._by_generation, "generation", gone)
        if gone_projects:
            gone_projects -= await self._feed.existing_projects(project_ids)
            _end_deleted(self._by_project, "project", gone_projects)
        return len(gone) + len(gone_projects)

    async def _reread_forever(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await self._reread_generations()
                await self._reread_whole(self._by_project)
                await self._reread_whole(self._by_user)
            except Exception as error:  # the next re-read may succeed, so any error must not end the loop
                log.warning("watch_reread_failed", error=repr(error))

    async def _reread_generations(self) -> None:
        for ids in _batches(self._by_generation.ids()):
            revisions = await self._feed.revisions(ids)
            _end_deleted(self._by_generation, "generation", set(ids) - revisions.keys())
            await self._catch_up(
                generation_id
                for generation_id, revision in revisions.items()
                if any(
                    slot.is_behind(generation_id, revision) for slot in self._by_generation.of(generation_id)
                )
            )

    async def _reread_whole(self, slots: _WholeSlots) -> None:
        watched = slots.ids()
        if not watched or slots.read_time is None:
            slots.end_reread(None, {})
            return
        read_times: list[datetime] = []
        reached: Revisions = {}
        for ids in _batches(watched):
            changes = await slots.read_changes(ids, slots.read_time)
            _end_deleted(slots, slots.kind, set(ids) - changes.existing_ids)
            await self._catch_up(slots.lacking(changes.revisions, reached))
            read_times.append(changes.read_time)
        slots.end_reread(min(read_times), reached)

    async def _catch_up(self, generation_ids: Iterable[str], *, is_hinted: bool = False) -> int:
        """Read these generations, offer them to their watchers, and return how many were news to any.

        Args:
            generation_ids: The generations.
            is_hinted: True if a hint names them. Then they are also for a watch that still reads its
                snapshot: it may have missed the change.
        """
        news = 0
        for ids in _batches(generation_ids, _STATES_PER_QUERY):
            for generation in await self._feed.get_many_unscoped(ids):
                changed = generation.update_time
                slots = [
                    *self._by_generation.of(generation.id),
                    *self._by_project.to_offer(generation.project_id, changed, is_hinted=is_hinted),
                    *self._by_user.to_offer(generation.user_id, changed, is_hinted=is_hinted),
                ]
                news += any(slot.is_behind(generation.id, generation.revision) for slot in slots)
                # Encoded once for all watchers of the generation.
                update = self._codec.update(generation)
                for slot in slots:
                    slot.offer(update)
        return news


def _batches(ids: Iterable[str], size: int = _IDS_PER_QUERY) -> Iterator[list[str]]:
    """Yield the ids in lists for one query each."""
    remaining = iter(list(ids))
    while batch := list(islice(remaining, size)):
        yield batch


def _end_deleted(slots: _Slots, kind: str, ids: Iterable[str]) -> None:
    for watched_id in ids:
        for slot in slots.of(watched_id):
            slot.end(NotFoundError(kind, watched_id))


def _draining() -> UnavailableError:
    return UnavailableError("SERVER_DRAINING", "this server is shutting down", retry_after=0.1)

"""Progress of a watch, so that a new connection resumes it and no state is delivered twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import rpcs
from avatar_creator._requests import generations as requests
from avatar_creator._requests.fields import LARGEST_INT64, RequestArguments
from avatar_creator.enums import GenerationState
from avatar_creator.errors import Resource, UnavailableError
from avatar_creator.handles import AnyGeneration
from avatar_creator.hooks import OnReconnect
from avatar_creator.rpcs import Rpc
from avatar_creator.v1.generation_pb2 import Generation as GenerationMessage
from avatar_creator.values import Generation, Project

RECONNECT_SECONDS = 60.0
"""Default seconds without a connection after which a watch fails."""

_ENDED = frozenset(
    state.number for state in (GenerationState.COMPLETED, GenerationState.FAILED, GenerationState.CANCELLED)
)


class ResumePoint(ABC):
    """Progress of a watch: the states delivered so far, and the request for the rest.

    A state is new if its revision is higher than the last delivered one. A final state is new once, even if
    its revision is known: the service sends it again so that no watch ends without the outcome.
    """

    rpc: Rpc[Any]
    """The RPC that watches."""
    resource: Resource | None = None
    """The watched resource; None if there are several."""

    def __init__(self, known_revisions: Mapping[str, int]) -> None:
        self._open = dict(known_revisions)
        self._ended: set[str] = set()

    def is_new(self, generation: GenerationMessage) -> bool:
        """Return True if the caller has not seen this state, and record it as seen."""
        if generation.id in self._ended:
            return False
        if generation.state in _ENDED:
            self._ended.add(generation.id)
            self._open.pop(generation.id, None)
            return True
        if generation.revision <= self._open.get(generation.id, 0):
            return False
        self._open[generation.id] = generation.revision
        return True

    @abstractmethod
    def request(self) -> Message:
        """Return the request for the states that are not delivered yet."""

    @property
    def finished(self) -> bool:
        """True if every watched generation has ended and its final state was delivered."""
        return not self._open

    @property
    def finished_if_closed(self) -> bool:
        """True if the watch is complete once the service has closed the stream with OK."""
        return self.finished


class OneGeneration(ResumePoint):
    """A watch on one generation."""

    rpc = rpcs.WATCH_GENERATION

    def __init__(self, generation_id: str, known_revision: int) -> None:
        super().__init__({generation_id: known_revision})
        self.resource = Resource("generation", generation_id)
        self._generation_id = generation_id

    def request(self) -> Message:
        return requests.watch_generation(self._generation_id, self._open[self._generation_id])


class SeveralGenerations(ResumePoint):
    """A watch on several generations, given by their ids."""

    rpc = rpcs.WATCH_GENERATIONS

    def request(self) -> Message:
        return requests.watch_generations(self._open)


class WholeGroup(ResumePoint):
    """A watch on all variations of one call.

    Only the service knows how many there are, so only the end of its stream shows that all have ended.
    """

    rpc = rpcs.WATCH_GENERATIONS

    def __init__(self, group_id: str) -> None:
        super().__init__({})
        self.resource = Resource("group", group_id)
        self._group_id = group_id

    def request(self) -> Message:
        return requests.watch_group(self._group_id)

    @property
    def finished(self) -> bool:
        return False

    @property
    def finished_if_closed(self) -> bool:
        return bool(self._ended) and not self._open


class EndlessWatch(ResumePoint):
    """A watch on all generations of a project or of a user, including later ones.

    A new connection resumes at the newest `update_time` seen, or at the start time of the watch if none was
    seen. The start time comes from this machine's clock. The service sends some earlier changes too, so the
    clock may be wrong by some seconds.
    """

    rpc = rpcs.WATCH_GENERATIONS

    def __init__(
        self,
        request: Callable[[Timestamp | None], Message],
        resource: Resource | None,
        changed_since: Timestamp | None,
        started: datetime,
    ) -> None:
        super().__init__({})
        self.resource = resource
        self._request_since = request
        self._changed_since = changed_since
        self._started = Timestamp()
        self._started.FromDatetime(started)
        self._requested = False
        self._newest: Timestamp | None = None

    def is_new(self, generation: GenerationMessage) -> bool:
        changed = generation.update_time
        if self._newest is None or changed.ToNanoseconds() > self._newest.ToNanoseconds():
            self._newest = changed
        return super().is_new(generation)

    def request(self) -> Message:
        since = self._newest or self._changed_since or (self._started if self._requested else None)
        self._requested = True
        return self._request_since(since)

    @property
    def finished(self) -> bool:
        return False


class WatchCall(NamedTuple):
    """A watch, as it was asked for."""

    resume: ResumePoint
    timeout: float | None
    """Seconds for the whole watch; None for no limit."""
    reconnect_for: float
    """Seconds without a connection after which the watch fails."""
    on_reconnect: OnReconnect | None
    """Function that receives an event each time the connection is lost."""


def watch_one(
    generation: AnyGeneration,
    known_revision: int | None,
    timeout: float | None,
    reconnect_for: float | None,
    on_reconnect: OnReconnect | None,
) -> WatchCall:
    """Return the watch of one generation."""
    with RequestArguments() as given:
        generation_id = given.id("generation", Generation, generation)
        revision = given.whole("known_revision", known_revision, most=LARGEST_INT64)
        options = _options(given, timeout, reconnect_for, on_reconnect)
    return WatchCall(OneGeneration(generation_id, revision), *options)


def watch_ids(
    ids: Iterable[str],
    timeout: float | None,
    reconnect_for: float | None,
    on_reconnect: OnReconnect | None,
) -> WatchCall:
    """Return the watch of the generations with these ids."""
    with RequestArguments() as given:
        options = _options(given, timeout, reconnect_for, on_reconnect)
    return WatchCall(SeveralGenerations(dict.fromkeys(ids, 0)), *options)


def watch_several(
    targets: Iterable[AnyGeneration] | Mapping[str, int] | None,
    project: Project | str | None,
    group_id: str | None,
    user_id: str | None,
    changed_since: datetime | None,
    started: datetime,
    timeout: float | None,
    reconnect_for: float | None,
    on_reconnect: OnReconnect | None,
) -> WatchCall:
    """Return the watch of several generations: targets, a project, a group, or those of a user.

    Args:
        targets: Generations, handles or ids, or a mapping of ids to the highest revisions seen; or None.
        project: The project to watch, or its id.
        group_id: The group of variations to watch.
        user_id: The user to watch; None for the caller, if none of the other three is given.
        changed_since: Time from which changes in the project or of the user are new; None for only unfinished
            generations.
        started: The current time.
        timeout: Seconds for the whole watch.
        reconnect_for: Seconds without a connection after which the watch fails.
        on_reconnect: Function that receives an event each time the connection is lost.

    Raises:
        InvalidArgumentError: The arguments name more than one of targets, project, group and user, or
            `changed_since` has no time zone or comes with targets or a group.
    """
    with RequestArguments() as given:
        project_id = given.optional_id("project", Project, project)
        group_id, user_id = given.text("group_id", group_id), given.text("user_id", user_id)
        revisions = _revisions(given, targets)
        since = given.time("changed_since", changed_since)
        named = {"targets": targets is not None, "project": project, "group_id": group_id, "user_id": user_id}
        selectors = [name for name, selector in named.items() if selector]
        if len(selectors) > 1:
            for name in selectors:
                given.refuse(name, "must be the only one of targets, project, group_id and user_id")
        elif since is not None and selectors in (["targets"], ["group_id"]):
            given.refuse(
                "changed_since",
                "does not work with targets or group_id; give targets as a mapping of ids to revisions",
            )
        options = _options(given, timeout, reconnect_for, on_reconnect)
    resume: ResumePoint
    if project_id:
        watch = partial(requests.watch_project, project_id)
        resume = EndlessWatch(watch, Resource("project", project_id), since, started)
    elif group_id:
        resume = WholeGroup(group_id)
    elif revisions is not None:
        resume = SeveralGenerations(revisions)
    else:
        resume = EndlessWatch(partial(requests.watch_all, user_id), None, since, started)
    return WatchCall(resume, *options)


def _revisions(
    given: RequestArguments, targets: Iterable[AnyGeneration] | Mapping[str, int] | None
) -> dict[str, int] | None:
    if targets is None:
        return None
    if isinstance(targets, Mapping):
        return {
            given.id("targets", Generation, id): given.whole(f"targets[{id}]", revision, most=LARGEST_INT64)
            for id, revision in targets.items()
        }
    return dict.fromkeys(given.ids("targets", Generation, targets), 0)


def _options(
    given: RequestArguments, timeout: object, reconnect_for: object, on_reconnect: OnReconnect | None
) -> tuple[float | None, float, OnReconnect | None]:
    given.function("on_reconnect", on_reconnect)
    seconds = given.seconds("reconnect_for", reconnect_for)
    return given.seconds("timeout", timeout), RECONNECT_SECONDS if seconds is None else seconds, on_reconnect


def stream_ended_early() -> UnavailableError:
    """Return the error of a stream that closed with OK too early, which counts as a lost connection."""
    return UnavailableError("the service closed the watch before the generation ended; watch it again")

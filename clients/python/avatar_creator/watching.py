"""What a watch has delivered, so that it can be taken up elsewhere and nothing comes twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import requests, rpcs
from avatar_creator.errors import (
    GenerationCancelledError,
    GenerationFailedError,
    Resource,
    UnavailableError,
)
from avatar_creator.rpcs import Rpc
from avatar_creator.v1.generation_pb2 import Generation, GenerationState

ENDED = frozenset(
    {
        GenerationState.GENERATION_STATE_COMPLETED,
        GenerationState.GENERATION_STATE_FAILED,
        GenerationState.GENERATION_STATE_CANCELLED,
    }
)
"""States a generation never leaves."""


class ResumePoint(ABC):
    """How far a watch has come.

    A state is news when its revision is higher than that of the last one seen. An end is news once, whatever
    revision is known: the service sends it again so that no watch closes without its outcome.
    """

    rpc: Rpc[Any]
    """The RPC that watches."""
    resource: Resource | None = None
    """What is watched; None where there are several."""

    def __init__(self, known_revisions: Mapping[str, int]) -> None:
        self._open = dict(known_revisions)
        self._ended: set[str] = set()

    def is_news(self, generation: Generation) -> bool:
        """Whether the caller has yet to see this state; it is remembered as seen."""
        if generation.id in self._ended:
            return False
        if generation.state in ENDED:
            self._ended.add(generation.id)
            self._open.pop(generation.id, None)
            return True
        if generation.revision <= self._open.get(generation.id, 0):
            return False
        self._open[generation.id] = generation.revision
        return True

    @abstractmethod
    def request(self) -> Message:
        """Asks for what has not been delivered yet."""

    @property
    def finished(self) -> bool:
        """Whether all that was watched has ended and was delivered."""
        return not self._open

    @property
    def finished_if_closed(self) -> bool:
        """Likewise, where the service has just ended its stream with OK."""
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
    """A watch on generations that are named."""

    rpc = rpcs.WATCH_GENERATIONS

    def request(self) -> Message:
        return requests.watch_generations(self._open)


class WholeGroup(ResumePoint):
    """A watch on the variations that one call asked for.

    The service alone knows how many there are, so that only its stream's end tells that all have ended.
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


class WholeProject(ResumePoint):
    """A watch on a project, now and later.

    It is taken up at the newest of the service's times it has seen or, while it has seen none, at our own of
    its start. The service sends a little more than it is asked for, so our clock may be some seconds off.
    """

    rpc = rpcs.WATCH_GENERATIONS

    def __init__(self, project_id: str, changed_since: datetime | None, started: datetime) -> None:
        super().__init__({})
        self.resource = Resource("project", project_id)
        self._project_id = project_id
        self._changed_since = requests.timestamp(changed_since)
        self._started = requests.timestamp(started)
        self._asked = False
        self._newest: Timestamp | None = None

    def is_news(self, generation: Generation) -> bool:
        changed = generation.update_time
        if self._newest is None or changed.ToNanoseconds() > self._newest.ToNanoseconds():
            self._newest = changed
        return super().is_news(generation)

    def request(self) -> Message:
        since = self._newest or self._changed_since or (self._started if self._asked else None)
        self._asked = True
        return requests.watch_project(self._project_id, since)

    @property
    def finished(self) -> bool:
        return False


def resume_point(
    targets: Iterable[str] | Mapping[str, int] | None,
    project_id: str,
    group_id: str,
    changed_since: datetime | None,
    started: datetime,
) -> ResumePoint:
    """Where a watch on several generations begins.

    Raises:
        ValueError: not exactly one of them is given, or a time without its time zone or without a project.
    """
    if [targets is not None, bool(project_id), bool(group_id)].count(True) != 1:
        raise ValueError("give either targets, project_id or group_id")
    if project_id:
        return WholeProject(project_id, changed_since, started)
    if changed_since is not None:
        raise ValueError("changed_since goes with project_id only")
    if targets is None:
        return WholeGroup(group_id)
    if isinstance(targets, str):
        raise ValueError("targets are several ids; for one id there is watch()")
    if isinstance(targets, Mapping):
        return SeveralGenerations(targets)
    return SeveralGenerations(dict.fromkeys(targets, 0))


def stream_ended_early() -> UnavailableError:
    """A stream that closed with OK before what it watches had ended: as good as a lost connection."""
    return UnavailableError("the service ended the watch before the generation ended")


def completed(generation: Generation) -> Generation:
    """`generation`, which has ended, if it made an avatar.

    Raises:
        GenerationFailedError: it failed.
        GenerationCancelledError: it was cancelled.
    """
    if generation.state == GenerationState.GENERATION_STATE_FAILED:
        raise GenerationFailedError(generation)
    if generation.state == GenerationState.GENERATION_STATE_CANCELLED:
        raise GenerationCancelledError(generation)
    return generation

"""What a watch has delivered, so that it can be taken up elsewhere and nothing comes twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

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

    def to_read_again(self) -> Sequence[str]:
        """Generations that may have ended while there was no connection, and that `request` leaves out."""
        return ()

    def forget(self, generation_id: str) -> None:
        """It was deleted: nothing more will come of it."""
        self._open.pop(generation_id, None)


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


class WholeProject(ResumePoint):
    """A watch on a project, now and later."""

    rpc = rpcs.WATCH_GENERATIONS

    def __init__(self, project_id: str) -> None:
        super().__init__({})
        self.resource = Resource("project", project_id)
        self._project_id = project_id

    def request(self) -> Message:
        return requests.watch_project(self._project_id)

    @property
    def finished(self) -> bool:
        return False

    def to_read_again(self) -> Sequence[str]:
        # By project the service sends only what is unfinished and what changes from then on, and takes no
        # known revisions: what ended in between would stay open for ever in the eyes of the caller.
        return tuple(self._open)


def several_or_project(targets: Iterable[str] | Mapping[str, int] | None, project_id: str) -> ResumePoint:
    """Where a watch on several generations begins.

    Raises:
        ValueError: both are given, or none.
    """
    if (targets is None) == (not project_id):
        raise ValueError("give either targets or project_id")
    if targets is None:
        return WholeProject(project_id)
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

"""Updates: the states that a watch sends, in the form that its watchers receive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from avatar_creator_server.generations.records import Generation


@dataclass(frozen=True, slots=True)
class GenerationUpdate:
    """One state of a generation on its way to a watcher."""

    generation_id: str
    revision: int
    ended: bool
    response: bytes
    """The encoded response for watchers of one generation."""
    response_of_several: bytes
    """The encoded response for watchers of several generations."""


SendUpdate: TypeAlias = Callable[[GenerationUpdate], Awaitable[None]]
"""Sends an update to a watcher, and waits until the watcher has made room for it."""


class GenerationCodec(Protocol):
    """Encodes generations as the responses that a watch sends.

    The contract's messages are outside the domain, so the domain receives the codec from `core`.
    """

    def update(self, generation: Generation) -> GenerationUpdate:
        """Return the update that carries this state."""

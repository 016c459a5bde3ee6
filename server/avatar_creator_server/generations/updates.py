"""Updates: the states that a watch sends, in the form that its watchers receive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from avatar_creator_server.generations.records import Generation


@dataclass(frozen=True, slots=True)
class GenerationUpdate:
    """One state of a generation on its way to a watcher."""

    generation_id: str
    revision: int
    ended: bool
    response: Any
    """The state in the form that watchers of one generation receive. Only the codec knows the type.

    All watchers share it, so nothing may change it."""
    response_of_several: Any
    """The same for watchers of several generations."""


class GenerationCodec(Protocol):
    """Converts generations to the form that a watch sends.

    The contract's messages are outside the domain, so the domain receives the codec from `core`.
    """

    def update(self, generation: Generation) -> GenerationUpdate:
        """Return the update that carries this state."""

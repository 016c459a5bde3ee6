"""The part of a generation's handle that both clients share: the newest state, without the calls."""

from __future__ import annotations

from typing import NoReturn, TypeAlias
from uuid import UUID

from avatar_creator.arguments import Arguments, described, refused
from avatar_creator.enums import GenerationState
from avatar_creator.errors import GenerationCancelledError, GenerationFailedError, NotFoundError, Resource
from avatar_creator.values import Generation

WAIT_SECONDS = 600.0
"""Default seconds to wait for the end of a generation."""


class BaseGenerationHandle:
    """Id of a generation, and its newest state that this handle has seen."""

    def __init__(self, generation: AnyGeneration) -> None:
        self._seen: Generation | None = None
        if isinstance(generation, str | UUID):
            with Arguments() as given:
                self._id = given.text("generation", str(generation))
        elif isinstance(generation, BaseGenerationHandle):
            self._id, self._seen = generation.id, generation._seen
        elif isinstance(generation, Generation):
            self._id, self._seen = generation.id, generation
        else:
            raise refused("generation", f"must be an id or a Generation (got {described(generation)})")

    @property
    def id(self) -> str:
        """Id of the generation."""
        return self._id

    @property
    def generation(self) -> Generation:
        """Newest state that this handle has seen. Reading it calls nothing.

        Raises:
            ValueError: The handle was made from an id and has not seen a state yet.
        """
        if self._seen is None:
            raise ValueError(
                f"no state of generation {self._id} is known yet; call refresh() or wait() first"
            )
        return self._seen

    def _see(self, generation: Generation) -> Generation:
        """Keep this state if no newer one is known, and return it."""
        if self._seen is None or generation.revision >= self._seen.revision:
            self._seen = generation
        return generation

    @property
    def _ended(self) -> bool:
        return self._seen is not None and self._seen.ended

    def __repr__(self) -> str:
        state = "" if self._seen is None else f", {self._seen.state.value!r}"
        return f"{type(self).__name__}({self._id!r}{state})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle holds a connection and cannot be pickled; pickle its `id` or `generation`")


AnyGeneration: TypeAlias = Generation | BaseGenerationHandle | str
"""A generation, its handle, or its id."""


def avatar_id_of(generation: Generation) -> str:
    """Return the id of the avatar that an ended generation made.

    Raises:
        GenerationFailedError: The generation failed.
        GenerationCancelledError: The generation was cancelled.
        NotFoundError: The avatar has been deleted.
    """
    if generation.state == GenerationState.FAILED:
        raise GenerationFailedError(generation)
    if generation.state == GenerationState.CANCELLED:
        raise GenerationCancelledError(generation)
    if generation.avatar_id is None:
        raise NotFoundError(
            f"the avatar of generation {generation.id} has been deleted",
            resource=Resource("generation", generation.id),
        )
    return generation.avatar_id

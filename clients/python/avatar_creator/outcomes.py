"""The outcome of each file in an upload or a download of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Source = TypeVar("Source")
Result = TypeVar("Result")

BatchProgress: TypeAlias = Callable[[int, int], object]
"""Function called with the number of files that have ended, in success or failure, and the number of all."""


@dataclass(frozen=True, slots=True, repr=False)
class Outcome(Generic[Source, Result]):
    """Outcome of one file: its result, or the error that it failed with."""

    source: Source
    """The picture or the avatar, as it was given."""
    error: Exception | None = None
    """Error of this file; None if it succeeded."""
    _result: Result | None = None

    @property
    def result(self) -> Result:
        """Result of this file.

        Raises:
            Exception: `error`, if the file failed.
        """
        if self.error is not None:
            raise self.error
        result: Result = self._result  # type: ignore[assignment]  # `Result` may itself include None
        return result

    def __repr__(self) -> str:
        source = f"<{len(self.source)} bytes>" if isinstance(self.source, bytes) else repr(self.source)
        if self.error is not None:
            return f"Outcome({source}, error={self.error!r})"
        result = f"<{len(self._result)} bytes>" if isinstance(self._result, bytes) else repr(self._result)
        return f"Outcome({source}, result={result})"

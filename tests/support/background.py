"""A call on a thread next to the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class InBackground:
    """A call on a daemon thread, which starts now."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def outcome(self, timeout: float = 20.0) -> Any:
        """Wait until the call has ended and return its result, or the exception it raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call has not ended"
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._function()
        except Exception as error:
            self._outcome = error

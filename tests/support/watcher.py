"""A user's program that watches a generation, on another thread than the test."""

from __future__ import annotations

import threading
from collections.abc import Callable

from avatar_creator import AvatarCreator, Generation
from tests.support.waiting import wait_until


class Watcher:
    """Watches a generation with `client.generations.watch`, from now on."""

    def __init__(self, client: AvatarCreator, generation_id: str) -> None:
        self._client = client
        self._generation_id = generation_id
        self._states: list[Generation] = []
        self._error: Exception | None = None
        # A daemon thread, so that a failed test does not wait for the end of its watch.
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)
        self._thread.start()

    def wait_for(self, condition: Callable[[Generation], bool], timeout: float = 20.0) -> Generation:
        """Return the first received state that meets `condition`. Wait for it if necessary.

        Raises:
            TimeoutError: No state met the condition within `timeout` seconds.
            AvatarCreatorError: The watch ended with this error.
        """

        def first_match() -> Generation | None:
            found = next((state for state in list(self._states) if condition(state)), None)
            if found is None and self._error is not None:
                raise self._error
            return found

        return wait_until(first_match, timeout, lambda: f"no match in {self._summary()}")

    def states(self, timeout: float = 20.0) -> list[Generation]:
        """Wait until the watch has ended, and return all received states.

        Raises:
            TimeoutError: The watch has not ended within `timeout` seconds.
            AvatarCreatorError: The watch ended with this error.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the watch has not ended: {self._summary()}")
        if self._error is not None:
            raise self._error
        return list(self._states)

    def _summary(self) -> list[tuple[int, str, int]]:
        return [(state.revision, state.state, state.progress_percent) for state in self._states]

    def _follow(self) -> None:
        try:
            for state in self._client.generations.watch(self._generation_id):
                self._states.append(state)
        except Exception as error:
            self._error = error

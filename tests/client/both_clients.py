"""One way to drive both clients, so that each behavior is tested once for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

from avatar_creator import AsyncAvatarCreator, AvatarCreator, Backoff


class FakeTime:
    """A clock that only sleeping moves. Sleeping takes no real time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Blocking:
    """An `AsyncAvatarCreator`, or a part of one, with the blocking methods of an `AvatarCreator`."""

    def __init__(self, part: Any, runner: asyncio.Runner) -> None:
        self._part = part
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return self._blocking(value) if inspect.ismethod(value) else Blocking(value, self._runner)

    def _blocking(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return BlockingIterator(result, self._runner)
            return self._run(result) if inspect.isawaitable(result) else Blocking(result, self._runner)

        return call

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())


class BlockingIterator(Blocking):
    """An asynchronous iterator as a blocking one, with its other methods."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._run(anext(self._part))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Close a watch."""
        self._run(self._part.aclose())


class Connector:
    """Creates clients of one kind and closes them."""

    def __init__(self, kind: str, time: FakeTime) -> None:
        self.kind = kind
        self.time = time
        self._clients: list[Any] = []
        self._runner = asyncio.Runner()

    def __call__(self, target: str | None, **options: Any) -> Any:
        options.setdefault("token", "a-token")
        options.setdefault("backoff", Backoff(random=lambda: 0.0))
        options.setdefault("clock", self.time.clock)
        client: Any
        if self.kind == "sync":
            client = AvatarCreator(target, sleep=self.time.sleep, **options)
        else:

            async def connect() -> AsyncAvatarCreator:
                return AsyncAvatarCreator(target, sleep=self.time.sleep_async, **options)

            client = Blocking(self._runner.run(connect()), self._runner)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._runner.close()

"""One way to drive both clients, so that each behavior is tested once for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, Self

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
    """A part of an `AsyncAvatarCreator` with the blocking methods of the same part of an `AvatarCreator`."""

    def __init__(self, part: Any, runner: asyncio.Runner) -> None:
        self._part = part
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return self._blocking(value) if inspect.ismethod(value) else self._part_of(value)

    def __repr__(self) -> str:
        return repr(self._part).replace("Async", "")

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, key: Any) -> Any:
        return self._part_of(self._part[key])

    def __iter__(self) -> Iterator[Any]:
        if hasattr(self._part, "__anext__"):
            return self
        return map(self._part_of, self._part)

    def __next__(self) -> Any:
        try:
            return self._run(anext(self._part))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        self._run(self._part.__aenter__())
        return self

    def __exit__(self, *raised: Any) -> None:
        self._run(self._part.__aexit__(*raised))

    def close(self) -> None:
        """Close a watch or a client."""
        self._run(self._part.aclose() if hasattr(self._part, "aclose") else self._part.close())

    def _part_of(self, value: Any) -> Any:
        """Return a part of the async client as a blocking one, and a value as it is."""
        is_part = type(value).__module__.startswith("avatar_creator._async")
        return Blocking(value, self._runner) if is_part else value

    def _blocking(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*map(_plain, args), **kwargs)
            return self._run(result) if inspect.isawaitable(result) else self._part_of(result)

        return call

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self._part_of(self._runner.run(wait()))


def _plain(argument: Any) -> Any:
    """Return the argument without the blocking parts that it is or has."""
    if isinstance(argument, list | tuple):
        return type(argument)(map(_plain, argument))
    return argument._part if isinstance(argument, Blocking) else argument


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

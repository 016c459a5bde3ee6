"""The service in a thread of the test's process, for tests with calls that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

from tests.support.in_process import InProcessService
from tests.support.service import Deployment

T = TypeVar("T")

_SECONDS = 60.0


class ServiceInThread:
    """A server and its workers. Only one at a time: a process has one database."""

    def __init__(self, loop: asyncio.AbstractEventLoop, service: InProcessService) -> None:
        self._loop = loop
        self._service = service

    @classmethod
    @contextmanager
    def serving(cls, deployment: Deployment, **settings: str) -> Iterator[ServiceInThread]:
        """Run a server without a worker while the context is open, with additional `settings`."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            stack = AsyncExitStack()
            opened = stack.enter_async_context(InProcessService.serving(deployment, **settings))
            service = _result(loop, opened)
            try:
                yield cls(loop, service)
            finally:
                _result(loop, stack.aclose())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_SECONDS)
            if thread.is_alive():
                raise TimeoutError("the thread of the service has not ended")
            loop.close()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run a worker with the provider of the settings while the context is open."""
        stack = AsyncExitStack()
        _result(self._loop, stack.enter_async_context(self._service.working()))
        try:
            yield
        finally:
            _result(self._loop, stack.aclose())


def _result(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_SECONDS)

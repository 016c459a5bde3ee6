"""A web server on loopback in its own thread, for fakes that tests read and change directly."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.support.ports import free_port

_START_SECONDS = 10.0
_END_SECONDS = 10.0


class ThreadServer:
    """A server that runs until `close`, and closes its connections then."""

    def __init__(self, application: web.Application, port: int = 0) -> None:
        """Start the server.

        Args:
            application: Answers the requests.
            port: Its port; 0 means a free one.

        Raises:
            RuntimeError: The server did not start.
        """
        self._application = application
        self._port = port or free_port()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._finish = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._run(),), daemon=True
        )
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise RuntimeError(f"{type(self).__name__} did not start")

    @property
    def origin(self) -> str:
        """URL of the server, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Stop the server, and close its connections.

        Raises:
            TimeoutError: The thread did not end. It is a daemon thread, so it ends with Python.
        """
        self._loop.call_soon_threadsafe(self._finish.set)
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"{type(self).__name__} has not stopped")
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self) -> None:
        # Cancelling the handler ends an answer whose caller has disconnected.
        runner = web.AppRunner(self._application, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._started.set()
        await self._finish.wait()
        await runner.cleanup()

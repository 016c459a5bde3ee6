"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import grpc.aio

from avatar_creator import channels
from avatar_creator._async.avatars import AsyncAvatars
from avatar_creator._async.connection import AsyncConnection, AsyncSleep, AsyncToken
from avatar_creator._async.generations import AsyncGenerations
from avatar_creator._async.operations import AsyncOperations
from avatar_creator._async.presets import AsyncPersonas, AsyncPresets
from avatar_creator._async.projects import AsyncProjects
from avatar_creator._async.usage import AsyncUsage
from avatar_creator.retries import Backoff


class AsyncAvatarCreator:
    """Client of an Avatar Creator service for asyncio.

    Close the client after use, or use it as a context manager (`async with`).
    Create the client inside the event loop that uses it.

    Every method raises `AvatarCreatorError`s. Its `timeout` is the number of seconds for all attempts of the
    call together. After UNAVAILABLE the client retries a call, within its timeout, if a second attempt is
    safe. It never retries deletes and uploads of file objects.

    Attributes:
        projects: Projects, which are folders of avatars.
        avatars: Avatars and their pictures.
        generations: Generations, which draw portraits from prompts.
        usage: Uses of avatars by apps, and statistics.
        presets: Presets, which are ready-made starting points.
        personas: Persona examples.
        operations: Operation of the service, with a token that has the role ops.
    """

    projects: AsyncProjects
    avatars: AsyncAvatars
    generations: AsyncGenerations
    usage: AsyncUsage
    presets: AsyncPresets
    personas: AsyncPersonas
    operations: AsyncOperations

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        token: AsyncToken | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        proxy: str | None = None,
        channel: grpc.aio.Channel | None = None,
        timeout: float = 10.0,
        transfer_timeout: float = 60.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: AsyncSleep = asyncio.sleep,
    ) -> None:
        """Create a client. It connects at the first call.

        Args:
            target: Host and port of the service, or any other gRPC name.
            token: Bearer token of every call. A function, async or not, is called before every attempt and
                can return a fresh token. Without TLS the token is not encrypted.
            tls: True encrypts the connection with TLS.
            root_certificates: PEM certificates that may sign the server's certificate; None uses gRPC's
                defaults.
            proxy: URL of an HTTP proxy, `http://host:port`. An empty text connects directly. None uses the
                proxy in the environment variable `grpc_proxy`, `https_proxy`, `http_proxy` or `all_proxy`.
                Connections to this machine, and to hosts in `no_proxy`, never use a proxy.
            channel: Channel to use instead of `target`. Closing the client leaves it open.
            timeout: Default seconds for a call.
            transfer_timeout: Default seconds for an upload or a download.
            backoff: Delays between retries; None uses the defaults of `Backoff`.
            clock: Returns seconds that never decrease; tests replace it.
            sleep: Waits for a number of seconds; tests replace it.

        Raises:
            ValueError: `root_certificates` are given without `tls`, or `proxy` is not such a URL.
        """
        self._owns_channel = channel is None
        self._connection = AsyncConnection(
            channel
            or channels.connect_async(target, tls=tls, root_certificates=root_certificates, proxy=proxy),
            token=token,
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            backoff=backoff or Backoff(),
            clock=clock,
            sleep=sleep,
        )
        self.projects = AsyncProjects(self._connection)
        self.avatars = AsyncAvatars(self._connection)
        self.generations = AsyncGenerations(self._connection)
        self.usage = AsyncUsage(self._connection)
        self.presets = AsyncPresets(self._connection)
        self.personas = AsyncPersonas(self._connection)
        self.operations = AsyncOperations(self._connection)

    async def close(self) -> None:
        """Close the client: running calls and watches raise `CallCancelledError`, and so do later ones.

        A channel that was passed to the client stays open, and so do its running calls.
        """
        await self._connection.close(channel=self._owns_channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

# Generated from avatar_creator/_async/client.py by `make client`. Do not edit: change that file instead.
"""The client that blocks until a call has returned."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import grpc

from avatar_creator import channels
from avatar_creator._sync.avatars import Avatars
from avatar_creator._sync.connection import Connection, Sleep, Token
from avatar_creator._sync.generations import Generations
from avatar_creator._sync.operations import Operations
from avatar_creator._sync.presets import Personas, Presets
from avatar_creator._sync.projects import Projects
from avatar_creator._sync.usage import Usage
from avatar_creator.retries import Backoff


class AvatarCreator:
    """Client of an Avatar Creator service.

    Close the client after use, or use it as a context manager (`with`).
    Several threads may use one client.

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

    projects: Projects
    avatars: Avatars
    generations: Generations
    usage: Usage
    presets: Presets
    personas: Personas
    operations: Operations

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        token: Token | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        proxy: str | None = None,
        channel: grpc.Channel | None = None,
        timeout: float = 10.0,
        transfer_timeout: float = 60.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Create a client. It connects at the first call.

        Args:
            target: Host and port of the service, or any other gRPC name.
            token: Bearer token of every call. A function is called before every attempt and
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
        self._connection = Connection(
            channel or channels.connect(target, tls=tls, root_certificates=root_certificates, proxy=proxy),
            token=token,
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            backoff=backoff or Backoff(),
            clock=clock,
            sleep=sleep,
        )
        self.projects = Projects(self._connection)
        self.avatars = Avatars(self._connection)
        self.generations = Generations(self._connection)
        self.usage = Usage(self._connection)
        self.presets = Presets(self._connection)
        self.personas = Personas(self._connection)
        self.operations = Operations(self._connection)

    def close(self) -> None:
        """Close the client: running calls and watches raise `CallCancelledError`, and so do later ones.

        A channel that was passed to the client stays open, and so do its running calls.
        """
        self._connection.close(channel=self._owns_channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

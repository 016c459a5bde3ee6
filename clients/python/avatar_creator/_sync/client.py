# Generated from avatar_creator/_async/client.py by `make client`. Do not edit: change that file instead.
"""The client that blocks until a call has returned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self

import grpc

from avatar_creator import channels
from avatar_creator._sync.avatars import Avatars
from avatar_creator._sync.connection import Connection, Sleep, Token
from avatar_creator._sync.generations import Generations
from avatar_creator._sync.operations import Operations
from avatar_creator._sync.presets import Personas, Presets
from avatar_creator._sync.projects import Projects
from avatar_creator._sync.usage import Usage
from avatar_creator.hooks import OnRequest, OnResponse
from avatar_creator.options import CallOptions
from avatar_creator.proxies import Proxy
from avatar_creator.retries import Backoff
from avatar_creator.rpcs import CALL_SECONDS, TRANSFER_SECONDS
from avatar_creator.targets import Target, choose_target
from avatar_creator.tokens import choose_token


class AvatarCreator:
    """Client of an Avatar Creator service.

    Close the client after use, or use it as a context manager (`with`).
    Several threads may use one client.

    Every method raises `AvatarCreatorError`s. Its `timeout` is the number of seconds for all attempts of the
    call together. After UNAVAILABLE the client retries a call, within its timeout, if a second attempt is
    safe. It never retries deletes and uploads of file objects.

    Each method has an example. In it, `client` is a client, `project` is a project, `sarah` is an avatar in
    that project, `generation` is the handle of a generation, and `group` is a group of two.

    Attributes:
        projects: Projects, which are folders of avatars.
        avatars: Avatars and their pictures.
        generations: Generations, which draw portraits from prompts.
        usage: Uses of avatars by apps, and statistics.
        presets: Presets, which are ready-made starting points.
        personas: Persona examples.
        operations: Operation of the service, with a token that has the role ops.

    Examples:
        >>> with AvatarCreator(target, token=token) as client:
        ...     project = client.projects.create("Autumn")
        >>> print(project.name)
        Autumn
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
        target: str | None = None,
        *,
        token: Token | None = None,
        tls: bool | None = None,
        root_certificates: bytes | None = None,
        proxy: Proxy = None,
        keepalive: float | None = channels.KEEPALIVE,
        channel: grpc.Channel | None = None,
        timeout: float = CALL_SECONDS,
        transfer_timeout: float = TRANSFER_SECONDS,
        retries: int | None = None,
        backoff: Backoff | None = None,
        on_request: OnRequest | None = None,
        on_response: OnResponse | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Create a client. It connects at the first call.

        Args:
            target: Address of the service: `host:port`, `http://host:port`, `https://host:port`, or a name
                that gRPC resolves, for example `unix:/run/avatars.sock`. Without a port, TLS uses 443. None
                means the environment variable `AVATAR_CREATOR_TARGET`, or `127.0.0.1:50051`.
            token: Bearer token of every call. A function is called before every attempt and
                can return a fresh token. None means the environment variable `AVATAR_CREATOR_TOKEN`; an empty
                text sends calls without a token. Without TLS the token is not encrypted.
            tls: True requires TLS and False refuses TLS. None uses TLS if the target begins with `https://`.
            root_certificates: PEM certificates that may sign the server's certificate; None uses gRPC's
                defaults.
            proxy: URL of an HTTP proxy, `http://host:port`. False connects directly. None uses the proxy in
                the environment variable `grpc_proxy`, `https_proxy`, `http_proxy` or `all_proxy`. Connections
                to this machine, and to hosts in `no_proxy`, never use a proxy.
            keepalive: Seconds of silence after which the client pings a connection with a running call; None
                turns the pings off.
            channel: Channel to use instead of `target`, with its own TLS, proxy and keepalive. Closing the
                client leaves it open.
            timeout: Default seconds for a call.
            transfer_timeout: Default seconds for an upload or a download.
            retries: Largest number of further attempts of a call; None for as many as its timeout allows.
                Watches have their own `reconnect_for`.
            backoff: Delays between retries; None uses the defaults of `Backoff`.
            on_request: Function that receives a `RequestEvent` before each attempt is sent.
            on_response: Function that receives a `ResponseEvent` after each attempt has ended. The client
                calls both where the call was made, and does not catch their errors.
            clock: Returns seconds that never decrease; tests replace it.
            sleep: Waits for a number of seconds; tests replace it.

        Raises:
            ValueError: An argument has a value that the client cannot use; the message says which.
            UnauthenticatedError: There is no token, in the argument or in the environment.
        """
        chosen_token = choose_token(token, os.environ)
        self._target: Target | None = None
        if channel is None:
            self._target = choose_target(target, tls, os.environ)
            used = channels.connect(
                self._target.name,
                tls=self._target.tls,
                root_certificates=root_certificates,
                proxy=proxy,
                keepalive=keepalive,
            )
        elif (target, tls, root_certificates, proxy, keepalive) != (
            None,
            None,
            None,
            None,
            channels.KEEPALIVE,
        ):
            raise ValueError("channel brings its own target, tls, root_certificates, proxy and keepalive")
        else:
            used = channel
        self._owns_channel = channel is None
        options = CallOptions(
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            retries=retries,
            backoff=backoff or Backoff(),
            on_request=on_request,
            on_response=on_response,
        )
        self._use(Connection(used, token=chosen_token, options=options, clock=clock, sleep=sleep))

    def with_options(
        self,
        *,
        token: Token | None = None,
        timeout: float | None = None,
        transfer_timeout: float | None = None,
        retries: int | None = None,
        backoff: Backoff | None = None,
        on_request: OnRequest | None = None,
        on_response: OnResponse | None = None,
    ) -> Self:
        """Return a client with other options on the same connection. It costs no connection and no call.

        Closing the new client closes only itself. It also ends when this client is closed. `keepalive`
        belongs to the connection, so it has no place here.

        Args:
            token: Bearer token of every call, or a function that returns one; see the constructor.
            timeout: Default seconds for a call.
            transfer_timeout: Default seconds for an upload or a download.
            retries: Largest number of further attempts of a call; 0 for none.
            backoff: Delays between retries.
            on_request: Function that receives a `RequestEvent` before each attempt is sent.
            on_response: Function that receives a `ResponseEvent` after each attempt has ended.

        Returns:
            The new client. An argument that is None keeps this client's option.

        Raises:
            ValueError: An argument has a value that the client cannot use; the message says which.

        Examples:
            >>> patient = client.with_options(timeout=60, retries=2)
            >>> project = patient.projects.get(project)
        """
        client = object.__new__(type(self))
        client.__dict__.update(self.__dict__)
        client._owns_channel = False
        options = self._connection.options.changed(
            timeout=timeout,
            transfer_timeout=transfer_timeout,
            retries=retries,
            backoff=backoff,
            on_request=on_request,
            on_response=on_response,
        )
        client._use(self._connection.with_options(token, options))
        return client

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self.projects = Projects(connection)
        self.avatars = Avatars(connection)
        self.generations = Generations(connection)
        self.usage = Usage(connection)
        self.presets = Presets(connection)
        self.personas = Personas(connection)
        self.operations = Operations(connection)

    def __repr__(self) -> str:
        if self._target is None:
            return f"{type(self).__name__}(channel=...)"
        return f"{type(self).__name__}({self._target.name!r}, tls={self._target.tls})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client holds a connection and cannot be pickled; create one in each process")

    def close(self) -> None:
        """Close the client: running calls and watches raise `CallCancelledError`, and so do later ones.

        A channel that was passed to the client stays open, and so do its running calls.

        Examples:
            >>> client = AvatarCreator(target, token=token)
            >>> client.close()
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

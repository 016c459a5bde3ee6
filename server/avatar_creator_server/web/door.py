"""The web port of a server: its address, its handlers, its start and its end."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from avatar_creator_server.api.transfers import Transfers
from avatar_creator_server.core import Core
from avatar_creator_server.images.picture_links import PICTURES_PATH
from avatar_creator_server.operations.listening import (
    listening_sockets,
    require_own_address,
    warn_web_default_taken,
)
from avatar_creator_server.operations.start_up import ALIVE_PATH, ALIVE_TEXT
from avatar_creator_server.settings import Settings, SettingsError, system_reason
from avatar_creator_server.web.application import Application, Routes
from avatar_creator_server.web.listener import Limits, Listener
from avatar_creator_server.web.messages import AsgiApplication, Request, Response, text
from avatar_creator_server.web.origins import WebOrigins, security_headers
from avatar_creator_server.web.page_facts import PAGE_FACTS_PATH, PageFacts
from avatar_creator_server.web.page_files import PageFiles
from avatar_creator_server.web.pictures import Pictures

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DoorParts:
    """The parts of a server that its web port needs."""

    core: Core
    load_calls: Callable[[], AsgiApplication]
    """Returns the application that answers the calls of the API."""
    transfers: Transfers
    """The uploads and downloads of the server. Pictures that are sent here count among them."""
    is_ready: Callable[[], bool]
    """Returns True if the server accepts calls, and can answer them."""
    connections: int
    """Maximum number of open connections."""
    shares_port: bool = False
    """True if other processes of the same server listen on the same port."""


class WebDoor:
    """One listening web port."""

    def __init__(self, parts: DoorParts, sockets: Sequence[socket.socket]) -> None:
        self._core = parts.core
        self._is_ready = parts.is_ready
        self._pictures = Pictures(parts.core, parts.transfers)
        settings = parts.core.settings
        self._port = int(sockets[0].getsockname()[1])
        self._application = Application(self._routes(), parts.load_calls, WebOrigins(settings))
        self._listener = Listener(
            self._application,
            sockets,
            limits=Limits(parts.connections, settings.connection_idle_seconds),
            headers=security_headers(settings),
            tls=_tls(settings),
        )

    @classmethod
    def open(cls, parts: DoorParts) -> WebDoor | None:
        """Return the web port of a server, which listens and accepts nothing yet; None if there is none.

        Raises:
            SettingsError: The address is set, and this process cannot listen there.
        """
        settings = parts.core.settings
        address = settings.web_listen_address
        if not address:
            return None
        require_own_address("WEB_ADDRESS", address)
        try:
            return cls(parts, listening_sockets("WEB_ADDRESS", address, shared=parts.shares_port))
        except SettingsError as error:
            cause = error.__cause__
            if settings.web_address or not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                raise
            warn_web_default_taken(address)
            return None

    @property
    def port(self) -> int:
        """The port that it listens on. If the setting says 0, the system has chosen it."""
        return self._port

    @property
    def url(self) -> str:
        """The URL that people open: WEB_PUBLIC_URL, or that of this port."""
        return self._core.settings.public_url(self._port)

    async def start(self) -> None:
        """Start to accept requests."""
        await self._listener.start()
        log.info("web_ready", address=self._core.settings.web_listen_address, port=self._port)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse further calls, let those in flight end, at most for `grace_seconds`, and close the port."""
        self._application.drain()
        await self._listener.stop(grace_seconds)

    def _routes(self) -> Routes:
        """Return the handlers; `application.py` says how to add one."""
        return Routes(
            exact={
                ALIVE_PATH: self._answer_alive,
                "/readyz": self._answer_ready,
                PAGE_FACTS_PATH: PageFacts(self._core.settings).answer,
            },
            prefixes={PICTURES_PATH: self._pictures.answer},
            fallback=PageFiles().answer,
        )

    async def _answer_alive(self, _request: Request) -> Response:
        """Answer as long as the event loop runs."""
        return _uncached(text(200, ALIVE_TEXT))

    async def _answer_ready(self, _request: Request) -> Response:
        """Answer 200 if calls can succeed here, and 503 before that and while the server drains."""
        return _uncached(text(200, "ready") if self._is_ready() else text(503, "not ready"))


def _uncached(response: Response) -> Response:
    return Response(response.status, {**response.headers, "cache-control": "no-store"}, response.body)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # also SSLError
        raise SettingsError(
            f"TLS_CERTIFICATE_FILE or TLS_KEY_FILE cannot be used: {system_reason(error)}"
        ) from error
    return context

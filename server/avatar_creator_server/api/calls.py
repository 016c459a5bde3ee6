"""Calls: the class of each RPC, and how many calls of a class run at once, for a user and in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from ipaddress import IPv6Address
from typing import cast
from urllib.parse import unquote

from grpc.aio import EOF

from avatar_creator_server import metrics
from avatar_creator_server.api.access import current_caller, user_for_log
from avatar_creator_server.api.interceptors.authentication import Authentication
from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.api.unread_answers import UnreadAnswers
from avatar_creator_server.errors import AvatarCreatorError, InvalidArgumentError, TooSlowError
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.turns import Turns, overloaded_error

_MIB = 1024 * 1024
_CONTRACT = "/avatar_creator.v1."
_WAITING_READS_FACTOR = 32
"""Waiting reads, as a multiple of those that run: gRPC buffers up to 1 MiB of each waiting call."""
_WAITING_WRITES_FACTOR = 16
_ARRIVING_REQUESTS = 2048
"""Requests that arrive at the same time, in all. One takes 40 KiB, and up to 4 MiB while its data arrive."""
_ARRIVING_REQUESTS_PER_USER = 64
_WAITING_REQUESTS_FACTOR = 4
"""Calls whose request is not read yet, as a multiple of those that arrive: enough for a burst of one user."""


class CallClass(StrEnum):
    """Kinds of calls that share a limit. The values are the names of the limits in errors and metrics."""

    READ = "reads"
    WRITE = "writes"
    WATCH = "watches"
    TRANSFER = "transfers"
    """Uploads and downloads, which `api/transfers.py` bounds."""
    ANONYMOUS_STREAM = "streams without a token"
    """Health watches and reflection. The machine that opens them stands for the user."""
    UNBOUNDED = "others"
    """Single health checks, which cost almost nothing, and methods that do not exist."""


_CLASS_OF_PATH = {
    "/grpc.health.v1.Health/Watch": CallClass.ANONYMOUS_STREAM,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": CallClass.ANONYMOUS_STREAM,
}

CLASS_OF_RPC = {
    "CreateProject": CallClass.WRITE,
    "GetProject": CallClass.READ,
    "ListProjects": CallClass.READ,
    "UpdateProject": CallClass.WRITE,
    "DeleteProject": CallClass.WRITE,
    "UploadAvatar": CallClass.TRANSFER,
    "GetAvatar": CallClass.READ,
    "BatchGetAvatars": CallClass.READ,
    "ListAvatars": CallClass.READ,
    "UpdateAvatar": CallClass.WRITE,
    "DeleteAvatar": CallClass.WRITE,
    "DownloadImage": CallClass.TRANSFER,
    "CreateGeneration": CallClass.WRITE,
    "EstimateGeneration": CallClass.READ,
    "GetGeneration": CallClass.READ,
    "ListGenerations": CallClass.READ,
    "WatchGeneration": CallClass.WATCH,
    "WatchGenerations": CallClass.WATCH,
    "CancelGeneration": CallClass.WRITE,
    "RetryGeneration": CallClass.WRITE,
    "ListPresets": CallClass.READ,
    "GetPreset": CallClass.READ,
    "ListPersonaExamples": CallClass.READ,
    "GetPersonaExample": CallClass.READ,
    "RecordUsage": CallClass.WRITE,
    "ListUsage": CallClass.READ,
    "SummarizeUsage": CallClass.READ,
    "GetStats": CallClass.READ,
}
"""The class of every RPC of the contract, by its name."""


class Calls:
    """The calls of one server."""

    def __init__(self, settings: Settings, authentication: Authentication) -> None:
        self._authentication = authentication
        self._unread = UnreadAnswers(
            "CALL_LIMIT",
            most_bytes=settings.unread_answers_mib * _MIB,
            most_bytes_per_user=settings.unread_answers_mib_per_user * _MIB,
        )
        self._request_seconds = settings.request_seconds
        self._arriving = Turns(
            "arriving requests",
            at_once=_ARRIVING_REQUESTS,
            at_once_per_user=_ARRIVING_REQUESTS_PER_USER,
            waiting_factor=_WAITING_REQUESTS_FACTOR,
            wait_seconds=settings.call_wait_seconds,
            reason="CALL_LIMIT",
        )
        self._turns = {
            CallClass.READ: Turns(
                CallClass.READ,
                at_once=settings.reads_at_once,
                at_once_per_user=settings.reads_at_once_per_user,
                waiting_factor=_WAITING_READS_FACTOR,
                wait_seconds=settings.call_wait_seconds,
                reason="CALL_LIMIT",
            ),
            CallClass.WRITE: Turns(
                CallClass.WRITE,
                at_once=settings.writes_at_once,
                at_once_per_user=settings.writes_at_once_per_user,
                waiting_factor=_WAITING_WRITES_FACTOR,
                wait_seconds=settings.call_wait_seconds,
                reason="CALL_LIMIT",
            ),
            CallClass.WATCH: Turns(
                CallClass.WATCH,
                at_once=settings.watches_at_once,
                at_once_per_user=settings.watches_at_once_per_user,
                waiting_factor=0,
                wait_seconds=settings.call_wait_seconds,
                reason="CALL_LIMIT",
            ),
            CallClass.ANONYMOUS_STREAM: Turns(
                CallClass.ANONYMOUS_STREAM,
                at_once=settings.anonymous_streams,
                at_once_per_user=settings.anonymous_streams_per_peer,
                waiting_factor=0,
                wait_seconds=settings.call_wait_seconds,
                reason="CALL_LIMIT",
            ),
        }

    def refusal(self, method: str, context: Context, *, overloaded: bool) -> AvatarCreatorError | None:
        """Return the error of a call for which there is no room; None if there may be.

        Runs for every call before anything else, so it only looks at what is known already.
        """
        class_ = _class_of(method)
        turns = self._turns.get(class_)
        if not (overloaded or self._unread.is_much or (turns is not None and turns.is_full)):
            return None
        if class_ is CallClass.UNBOUNDED:
            return self._unread.own_refusal(_machine_of(context))
        if class_ is CallClass.ANONYMOUS_STREAM:
            return self._turns[class_].refusal(_machine_of(context), context.time_remaining())
        user_id = self._authentication.known_user_id(context)
        if user_id is None or turns is None:
            return None
        if overloaded and class_ is not CallClass.WATCH and turns.has(user_id):
            return overloaded_error("the server has too many calls right now")
        return self._unread.refusal(user_id) or turns.refusal(user_id, context.time_remaining())

    def known_user(self, context: Context) -> str:
        """Return the user of a call whose token was verified before; empty if that is not certain."""
        return self._authentication.known_user_id(context) or ""

    async def receive(self, method: str, context: Context) -> bytes:
        """Return the undecoded request of a call that has one.

        The call has no turn yet, so a client that sends no request takes none from the others.

        Raises:
            InvalidArgumentError: The client ended the call without a request.
            TooSlowError: The request did not arrive in time.
            ResourceExhaustedError: Too many requests of the user, or of the machine, arrive at the same time.
            UnavailableError: Too many requests arrive at this server.
        """
        owner = user_for_log() or _machine_of(context)
        try:
            await self._arriving.begin(owner, context.time_remaining())
        except AvatarCreatorError as error:
            self.count_refusal(method, error)
            raise
        try:
            async with asyncio.timeout(self._request_seconds):
                raw = await context.read()
        except TimeoutError as error:
            raise TooSlowError(
                "TRANSFER_TOO_SLOW",
                f"the request did not arrive within {self._request_seconds:g} s; "
                "send the same call again over a faster connection",
            ) from error
        finally:
            self._arriving.end(owner)
        if raw is EOF:
            raise InvalidArgumentError.of_field("request", "is missing: send one request message")
        return cast(bytes, raw)

    @asynccontextmanager
    async def admit(self, method: str, context: Context) -> AsyncIterator[None]:
        """Wait for the turn of a call, and hold it until the call ends.

        Raises:
            ResourceExhaustedError: The user has too many calls of this class.
            UnavailableError: The server has too many, or the deadline of the call cannot be met.
        """
        class_ = _class_of(method)
        turns = self._turns.get(class_)
        if turns is None:
            yield
            return
        user_id = _machine_of(context) if class_ is CallClass.ANONYMOUS_STREAM else current_caller().user_id
        try:
            await turns.begin(user_id, context.time_remaining())
        except AvatarCreatorError as error:
            self.count_refusal(method, error)
            raise
        try:
            yield
        finally:
            turns.end(user_id)

    def send(self, answer_bytes: int, context: Context) -> None:
        """Count an answer until its client has read it."""
        self._unread.add(user_for_log() or _machine_of(context), answer_bytes, context)

    def count_refusal(self, method: str, error: AvatarCreatorError) -> None:
        """Count a refused call."""
        metrics.REFUSED_CALLS.labels(_class_of(method), error.reason).inc()


def _class_of(method: str) -> CallClass:
    """Return the class of an RPC, given its path."""
    if method.startswith(_CONTRACT):
        return CLASS_OF_RPC.get(method.rpartition("/")[2], CallClass.UNBOUNDED)
    return _CLASS_OF_PATH.get(method, CallClass.UNBOUNDED)


def _machine_of(context: Context) -> str:
    """Return the address of the machine that calls, without its port; of IPv6, the /64 that it has."""
    machine = unquote(str(context.peer())).rpartition(":")[0]
    kind, _, address = machine.partition(":")
    if kind != "ipv6":
        return machine
    ipv6 = IPv6Address(address.strip("[]"))
    if ipv6.ipv4_mapped:
        return f"ipv4:{ipv6.ipv4_mapped}"
    return f"ipv6:{IPv6Address(int(ipv6) >> 64 << 64)}"

"""Calls: how many of a class run at the same time, for a user and in all, and how many requests arrive."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, cast
from urllib.parse import unquote

from grpc.aio import EOF

from avatar_creator_server import metrics
from avatar_creator_server.api.access import current_caller, mark_refused, user_for_log
from avatar_creator_server.api.authentication import Authentication
from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.call_classes import CallClass, class_of
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.transfers import Transfers
from avatar_creator_server.api.unread_answers import UnreadAnswers
from avatar_creator_server.errors import (
    AvatarCreatorError,
    InvalidArgumentError,
    TooSlowError,
    overloaded_error,
)
from avatar_creator_server.fair_queue import UserLimit
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.memory import MemoryReturn
from avatar_creator_server.shared.time_limits import within
from avatar_creator_server.shared.turns import Turns

_MIB = 1024 * 1024
_REASON = "CALL_LIMIT"
_WAITING_READS_FACTOR = 32
"""Waiting reads, as a multiple of those that run: more would wait longer than `CALL_WAIT_SECONDS` anyway."""
_WAITING_WRITES_FACTOR = 16
_STRANGERS_PER_SECOND = 20
"""Calls of one machine and class that pass an overloaded server although their token is new to it."""
_ARRIVING_REQUESTS = 512
"""Requests that arrive at the same time, in all. One takes 40 KiB, and up to 4 MiB while its data arrive."""
_ARRIVING_REQUESTS_PER_USER = 16
_WAITING_REQUESTS_FACTOR = 16
"""Calls whose request is not read yet, as a multiple of those that arrive: enough for a burst of one user."""
_KEPT_BACK_SECONDS = 0.5
"""Time for which the refusal of a user's call is kept back. Clients that ignore the delay in a refusal, and
call again at once, would otherwise call so often that refusals alone fill the server."""
_KEPT_BACK = 1_000
"""Refusals that are kept back at the same time. One takes about 10 KiB."""
_LEAST_SECONDS_LEFT = 0.1
"""Time until its deadline that a call must have after it waited in the backlog of an overloaded server."""
_LARGE_REQUEST_BYTES = 64 * 1024
"""Size from which a request counts as memory of its user until its call ends. Usual ones are far smaller."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that is refused before anything else happens to it."""

    user_id: str
    """The user; empty if the token of the call was not verified before."""
    error: AvatarCreatorError


class _Strangers:
    """The calls that pass an overloaded server although their user is not known.

    A wrong token costs about as much to refuse as a right one to accept. So each machine may try a few calls
    in a second: enough for load balancers, and for users with a new token, who are known from then on.
    """

    def __init__(self) -> None:
        self._second = 0
        self._calls: Counter[tuple[CallClass, str]] = Counter()

    def may_call(self, class_: CallClass, machine: str) -> bool:
        """Count a call, and return whether it may pass."""
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._calls.clear()
        self._calls[class_, machine] += 1
        return self._calls[class_, machine] <= _STRANGERS_PER_SECOND


class Calls:
    """The calls of one server."""

    def __init__(
        self,
        settings: Settings,
        authentication: Authentication,
        transfers: Transfers,
        memory: MemoryReturn,
    ) -> None:
        self._authentication = authentication
        self._memory = memory
        self._transfers = transfers
        self._strangers = _Strangers()
        self._unread = UnreadAnswers(
            most_bytes=settings.unread_answers_mib * _MIB,
            most_bytes_per_user=settings.unread_answers_mib_per_user * _MIB,
        )
        self._kept_back = 0
        self._request_seconds = settings.request_seconds
        self._arriving = Turns(
            "arriving requests",
            at_once=_ARRIVING_REQUESTS,
            user_limit=UserLimit(_ARRIVING_REQUESTS_PER_USER, _REASON),
            waiting_factor=_WAITING_REQUESTS_FACTOR,
            wait_seconds=settings.call_wait_seconds,
        )
        self._turns = {
            CallClass.READ: Turns(
                CallClass.READ,
                at_once=settings.reads_at_once,
                user_limit=UserLimit(settings.reads_at_once_per_user, _REASON),
                waiting_factor=_WAITING_READS_FACTOR,
                wait_seconds=settings.call_wait_seconds,
            ),
            CallClass.WRITE: Turns(
                CallClass.WRITE,
                at_once=settings.writes_at_once,
                user_limit=UserLimit(settings.writes_at_once_per_user, _REASON),
                waiting_factor=_WAITING_WRITES_FACTOR,
                wait_seconds=settings.call_wait_seconds,
            ),
            CallClass.WATCH: Turns(
                CallClass.WATCH,
                at_once=settings.watches_at_once,
                user_limit=UserLimit(settings.watches_at_once_per_user, _REASON),
                waiting_factor=0,
                wait_seconds=settings.call_wait_seconds,
            ),
            CallClass.ANONYMOUS_STREAM: Turns(
                CallClass.ANONYMOUS_STREAM,
                at_once=settings.anonymous_streams,
                user_limit=UserLimit(settings.anonymous_streams_per_peer, _REASON),
                waiting_factor=0,
                wait_seconds=settings.call_wait_seconds,
            ),
        }

    def refusal(self, method: str, context: Context, backlog: Backlog) -> Refusal | None:
        """Return the refusal of a call for which there is no room; None if there may be.

        Runs for every call before anything else, so it only looks at what is known already.
        """
        class_ = class_of(method)
        turns = self._turns.get(class_)
        overloaded = backlog.overloaded
        if overloaded and backlog.is_far_behind:
            if class_ is CallClass.WRITE:
                return Refusal("", _too_many_calls())
        elif class_ is CallClass.WATCH:
            overloaded = False
        if not (overloaded or self._unread.is_much or (turns is not None and turns.is_full)):
            return None
        seconds_left = context.time_remaining()
        if overloaded and seconds_left is not None and seconds_left < _LEAST_SECONDS_LEFT:
            return Refusal("", _too_many_calls())
        if class_ in (CallClass.ANONYMOUS_STREAM, CallClass.UNBOUNDED):
            machine = _machine_of(context)
            error = turns.refusal(machine, seconds_left) if turns else self._unread.own_refusal(machine)
            return _refusal_of("", error) or self._refusal_of_stranger(class_, machine, overloaded=overloaded)
        user_id = self._authentication.known_user_id(context)
        if user_id is None:
            return self._refusal_of_stranger(class_, _machine_of(context), overloaded=overloaded)
        if overloaded and self._has_call(class_, user_id):
            return Refusal(user_id, _too_many_calls())
        error = self._unread.refusal(user_id)
        if error is None and turns is not None:
            error = turns.refusal(user_id, seconds_left)
        return _refusal_of(user_id, error)

    async def keep_back(self, method: str, refusal: Refusal, context: Context) -> None:
        """Wait before the refusal of a user's read or write is sent, unless its deadline is near."""
        if class_of(method) not in (CallClass.READ, CallClass.WRITE):
            return
        seconds_left = context.time_remaining()
        is_near = seconds_left is not None and seconds_left < 2 * _KEPT_BACK_SECONDS
        if not refusal.user_id or is_near or self._kept_back >= _KEPT_BACK:
            return
        self._kept_back += 1
        try:
            await asyncio.sleep(_KEPT_BACK_SECONDS)
        finally:
            self._kept_back -= 1

    def _has_call(self, class_: CallClass, user_id: str) -> bool:
        """Return whether the user has a call of this class that runs or waits."""
        if class_ is CallClass.TRANSFER:
            return self._transfers.has(user_id)
        return self._turns[class_].has(user_id)

    def _refusal_of_stranger(self, class_: CallClass, machine: str, *, overloaded: bool) -> Refusal | None:
        if overloaded and not self._strangers.may_call(class_, machine):
            return Refusal("", _too_many_calls())
        return None

    async def receive(self, method: str, context: Context, *, until_end: bool) -> bytes:
        """Return the undecoded request of a call that has one.

        The call has no turn yet, so a client that sends no request takes none from the others.

        Args:
            method: The RPC.
            context: The call.
            until_end: True to wait until the client cannot send further messages. gRPC keeps up to 1 MiB of
                what a client sends after its request, which is too much for a call that lasts.

        Raises:
            InvalidArgumentError: The client ended the call without a request, or sent a second one.
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
            raw = await within(self._request_seconds, _read(context, until_end=until_end))
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
        request = cast(bytes, raw)
        if len(request) > _LARGE_REQUEST_BYTES:
            self._unread.add(owner, len(request))
            self._memory.soon()
            self._require_read_answers(method, owner)
        return request

    async def begin(self, method: str, context: Context) -> str:
        """Wait for the turn of a call, and return the user, or the machine, that has it until `end`.

        Raises:
            ResourceExhaustedError: The user has too many calls of this class.
            UnavailableError: The server has too many, or the deadline of the call cannot be met.
        """
        class_ = class_of(method)
        turns = self._turns.get(class_)
        if turns is None:
            return ""
        user_id = _machine_of(context) if class_ is CallClass.ANONYMOUS_STREAM else current_caller().user_id
        try:
            await turns.begin(user_id, context.time_remaining())
        except AvatarCreatorError as error:
            self.count_refusal(method, error)
            raise
        try:
            # Answers that were sent while this call waited count too.
            self._require_read_answers(method, user_id)
        except AvatarCreatorError:
            turns.end(user_id)
            raise
        return user_id

    def end(self, method: str, user_id: str) -> None:
        """End the turn that `begin` has given to the user."""
        turns = self._turns.get(class_of(method))
        if turns is not None:
            turns.end(user_id)

    def _require_read_answers(self, method: str, user_id: str) -> None:
        error = self._unread.refusal(user_id)
        if error is not None:
            self.count_refusal(method, error)
            raise error

    def send(self, answer_bytes: int, context: Context, *, user_id: str = "") -> None:
        """Count an answer, or an error as 0 bytes, until its client has read it.

        Args:
            answer_bytes: Size of the encoded answer.
            context: The call.
            user_id: The user; if empty, the one whose token this call has verified, or the machine.
        """
        self._unread.add(user_id or user_for_log() or _machine_of(context), answer_bytes)

    def count_refusal(self, method: str, error: AvatarCreatorError) -> None:
        """Count a refused call, and mark it for the access log."""
        mark_refused()
        metrics.REFUSED_CALLS.labels(class_of(method), error.reason).inc()


async def _read(context: Context, *, until_end: bool) -> Any:
    """Return the request of a call; EOF if it has none."""
    raw = await context.read()
    if until_end and raw is not EOF and await context.read() is not EOF:
        raise InvalidArgumentError.of_field("request", "is the second one: send one request message")
    return raw


def _refusal_of(user_id: str, error: AvatarCreatorError | None) -> Refusal | None:
    return Refusal(user_id, error) if error else None


def _too_many_calls() -> AvatarCreatorError:
    return overloaded_error("the server has too many calls right now")


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

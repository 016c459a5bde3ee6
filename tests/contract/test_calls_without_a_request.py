"""Calls whose request never comes take no turn from others, and end."""

from __future__ import annotations

import pytest

from avatar_creator_server.api.access_log import REFUSALS_PER_USER
from tests.support.http2 import (
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    call_headers,
    connected,
    frame,
    next_frame,
)
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
from tests.support.waiting import wait_until

CLIENT = PREFACE + frame(SETTINGS, 0, b"")
LIST_PROJECTS = "/avatar_creator.v1.AvatarProjectService/ListProjects"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
CALLS = REFUSALS_PER_USER
"""Each is logged, although none has a user."""


def ends(sent: bytes, target: str, calls: int) -> None:
    """Send these calls, and wait until the server has ended each."""
    with connected(target, CLIENT + sent, seconds=30) as connection:
        ended = 0
        while ended < calls:
            kind, flags, _ = next_frame(connection)
            ended += kind == HEADERS and bool(flags & END_STREAM)


def codes(service: Deployment, path: str) -> list[str]:
    """Return the logged codes of the calls of a method."""
    events = service.servers[0].events("call_finished")
    return [event["code"] for event in events if event["method"] == path]


def authorization(service: Deployment, user: str) -> dict[str, str]:
    return {"authorization": f"Bearer {service.token(user)}"}


def without_request(path: str, metadata: dict[str, str], calls: int, *, flags: int = 0) -> bytes:
    return b"".join(call_headers(2 * n + 1, path, metadata, flags=flags) for n in range(calls))


@pytest.mark.parametrize("users", [1, 2])
def test_users_who_send_no_request_take_no_turn(embedded: Deployment, users: int) -> None:
    few = {"REQUEST_SECONDS": "60", "READS_AT_ONCE": "2", "READS_AT_ONCE_PER_USER": "1"}
    target = embedded.target
    first, second = (
        CLIENT + without_request(LIST_PROJECTS, authorization(embedded, user), 6)
        for user in ("sarah", "omar" if users == 2 else "sarah")
    )
    with (
        ServiceInThread.serving(embedded, **few),
        connected(target, first),
        connected(target, second),
        embedded.client("third") as client,
    ):
        for _ in range(10):
            assert list(client.projects.list(timeout=5)) == []


def test_a_call_whose_request_does_not_come_is_ended(embedded: Deployment) -> None:
    embedded.settings |= {"REQUEST_SECONDS": "0.2"}
    embedded.start_server()
    # Health checks have no user, so both paths have one limit of logged refusals.
    for path, calls in ((LIST_PROJECTS, CALLS), (CHECK, CALLS // 2), (WATCH, CALLS // 2)):
        ends(without_request(path, authorization(embedded, "sarah"), calls), embedded.target, calls)
        expected = ["DEADLINE_EXCEEDED"] * calls
        wait_until(lambda path=path, expected=expected: codes(embedded, path) == expected)  # type: ignore[misc]


def test_a_watch_whose_client_could_send_more_is_ended(embedded: Deployment) -> None:
    embedded.settings |= {"REQUEST_SECONDS": "0.2"}
    embedded.start_server()
    empty_message = frame(DATA, 0, bytes(5), 1)
    for sent, code in ((empty_message, "DEADLINE_EXCEEDED"), (2 * empty_message, "INVALID_ARGUMENT")):
        ends(without_request(WATCH, {}, 1) + sent, embedded.target, 1)
        wait_until(lambda expected=code: codes(embedded, WATCH)[-1:] == [expected])  # type: ignore[misc]


def test_a_call_that_ends_without_a_request_has_a_status(embedded: Deployment) -> None:
    embedded.settings |= {"REQUEST_SECONDS": "60"}
    embedded.start_server()
    for path in (LIST_PROJECTS, CHECK, WATCH):
        sent = without_request(path, authorization(embedded, "sarah"), 2, flags=END_STREAM)
        ends(sent, embedded.target, 2)
        wait_until(lambda expected=path: codes(embedded, expected) == ["INVALID_ARGUMENT"] * 2)  # type: ignore[misc]

"""HTTP answers of hosted providers: an error of one keeps nothing of it in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from avatar_creator_server.shared.untrusted_http import EgressRules
from avatar_creator_tasks.providers.hosted.http_client import Deadline, HttpClient, NoAnswerError
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import Signal
from tests.support.trap_server import TrapServer

MAX_BYTES = 1000


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    """A client with the usual limits."""
    client = HttpClient(Limits(), EgressRules())
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("content_type", "signal"),
    [("image/png", Signal.TOO_LARGE), ("image/png\r\nContent-Encoding: gzip", Signal.UNREADABLE)],
    ids=["too large", "compressed"],
)
async def test_the_error_of_an_unread_answer_refers_to_no_other_error(
    http: HttpClient, content_type: str, signal: Signal
) -> None:
    with (
        TrapServer.running(200, content_type, bytes(2 * MAX_BYTES)) as server,
        pytest.raises(NoAnswerError) as refused,
    ):
        await http.send("GET", httpx.URL(server.url), Deadline(30), max_bytes=MAX_BYTES)

    assert refused.value.signal == signal
    # The traceback of another error would keep the answer until the garbage collector runs.
    assert refused.value.__context__ is None

"""Options of a client, its copies with other options, and the hooks that see every attempt."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from opentelemetry import baggage, context, trace

import avatar_creator
from avatar_creator import (
    AsyncAvatarCreator,
    AvatarCreator,
    CallCancelledError,
    NotFoundError,
    RequestEvent,
    ResponseEvent,
    UnauthenticatedError,
    UnavailableError,
)
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import CreateProjectResponse, GetProjectResponse
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarResponse
from avatar_creator.v1.generation_pb2 import Generation
from avatar_creator.v1.generation_service_pb2 import WatchGenerationResponse
from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import LOST, Failure, ScriptedServer, UntilClientLeaves

ANSWER = GetProjectResponse(project=AvatarProject(id="p1"))
UPLOADED = UploadAvatarResponse(avatar=Avatar(id="a1"))
STATE = WatchGenerationResponse(generation=Generation(id="g1", revision=1))
EXPIRED = Failure(grpc.StatusCode.UNAUTHENTICATED, (ErrorInfo(reason="TOKEN_EXPIRED"),))
SERVICE = "avatar_creator.v1"


class TestCopies:
    def test_a_copy_has_its_own_options_and_leaves_those_of_the_original(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("GetProject", *[[ANSWER]] * 3)
        copy = client.with_options(timeout=3.0, token="another")

        copy.projects.get("p1")
        copy.with_options(timeout=2.0).projects.get("p1")
        client.projects.get("p1")

        assert [(call.metadata["authorization"], round(call.seconds_left)) for call in server.calls] == [
            ("Bearer another", 3),
            ("Bearer another", 2),
            ("Bearer a-token", 10),
        ]

    def test_a_copy_uses_the_connection_of_the_original(self, server: ScriptedServer) -> None:
        server.script("GetProject", *[[ANSWER]] * 2)
        with AvatarCreator(server.target, token="a-token") as client:
            client.projects.get("p1")
            client.with_options(retries=0).projects.get("p1")
        assert server.calls[0].peer == server.calls[1].peer

    def test_closing_a_copy_leaves_the_original_open(self, client: Any, server: ScriptedServer) -> None:
        server.script("GetProject", [ANSWER])
        copy = client.with_options(retries=0)
        copy.close()

        with pytest.raises(CallCancelledError, match="closed"):
            copy.projects.get("p1")
        assert client.projects.get("p1").id == "p1"

    def test_closing_the_original_closes_its_copies(self, client: Any, server: ScriptedServer) -> None:
        copy = client.with_options(timeout=3.0).with_options(retries=0)
        client.close()

        for use in (copy.projects.get, copy.avatars.download):
            with pytest.raises(CallCancelledError, match="closed"):
                use("p1")
        assert server.calls == []

    async def test_closing_the_original_ends_the_watch_of_a_copy(self, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [STATE, UntilClientLeaves()])
        client = AsyncAvatarCreator(server.target, token="a-token")
        states = client.with_options(retries=0).generations.watch("g1")
        await anext(states)
        await client.close()

        with pytest.raises(CallCancelledError):
            await anext(states)
        assert await asyncio.to_thread(server.calls[0].over.wait, 5)


class TestRetries:
    def test_a_call_is_sent_again_so_many_times(self, client: Any, server: ScriptedServer) -> None:
        server.script("GetProject", *[[LOST]] * 4)
        for retries in (0, 2):
            with pytest.raises(UnavailableError):
                client.with_options(retries=retries).projects.get("p1")
        assert len(server.calls) == 4

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"retries": -1}, "retries must be 0 or more"),
            ({"retries": "3"}, "retries must be a whole number"),
            ({"timeout": -1.0, "transfer_timeout": float("nan")}, "timeout must be 0 .*; transfer_timeout"),
            ({"timeout": "10"}, "timeout must be a number"),
            ({"backoff": 5}, "backoff must be a Backoff"),
            ({"keepalive": "30"}, "keepalive must be a positive number of seconds"),
            ({"proxy": True}, "proxy must be http://host:port"),
            ({"root_certificates": "PEM", "tls": True}, "root_certificates must be bytes"),
            ({"token": 7}, "token must be a text, or a function that returns one"),
            ({"on_response": 7}, "on_response must be a function"),
            ({"keepalive": 0.0}, "keepalive must be a positive number of seconds"),
            ({"on_request": asyncio.sleep}, "on_request must not be an async function"),
        ],
    )
    def test_an_option_without_sense_is_an_error(
        self, connect: Connector, option: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            connect("localhost:1", **option)


class TestExpiredToken:
    @pytest.mark.parametrize(
        ("method", "answer", "use"),
        [
            ("GetProject", ANSWER, lambda c: c.projects.get("p1")),
            ("UploadAvatar", UPLOADED, lambda c: c.avatars.upload("p1", b"x", name="S")),
        ],
    )
    def test_a_callable_token_is_called_again(
        self, method: str, answer: Any, use: Callable[[Any], Any], connect: Connector, server: ScriptedServer
    ) -> None:
        tokens = iter(["old", "new"])
        server.script(method, [EXPIRED], [answer])

        use(connect(server.target, token=lambda: next(tokens), retries=0))

        assert [call.metadata["authorization"] for call in server.calls] == ["Bearer old", "Bearer new"]

    async def test_an_async_callable_token_is_called_again(self, server: ScriptedServer) -> None:
        tokens = iter(["old", "new"])

        async def token() -> str:
            return next(tokens)

        server.script("DeleteProject", [EXPIRED], [Failure(grpc.StatusCode.NOT_FOUND)])
        async with AsyncAvatarCreator(server.target, token=token) as client:
            with pytest.raises(NotFoundError):
                await client.projects.delete("p1")
        assert server.calls[1].metadata["authorization"] == "Bearer new"

    @pytest.mark.parametrize("tokens", [["a"], ["a", "a"], ["a", "b", "c"]])
    def test_a_token_that_stays_expired_is_an_error(
        self, tokens: list[str], connect: Connector, server: ScriptedServer
    ) -> None:
        left = iter(tokens)
        server.script("GetProject", [EXPIRED], [EXPIRED])
        client = connect(server.target, token="a" if len(tokens) == 1 else lambda: next(left))

        with pytest.raises(UnauthenticatedError) as caught:
            client.projects.get("p1")

        assert caught.value.reason == "TOKEN_EXPIRED"
        assert len(server.calls) == (2 if len(set(tokens)) > 1 else 1)

    def test_a_sync_client_refuses_an_async_function(self) -> None:
        async def token() -> str:
            return "a-token"

        unsuitable: Any = token
        with pytest.raises(ValueError, match="use AsyncAvatarCreator"):
            AvatarCreator("localhost:1", token=unsuitable)
        with pytest.raises(ValueError, match="use AsyncAvatarCreator"):
            AvatarCreator("localhost:1", token="a-token").with_options(token=unsuitable)


class Recorder:
    """Keeps the events of a client, as text and as objects."""

    def __init__(self, time: FakeTime) -> None:
        self.requests: list[RequestEvent] = []
        self.responses: list[ResponseEvent] = []
        self.options: dict[str, Any] = {"on_request": self.take_request, "on_response": self.responses.append}
        self._time = time

    def take_request(self, event: RequestEvent) -> None:
        self.requests.append(event)
        self._time.now += 0.5


class TestHooks:
    def test_hooks_see_every_attempt_of_a_call(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        recorder = Recorder(time)
        answer = CreateProjectResponse(project=AvatarProject(id="p1"))
        server.script("CreateProject", [LOST], [answer])

        connect(server.target, token="secret", **recorder.options).projects.create("Spring", request_id="r-1")

        method = f"{SERVICE}.AvatarProjectService/CreateProject"
        assert recorder.requests == [
            RequestEvent(method, 1, "r-1", timeout=10.0),
            RequestEvent(method, 2, "r-1", timeout=9.5),
        ]
        assert recorder.responses == [
            ResponseEvent(method, 1, "r-1", 0.0, grpc.StatusCode.UNAVAILABLE, ""),
            ResponseEvent(method, 2, "r-1", 0.0, grpc.StatusCode.OK, ""),
        ]
        assert "secret" not in f"{recorder.requests}{recorder.responses}"

    def test_hooks_see_transfers_and_connections_of_a_watch(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        recorder = Recorder(time)
        client = connect(server.target, **recorder.options)
        refused = Failure(grpc.StatusCode.NOT_FOUND, (ErrorInfo(reason="RESOURCE_NOT_FOUND"),))
        server.script("UploadAvatar", [UPLOADED])
        server.script("DownloadImage", [refused])
        server.script("WatchGeneration", [LOST], [STATE, UntilClientLeaves()])

        client.avatars.upload("p1", b"x", name="S", request_id="r-2")
        with pytest.raises(NotFoundError):
            client.avatars.download("a1")
        states = client.generations.watch("g1")
        next(states)
        states.close()

        sent = [(e.method.rpartition("/")[2], e.attempt, e.request_id) for e in recorder.requests]
        assert sent == [
            ("UploadAvatar", 1, "r-2"),
            ("DownloadImage", 1, ""),
            ("WatchGeneration", 1, ""),
            ("WatchGeneration", 2, ""),
        ]
        assert [(event.code.name, event.reason) for event in recorder.responses] == [
            ("OK", ""),
            ("NOT_FOUND", "RESOURCE_NOT_FOUND"),
            ("UNAVAILABLE", ""),
            ("CANCELLED", ""),
        ]

    def test_a_hook_of_a_copy_sees_only_its_calls(
        self, client: Any, server: ScriptedServer, time: FakeTime
    ) -> None:
        recorder = Recorder(time)
        server.script("GetProject", *[[ANSWER]] * 2)

        client.with_options(**recorder.options).projects.get("p1")
        client.projects.get("p1")

        assert len(recorder.requests) == len(recorder.responses) == 1

    def test_an_error_of_a_hook_reaches_the_caller(self, connect: Connector, server: ScriptedServer) -> None:
        def refuse(event: RequestEvent) -> None:
            raise LookupError(event.method)

        with pytest.raises(LookupError, match="GetProject"):
            connect(server.target, on_request=refuse).projects.get("p1")
        assert server.calls == []


@pytest.fixture
def trace_id() -> Iterator[str]:
    """Make the test a part of a trace, and return the `traceparent` of its calls."""
    span = trace.NonRecordingSpan(
        trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    token = context.attach(baggage.set_baggage("tenant", "lumiku", trace.set_span_in_context(span)))
    yield f"00-{0xABC:032x}-{0xDEF:016x}-01"
    context.detach(token)


class TestTracing:
    def test_a_call_continues_the_trace_of_its_caller(self, server: ScriptedServer, trace_id: str) -> None:
        server.script("UploadAvatar", *[[UPLOADED]] * 3)
        server.script("WatchGeneration", [STATE, UntilClientLeaves()])
        with AvatarCreator(server.target, token="a-token") as client:
            client.avatars.upload("p1", b"x", name="S")
            client.avatars.upload_many("p1", {"S": b"x", "T": b"y"})
            next(client.generations.watch("g1"))
        assert [call.metadata["traceparent"] for call in server.calls] == [trace_id] * 4
        assert server.calls[0].metadata["baggage"] == "tenant=lumiku"

    async def test_a_call_of_the_async_client_continues_the_trace_of_its_task(
        self, server: ScriptedServer
    ) -> None:
        server.script("GetProject", [ANSWER], [ANSWER])
        span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False))
        async with AsyncAvatarCreator(server.target, token="a-token") as client:
            with trace.use_span(span):
                await client.projects.get("p1")
            await client.projects.get("p1")
        traced = f"00-{0xABC:032x}-{0xDEF:016x}-00"
        assert [call.metadata.get("traceparent") for call in server.calls] == [traced, None]


def test_a_call_names_the_client_and_its_version(client: Any, server: ScriptedServer) -> None:
    server.script("GetProject", [ANSWER])
    client.projects.get("p1")
    version = re.escape(avatar_creator.__version__)
    assert re.match(rf"avatar-creator-client/{version} grpc-python", server.calls[0].metadata["user-agent"])

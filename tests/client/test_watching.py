"""A watch delivers each state once and in order, and the final state once, over any number of connections."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from avatar_creator import (
    Backoff,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RequestEvent,
    Resource,
    UnauthenticatedError,
    UnavailableError,
)
from avatar_creator.v1.generation_pb2 import Generation, GenerationState
from avatar_creator.v1.generation_service_pb2 import (
    WatchGenerationResponse,
    WatchGenerationsRequest,
    WatchGenerationsResponse,
)
from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import LOST, Failure, ScriptedServer, UntilClientLeaves

PROCESSING = GenerationState.GENERATION_STATE_PROCESSING
COMPLETED = GenerationState.GENERATION_STATE_COMPLETED
FAILED = GenerationState.GENERATION_STATE_FAILED
CANCELLED = GenerationState.GENERATION_STATE_CANCELLED
NOT_FOUND = Failure(grpc.StatusCode.NOT_FOUND)
EXPIRED = Failure(
    grpc.StatusCode.UNAUTHENTICATED, (ErrorInfo(reason="TOKEN_EXPIRED", domain="avatar-creator"),)
)


def generation(revision: int, state: GenerationState.ValueType = PROCESSING, id: str = "g1") -> Generation:
    return Generation(id=id, revision=revision, state=state)


def one(revision: int, state: GenerationState.ValueType = PROCESSING) -> WatchGenerationResponse:
    return WatchGenerationResponse(generation=generation(revision, state))


def many(
    id: str, revision: int, state: GenerationState.ValueType = PROCESSING, *, at: int = 0
) -> WatchGenerationsResponse:
    response = WatchGenerationsResponse(generation=generation(revision, state, id))
    response.generation.update_time.FromSeconds(at)
    return response


def revisions(states: Any) -> list[int]:
    return [state.revision for state in states]


def named(states: Any) -> list[tuple[str, int]]:
    return [(state.id, state.revision) for state in states]


def known(server: ScriptedServer) -> list[int]:
    return [call.request.known_revision for call in server.received("WatchGeneration")]


def targets(server: ScriptedServer) -> list[dict[str, int]]:
    return [
        {target.generation_id: target.known_revision for target in call.request.targets.targets}
        for call in server.received("WatchGenerations")
    ]


def changed_since(server: ScriptedServer) -> list[float | None]:
    return [
        call.request.changed_since.ToNanoseconds() / 1e9 if call.request.HasField("changed_since") else None
        for call in server.received("WatchGenerations")
    ]


class TestOneGeneration:
    def test_a_watch_yields_states_until_the_generation_has_ended(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(1), one(4), one(5, COMPLETED)])
        assert revisions(client.generations.watch("g1")) == [1, 4, 5]
        assert server.received("WatchGeneration")[0].request.generation_id == "g1"

    def test_a_lost_connection_is_resumed_after_the_last_revision(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(1), one(2), LOST], [LOST], [one(4), LOST], [one(5, COMPLETED)])
        assert revisions(client.generations.watch("g1")) == [1, 2, 4, 5]
        assert known(server) == [0, 2, 2, 4]

    def test_no_state_comes_twice_or_out_of_order(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(3), one(3), LOST], [one(3), one(2), one(4), one(6, FAILED)])
        assert revisions(client.generations.watch("g1")) == [3, 4, 6]

    def test_a_known_revision_is_sent_and_not_delivered_again(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(7), one(8, COMPLETED)])
        assert revisions(client.generations.watch("g1", known_revision=7)) == [8]
        assert known(server) == [7]

    def test_a_final_state_with_a_known_revision_comes_once(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(7, COMPLETED)])
        assert revisions(client.generations.watch("g1", known_revision=7)) == [7]

    def test_the_final_state_comes_once_when_the_connection_is_lost_right_after(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(1), one(2, CANCELLED), LOST])
        assert revisions(client.generations.watch("g1")) == [1, 2]
        assert len(server.received("WatchGeneration")) == 1

    def test_a_stream_that_closes_too_early_is_a_lost_connection(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(1)], [one(2, COMPLETED)])
        assert revisions(client.generations.watch("g1")) == [1, 2]
        assert known(server) == [0, 1]

    def test_a_deleted_generation_is_not_found(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(1), LOST], [NOT_FOUND])
        states = client.generations.watch("g1")
        assert next(states).revision == 1
        with pytest.raises(NotFoundError):
            next(states)

    def test_a_watch_reconnects_to_a_restarted_server(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(3), UntilClientLeaves()])
        states = client.generations.watch("g1")
        assert next(states).revision == 3
        server.stop()
        successor = ScriptedServer(port=server.port)
        successor.script("WatchGeneration", [one(4, COMPLETED)])
        assert revisions(states) == [4]
        assert known(successor) == [3]
        successor.stop()

    def test_a_watch_fails_after_reconnect_for_without_a_message(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        client = connect(server.target, backoff=Backoff(initial=1.0, maximum=4.0, random=lambda: 1.0))
        server.script("WatchGeneration", *[[LOST]] * 10)
        with pytest.raises(UnavailableError):
            next(client.generations.watch("g1", reconnect_for=10))
        assert time.slept == [1.0, 2.0, 4.0, 4.0]

    def test_any_message_resets_earlier_failures(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        client = connect(server.target, backoff=Backoff(initial=1.0, maximum=4.0, random=lambda: 1.0))
        server.script(
            "WatchGeneration", [LOST], [LOST], [LOST], [one(1), LOST], [LOST], [LOST], [one(2, COMPLETED)]
        )
        assert revisions(client.generations.watch("g1", reconnect_for=8)) == [1, 2]
        assert time.slept == [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]

    def test_a_quiet_hour_is_not_a_failure(self, client: Any, server: ScriptedServer, time: FakeTime) -> None:
        server.script("WatchGeneration", [one(1), LOST], [one(2, COMPLETED)])
        states = client.generations.watch("g1", reconnect_for=10)
        assert next(states).revision == 1
        time.now += 3600
        assert next(states).revision == 2

    def test_a_quiet_watch_outlives_a_proxy_that_cuts_it_every_minute(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        def a_minute_passes(_: RequestEvent) -> None:
            time.now += 60.0

        client = connect(server.target, on_request=a_minute_passes)
        server.script("WatchGeneration", [one(1), LOST], *[[LOST]] * 4, [one(2, COMPLETED)])
        assert revisions(client.generations.watch("g1", reconnect_for=60.0)) == [1, 2]

    def test_a_watch_continues_with_a_fresh_token_each_time_one_expires(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        tokens = iter("abcd")
        client = connect(server.target, token=lambda: next(tokens))
        server.script("WatchGeneration", [one(1), EXPIRED], [EXPIRED], [EXPIRED], [one(2, COMPLETED)])
        assert revisions(client.generations.watch("g1")) == [1, 2]
        sent = [call.metadata["authorization"] for call in server.received("WatchGeneration")]
        assert sent == ["Bearer a", "Bearer b", "Bearer c", "Bearer d"]

    def test_a_watch_fails_when_the_callable_returns_the_expired_token(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        client = connect(server.target, token=lambda: "a")
        server.script("WatchGeneration", [one(1), EXPIRED])
        with pytest.raises(UnauthenticatedError) as raised:
            list(client.generations.watch("g1"))
        assert raised.value.reason == "TOKEN_EXPIRED"
        assert len(server.received("WatchGeneration")) == 1

    def test_a_watch_fails_when_every_token_is_expired(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        tokens = (str(number) for number in count())
        client = connect(
            server.target, token=lambda: next(tokens), backoff=Backoff(initial=1.0, random=lambda: 1.0)
        )
        server.script("WatchGeneration", *[[EXPIRED]] * 200)
        with pytest.raises(UnauthenticatedError):
            list(client.generations.watch("g1", reconnect_for=20.0))
        assert 2 < len(server.received("WatchGeneration")) < 200

    def test_a_watch_has_no_default_deadline(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(1, COMPLETED)])
        assert revisions(client.generations.watch("g1")) == [1]
        assert server.received("WatchGeneration")[0].seconds_left > 1_000_000

    def test_the_timeout_ends_an_open_stream(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(1), UntilClientLeaves()])
        states = client.generations.watch("g1", timeout=0.2)
        assert next(states).revision == 1
        with pytest.raises(DeadlineExceededError) as caught:
            next(states)
        assert caught.value.resource == Resource("generation", "g1")

    def test_the_timeout_ends_reconnecting(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        client = connect(server.target, backoff=Backoff(initial=4.0, random=lambda: 1.0))
        server.script("WatchGeneration", *[[LOST]] * 10)
        with pytest.raises(DeadlineExceededError) as caught:
            next(client.generations.watch("g1", timeout=7))
        assert caught.value.resource == Resource("generation", "g1")
        assert time.slept == [4.0, 3.0]

    def test_closing_a_watch_ends_its_call(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(1), UntilClientLeaves()])
        states = client.generations.watch("g1")
        next(states)
        states.close()
        assert server.received("WatchGeneration")[0].over.wait(5)


class TestSeveralGenerations:
    def test_a_watch_ends_when_all_generations_have_ended(self, client: Any, server: ScriptedServer) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 1), many("g2", 1), many("g1", 2, COMPLETED), many("g2", 3, FAILED)],
        )
        states = client.generations.watch_many(["g1", "g2"])
        assert named(states) == [("g1", 1), ("g2", 1), ("g1", 2), ("g2", 3)]
        assert targets(server) == [{"g1": 0, "g2": 0}]

    def test_a_lost_connection_is_resumed_without_ended_generations(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 6), many("g2", 2, COMPLETED), LOST],
            [many("g1", 6), many("g2", 2, COMPLETED), many("g1", 9, COMPLETED)],
        )
        states = client.generations.watch_many({"g1": 5, "g2": 0})
        assert named(states) == [("g1", 6), ("g2", 2), ("g1", 9)]
        assert targets(server) == [{"g1": 5, "g2": 0}, {"g1": 6}]

    def test_a_stream_that_closes_too_early_is_a_lost_connection(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGenerations", [many("g1", 1, FAILED)], [many("g2", 1, FAILED)])
        assert named(client.generations.watch_many(["g1", "g2"])) == [("g1", 1), ("g2", 1)]

    def test_a_watch_without_targets_ends_at_once(self, client: Any, server: ScriptedServer) -> None:
        assert named(client.generations.watch_many([])) == []
        assert server.calls == []

    @pytest.mark.parametrize(
        "arguments",
        [
            {"targets": ["g1"], "user_id": "u1"},
            {"project": "p1", "user_id": "u1"},
            {"targets": ["g1"], "project": "p1"},
            {"targets": [], "group_id": "g1"},
            {"project": "p1", "group_id": "g1"},
            {"targets": ["g1"], "project": "p1", "group_id": "g1"},
        ],
        ids=str,
    )
    def test_only_one_of_targets_project_group_and_user_can_be_given(
        self, arguments: dict[str, Any], client: Any
    ) -> None:
        with pytest.raises(InvalidArgumentError, match="targets"):
            client.generations.watch_many(**arguments)

    def test_one_id_is_no_list_of_targets(self, client: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="targets must be a list"):
            client.generations.watch_many("g1")


class TestGroup:
    def test_a_watch_ends_when_the_service_closes_the_stream(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 1), many("g1", 2, COMPLETED), many("g2", 1), many("g2", 3, FAILED)],
        )
        states = client.generations.watch_many(group_id="g1")
        assert named(states) == [("g1", 1), ("g1", 2), ("g2", 1), ("g2", 3)]
        request = server.received("WatchGenerations")[0].request
        assert request == WatchGenerationsRequest(group_id="g1")

    def test_a_lost_connection_is_resumed_and_no_state_comes_twice(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 2, COMPLETED), many("g2", 1), LOST],
            [LOST],
            [many("g1", 2, COMPLETED), many("g2", 1), many("g3", 4, CANCELLED), many("g2", 3), LOST],
            [many("g1", 2, COMPLETED), many("g3", 4, CANCELLED), many("g2", 3), many("g2", 5, COMPLETED)],
        )
        states = client.generations.watch_many(group_id="g1")
        assert named(states) == [("g1", 2), ("g2", 1), ("g3", 4), ("g2", 3), ("g2", 5)]
        assert len(server.received("WatchGenerations")) == 4

    def test_a_lost_end_of_stream_is_requested_again(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [many("g1", 2, COMPLETED), LOST], [many("g1", 2, COMPLETED)])
        assert named(client.generations.watch_many(group_id="g1")) == [("g1", 2)]

    def test_a_stream_that_closes_too_early_is_a_lost_connection(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [],
            [many("g1", 1), many("g2", 1, FAILED)],
            [many("g1", 2, COMPLETED), many("g2", 1, FAILED)],
        )
        states = client.generations.watch_many(group_id="g1")
        assert named(states) == [("g1", 1), ("g2", 1), ("g1", 2)]

    def test_the_timeout_error_names_the_group(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [many("g1", 1), UntilClientLeaves()])
        states = client.generations.watch_many(group_id="g1", timeout=0.2)
        assert next(states).id == "g1"
        with pytest.raises(DeadlineExceededError) as caught:
            next(states)
        assert caught.value.resource == Resource("group", "g1")

    def test_a_deleted_group_is_not_found(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [many("g1", 1), LOST], [NOT_FOUND])
        states = client.generations.watch_many(group_id="g1")
        assert next(states).id == "g1"
        with pytest.raises(NotFoundError):
            next(states)


class TestProject:
    def test_a_project_watch_continues_until_it_is_closed(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [many("g1", 1, COMPLETED), many("g2", 1), UntilClientLeaves()])
        states = client.generations.watch_many(project="p1")
        assert (next(states).id, next(states).id) == ("g1", "g2")
        states.close()
        call = server.received("WatchGenerations")[0]
        assert call.over.wait(5)
        assert call.request == WatchGenerationsRequest(project_id="p1")

    def test_a_lost_connection_is_resumed_at_the_newest_change_and_no_state_comes_twice(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 1, at=20), many("g2", 1, COMPLETED, at=10), LOST],
            [LOST],
            [many("g1", 1, at=20), many("g2", 1, COMPLETED, at=10), many("g3", 4, COMPLETED, at=30), LOST],
            [many("g1", 2, COMPLETED, at=40), NOT_FOUND],
        )
        states = client.generations.watch_many(project="p1")
        assert named(next(states) for _ in range(4)) == [("g1", 1), ("g2", 1), ("g3", 4), ("g1", 2)]
        with pytest.raises(NotFoundError):
            next(states)
        assert changed_since(server) == [None, 20, 20, 30]

    def test_a_lost_connection_without_changes_is_resumed_at_the_start(
        self, client: Any, server: ScriptedServer
    ) -> None:
        start = time.time()
        server.script("WatchGenerations", [LOST], [many("g1", 4, COMPLETED, at=30), NOT_FOUND])
        assert next(client.generations.watch_many(project="p1")).id == "g1"
        first, second = changed_since(server)
        assert first is None
        assert second is not None
        assert start - 1 <= second <= time.time()

    def test_changed_since_is_sent_until_a_change_was_seen(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [LOST], [many("g1", 4, at=30), LOST], [NOT_FOUND])
        since = datetime.fromtimestamp(25, UTC)
        states = client.generations.watch_many(project="p1", changed_since=since)
        assert next(states).id == "g1"
        with pytest.raises(NotFoundError):
            next(states)
        assert changed_since(server) == [25, 25, 30]

    def test_changed_since_does_not_work_with_targets_or_a_group(self, client: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="targets or group_id"):
            client.generations.watch_many(["g1"], changed_since=datetime.now(UTC))
        with pytest.raises(InvalidArgumentError, match="targets or group_id"):
            client.generations.watch_many(group_id="g1", changed_since=datetime.now(UTC))
        with pytest.raises(InvalidArgumentError, match="time zone"):
            client.generations.watch_many(project="p1", changed_since=datetime(2026, 1, 1))


class TestUser:
    @pytest.mark.parametrize("user", ["", "u1"])
    def test_a_watch_of_all_generations_is_resumed_at_the_newest_change(
        self, user: str, client: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [many("g1", 1, at=20), LOST],
            [many("g1", 1, at=20), many("g2", 4, COMPLETED, at=30), UntilClientLeaves()],
        )
        states = client.generations.watch_many(user_id=user) if user else client.generations.watch_many()
        assert named(next(states) for _ in range(2)) == [("g1", 1), ("g2", 4)]
        states.close()
        assert changed_since(server) == [None, 20]
        requests = [call.request for call in server.received("WatchGenerations")]
        assert [(each.WhichOneof("selector"), each.all.user_id) for each in requests] == [("all", user)] * 2


def test_a_watch_that_is_refused_for_too_many_calls_opens_after_the_delay(
    connect: Connector, server: ScriptedServer, time: FakeTime
) -> None:
    details = (
        ErrorInfo(reason="CALL_LIMIT", domain="avatar-creator"),
        RetryInfo(retry_delay=Duration(seconds=2)),
    )
    refused = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
    server.script("WatchGeneration", [refused], [one(2, COMPLETED)])

    client = connect(server.target, backoff=Backoff(random=lambda: 0.5))

    assert revisions(client.generations.watch("g1")) == [2]
    assert time.slept == [2.05]

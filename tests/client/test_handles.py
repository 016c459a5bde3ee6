"""A handle waits for its generation, watches, cancels and retries it, and a group does so for variations."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest

from avatar_creator import (
    AsyncAvatarCreator,
    AsyncGenerationGroup,
    AvatarCreator,
    Backoff,
    DeadlineExceededError,
    GenerationCancelledError,
    GenerationEndedError,
    GenerationFailedError,
    InvalidArgumentError,
    NotFoundError,
    ReconnectEvent,
    Resource,
    UnavailableError,
)
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_service_pb2 import GetAvatarResponse
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import Generation, GenerationError, GenerationState
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationResponse,
    CreateGenerationResponse,
    GetGenerationResponse,
    RetryGenerationResponse,
    WatchGenerationResponse,
    WatchGenerationsResponse,
)
from avatar_creator.v1.operations_service_pb2 import RetryNowResponse
from avatar_creator.values import Generation as GenerationValue
from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import LOST, Failure, ScriptedServer, UntilClientLeaves

PROCESSING = GenerationState.GENERATION_STATE_PROCESSING
COMPLETED = GenerationState.GENERATION_STATE_COMPLETED
FAILED = GenerationState.GENERATION_STATE_FAILED
CANCELLED = GenerationState.GENERATION_STATE_CANCELLED

AVATAR = GetAvatarResponse(avatar=Avatar(id="a1", name="Sarah"))


def generation(revision: int, state: GenerationState.ValueType = PROCESSING, id: str = "g1") -> Generation:
    """Return a state of a generation. The avatar of a completed one has the number of the generation."""
    made = Generation(id=id, revision=revision, state=state, progress_percent=revision * 10)
    if state == COMPLETED:
        made.avatar_id = id.replace("g", "a")
    if state == FAILED:
        made.error.CopyFrom(
            GenerationError(reason=ErrorReason.ERROR_REASON_PROVIDER_REJECTED, message="not that prompt")
        )
    return made


def one(revision: int, state: GenerationState.ValueType = PROCESSING) -> WatchGenerationResponse:
    return WatchGenerationResponse(generation=generation(revision, state))


def of(id: str, revision: int, state: GenerationState.ValueType = PROCESSING) -> WatchGenerationsResponse:
    return WatchGenerationsResponse(generation=generation(revision, state, id))


@pytest.fixture
def handle(client: Any, server: ScriptedServer) -> Any:
    """The handle of a generation that was created a moment ago."""
    server.script("CreateGeneration", [CreateGenerationResponse(generation=generation(1))])
    return client.generations.create("p1", "a portrait")


@pytest.fixture
def group(client: Any, server: ScriptedServer) -> Any:
    """The handles of three variations that were created a moment ago."""
    first, *others = (generation(1, id=id) for id in ("g1", "g2", "g3"))
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=others)])
    return client.generations.create_variations("p1", "a portrait", 3)


class TestWaiting:
    def test_it_returns_the_avatar_after_a_lost_connection(self, handle: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(1), LOST], [one(2), one(3, COMPLETED)])
        server.script("GetAvatar", [AVATAR])
        seen: list[int] = []

        avatar = handle.wait(on_progress=lambda state: seen.append(state.revision))

        assert (avatar.id, avatar.name) == ("a1", "Sarah")
        assert seen == [1, 2, 3]
        assert (handle.generation.state, handle.generation.avatar_id) == ("completed", "a1")
        assert server.received("GetAvatar")[0].request.avatar_id == "a1"

    @pytest.mark.parametrize(
        ("state", "error", "reason"),
        [(FAILED, GenerationFailedError, "PROVIDER_REJECTED"), (CANCELLED, GenerationCancelledError, "")],
    )
    def test_a_generation_without_an_avatar_is_raised_each_time(
        self, state: Any, error: type[GenerationEndedError], reason: str, handle: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(2, state)])
        for _ in range(2):
            with pytest.raises(error) as caught:
                handle.wait()
            assert caught.value.reason == reason
            assert caught.value.generation == handle.generation
        assert len(server.received("WatchGeneration")) == 1

    def test_a_timeout_leaves_the_generation_running_and_it_can_be_waited_for_again(
        self, handle: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [one(2), UntilClientLeaves()], [one(3, COMPLETED)])
        server.script("GetAvatar", [AVATAR])

        with pytest.raises(DeadlineExceededError) as caught:
            handle.wait(timeout=0.2)

        assert caught.value.resource == Resource("generation", "g1")
        assert server.received("CancelGeneration") == []
        assert handle.generation.revision == 2
        assert handle.wait().id == "a1"

    def test_an_avatar_that_was_deleted_is_not_found(self, handle: Any, server: ScriptedServer) -> None:
        ended = one(2, COMPLETED)
        ended.generation.ClearField("avatar_id")
        server.script("WatchGeneration", [ended])
        with pytest.raises(NotFoundError, match="has been deleted"):
            handle.wait()

    def test_an_error_of_the_callback_ends_the_watch(self, handle: Any, server: ScriptedServer) -> None:
        def fail(state: object) -> None:
            raise RuntimeError("error of the callback")

        server.script("WatchGeneration", [one(1), UntilClientLeaves()])
        with pytest.raises(RuntimeError, match="of the callback"):
            handle.wait(on_progress=fail)
        assert server.received("WatchGeneration")[0].over.wait(5)

    def test_an_id_is_enough_to_wait(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(2, COMPLETED)])
        server.script("GetAvatar", [AVATAR])
        assert client.generations.wait("g1").id == "a1"
        assert server.received("WatchGeneration")[0].request.generation_id == "g1"


class TestHandle:
    def test_it_is_made_from_an_id_without_a_call(self, client: Any, server: ScriptedServer) -> None:
        handle = client.generations.handle("g1")
        assert (handle.id, repr(handle)) == ("g1", "GenerationHandle('g1')")
        with pytest.raises(ValueError, match=r"no state of generation g1 is known yet; call refresh\(\)"):
            handle.generation  # noqa: B018
        assert server.calls == []

        server.script("GetGeneration", [GetGenerationResponse(generation=generation(4))])
        assert handle.refresh().revision == handle.generation.revision == 4

    def test_its_repr_has_the_state_that_it_has_seen(self, handle: Any) -> None:
        assert repr(handle) == "GenerationHandle('g1', 'processing')"

    def test_it_keeps_the_newest_state(self, handle: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(5), UntilClientLeaves()])
        with handle.watch() as states:
            next(states)
        server.script("GetGeneration", [GetGenerationResponse(generation=generation(4))])
        assert handle.refresh().revision == 4
        assert handle.generation.revision == 5

    def test_leaving_its_watch_ends_the_call(self, handle: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [one(2), one(3), UntilClientLeaves()])
        with handle.watch() as states:
            for state in states:
                if state.revision == 3:
                    break
        assert server.received("WatchGeneration")[0].over.wait(5)
        assert handle.generation == state
        assert list(states) == []

    def test_it_is_cancelled_and_retried(self, handle: Any, server: ScriptedServer) -> None:
        server.script("CancelGeneration", [CancelGenerationResponse(generation=generation(2, CANCELLED))])
        server.script("RetryGeneration", [RetryGenerationResponse(generation=generation(1, id="g2"))])
        assert handle.cancel() == handle.generation
        again = handle.retry(request_id="r1")
        assert (again.id, handle.id) == ("g2", "g1")
        request = server.received("RetryGeneration")[0].request
        assert (request.generation_id, request.request_id) == ("g1", "r1")

    def test_it_is_accepted_in_place_of_an_id(self, handle: Any, client: Any, server: ScriptedServer) -> None:
        server.script("GetGeneration", *[[GetGenerationResponse(generation=generation(2))]] * 4)
        server.script("CancelGeneration", [CancelGenerationResponse(generation=generation(2))])
        server.script("RetryGeneration", [RetryGenerationResponse(generation=generation(1))])
        server.script("RetryNow", [RetryNowResponse(generation=generation(2))])
        server.script("CreateGeneration", [CreateGenerationResponse(generation=generation(1))])
        server.script("WatchGeneration", [one(2, COMPLETED)])
        server.script("WatchGenerations", [of("g1", 2, COMPLETED)])
        generations = client.generations
        for use in (
            generations.get,
            generations.details,
            generations.attempts,
            generations.recipe,
            generations.cancel,
            generations.retry,
            client.operations.retry_now,
            lambda given: generations.reproduce(given, project="p1"),
            lambda given: list(generations.watch(given)),
            lambda given: list(generations.watch_many([given])),
        ):
            use(handle)
        _, *calls = server.calls
        assert len(calls) == 10
        assert all("g1" in str(call.request) for call in calls)

    def test_it_cannot_be_pickled_but_its_state_can(self, handle: Any) -> None:
        assert pickle.loads(pickle.dumps(handle.generation)) == handle.generation
        with AvatarCreator("localhost:1", token="a-token") as client:
            blocking = client.generations.handle(handle.generation)
            with pytest.raises(TypeError, match="pickle its `id` or `generation`"):
                pickle.dumps(blocking)


class TestGroup:
    def test_it_is_a_sequence_of_handles_in_the_order_of_the_seeds(self, group: Any) -> None:
        assert (len(group), group.id, group[2].id) == (3, "g1", "g3")
        assert [handle.id for handle in group] == ["g1", "g2", "g3"]
        assert repr(group) == "GenerationGroup('g1', <3 generations>)"

    def test_handles_come_in_the_order_in_which_their_generations_end(
        self, group: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "WatchGenerations",
            [of("g1", 1), of("g3", 2, COMPLETED), of("g2", 2), LOST],
            [of("g2", 3, FAILED), of("g1", 4, COMPLETED)],
        )
        server.script("GetAvatar", [AVATAR], [AVATAR])
        outcomes = []
        for handle in group.as_completed():
            try:
                outcomes.append((handle.id, handle.wait().id))
            except GenerationFailedError as error:
                outcomes.append((handle.id, error.reason))
        assert outcomes == [("g3", "a1"), ("g2", "PROVIDER_REJECTED"), ("g1", "a1")]
        assert [call.request.avatar_id for call in server.received("GetAvatar")] == ["a3", "a1"]

    def test_those_that_have_ended_come_first_and_are_not_watched_again(
        self, group: Any, server: ScriptedServer
    ) -> None:
        server.script(
            "CancelGeneration", [CancelGenerationResponse(generation=generation(2, CANCELLED, "g2"))]
        )
        server.script("WatchGenerations", [of("g3", 2, COMPLETED), of("g1", 2, COMPLETED)])
        group[1].cancel()
        assert [handle.id for handle in group.as_completed()] == ["g2", "g3", "g1"]
        targets = server.received("WatchGenerations")[0].request.targets.targets
        assert [target.generation_id for target in targets] == ["g1", "g3"]

    def test_leaving_as_completed_ends_the_call(self, group: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [of("g3", 2, COMPLETED), UntilClientLeaves()])
        with group.as_completed() as ended:
            assert next(ended).id == "g3"
        assert server.received("WatchGenerations")[0].over.wait(5)

    def test_wait_all_returns_the_avatars_in_the_order_of_the_seeds(
        self, group: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGenerations", [of(id, 2, COMPLETED) for id in ("g2", "g3", "g1")])
        server.script("GetAvatar", *[[GetAvatarResponse(avatar=Avatar(id=id))] for id in ("a1", "a2", "a3")])
        assert [avatar.id for avatar in group.wait_all()] == ["a1", "a2", "a3"]

    def test_wait_all_raises_a_failure_after_all_have_ended(self, group: Any, server: ScriptedServer) -> None:
        server.script(
            "WatchGenerations", [of("g2", 2, FAILED), of("g1", 2, COMPLETED), of("g3", 2, COMPLETED)]
        )
        server.script("GetAvatar", [AVATAR])
        with pytest.raises(GenerationFailedError) as caught:
            group.wait_all()
        assert caught.value.generation.id == "g2"
        assert all(handle.generation.ended for handle in group)

    def test_wait_all_ends_with_its_timeout(self, group: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [of("g1", 2, COMPLETED), UntilClientLeaves()])
        with pytest.raises(DeadlineExceededError):
            group.wait_all(timeout=0.2)
        assert [handle.generation.ended for handle in group] == [True, False, False]

    def test_its_watch_has_the_states_of_all(self, group: Any, server: ScriptedServer) -> None:
        server.script("WatchGenerations", [of("g2", 2), *[of(f"g{n}", 3, COMPLETED) for n in (1, 2, 3)]])
        with group.watch() as states:
            assert [(state.id, state.revision) for state in states] == [
                ("g2", 2),
                ("g1", 3),
                ("g2", 3),
                ("g3", 3),
            ]

    def test_cancelling_it_leaves_out_those_that_have_ended(self, group: Any, server: ScriptedServer) -> None:

        server.script(
            "CancelGeneration",
            [CancelGenerationResponse(generation=generation(2, CANCELLED, "g1"))],
            [Failure(grpc.StatusCode.FAILED_PRECONDITION)],
            [CancelGenerationResponse(generation=generation(2, CANCELLED, "g3"))],
        )
        server.script("GetGeneration", [GetGenerationResponse(generation=generation(2, COMPLETED, "g2"))])
        group[0].cancel()
        assert [state.state for state in group.cancel()] == ["cancelled", "completed", "cancelled"]
        assert [call.request.generation_id for call in server.received("CancelGeneration")] == [
            "g1",
            "g2",
            "g3",
        ]


class TestReconnecting:
    def test_a_screen_learns_of_each_reconnect(
        self, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        client = connect(server.target, backoff=Backoff(initial=1.0, random=lambda: 0.5))
        server.script("WatchGeneration", [one(1), LOST], [LOST], [one(2), LOST], [one(3, COMPLETED)])
        events: list[ReconnectEvent] = []

        states = list(client.generations.watch("g1", on_reconnect=events.append))

        assert [state.revision for state in states] == [1, 2, 3]
        assert [(event.attempt, event.delay) for event in events] == [(1, 0.5), (2, 1.0), (1, 0.5)]
        assert [event.delay for event in events] == time.slept
        assert all(isinstance(event.error, UnavailableError) for event in events)

    def test_handles_and_watches_of_many_report_it_too(
        self, handle: Any, client: Any, server: ScriptedServer
    ) -> None:
        events: list[ReconnectEvent] = []
        server.script("WatchGeneration", [LOST], [one(2, COMPLETED)])
        server.script("WatchGenerations", [LOST], [of("g1", 2, COMPLETED)])
        list(handle.watch(on_reconnect=events.append))
        list(client.generations.watch_many([handle], on_reconnect=events.append))
        assert [event.attempt for event in events] == [1, 1]

    def test_a_watch_that_gives_up_does_not_announce_another_connection(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("WatchGeneration", [LOST])
        events: list[ReconnectEvent] = []
        with pytest.raises(UnavailableError):
            list(client.generations.watch("g1", reconnect_for=0.0, on_reconnect=events.append))
        assert events == []

    def test_an_error_of_the_function_ends_the_watch(self, client: Any, server: ScriptedServer) -> None:
        def fail(event: ReconnectEvent) -> None:
            raise RuntimeError("error of the function")

        server.script("WatchGeneration", [one(1), LOST])
        with pytest.raises(RuntimeError, match="of the function"):
            list(client.generations.watch("g1", on_reconnect=fail))

    def test_an_async_function_is_refused(self, client: Any, server: ScriptedServer) -> None:
        async def learn(event: ReconnectEvent) -> None: ...

        with pytest.raises(InvalidArgumentError, match="on_reconnect must not be an async function"):
            list(client.generations.watch("g1", on_reconnect=learn))
        assert server.calls == []


def test_reprs_of_handles_fit_into_a_line_of_a_terminal() -> None:
    id = "01a204c5-0000-7000-8000-000000000000"
    states = [Generation(id=id, state=GenerationState.GENERATION_STATE_PROCESSING)] * 8
    channel: Any = object()
    client = AsyncAvatarCreator(channel=channel, token="a-token")
    values = [GenerationValue.from_message(state) for state in states]
    for held in (client.generations.handle(values[0]), AsyncGenerationGroup(client._connection, values)):
        assert repr(held).startswith(type(held).__name__ + f"('{id}', ")
        assert len(repr(held)) <= 80
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(held)

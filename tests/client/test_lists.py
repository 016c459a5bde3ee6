"""Lists iterate over all pages and request each page only when they reach it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.type.date_pb2 import Date

from avatar_creator import InvalidArgumentError, enums
from avatar_creator.v1.attributes_pb2 import AgeRange, Gender, Style
from avatar_creator.v1.avatar_pb2 import Avatar, SourceType
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsResponse
from avatar_creator.v1.avatar_service_pb2 import (
    AvatarOrder,
    BatchGetAvatarsResponse,
    ListAvatarsRequest,
    ListAvatarsResponse,
)
from avatar_creator.v1.generation_pb2 import Generation, GenerationState
from avatar_creator.v1.generation_service_pb2 import ListGenerationsRequest, ListGenerationsResponse
from avatar_creator.v1.persona_pb2 import PersonaExample
from avatar_creator.v1.preset_pb2 import AvatarPreset
from avatar_creator.v1.preset_service_pb2 import ListPersonaExamplesResponse, ListPresetsResponse
from avatar_creator.v1.usage_pb2 import AppUsageSummary, UsageRecord
from avatar_creator.v1.usage_service_pb2 import (
    DailySpend,
    GetStatsResponse,
    ListUsageResponse,
    SummarizeUsageResponse,
)
from tests.client.scripted_server import LOST, ScriptedServer, messages_of


def page(*ids: str, then: str = "") -> ListProjectsResponse:
    return ListProjectsResponse(projects=[AvatarProject(id=id) for id in ids], next_page_token=then)


def test_a_list_requests_all_pages_with_the_same_arguments(client: Any, server: ScriptedServer) -> None:
    server.script("ListProjects", [page("p1", "p2", then="second")], [page(then="third")], [page("p3")])
    assert [project.id for project in client.projects.list(page_size=2)] == ["p1", "p2", "p3"]
    requests = [call.request for call in server.received("ListProjects")]
    assert [(request.page_token, request.page_size) for request in requests] == [
        ("", 2),
        ("second", 2),
        ("third", 2),
    ]


def test_a_page_is_requested_when_iteration_reaches_it(client: Any, server: ScriptedServer) -> None:
    server.script("ListProjects", [page("p1", "p2", then="second")], [page("p3")])
    projects = client.projects.list()
    assert len(server.calls) == 0
    assert [next(projects).id, next(projects).id] == ["p1", "p2"]
    assert len(server.calls) == 1
    assert next(projects).id == "p3"
    assert len(server.calls) == 2


def test_single_pages_are_read_by_their_tokens(client: Any, server: ScriptedServer) -> None:
    server.script("ListProjects", [page("p1", "p2", then="second")], [LOST], [page("p3")])
    first = client.projects.list(page_size=2).page()
    assert ([project.id for project in first.items], first.next_page_token) == (["p1", "p2"], "second")
    last = client.projects.list(page_size=2, page_token=first.next_page_token).page()
    assert ([project.id for project in last.items], last.next_page_token) == (["p3"], "")
    requests = [call.request for call in server.received("ListProjects")]
    assert [(request.page_token, request.page_size) for request in requests] == [
        ("", 2),
        ("second", 2),
        ("second", 2),
    ]


def test_a_lost_page_is_requested_again(client: Any, server: ScriptedServer) -> None:
    server.script("ListProjects", [page("p1", then="second")], [LOST], [page("p2")])
    assert [project.id for project in client.projects.list()] == ["p1", "p2"]


@pytest.mark.parametrize(
    ("method", "listed", "answer"),
    [
        ("ListAvatars", lambda c: c.avatars.list(), ListAvatarsResponse(avatars=[Avatar(id="x")])),
        (
            "ListGenerations",
            lambda c: c.generations.list(),
            ListGenerationsResponse(generations=[Generation(id="x")]),
        ),
        ("ListUsage", lambda c: c.usage.list("a1"), ListUsageResponse(usages=[UsageRecord(id="x")])),
        ("ListPresets", lambda c: c.presets.list(), ListPresetsResponse(presets=[AvatarPreset(id="x")])),
        (
            "ListPersonaExamples",
            lambda c: c.personas.list(),
            ListPersonaExamplesResponse(persona_examples=[PersonaExample(id="x")]),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_list_returns_its_resources(
    method: str, listed: Callable[[Any], Any], answer: Any, client: Any, server: ScriptedServer
) -> None:
    server.script(method, [answer])
    assert [item.id for item in listed(client)] == ["x"]


def test_the_filters_of_avatars_are_sent(client: Any, server: ScriptedServer) -> None:
    server.script("ListAvatars", [ListAvatarsResponse()])
    filters: dict[str, Any] = {
        "query": "sarah",
        "ethnicity": "Indonesian",
        "include_thumbnails": True,
        "page_size": 7,
        "page_token": "an earlier one",
    }
    chosen: dict[str, Any] = {
        "source_types": ["uploaded", enums.SourceType.FROM_PRESET],
        "gender": "female",
        "age_range": enums.AgeRange.SENIOR,
        "style": "Casual",
        "order": "last-used first",
    }
    assert list(client.avatars.find(project="p1", **filters, **chosen)) == []
    assert server.calls[0].request == ListAvatarsRequest(
        project_id="p1",
        **filters,
        source_types=[SourceType.SOURCE_TYPE_UPLOADED, SourceType.SOURCE_TYPE_FROM_PRESET],
        gender=Gender.GENDER_FEMALE,
        age_range=AgeRange.AGE_RANGE_SENIOR,
        style=Style.STYLE_CASUAL,
        order=AvatarOrder.AVATAR_ORDER_LAST_USED_FIRST,
    )


def test_a_list_can_be_limited_to_one_group(client: Any, server: ScriptedServer) -> None:
    server.script("ListGenerations", [ListGenerationsResponse()])
    assert list(client.generations.list(group_id="g1")) == []
    assert server.calls[0].request == ListGenerationsRequest(group_id="g1")


def test_times_are_sent_as_timestamps(client: Any, server: ScriptedServer) -> None:
    server.script("ListGenerations", [ListGenerationsResponse()])
    since = datetime(2026, 1, 2, tzinfo=UTC)
    until = since + timedelta(days=1)
    list(client.generations.list(states="failed", create_time_from=since, create_time_to=until))
    request = server.calls[0].request
    assert request.create_time_from.ToDatetime(tzinfo=UTC) == since
    assert request.create_time_to.ToDatetime(tzinfo=UTC) == until
    assert list(request.states) == [GenerationState.GENERATION_STATE_FAILED]


def test_a_time_without_a_time_zone_is_an_error(client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="time zone"):
        client.generations.list(create_time_from=datetime(2026, 1, 2))


def test_the_sums_by_app_come_from_all_pages(client: Any, server: ScriptedServer) -> None:
    apps = [AppUsageSummary(app_id=name, usage_count=1) for name in "abc"]
    server.script(
        "SummarizeUsage",
        [SummarizeUsageResponse(apps=apps[:2], next_page_token="second")],
        [LOST],
        [SummarizeUsageResponse(apps=apps[2:])],
    )

    assert messages_of(client.usage.summarize("a1")) == apps

    requests = [call.request for call in server.received("SummarizeUsage")]
    assert [request.page_token for request in requests] == ["", "second", "second"]


def test_the_statistics_have_the_spending_of_all_pages(client: Any, server: ScriptedServer) -> None:
    spending = [
        DailySpend(day=Date(year=2026, month=11, day=26), app_id=name, price_micros=1) for name in "abc"
    ]
    server.script(
        "GetStats",
        [GetStatsResponse(avatar_count=5, spending=spending[:2], next_page_token="second")],
        [GetStatsResponse(avatar_count=6, spending=spending[2:])],
    )

    stats = client.usage.stats(user_id="-")

    assert stats.message == GetStatsResponse(avatar_count=5, spending=spending)
    requests = [call.request for call in server.received("GetStats")]
    assert [(request.user_id, request.page_token) for request in requests] == [("-", ""), ("-", "second")]


def test_thumbnails_that_a_batch_omits_come_from_further_calls(client: Any, server: ScriptedServer) -> None:
    def avatar(number: int, thumbnail: bytes = b"") -> Avatar:
        return Avatar(id=f"a{number}", thumbnail_data=thumbnail)

    server.script(
        "BatchGetAvatars",
        [
            BatchGetAvatarsResponse(
                avatars=[avatar(1, b"one"), avatar(2), avatar(3), avatar(4)],
                missing_avatar_ids=["a5"],
                omitted_thumbnail_avatar_ids=["a2", "a3", "a4"],
            )
        ],
        # The third avatar has been deleted since.
        [
            BatchGetAvatarsResponse(
                avatars=[avatar(2, b"two"), avatar(4)],
                missing_avatar_ids=["a3"],
                omitted_thumbnail_avatar_ids=["a4"],
            )
        ],
        [BatchGetAvatarsResponse(avatars=[avatar(4, b"four")])],
    )

    result = client.avatars.batch_get(["a1", "a2", "a3", "a4", "a5"], include_thumbnails=True)

    assert result.message == BatchGetAvatarsResponse(
        avatars=[avatar(1, b"one"), avatar(2, b"two"), avatar(3), avatar(4, b"four")],
        missing_avatar_ids=["a5"],
    )
    requests = [call.request for call in server.received("BatchGetAvatars")]
    assert [list(request.avatar_ids) for request in requests[1:]] == [["a2", "a3", "a4"], ["a4"]]
    assert all(request.include_thumbnails for request in requests)

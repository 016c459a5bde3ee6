"""Answers of many and large items: a client with gRPC's default limits can read all of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from avatar_creator import AsyncAvatarCreator
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1 import generation_service_pb2 as generations_pb
from avatar_creator.v1 import usage_service_pb2 as usage_pb
from avatar_creator.v1.avatar_project_service_pb2 import GetProjectRequest
from avatar_creator_server.api.answers import MAX_ITEM_BYTES
from tests.contract.calls import Calls, refusal
from tests.contract.conftest import ONE_STACK
from tests.support.command_line import CommandLine
from tests.support.large_answers import LONG, add_apps, add_avatars, large_metadata, long_persona
from tests.support.presence import present
from tests.support.rows import copy_row
from tests.support.service import Deployment

LARGEST_ANSWER_BYTES = MAX_ITEM_BYTES + 32 * 1024
MANY = 100
APPS = 8_000
TOTAL_USES = APPS // 100 * 5050 + 1
ACTIONS = 150


class Giant:
    """A user with the largest resources that the limits allow, and a plain gRPC client."""

    def __init__(self, deployment: Deployment, user: str, calls: Calls) -> None:
        self.deployment = deployment
        self.user = user
        self.calls = calls
        self.project_id = calls.create_project().id
        with deployment.client(user) as client:
            self.avatar_ids = add_avatars(deployment, client, self.project_id, MANY)
        self.avatar_id = self.avatar_ids[0]
        self.thumbnail_bytes = self.avatar().thumbnail.size_bytes
        assert self.thumbnail_bytes * MANY > 2 * MAX_ITEM_BYTES

    def avatar(self) -> Any:
        return self.calls.avatars.GetAvatar(avatars_pb.GetAvatarRequest(avatar_id=self.avatar_id)).avatar

    def pages(self, call: Callable[[Any], Any], request: Any) -> list[Any]:
        """Return all pages of a list."""
        pages = [call(request)]
        while pages[-1].next_page_token:
            request.page_token = pages[-1].next_page_token
            pages.append(call(request))
        sizes = [page.ByteSize() for page in pages]
        assert max(sizes) <= LARGEST_ANSWER_BYTES
        return pages


@pytest.fixture(scope="module")
def giant(shared_deployment: Deployment) -> Iterator[Giant]:
    user = f"giant-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        yield Giant(shared_deployment, user, calls)


def test_a_list_of_avatars_with_large_thumbnails_has_smaller_pages(giant: Giant) -> None:
    request = avatars_pb.ListAvatarsRequest(include_thumbnails=True, page_size=MANY)

    pages = giant.pages(giant.calls.avatars.ListAvatars, request)

    listed = [avatar for page in pages for avatar in page.avatars]
    assert [avatar.id for avatar in listed] == sorted(giant.avatar_ids, reverse=True)
    assert {len(avatar.thumbnail_data) for avatar in listed} == {giant.thumbnail_bytes}
    # Every page but the last is as full as it can be.
    item = listed[0].ByteSize() + 100
    assert all(page.ByteSize() + item > MAX_ITEM_BYTES for page in pages[:-1])


def test_a_project_opens_with_the_avatars_that_fit_and_a_token_for_the_others(giant: Giant) -> None:
    opened = giant.calls.projects.GetProject(
        GetProjectRequest(project_id=giant.project_id, include_avatars=True)
    )
    rest = giant.pages(
        giant.calls.avatars.ListAvatars,
        avatars_pb.ListAvatarsRequest(project_id=giant.project_id, page_token=opened.next_page_token),
    )

    assert opened.ByteSize() <= LARGEST_ANSWER_BYTES
    assert 0 < len(opened.avatars) <= 20
    ids = [avatar.id for page in [opened, *rest] for avatar in page.avatars]
    assert ids == sorted(giant.avatar_ids, reverse=True)


def test_a_batch_names_the_avatars_whose_thumbnails_do_not_fit(giant: Giant) -> None:
    missing = str(uuid.uuid4())
    request = avatars_pb.BatchGetAvatarsRequest(
        avatar_ids=[*giant.avatar_ids[1:], missing], include_thumbnails=True
    )

    answer = giant.calls.avatars.BatchGetAvatars(request)

    assert answer.ByteSize() <= LARGEST_ANSWER_BYTES
    assert [avatar.id for avatar in answer.avatars] == giant.avatar_ids[1:]
    assert list(answer.missing_avatar_ids) == [missing]
    without = [avatar.id for avatar in answer.avatars if not avatar.thumbnail_data]
    assert list(answer.omitted_thumbnail_avatar_ids) == without
    assert 0 < len(without) < MANY - 1
    request.include_thumbnails = False
    assert list(giant.calls.avatars.BatchGetAvatars(request).omitted_thumbnail_avatar_ids) == []


@ONE_STACK
def test_both_clients_return_every_thumbnail_of_a_batch(giant: Giant) -> None:
    target, token = giant.deployment.target, giant.deployment.token(giant.user)

    async def batch_async() -> Any:
        async with AsyncAvatarCreator(target, token=token) as client:
            return await client.avatars.batch_get(giant.avatar_ids, include_thumbnails=True)

    with giant.deployment.client(giant.user) as client:
        results = [client.avatars.batch_get(giant.avatar_ids, include_thumbnails=True)]
        listed = list(client.avatars.list(include_thumbnails=True, page_size=MANY))
    results.append(asyncio.run(batch_async()))

    for result in results:
        assert [avatar.id for avatar in result.avatars] == giant.avatar_ids
        assert {len(present(avatar.thumbnail_data)) for avatar in result.avatars} == {giant.thumbnail_bytes}
        assert list(result.message.omitted_thumbnail_avatar_ids) == []
    assert len(listed) == MANY


def test_a_list_of_uses_with_large_metadata_has_smaller_pages(giant: Giant) -> None:
    metadata = large_metadata()
    uses = [giant.calls.record_usage(giant.avatar_id, metadata=metadata).id for _ in range(MANY)]
    assert metadata.ByteSize() * MANY > MAX_ITEM_BYTES

    pages = giant.pages(
        giant.calls.usage.ListUsage, usage_pb.ListUsageRequest(avatar_id=giant.avatar_id, page_size=MANY)
    )

    assert len(pages) == 2
    assert [use.id for page in pages for use in page.usages] == uses[::-1]


def test_a_list_of_generations_with_long_texts_has_smaller_pages(giant: Giant) -> None:
    generation = giant.calls.create_generation(
        giant.project_id,
        prompt=LONG * 2000,
        persona=long_persona().message,
        options={"width": 256, "height": 256, "negative_prompt": LONG * 2000},
    )
    giant.calls.wait_for_end(generation.id)
    ids = [generation.id, *(str(uuid_utils.uuid7()) for _ in range(MANY - 1))]
    copy_row(
        giant.deployment, "avatar_generations", {"id": generation.id}, [{"id": copy} for copy in ids[1:]]
    )

    pages = giant.pages(
        giant.calls.generations.ListGenerations, generations_pb.ListGenerationsRequest(page_size=MANY)
    )

    assert len(pages) > 1
    assert [one.id for page in pages for one in page.generations] == sorted(ids, reverse=True)


@pytest.fixture(scope="module")
def used_avatar_id(giant: Giant) -> str:
    """An avatar with uses by very many apps."""
    avatar_id = giant.avatar_ids[5]
    with giant.deployment.client(giant.user) as client:
        apps = add_apps(giant.deployment, client, avatar_id, APPS)
    actions = [
        {"app_id": apps[99], "action": f"{number:03}{LONG * 117}", "usage_count": number + 1}
        for number in range(ACTIONS)
    ]
    copy_row(giant.deployment, "avatar_app_actions", {"avatar_id": avatar_id, "app_id": "a"}, actions)
    return avatar_id


def test_the_uses_of_an_avatar_by_many_apps_are_summed_in_pages(giant: Giant, used_avatar_id: str) -> None:
    pages = giant.pages(
        giant.calls.usage.SummarizeUsage, usage_pb.SummarizeUsageRequest(avatar_id=used_avatar_id)
    )

    apps = [app for page in pages for app in page.apps]
    assert len({app.app_id for app in apps}) == len(apps) == APPS + 1
    assert [(-app.usage_count, app.app_id) for app in apps] == sorted(
        (-app.usage_count, app.app_id) for app in apps
    )
    assert {(page.app_count, page.usage_count) for page in pages} == {(APPS + 1, TOTAL_USES)}
    assert sum(app.usage_count for app in apps) == TOTAL_USES
    (with_actions,) = (app for app in apps if app.action_count == ACTIONS)
    assert [action.usage_count for action in with_actions.actions] == [*range(150, 50, -1)]


def test_a_page_of_sums_has_the_requested_size(giant: Giant, used_avatar_id: str) -> None:
    request = usage_pb.SummarizeUsageRequest(avatar_id=used_avatar_id, page_size=7)

    first = giant.calls.usage.SummarizeUsage(request)
    request.page_token = first.next_page_token
    second = giant.calls.usage.SummarizeUsage(request)

    assert len(first.apps) == len(second.apps) == 7
    assert not {app.app_id for app in first.apps} & {app.app_id for app in second.apps}
    request.avatar_id = giant.avatar_id
    assert refusal(lambda: giant.calls.usage.SummarizeUsage(request)).reason == "PAGE_TOKEN_INVALID"


@ONE_STACK
def test_the_client_sums_the_uses_of_all_apps(giant: Giant, used_avatar_id: str) -> None:
    with giant.deployment.client(giant.user) as client:
        assert len(client.usage.summarize(used_avatar_id)) == APPS + 1


@ONE_STACK
def test_the_command_shows_the_uses_of_all_apps(giant: Giant, used_avatar_id: str, tmp_path: Path) -> None:
    command_line = CommandLine(giant.deployment.target, giant.deployment.token(giant.user), tmp_path)

    assert len(command_line.json("usage", "show", used_avatar_id)["apps"]) == APPS + 1


def test_spending_comes_in_pages_and_the_client_returns_all_of_it(giant: Giant) -> None:
    user = f"spender-{uuid.uuid4().hex}"
    deployment = giant.deployment
    today = datetime.now(UTC).date().isoformat()
    deployment.execute(
        "INSERT INTO daily_spend (user_id, day, app_id, price_micros, attempt_count)"
        " VALUES (%s, %s, 'a', 5, 1)",
        user,
        today,
    )
    entries = [{"app_id": f"{number:06}{LONG * 114}"} for number in range(8_000)]
    copy_row(deployment, "daily_spend", {"user_id": user, "app_id": "a"}, entries)

    with Calls(deployment.target, deployment.token(user)) as calls:
        pages = giant.pages(calls.usage.GetStats, usage_pb.GetStatsRequest())
    with deployment.client(user) as client:
        stats = client.usage.stats()

    spending = [spend for page in pages for spend in page.spending]
    assert len(pages) > 1
    assert [spend.app_id for spend in spending] == [*(entry["app_id"] for entry in entries), "a"]
    assert list(stats.message.spending) == spending
    assert stats.message.next_page_token == ""

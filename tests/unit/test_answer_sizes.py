"""The largest answer of each RPC, computed from the limits of its fields: below what gRPC clients accept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.options_pb2 import FieldLimits
from avatar_creator_server.api.answers import MAX_ITEM_BYTES, count_fitting, fit
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.api.validation_rules import max_encoded_bytes
from avatar_creator_server.contract.field_options import limits_of
from avatar_creator_server.generations.attempts import MAX_ATTEMPTS
from avatar_creator_server.shared.paging import MAX_PAGE_SIZE, Page
from avatar_creator_server.usage.service import MAX_ACTIONS, MAX_APPS, MAX_SPENDING

CLIENT_LIMIT_BYTES = 4 * 1024 * 1024
"""Default of `grpc.max_receive_message_length` in clients."""

PAGES = {
    "GetProjectResponse.avatars",
    "GetStatsResponse.spending",
    "ListAvatarsResponse.avatars",
    "ListGenerationsResponse.generations",
    "ListPersonaExamplesResponse.persona_examples",
    "ListPresetsResponse.presets",
    "ListProjectsResponse.projects",
    "ListUsageResponse.usages",
    "ListUsersResponse.users",
    "ListWorkersResponse.workers",
    "SummarizeUsageResponse.apps",
}
"""The items of each page. Together they have at most `MAX_ITEM_BYTES`, or are one item."""

ENTRIES = {
    "AppUsageSummary.actions": MAX_ACTIONS,
    "GetGenerationResponse.attempts": MAX_ATTEMPTS,
    "GetStatsResponse.spending": MAX_SPENDING,
    "ListAvatarsResponse.avatars": MAX_PAGE_SIZE,
    "SummarizeUsageResponse.apps": MAX_APPS,
}
"""Numbers of entries that the service keeps to, which the contract must state."""

ADDRESSES = {"Avatar.image_url", "Avatar.thumbnail_url"}
"""Texts of ASCII only: the settings refuse other public URLs."""
COVERS = {"AvatarProject.newest_avatars"}
"""Avatars that never have `thumbnail_data`."""

USER_ID_BYTES = 128
MAX_NUMBER_BYTES = 10
MAX_HEADER_BYTES = 8
"""Number and length of a field."""


def rpcs() -> Iterator[Any]:
    """Yield the descriptor of every RPC of the contract."""
    for service in map(descriptor_pool.Default().FindServiceByName, SERVICE_NAMES):
        yield from service.methods


def largest(message: Any, *, without: frozenset[str] = frozenset()) -> int:
    """Return the maximum size of an encoded message, except fields named in `without`."""
    if message.full_name == "google.protobuf.Struct":
        return max_encoded_bytes(limits_of("UsageRecord.metadata").max_bytes)
    return sum(
        _largest_field(field) for field in message.fields if f"{message.name}.{field.name}" not in without
    )


def _largest_field(field: Any) -> int:
    place = f"{field.containing_type.name}.{field.name}"
    if place in PAGES:
        return max(MAX_ITEM_BYTES, largest(field.message_type)) + MAX_HEADER_BYTES
    if field.containing_type.file.package != "avatar_creator.v1":
        return MAX_HEADER_BYTES + MAX_NUMBER_BYTES
    limits = limits_of(place)
    count = limits.max_entries if field.is_repeated else 1
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return count * (3 * MAX_HEADER_BYTES + 2 * 4 * limits.max_length)
    return count * (MAX_HEADER_BYTES + _largest_value(field, limits))


def _largest_value(field: Any, limits: FieldLimits) -> int:
    place = f"{field.containing_type.name}.{field.name}"
    if place in COVERS:
        return largest(field.message_type, without=frozenset({"Avatar.thumbnail_data"}))
    if place in ADDRESSES:
        return limits.max_length
    if field.message_type is not None:
        return largest(field.message_type)
    if field.type == field.TYPE_STRING:
        # Characters have up to 4 bytes.
        return 4 * limits.max_length or USER_ID_BYTES
    if field.type == field.TYPE_BYTES:
        return limits.max_bytes
    return MAX_NUMBER_BYTES


@pytest.mark.parametrize("rpc", list(rpcs()), ids=lambda rpc: str(rpc.name))
def test_every_answer_and_message_of_a_stream_is_smaller_than_clients_accept(rpc: Any) -> None:
    # The thumbnails of a batch count below.
    without = frozenset({"BatchGetAvatarsResponse.avatars"})

    assert largest(rpc.output_type, without=without) < CLIENT_LIMIT_BYTES


def test_a_batch_of_avatars_leaves_room_for_a_thumbnail() -> None:
    find = descriptor_pool.Default().FindMessageTypeByName
    avatar, batch = (find(f"avatar_creator.v1.{name}") for name in ("Avatar", "BatchGetAvatarsResponse"))
    one = largest(avatar, without=frozenset({"Avatar.thumbnail_data"}))
    ids = largest(batch, without=frozenset({"BatchGetAvatarsResponse.avatars"}))

    assert 100 * one + ids + limits_of("Avatar.thumbnail_data").max_bytes < CLIENT_LIMIT_BYTES


def test_the_contract_states_the_numbers_of_entries_that_the_service_keeps_to() -> None:
    assert {place: limits_of(place).max_entries for place in ENTRIES} == ENTRIES
    assert all(limits_of(place).max_entries for place in PAGES)


def project_of(size: int) -> AvatarProject:
    return AvatarProject(description="x" * size)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], 0),
        ([10, 10], 2),
        ([MAX_ITEM_BYTES // 2, MAX_ITEM_BYTES // 2], 1),
        ([MAX_ITEM_BYTES // 2 - 100, MAX_ITEM_BYTES // 2 - 100], 2),
        ([2 * MAX_ITEM_BYTES, 10], 1),
        ([10, 2 * MAX_ITEM_BYTES], 1),
    ],
)
def test_a_page_has_as_many_items_as_fit_and_at_least_one(sizes: list[int], expected: int) -> None:
    page = Page(sizes, "after all", str)

    messages, shortened = fit(page, project_of)

    assert [len(message.description) for message in messages] == sizes[:expected]
    assert shortened.items == sizes[:expected]
    is_whole = expected == len(sizes)
    assert shortened.next_page_token == ("after all" if is_whole else str(sizes[expected - 1]))
    assert count_fitting(sizes, 0) == expected


def test_bytes_that_are_added_later_count() -> None:
    page = Page([10, 10, 10], "", str)

    messages, _ = fit(page, project_of, lambda _: MAX_ITEM_BYTES // 2 - 100)

    assert len(messages) == 2

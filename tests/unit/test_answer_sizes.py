"""The largest answer of each RPC, computed from the limits of its fields: below what gRPC clients accept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator_server.api.answers import MAX_ITEM_BYTES, count_fitting, fit
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.api.validation import MAX_REFERENCES
from avatar_creator_server.api.validation_rules import MAX_ENCODED_BYTES
from avatar_creator_server.generations.attempts import MAX_ATTEMPTS
from avatar_creator_server.shared.paging import MAX_PAGE_SIZE, Page
from avatar_creator_server.usage.service import MAX_ACTIONS, MAX_APPS, MAX_SPENDING

CLIENT_LIMIT_BYTES = 4 * 1024 * 1024
"""Default of `grpc.max_receive_message_length` in clients."""

PAGED = {
    "GetProjectResponse.avatars": 20,
    "GetStatsResponse.spending": MAX_SPENDING,
    "ListAvatarsResponse.avatars": MAX_PAGE_SIZE,
    "ListGenerationsResponse.generations": MAX_PAGE_SIZE,
    "ListPersonaExamplesResponse.persona_examples": MAX_PAGE_SIZE,
    "ListPresetsResponse.presets": MAX_PAGE_SIZE,
    "ListProjectsResponse.projects": MAX_PAGE_SIZE,
    "ListUsageResponse.usages": MAX_PAGE_SIZE,
    "ListUsersResponse.users": MAX_PAGE_SIZE,
    "ListWorkersResponse.workers": MAX_PAGE_SIZE,
    "SummarizeUsageResponse.apps": MAX_APPS,
}
"""Maximum number of items of each page. Together they have at most `MAX_ITEM_BYTES`, or are one item."""

REPEATED = {
    "AppUsageSummary.actions": MAX_ACTIONS,
    "Avatar.reference_avatar_ids": MAX_REFERENCES,
    # With thumbnails as far as they fit, and at least one; see the test below.
    "BatchGetAvatarsResponse.avatars": 100,
    "BatchGetAvatarsResponse.missing_avatar_ids": 100,
    "BatchGetAvatarsResponse.omitted_thumbnail_avatar_ids": 100,
    "BulkCancelGenerationsResponse.generation_ids": 100,
    "BulkRetryGenerationsResponse.failures": 20,
    "BulkRetryGenerationsResponse.generation_ids": 100,
    "BulkRetryGenerationsResponse.retry_ids": 100,
    "CreateGenerationResponse.variations": 7,
    # One for each option that the route does not support, a cut prompt, what the provider changed, no worker.
    "EstimateGenerationResponse.warnings": 20,
    "Generation.reference_avatar_ids": MAX_REFERENCES,
    "Generation.warnings": 20,
    "GetGenerationResponse.attempts": MAX_ATTEMPTS,
    "GetStatsResponse.generations": 5,
    "Persona.personality": 12,
    "Queue.depths": 3,
    # The routes of this service, and those of earlier settings.
    "Queue.pauses": 20,
    "Queue.recent_failures": 100,
    "Queue.routes": 2,
    "Recipe.provider_facts": 20,
    "Recipe.reference_avatar_ids": MAX_REFERENCES,
    "Recipe.reference_sha256s": MAX_REFERENCES,
    "Worker.running": 100,
}
"""Maximum number of entries of other repeated fields."""

SENTENCE = 1000
PROMPT = 5000
"""A prompt of 2,000 characters, a persona's name and personality, the words of all attributes, and ours."""
CHARACTERS = {
    "ActionCount.action": 120,
    "AppUsageSummary.app_id": 120,
    "AppUsageSummary.app_name": 120,
    "Attributes.ethnicity": 60,
    "Avatar.generation_prompt": 2000,
    "Avatar.name": 120,
    "AvatarPreset.description": 2000,
    "AvatarPreset.prompt": 2000,
    "AvatarProject.description": 2000,
    "DailySpend.app_id": 120,
    "EstimateGenerationResponse.warnings": SENTENCE,
    "Generation.app_id": 120,
    "Generation.enhanced_prompt": PROMPT,
    "Generation.negative_prompt": 2000,
    "Generation.prompt": 2000,
    "Generation.provider_prompt": PROMPT,
    "Generation.warnings": SENTENCE,
    "GenerationError.message": SENTENCE,
    "GenerationOptions.negative_prompt": 2000,
    "Persona.background": 4000,
    "Persona.name": 120,
    "Persona.personality": 60,
    "PersonaExample.description": 2000,
    "QueuePause.note": 200,
    "QueueRoute.model": SENTENCE,
    "Recipe.enhanced_prompt": PROMPT,
    "Recipe.lora": SENTENCE,
    "Recipe.lora_weight_file": SENTENCE,
    "Recipe.model": SENTENCE,
    "Recipe.negative_prompt": 2000,
    "Recipe.provider_prompt": PROMPT,
    "UsageRecord.action": 120,
    "UsageRecord.app_id": 120,
    "UsageRecord.app_name": 120,
    "UsageRecord.reference_type": 120,
    "UsageRecord.reference_id": 200,
}
"""Maximum number of characters of the texts that can be long, each of up to 4 bytes."""

OTHER_TEXT_BYTES = 300
"""Maximum size of ids, hashes, words, names of workers and facts of a provider."""
PAGE_TOKEN_BYTES = 3000
"""Maximum size of a page token, which has the sort keys of an item in JSON and base64."""

BYTES = {
    # 300x300 pixels of noise with transparency.
    "Avatar.thumbnail_data": 300 * 300 * 4,
    "AvatarPreset.image_data": 300 * 300 * 4,
    "DownloadImageResponse.chunk": 256 * 1024,
}

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
        return MAX_ENCODED_BYTES
    return sum(
        _largest_field(field) for field in message.fields if f"{message.name}.{field.name}" not in without
    )


def _largest_field(field: Any) -> int:
    place = f"{field.containing_type.name}.{field.name}"
    if place in PAGED:
        return max(MAX_ITEM_BYTES, largest(field.message_type)) + MAX_HEADER_BYTES
    count = REPEATED[place] if field.is_repeated else 1
    return count * (MAX_HEADER_BYTES + _largest_value(field, place))


def _largest_value(field: Any, place: str) -> int:
    if field.message_type is not None:
        return largest(field.message_type)
    if field.type == field.TYPE_STRING:
        if field.name == "next_page_token":
            return PAGE_TOKEN_BYTES
        return 4 * CHARACTERS[place] if place in CHARACTERS else OTHER_TEXT_BYTES
    if field.type == field.TYPE_BYTES:
        return BYTES[place]
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

    assert 100 * one + ids + BYTES["Avatar.thumbnail_data"] < CLIENT_LIMIT_BYTES


def test_the_tables_name_fields_of_the_contract() -> None:
    find = descriptor_pool.Default().FindMessageTypeByName
    for place in (*PAGED, *REPEATED, *CHARACTERS, *BYTES):
        message, _, field = place.partition(".")
        assert field in find(f"avatar_creator.v1.{message}").fields_by_name, place


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

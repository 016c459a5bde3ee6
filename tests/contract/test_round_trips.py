"""Round trips: any message that the contract allows is returned as it was written, from both databases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1 import generation_service_pb2 as generations_pb
from avatar_creator.v1 import usage_service_pb2 as usage_pb
from avatar_creator.v1.attributes_pb2 import Attributes
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.generation_pb2 import Generation, GenerationOptions
from avatar_creator.v1.persona_pb2 import Persona
from avatar_creator.v1.usage_pb2 import UsageRecord
from tests import pictures
from tests.contract import strategies
from tests.contract.calls import Calls
from tests.contract.strategies import ROUND_TRIPS
from tests.support.generations import CANCELLED, SMALLEST
from tests.support.service import Deployment
from tests.support.waiting import wait_until

PICTURE = pictures.png()
DEFAULT_SIDE = 1024

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def author(shared_deployment: Deployment) -> Iterator[Calls]:
    """Calls of the user who writes all messages."""
    with Calls(shared_deployment.target, shared_deployment.token("author")) as calls:
        yield calls


@pytest.fixture(scope="module")
def project(author: Calls) -> AvatarProject:
    """The author's project."""
    return author.create_project()


@pytest.fixture(scope="module")
def avatar(author: Calls, project: AvatarProject) -> Avatar:
    """An avatar that already has its thumbnail, so that only the author changes it."""
    uploaded = author.upload(project.id, PICTURE)

    def finished() -> Avatar | None:
        found = get_avatar(author, uploaded.id)
        return None if found.thumbnail_pending else found

    return wait_until(finished)


def get_avatar(calls: Calls, avatar_id: str) -> Avatar:
    return calls.avatars.GetAvatar(avatars_pb.GetAvatarRequest(avatar_id=avatar_id)).avatar


def values_of(message: Message, fields: Fields) -> Fields:
    """Return the values of the message in these fields."""
    return {name: getattr(message, name) for name in fields}


@ROUND_TRIPS
@given(name=strategies.names(), description=strategies.text(2000, multiline=True))
def test_a_new_project_has_the_values_of_its_request(author: Calls, name: str, description: str) -> None:
    request = projects_pb.CreateProjectRequest(name=name, description=description)

    created = author.projects.CreateProject(request).project

    assert (created.name, created.description) == (name, description)
    assert projects_are_read_alike(author, created)


@ROUND_TRIPS
@given(name=strategies.names(), description=strategies.text(2000, multiline=True))
def test_a_changed_project_has_the_values_of_its_request(author: Calls, name: str, description: str) -> None:
    project = author.create_project()
    change = AvatarProject(id=project.id, name=name, description=description)
    request = projects_pb.UpdateProjectRequest(project=change, update_mask={"paths": ["*"]})  # type: ignore[arg-type]

    changed = author.projects.UpdateProject(request).project

    assert (changed.name, changed.description) == (name, description)
    assert projects_are_read_alike(author, changed)


def projects_are_read_alike(calls: Calls, newest: AvatarProject) -> bool:
    got = calls.projects.GetProject(projects_pb.GetProjectRequest(project_id=newest.id)).project
    (listed,) = calls.projects.ListProjects(projects_pb.ListProjectsRequest(page_size=1)).projects
    assert got == listed == newest
    return True


@settings(ROUND_TRIPS, max_examples=20)
@given(name=strategies.names(), persona=strategies.personas(), attributes=strategies.attributes())
def test_an_uploaded_avatar_has_the_values_of_its_request(
    author: Calls, project: AvatarProject, name: str, persona: Persona, attributes: Attributes
) -> None:
    written: Fields = {"name": name, "persona": persona, "attributes": attributes}

    created = author.upload(project.id, PICTURE, **written)

    assert values_of(created, written) == written
    assert values_of(get_avatar(author, created.id), written) == written
    for listed in lists_that_hold(author, project, created):
        assert values_of(listed, written) == written


def test_an_upload_with_a_deferred_thumbnail_returns_before_the_thumbnail(
    author: Calls, project: AvatarProject
) -> None:
    created = author.upload(project.id, PICTURE, defer_thumbnail=True)

    assert created.thumbnail_pending
    assert not created.HasField("thumbnail")
    assert wait_until(lambda: get_avatar(author, created.id).thumbnail.width) == 300


@ROUND_TRIPS
@given(name=strategies.names(), persona=strategies.personas(), attributes=strategies.attributes())
def test_a_changed_avatar_has_the_values_of_its_request(
    author: Calls,
    project: AvatarProject,
    avatar: Avatar,
    name: str,
    persona: Persona,
    attributes: Attributes,
) -> None:
    written: Fields = {"name": name, "persona": persona, "attributes": attributes}
    request = avatars_pb.UpdateAvatarRequest(
        avatar=Avatar(id=avatar.id, **written),
        update_mask={"paths": ["*"]},  # type: ignore[arg-type]
    )

    changed = author.avatars.UpdateAvatar(request).avatar

    assert values_of(changed, written) == written
    assert get_avatar(author, avatar.id) == changed
    for listed in lists_that_hold(author, project, changed):
        assert listed == changed
    batch = author.avatars.BatchGetAvatars(avatars_pb.BatchGetAvatarsRequest(avatar_ids=[avatar.id]))
    assert list(batch.avatars) == [changed]


def lists_that_hold(calls: Calls, project: AvatarProject, avatar: Avatar) -> list[Avatar]:
    """Return the avatar from lists that are filtered by attributes and by the words of names."""
    looks = avatar.attributes
    filters: list[Fields] = [
        {"project_id": project.id},
        {"gender": looks.gender, "age_range": looks.age_range, "style": looks.style},
        {"ethnicity": looks.ethnicity},
        {"query": first_words(avatar.name)},
        {"query": first_words(avatar.name.casefold()[:200])},
        {"query": first_words(avatar.persona.name)},
    ]
    return [find(calls, avatar.id, each) for each in filters]


def first_words(text: str) -> str:
    """Return as many words as a search may have."""
    return " ".join(text.split()[:8])


def find(calls: Calls, avatar_id: str, filters: Fields) -> Avatar:
    """Return the avatar from the list with these filters."""
    request = avatars_pb.ListAvatarsRequest(**filters, page_size=100)
    while True:
        answer = calls.avatars.ListAvatars(request)
        for listed in answer.avatars:
            if listed.id == avatar_id:
                return listed
        assert answer.next_page_token, f"not listed by {filters}"
        request.page_token = answer.next_page_token


REQUESTS = st.fixed_dictionaries(
    {
        "prompt": strategies.text(2000, min_length=1, multiline=True),
        "avatar_name": strategies.text(120),
        "persona": strategies.personas(),
        "attributes": strategies.attributes(),
        "options": strategies.options(),
    }
)


@settings(ROUND_TRIPS, max_examples=20)
@given(fields=REQUESTS)
def test_a_generation_has_the_values_of_its_request(
    author: Calls, project: AvatarProject, fields: Fields
) -> None:
    created = author.generations.CreateGeneration(
        generations_pb.CreateGenerationRequest(project_id=project.id, **fields)
    ).generation
    (listed,) = author.generations.ListGenerations(
        generations_pb.ListGenerationsRequest(project_id=project.id, page_size=1)
    ).generations
    # The test does not need the picture.
    ended = author.cancel_unless_finished(created.id)
    got = author.generations.GetGeneration(
        generations_pb.GetGenerationRequest(generation_id=created.id)
    ).generation
    again = []
    if ended.state == CANCELLED.number:
        request = generations_pb.RetryGenerationRequest(generation_id=created.id)
        again.append(author.generations.RetryGeneration(request).generation)
        author.cancel_unless_finished(again[0].id)

    assert got == ended
    for generation in (created, listed, got, *again):
        assert has_values_of_request(generation, fields)


def has_values_of_request(generation: Generation, fields: Fields) -> bool:
    """Check that a generation has the values of its request, and defaults for the absent fields."""
    expected = {**fields, "options": filled(fields["options"])}
    if not fields["avatar_name"]:
        expected["avatar_name"] = generation.avatar_name
    assert values_of(generation, fields) == expected
    assert generation.prompt in generation.enhanced_prompt
    if fields["options"].HasField("seed"):
        assert generation.seed_used == fields["options"].seed
    return True


def filled(options: GenerationOptions) -> GenerationOptions:
    filled_in = GenerationOptions()
    filled_in.CopyFrom(options)
    filled_in.width = options.width or DEFAULT_SIDE
    filled_in.height = options.height or DEFAULT_SIDE
    return filled_in


@settings(ROUND_TRIPS, max_examples=6)
@given(fields=REQUESTS)
def test_a_generated_avatar_has_the_values_of_its_generation(
    author: Calls, project: AvatarProject, fields: Fields
) -> None:
    small = fields | {"options": GenerationOptions(width=SMALLEST, height=SMALLEST, seed=2**32 - 1)}
    generation = author.wait_for_end(author.create_generation(project.id, **small).id)

    created = get_avatar(author, generation.avatar_id)

    written = {"persona": fields["persona"], "attributes": fields["attributes"]}
    assert values_of(created, written) == written
    assert (created.name, created.generation_prompt) == (generation.avatar_name, fields["prompt"])
    assert created.seed_used == 2**32 - 1
    assert find(author, created.id, {"source_types": [created.source_type]}) == created


@settings(ROUND_TRIPS, max_examples=100)
@given(use=strategies.uses())
def test_a_use_has_the_values_of_its_request(author: Calls, avatar: Avatar, use: Fields) -> None:
    created = author.record_usage(avatar.id, **use)

    assert values_of(created, use) == use | {
        "app_name": use["app_name"] if use["app_name"].strip() else use["app_id"]
    }
    assert (created.avatar_id, created.user_id) == (avatar.id, "author")
    for filters in ({}, {"app_id": use["app_id"]}, {"action": use["action"]}):
        request = usage_pb.ListUsageRequest(avatar_id=avatar.id, page_size=1, **filters)
        assert list(author.usage.ListUsage(request).usages) == [created]
    assert summed(author, created)


@pytest.mark.parametrize(
    "number",
    [
        *(
            0.0,
            1.0,
            -1.0,
            0.1,
            1 / 3,
            1e15,
            1e16,
            1e22,
            1e23,
            2.0**53,
            2.0**53 + 2,
            -(2.0**63),
            2.0**64,
        ),
        *(1e308, -1e308, sys.float_info.max, sys.float_info.min, 5e-324, -5e-324, sys.float_info.epsilon),
    ],
)
def test_a_number_is_stored_to_the_last_bit(author: Calls, avatar: Avatar, number: float) -> None:
    metadata = Struct(fields={"number": Value(number_value=number)})

    created = author.record_usage(avatar.id, metadata=metadata)

    (listed,) = author.usage.ListUsage(usage_pb.ListUsageRequest(avatar_id=avatar.id, page_size=1)).usages
    for record in (created, listed):
        assert record.metadata.fields["number"].number_value.hex() == number.hex()


def test_a_negative_zero_is_stored_as_zero(author: Calls, avatar: Avatar) -> None:
    created = author.record_usage(avatar.id, metadata=Struct(fields={"number": Value(number_value=-0.0)}))

    assert created.metadata.fields["number"].number_value.hex() == (0.0).hex()


def summed(calls: Calls, use: UsageRecord) -> bool:
    """Check that the sums by app include this use, which is the last one of its app."""
    answer = calls.usage.SummarizeUsage(usage_pb.SummarizeUsageRequest(avatar_id=use.avatar_id))
    (app,) = [app for app in answer.apps if app.app_id == use.app_id]
    assert app.last_used_time == use.create_time
    # A use without a name has the id of its app as name, and keeps the known name of the app.
    assert use.app_name in (app.app_name, app.app_id)
    assert use.action in [action.action for action in app.actions]
    return True

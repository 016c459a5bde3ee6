"""What is written comes back as it was: any message that the contract allows, from either database."""

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
from tests.support.generations import SMALLEST
from tests.support.service import Deployment
from tests.support.waiting import wait_until

PICTURE = pictures.png()
DEFAULT_SIDE = 1024

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def author(shared_deployment: Deployment) -> Iterator[Calls]:
    """Calls of a user who writes all messages."""
    with Calls(shared_deployment.target, shared_deployment.token("author")) as calls:
        yield calls


@pytest.fixture(scope="module")
def project(author: Calls) -> AvatarProject:
    """Where the author's things are."""
    return author.create_project()


@pytest.fixture(scope="module")
def avatar(author: Calls, project: AvatarProject) -> Avatar:
    """An avatar that has its thumbnail, so that nobody but the author changes it."""
    uploaded = author.upload(project.id, PICTURE)

    def finished() -> Avatar | None:
        found = get_avatar(author, uploaded.id)
        return None if found.thumbnail_pending else found

    return wait_until(finished)


def get_avatar(calls: Calls, avatar_id: str) -> Avatar:
    return calls.avatars.GetAvatar(avatars_pb.GetAvatarRequest(avatar_id=avatar_id)).avatar


def said(message: Message, fields: Fields) -> Fields:
    """What the message says in these fields."""
    return {name: getattr(message, name) for name in fields}


@ROUND_TRIPS
@given(name=strategies.names(), description=strategies.text(2000, multiline=True))
def test_a_new_project_is_as_it_was_asked_for(author: Calls, name: str, description: str) -> None:
    request = projects_pb.CreateProjectRequest(name=name, description=description)

    made = author.projects.CreateProject(request).project

    assert (made.name, made.description) == (name, description)
    assert projects_are_read_alike(author, made)


@ROUND_TRIPS
@given(name=strategies.names(), description=strategies.text(2000, multiline=True))
def test_a_changed_project_is_as_it_was_asked_for(author: Calls, name: str, description: str) -> None:
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
def test_an_uploaded_avatar_is_as_it_was_asked_for(
    author: Calls, project: AvatarProject, name: str, persona: Persona, attributes: Attributes
) -> None:
    written: Fields = {"name": name, "persona": persona, "attributes": attributes}

    made = author.upload(project.id, PICTURE, **written)

    assert said(made, written) == written
    assert said(get_avatar(author, made.id), written) == written
    for listed in lists_that_hold(author, project, made):
        assert said(listed, written) == written


@ROUND_TRIPS
@given(name=strategies.names(), persona=strategies.personas(), attributes=strategies.attributes())
def test_a_changed_avatar_is_as_it_was_asked_for(
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

    assert said(changed, written) == written
    assert get_avatar(author, avatar.id) == changed
    for listed in lists_that_hold(author, project, changed):
        assert listed == changed
    batch = author.avatars.BatchGetAvatars(avatars_pb.BatchGetAvatarsRequest(avatar_ids=[avatar.id]))
    assert list(batch.avatars) == [changed]


def lists_that_hold(calls: Calls, project: AvatarProject, avatar: Avatar) -> list[Avatar]:
    """The avatar as the lists show it that are filtered by how it looks and by the words of its names."""
    looks = avatar.attributes
    filters: list[Fields] = [
        {"project_id": project.id},
        {"gender": looks.gender, "age_range": looks.age_range, "style": looks.style},
        {"ethnicity": looks.ethnicity},
        {"query": avatar.name},
        {"query": avatar.name.casefold()[:200]},
        {"query": avatar.persona.name},
    ]
    return [find(calls, avatar.id, wanted) for wanted in filters]


def find(calls: Calls, avatar_id: str, wanted: Fields) -> Avatar:
    """The avatar as the list shows it."""
    request = avatars_pb.ListAvatarsRequest(**wanted, page_size=100)
    while True:
        answer = calls.avatars.ListAvatars(request)
        for listed in answer.avatars:
            if listed.id == avatar_id:
                return listed
        assert answer.next_page_token, f"not listed by {wanted}"
        request.page_token = answer.next_page_token


ORDERS = st.fixed_dictionaries(
    {
        "prompt": strategies.text(2000, min_length=1, multiline=True),
        "avatar_name": strategies.text(120),
        "persona": strategies.personas(),
        "attributes": strategies.attributes(),
        "options": strategies.options(),
    }
)


@settings(ROUND_TRIPS, max_examples=20)
@given(order=ORDERS)
def test_a_generation_is_as_it_was_asked_for(author: Calls, project: AvatarProject, order: Fields) -> None:
    request = generations_pb.CreateGenerationRequest(project_id=project.id, **order)

    made = author.generations.CreateGeneration(request).generation
    (listed,) = author.generations.ListGenerations(
        generations_pb.ListGenerationsRequest(project_id=project.id, page_size=1)
    ).generations
    # Nobody waits for the picture.
    cancelled = author.generations.CancelGeneration(
        generations_pb.CancelGenerationRequest(generation_id=made.id)
    ).generation
    got = author.generations.GetGeneration(
        generations_pb.GetGenerationRequest(generation_id=made.id)
    ).generation
    again = author.generations.RetryGeneration(
        generations_pb.RetryGenerationRequest(generation_id=made.id)
    ).generation
    author.generations.CancelGeneration(generations_pb.CancelGenerationRequest(generation_id=again.id))

    assert got == cancelled
    for generation in (made, listed, got, again):
        assert as_asked_for(generation, order)


def as_asked_for(generation: Generation, order: Fields) -> bool:
    """Whether it says what was asked for, with what was left out filled in."""
    expected = {**order, "options": filled(order["options"])}
    if not order["avatar_name"]:
        expected["avatar_name"] = generation.avatar_name
    assert said(generation, order) == expected
    assert generation.prompt in generation.enhanced_prompt
    if order["options"].HasField("seed"):
        assert generation.seed_used == order["options"].seed
    return True


def filled(options: GenerationOptions) -> GenerationOptions:
    filled_in = GenerationOptions()
    filled_in.CopyFrom(options)
    filled_in.width = options.width or DEFAULT_SIDE
    filled_in.height = options.height or DEFAULT_SIDE
    return filled_in


@settings(ROUND_TRIPS, max_examples=6)
@given(order=ORDERS)
def test_a_generated_avatar_is_as_its_generation(
    author: Calls, project: AvatarProject, order: Fields
) -> None:
    small = order | {"options": GenerationOptions(width=SMALLEST, height=SMALLEST, seed=2**32 - 1)}
    generation = author.wait_for_end(author.create_generation(project.id, **small).id)

    made = get_avatar(author, generation.avatar_id)

    written = {"persona": order["persona"], "attributes": order["attributes"]}
    assert said(made, written) == written
    assert (made.name, made.generation_prompt) == (generation.avatar_name, order["prompt"])
    assert made.seed_used == 2**32 - 1
    assert find(author, made.id, {"source_types": [made.source_type]}) == made


@settings(ROUND_TRIPS, max_examples=100)
@given(use=strategies.uses())
def test_a_use_is_as_it_was_recorded(author: Calls, avatar: Avatar, use: Fields) -> None:
    made = author.record_usage(avatar.id, **use)

    assert said(made, use) == use | {
        "app_name": use["app_name"] if use["app_name"].strip() else use["app_id"]
    }
    assert (made.avatar_id, made.user_id) == (avatar.id, "author")
    for filters in ({}, {"app_id": use["app_id"]}, {"action": use["action"]}):
        request = usage_pb.ListUsageRequest(avatar_id=avatar.id, page_size=1, **filters)
        assert list(author.usage.ListUsage(request).usages) == [made]
    assert summed(author, made)


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
def test_a_number_is_recorded_to_the_last_bit(author: Calls, avatar: Avatar, number: float) -> None:
    metadata = Struct(fields={"number": Value(number_value=number)})

    made = author.record_usage(avatar.id, metadata=metadata)

    (listed,) = author.usage.ListUsage(usage_pb.ListUsageRequest(avatar_id=avatar.id, page_size=1)).usages
    for record in (made, listed):
        assert record.metadata.fields["number"].number_value.hex() == number.hex()


def test_a_negative_zero_is_kept_as_zero(author: Calls, avatar: Avatar) -> None:
    made = author.record_usage(avatar.id, metadata=Struct(fields={"number": Value(number_value=-0.0)}))

    assert made.metadata.fields["number"].number_value.hex() == (0.0).hex()


def summed(calls: Calls, use: UsageRecord) -> bool:
    """Whether the sums by app have this use, the last one of its app."""
    answer = calls.usage.SummarizeUsage(usage_pb.SummarizeUsageRequest(avatar_id=use.avatar_id))
    (app,) = [app for app in answer.apps if app.app_id == use.app_id]
    assert app.last_used_time == use.create_time
    # A use without a name has the app's id for one, and leaves the name that is known.
    assert use.app_name in (app.app_name, app.app_id)
    assert use.action in [action.action for action in app.actions]
    return True

"""Requests and results of the simple calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from avatar_creator import GenerationParameters, InvalidArgumentError, Project, values
from avatar_creator.v1.attributes_pb2 import Attributes, HairStyle
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import (
    CreateProjectResponse,
    GetProjectRequest,
    GetProjectResponse,
    UpdateProjectRequest,
    UpdateProjectResponse,
)
from avatar_creator.v1.avatar_service_pb2 import (
    BatchGetAvatarsRequest,
    BatchGetAvatarsResponse,
    DeleteAvatarRequest,
    DeleteAvatarResponse,
    GetAvatarRequest,
    GetAvatarResponse,
    ListAvatarsResponse,
    UpdateAvatarRequest,
    UpdateAvatarResponse,
)
from avatar_creator.v1.generation_pb2 import (
    Generation,
    GenerationAttempt,
    GenerationOptions,
    GenerationPriority,
    Recipe,
)
from avatar_creator.v1.generation_service_pb2 import (
    CreateGenerationRequest,
    CreateGenerationResponse,
    EstimateGenerationRequest,
    EstimateGenerationResponse,
    GetGenerationRequest,
    GetGenerationResponse,
)
from avatar_creator.v1.persona_pb2 import Persona, PersonaExample
from avatar_creator.v1.preset_pb2 import AvatarPreset
from avatar_creator.v1.preset_service_pb2 import (
    GetPersonaExampleRequest,
    GetPersonaExampleResponse,
    GetPresetRequest,
    GetPresetResponse,
)
from avatar_creator.v1.usage_pb2 import AppUsageSummary, UsageRecord
from avatar_creator.v1.usage_service_pb2 import (
    GetStatsRequest,
    GetStatsResponse,
    RecordUsageResponse,
    SummarizeUsageRequest,
    SummarizeUsageResponse,
)
from tests.client.scripted_server import ScriptedServer, messages_of

PROJECT = AvatarProject(id="p1", name="Spring")
AVATAR = Avatar(id="a1", name="Sarah")
GENERATION = Generation(id="g1", revision=1)
VARIATION = Generation(id="g2", revision=1)
ATTEMPTS = [GenerationAttempt(attempt_number=1), GenerationAttempt(attempt_number=2)]
RECIPE = Recipe(provider="sketch", seed=7)
DETAILS = GetGenerationResponse(generation=GENERATION, attempts=ATTEMPTS, recipe=RECIPE)
SHORT_HAIR = Attributes(hair_style=HairStyle.HAIR_STYLE_SHORT)
OPENED = GetProjectResponse(project=PROJECT, avatars=[AVATAR], next_page_token="next")
FOUND = BatchGetAvatarsResponse(avatars=[AVATAR], missing_avatar_ids=["a2"])
SUMMARIES = [AppUsageSummary(app_id="pose-generator", usage_count=3)]
STATS = GetStatsResponse(avatar_count=2)
PRESET = AvatarPreset(id="pr1")
EXAMPLE = PersonaExample(id="pe1")

SECOND_ID, THIRD_ID = (f"01a204c5-0000-7000-8000-00000000000{digit}" for digit in "23")
PARAMETERS: dict[str, Any] = {
    "prompt": "a portrait",
    "avatar_name": "Sarah",
    "persona": {"age": 30},
    "attributes": {"hair_style": "short"},
    "width": 512,
    "height": 768,
    "seed": 0,
    "steps": 40,
    "guidance_scale": 4.5,
    "negative_prompt": "glasses",
    "strict": True,
    "omit_recipe": True,
    "preset": "pr1",
    "persona_example": "pe1",
    "reference": [SECOND_ID, THIRD_ID],
    "reference_strength": 0.25,
    "priority": "bulk",
}
REQUEST = CreateGenerationRequest(
    project_id="p1",
    prompt="a portrait",
    avatar_name="Sarah",
    persona=Persona(age=30),
    attributes=SHORT_HAIR,
    options=GenerationOptions(
        width=512,
        height=768,
        seed=0,
        steps=40,
        guidance_scale=4.5,
        negative_prompt="glasses",
        reference_strength=0.25,
        strict=True,
        omit_recipe=True,
    ),
    preset_id="pr1",
    persona_example_id="pe1",
    reference_avatar_ids=[SECOND_ID, THIRD_ID],
    priority=GenerationPriority.GENERATION_PRIORITY_BULK,
)
ESTIMATE = EstimateGenerationResponse(price_micros=105_000, warnings=["no negative prompt"])


def request_with(**fields: Any) -> CreateGenerationRequest:
    """Return the request for `PARAMETERS` with more fields set."""
    request = CreateGenerationRequest(**fields)
    request.MergeFrom(REQUEST)
    return request


CALLS: dict[str, tuple[str, Callable[[Any], Any], Message, Message, Any]] = {
    "projects.get": (
        "GetProject",
        lambda c: c.projects.get("p1"),
        GetProjectRequest(project_id="p1"),
        GetProjectResponse(project=PROJECT),
        PROJECT,
    ),
    "projects.open": (
        "GetProject",
        lambda c: c.projects.open("p1"),
        GetProjectRequest(project_id="p1", include_avatars=True),
        OPENED,
        OPENED,
    ),
    "projects.update, one cleared": (
        "UpdateProject",
        lambda c: c.projects.update("p1", description="", request_id="r1"),
        UpdateProjectRequest(
            project=AvatarProject(id="p1"), update_mask=FieldMask(paths=["description"]), request_id="r1"
        ),
        UpdateProjectResponse(project=PROJECT),
        PROJECT,
    ),
    "projects.update, both": (
        "UpdateProject",
        lambda c: c.projects.update("p1", name="n", description="d", expected_revision=3, request_id="r1"),
        UpdateProjectRequest(
            project=AvatarProject(id="p1", name="n", description="d"),
            update_mask=FieldMask(paths=["name", "description"]),
            expected_revision=3,
            request_id="r1",
        ),
        UpdateProjectResponse(project=PROJECT),
        PROJECT,
    ),
    "avatars.get": (
        "GetAvatar",
        lambda c: c.avatars.get("a1"),
        GetAvatarRequest(avatar_id="a1"),
        GetAvatarResponse(avatar=AVATAR),
        AVATAR,
    ),
    "avatars.batch_get": (
        "BatchGetAvatars",
        lambda c: c.avatars.batch_get(["a1", "a2"], include_thumbnails=True),
        BatchGetAvatarsRequest(avatar_ids=["a1", "a2"], include_thumbnails=True),
        FOUND,
        FOUND,
    ),
    "avatars.update": (
        "UpdateAvatar",
        lambda c: c.avatars.update(
            "a1", persona={}, attributes={"hair_style": "short"}, expected_revision=3, request_id="r1"
        ),
        UpdateAvatarRequest(
            avatar=Avatar(id="a1", persona=Persona(), attributes=SHORT_HAIR),
            update_mask=FieldMask(paths=["persona", "attributes"]),
            expected_revision=3,
            request_id="r1",
        ),
        UpdateAvatarResponse(avatar=AVATAR),
        AVATAR,
    ),
    "avatars.delete": (
        "DeleteAvatar",
        lambda c: c.avatars.delete("a1"),
        DeleteAvatarRequest(avatar_id="a1"),
        DeleteAvatarResponse(),
        None,
    ),
    "generations.create": (
        "CreateGeneration",
        lambda c: c.generations.create("p1", **PARAMETERS, request_id="r1"),
        request_with(request_id="r1"),
        CreateGenerationResponse(generation=GENERATION),
        GENERATION,
    ),
    "generations.create_variations": (
        "CreateGeneration",
        lambda c: c.generations.create_variations("p1", **PARAMETERS, count=2, request_id="r1"),
        request_with(variation_count=2, request_id="r1"),
        CreateGenerationResponse(generation=GENERATION, variations=[VARIATION]),
        [GENERATION, VARIATION],
    ),
    "generations.reproduce": (
        "CreateGeneration",
        lambda c: c.generations.reproduce("g0", project="p1", avatar_name="Sarah", request_id="r1"),
        CreateGenerationRequest(
            project_id="p1", avatar_name="Sarah", reproduce_generation_id="g0", request_id="r1"
        ),
        CreateGenerationResponse(generation=GENERATION),
        GENERATION,
    ),
    "generations.estimate": (
        "EstimateGeneration",
        lambda c: c.generations.estimate("p1", **PARAMETERS),
        EstimateGenerationRequest(generation=request_with(variation_count=1)),
        ESTIMATE,
        ESTIMATE,
    ),
    "generations.estimate, of variations": (
        "EstimateGeneration",
        lambda c: c.generations.estimate("p1", **PARAMETERS, variation_count=3),
        EstimateGenerationRequest(generation=request_with(variation_count=3)),
        ESTIMATE,
        ESTIMATE,
    ),
    "generations.get": (
        "GetGeneration",
        lambda c: c.generations.get("g1"),
        GetGenerationRequest(generation_id="g1"),
        GetGenerationResponse(generation=GENERATION, attempts=ATTEMPTS),
        GENERATION,
    ),
    "generations.details": (
        "GetGeneration",
        lambda c: c.generations.details("g1"),
        GetGenerationRequest(generation_id="g1"),
        DETAILS,
        DETAILS,
    ),
    "generations.attempts": (
        "GetGeneration",
        lambda c: c.generations.attempts("g1"),
        GetGenerationRequest(generation_id="g1"),
        GetGenerationResponse(generation=GENERATION, attempts=ATTEMPTS),
        ATTEMPTS,
    ),
    "generations.recipe": (
        "GetGeneration",
        lambda c: c.generations.recipe("g1"),
        GetGenerationRequest(generation_id="g1"),
        GetGenerationResponse(generation=GENERATION, recipe=RECIPE),
        RECIPE,
    ),
    "generations.recipe, before there is one": (
        "GetGeneration",
        lambda c: c.generations.recipe("g1"),
        GetGenerationRequest(generation_id="g1"),
        GetGenerationResponse(generation=GENERATION),
        None,
    ),
    "usage.summarize": (
        "SummarizeUsage",
        lambda c: c.usage.summarize("a1"),
        SummarizeUsageRequest(avatar_id="a1"),
        SummarizeUsageResponse(apps=SUMMARIES),
        SUMMARIES,
    ),
    "usage.stats": ("GetStats", lambda c: c.usage.stats(), GetStatsRequest(), STATS, STATS),
    "presets.get": (
        "GetPreset",
        lambda c: c.presets.get("pr1"),
        GetPresetRequest(preset_id="pr1"),
        GetPresetResponse(preset=PRESET),
        PRESET,
    ),
    "personas.get": (
        "GetPersonaExample",
        lambda c: c.personas.get("pe1"),
        GetPersonaExampleRequest(persona_example_id="pe1"),
        GetPersonaExampleResponse(persona_example=EXAMPLE),
        EXAMPLE,
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_sends_its_arguments_and_returns_the_resource(
    call: str, client: Any, server: ScriptedServer
) -> None:
    method, use, request, answer, result = CALLS[call]
    server.script(method, [answer])
    assert messages_of(use(client)) == result
    assert server.calls[0].request == request


def test_the_table_of_calls_uses_every_generation_parameter() -> None:
    assert PARAMETERS.keys() - {"prompt"} == GenerationParameters.__optional_keys__


@pytest.mark.parametrize("method", ["create", "estimate"])
def test_an_unknown_generation_parameter_is_an_error(
    method: str, client: Any, server: ScriptedServer
) -> None:
    with pytest.raises(TypeError, match="unknown keyword argument widht"):
        getattr(client.generations, method)("p1", "a portrait", widht=512)
    assert server.calls == []


@pytest.mark.parametrize(
    ("references", "problem"),
    [
        (7, "got an int"),
        ([Project.from_message(PROJECT)], "must be an avatar, an id or a picture .* \\(got a Project\\)"),
        ([None], "got None"),
    ],
)
def test_references_that_are_no_avatars_are_an_error(
    references: Any, problem: str, client: Any, server: ScriptedServer
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        client.generations.create("p1", "a portrait", reference=references)
    assert server.calls == []


def test_a_project_is_created_with_a_description(client: Any, server: ScriptedServer) -> None:
    server.script("CreateProject", [CreateProjectResponse(project=PROJECT)])
    assert client.projects.create("Spring", "all of it") == Project.from_message(PROJECT)
    request = server.calls[0].request
    assert (request.name, request.description) == ("Spring", "all of it")


def test_a_usage_record_carries_metadata_of_the_app(client: Any, server: ScriptedServer) -> None:
    answer = RecordUsageResponse(usage=UsageRecord(id="u1"), usage_count=7)
    server.script("RecordUsage", [answer])
    metadata = {"poses": ["standing", "sitting"], "quality": {"score": 0.5, "checked": True}, "note": None}
    recorded = client.usage.record("a1", action="generate_poses", app_id="poses", metadata=metadata)
    assert recorded.message == answer
    request = server.calls[0].request
    assert (request.avatar_id, request.action, request.app_id) == ("a1", "generate_poses", "poses")
    assert MessageToDict(request.metadata) == metadata


def test_an_update_without_fields_is_an_error(client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="name, description"):
        client.projects.update("p1")
    with pytest.raises(InvalidArgumentError, match="name, persona, attributes"):
        client.avatars.update("a1")


def test_the_paths_of_an_update_must_name_every_given_field(client: Any, server: ScriptedServer) -> None:
    with pytest.raises(InvalidArgumentError, match="name is given but not named in paths"):
        client.avatars.update("a1", name="New", persona={"age": 5}, paths=["persona.age"])
    with pytest.raises(InvalidArgumentError, match="nothing to update"):
        client.avatars.update("a1", paths=[])
    server.script("UpdateAvatar", [UpdateAvatarResponse(avatar=AVATAR)])
    client.avatars.update("a1", paths=["persona"])
    request = server.received("UpdateAvatar")[0].request
    assert (list(request.update_mask.paths), request.avatar.HasField("persona")) == (["persona"], False)


def test_one_string_is_not_a_list_of_ids(client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="avatars must be a list"):
        client.avatars.batch_get("a1")


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_an_error(count: int, client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="1 or more"):
        client.generations.create_variations("p1", "a portrait", count)
    with pytest.raises(InvalidArgumentError, match="1 or more"):
        client.generations.estimate("p1", "a portrait", variation_count=count)


GET = GetAvatarResponse(avatar=AVATAR)
AVATAR_VALUE = values.Avatar.from_message(AVATAR)
PROJECT_VALUE = Project.from_message(PROJECT)
GENERATION_VALUE = values.Generation.from_message(GENERATION)
PRESET_VALUE = values.Preset.from_message(PRESET)
EXAMPLE_VALUE = values.PersonaExample.from_message(EXAMPLE)

OBJECTS: dict[str, tuple[str, Callable[[Any], Any], Message, str, str]] = {
    "projects.get": ("GetProject", lambda c: c.projects.get(PROJECT_VALUE), OPENED, "project_id", "p1"),
    "avatars.get": ("GetAvatar", lambda c: c.avatars.get(AVATAR_VALUE), GET, "avatar_id", "a1"),
    "avatars.list": (
        "ListAvatars",
        lambda c: list(c.avatars.list(PROJECT_VALUE)),
        ListAvatarsResponse(),
        "project_id",
        "p1",
    ),
    "generations.get": (
        "GetGeneration",
        lambda c: c.generations.get(GENERATION_VALUE),
        GetGenerationResponse(generation=GENERATION),
        "generation_id",
        "g1",
    ),
    "generations.create": (
        "CreateGeneration",
        lambda c: c.generations.create(PROJECT_VALUE, "x", preset=PRESET_VALUE),
        CreateGenerationResponse(),
        "preset_id",
        "pr1",
    ),
    "usage.record": (
        "RecordUsage",
        lambda c: c.usage.record(AVATAR_VALUE, action="pose"),
        RecordUsageResponse(),
        "avatar_id",
        "a1",
    ),
    "presets.get": (
        "GetPreset",
        lambda c: c.presets.get(PRESET_VALUE),
        GetPresetResponse(),
        "preset_id",
        "pr1",
    ),
    "personas.get": (
        "GetPersonaExample",
        lambda c: c.personas.get(EXAMPLE_VALUE),
        GetPersonaExampleResponse(),
        "persona_example_id",
        "pe1",
    ),
}


@pytest.mark.parametrize("call", OBJECTS)
def test_an_object_is_as_good_as_its_id(call: str, client: Any, server: ScriptedServer) -> None:
    method, use, answer, field, id = OBJECTS[call]
    server.script(method, [answer])
    use(client)
    assert getattr(server.calls[0].request, field) == id


def create(client: Any, **parameters: Any) -> None:
    client.generations.create("p1", "a portrait", **parameters)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda c: c.avatars.get(PROJECT_VALUE), "avatar must be an id or an Avatar (got a Project)"),
        (lambda c: c.avatars.get(None), "avatar must be an id or an Avatar (got None)"),
        (
            lambda c: c.avatars.find(gender="femal"),
            "gender must be one of female, male, non_binary (got f",
        ),
        (lambda c: c.generations.list(states=["open"]), "states must be one of pending, processing, "),
        (
            lambda c: create(c, priority="now"),
            "priority must be one of interactive, normal",
        ),
        (
            lambda c: create(c, attributes={"hat": "cap"}),
            "attributes.hat is unknown; use gender, ",
        ),
        (
            lambda c: create(c, attributes={"headwear": "hat"}),
            "attributes.headwear must be one of hijab",
        ),
        (
            lambda c: create(c, persona="Sarah"),
            "persona must be a mapping or Persona (got a text)",
        ),
        (lambda c: c.avatars.download("a1", variant="small"), "variant must be one of original, thumbnail"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(
    use: Callable[[Any], Any], message: str, client: Any, server: ScriptedServer
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        use(client)
    assert message in caught.value.message
    assert caught.value.field_violations[0].field == message.split()[0]
    assert server.calls == []

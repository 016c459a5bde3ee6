"""Every RPC of the contract works with both clients."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from PIL import Image

from avatar_creator import (
    AsyncAvatarCreator,
    Attributes,
    Avatar,
    AvatarCreator,
    Gender,
    Generation,
    GenerationState,
    ImageVariant,
    NotFoundError,
    Persona,
    SourceType,
)
from avatar_creator_server.api.server import SERVICE_NAMES
from tests import pictures
from tests.client.both_clients import Blocking
from tests.support.generations import (
    CANCELLED,
    COMPLETED,
    PENDING,
    PROCESSING,
    SMALLEST,
    create_cancelled,
    final_state,
)
from tests.support.service import Deployment
from tests.support.waiting import wait_until

PICTURE = pictures.png()
METADATA = {"poses": 3, "names": ["stand", "sit"], "nested": {"empty": {}, "none": None}}


@dataclass(frozen=True)
class Studio:
    """A user who has one resource of each kind, and their client."""

    client: Any
    user: str
    project_id: str
    avatar: Avatar
    generation: Generation
    """Completed."""

    def new_project(self) -> str:
        return str(self.client.projects.create("Another").id)

    def new_avatar(self, project_id: str = "") -> Avatar:
        uploaded: Avatar = self.client.avatars.upload(project_id or self.project_id, PICTURE, name="Another")
        return uploaded


@pytest.fixture(scope="module")
def studio(shared_deployment: Deployment) -> Iterator[Studio]:
    """The studio of a user, of the embedded service with the blocking client, and else with the other one."""
    user = f"studio-{uuid.uuid4().hex}"
    token = shared_deployment.token(user)
    with asyncio.Runner() as runner:
        client: Any
        if shared_deployment.is_embedded:
            client = AvatarCreator(shared_deployment.target, token=token)
        else:

            async def connect() -> AsyncAvatarCreator:
                return AsyncAvatarCreator(shared_deployment.target, token=token)

            client = Blocking(runner.run(connect()), runner)
        project = client.projects.create("Spring", description="Faces")
        avatar = client.avatars.upload(
            project.id,
            PICTURE,
            name="Sarah",
            persona=Persona(name="Sarah", age=32),
            attributes=Attributes(gender=Gender.FEMALE),
        )
        generation = final_state(
            client.generations.create(project.id, "a portrait", width=SMALLEST, height=SMALLEST, seed=7)
        )
        yield Studio(client, user, project.id, avatar, generation)
        client.close()


def create_project(studio: Studio) -> None:
    project = studio.client.projects.create("Autumn", description="Leaves")
    assert (project.name, project.description, project.user_id) == ("Autumn", "Leaves", studio.user)
    assert project.avatar_count == 0


def get_project(studio: Studio) -> None:
    project_id = studio.new_project()
    avatar = studio.new_avatar(project_id)
    project = studio.client.projects.get(project_id)
    assert (project.id, project.name, project.avatar_count) == (project_id, "Another", 1)
    assert project.cover_avatar_id == avatar.id
    opened = studio.client.projects.open(project_id)
    assert opened.project == project
    assert [avatar.id for avatar in opened.avatars] == [avatar.id]


def list_projects(studio: Studio) -> None:
    newest = studio.new_project()
    ids = [project.id for project in studio.client.projects.list(page_size=1)]
    assert ids[0] == newest
    assert studio.project_id in ids
    assert ids == sorted(ids, reverse=True)


def update_project(studio: Studio) -> None:
    project_id = studio.new_project()
    updated = studio.client.projects.update(project_id, description="Changed")
    assert (updated.id, updated.name, updated.description) == (project_id, "Another", "Changed")
    assert updated.update_time > updated.create_time


def delete_project(studio: Studio) -> None:
    project_id = studio.new_project()
    avatar = studio.new_avatar(project_id)
    assert studio.client.projects.delete(project_id) is None
    assert not_found(lambda: studio.client.projects.get(project_id)) == ("project", project_id)
    assert not_found(lambda: studio.client.avatars.get(avatar.id)) == ("avatar", avatar.id)


def upload_avatar(studio: Studio) -> None:
    avatar = studio.avatar
    assert (avatar.name, avatar.persona.age, avatar.attributes.gender) == ("Sarah", 32, Gender.FEMALE)
    assert (avatar.user_id, avatar.project_id) == (studio.user, studio.project_id)
    assert avatar.source_type == SourceType.UPLOADED
    assert (avatar.image.content_type, avatar.image.width, avatar.image.height) == ("image/png", 48, 32)


def get_avatar(studio: Studio) -> None:
    avatar = studio.client.avatars.get(studio.generation.avatar_id)
    assert (avatar.id, avatar.generation_id) == (studio.generation.avatar_id, studio.generation.id)
    assert avatar.source_type == SourceType.TEXT_TO_IMAGE
    assert (avatar.generation_prompt, avatar.seed_used) == ("a portrait", 7)


def batch_get_avatars(studio: Studio) -> None:
    unknown = str(uuid.uuid4())
    requested = [studio.generation.avatar_id, unknown, studio.avatar.id, studio.avatar.id]
    answer = studio.client.avatars.batch_get(requested, include_thumbnails=True)
    assert [avatar.id for avatar in answer.avatars] == [studio.generation.avatar_id, studio.avatar.id]
    assert list(answer.missing_avatar_ids) == [unknown]
    # A generated avatar has its thumbnail from the beginning.
    assert Image.open(BytesIO(answer.avatars[0].thumbnail_data)).size == (300, 300)


def list_avatars(studio: Studio) -> None:
    women = studio.client.avatars.find(project=studio.project_id, query="SARAH", gender="female")
    assert studio.avatar.id in [avatar.id for avatar in women]
    ids = [avatar.id for avatar in studio.client.avatars.list(page_size=1)]
    assert {studio.avatar.id, studio.generation.avatar_id} <= set(ids)
    assert ids == sorted(ids, reverse=True)


def update_avatar(studio: Studio) -> None:
    avatar = studio.new_avatar()
    updated = studio.client.avatars.update(
        avatar.id, name="Eve", persona=Persona(name="Eve", age=33), paths=["name", "persona.age"]
    )
    assert (updated.id, updated.name, updated.persona) == (avatar.id, "Eve", Persona(age=33))
    assert studio.client.avatars.get(avatar.id).name == "Eve"


def delete_avatar(studio: Studio) -> None:
    avatar = studio.new_avatar()
    assert studio.client.avatars.delete(avatar.id) is None
    assert not_found(lambda: studio.client.avatars.get(avatar.id)) == ("avatar", avatar.id)


def download_image(studio: Studio) -> None:
    portrait = studio.client.avatars.get(studio.generation.avatar_id)
    original, thumbnail = (
        studio.client.avatars.download(portrait.id, variant=variant)
        for variant in (ImageVariant.ORIGINAL, ImageVariant.THUMBNAIL)
    )
    assert hashlib.sha256(original).hexdigest() == portrait.image.sha256
    assert Image.open(BytesIO(original)).size == (SMALLEST, SMALLEST)
    assert Image.open(BytesIO(thumbnail)).size == (300, 300)


def create_generation(studio: Studio) -> None:
    generation = studio.client.generations.create(
        studio.project_id, "a calm man", persona=Persona(name="Adam"), width=SMALLEST, height=SMALLEST
    ).generation
    assert (generation.user_id, generation.project_id) == (studio.user, studio.project_id)
    assert (generation.prompt, generation.avatar_name) == ("a calm man", "Adam")
    assert generation.enhanced_prompt.startswith("Adam, ")
    assert generation.state in (PENDING, PROCESSING, COMPLETED)
    _create_generations_from_a_reference(studio)


def _create_generations_from_a_reference(studio: Studio) -> None:
    for reference in (
        {"reference": studio.avatar},
        {"reference": [studio.avatar.id]},
    ):
        generation = final_state(
            studio.client.generations.create(
                studio.project_id, "as a painting", width=SMALLEST, height=SMALLEST, **reference
            )
        )
        avatar = studio.client.avatars.get(generation.avatar_id)
        recipe = studio.client.generations.recipe(generation.id)
        for answer in (generation, avatar, recipe):
            assert (answer.reference_avatar_id, list(answer.reference_avatar_ids)) == (
                studio.avatar.id,
                [studio.avatar.id],
            )


def estimate_generation(studio: Studio) -> None:
    before = len(list(studio.client.generations.list()))
    estimate = studio.client.generations.estimate(studio.project_id, "a calm man", variation_count=2)
    assert (estimate.provider, estimate.route, estimate.price_micros) == ("sketch", "local", 0)
    assert 0 < estimate.seconds_p50 <= estimate.seconds_p90
    assert len(list(studio.client.generations.list())) == before


def get_generation(studio: Studio) -> None:
    details = studio.client.generations.details(studio.generation.id)
    generation = details.generation
    assert generation == studio.client.generations.get(studio.generation.id)
    assert (generation.state, generation.progress_percent) == (COMPLETED, 100)
    assert generation.avatar_id == studio.generation.avatar_id
    assert list(details.attempts) == list(studio.client.generations.attempts(studio.generation.id))
    assert details.recipe == studio.client.generations.recipe(studio.generation.id)
    (attempt,) = details.attempts
    assert (attempt.attempt_number, attempt.provider) == (1, generation.provider)
    assert attempt.worker


def list_generations(studio: Studio) -> None:
    listed = list(studio.client.generations.list(studio.project_id, states=[COMPLETED], page_size=1))
    assert studio.generation.id in [generation.id for generation in listed]
    assert {generation.state for generation in listed} == {COMPLETED}


def watch_generation(studio: Studio) -> None:
    generation = studio.client.generations.create(
        studio.project_id, "a portrait", width=SMALLEST, height=SMALLEST
    )
    states = list(studio.client.generations.watch(generation.id, timeout=30.0))
    assert {state.id for state in states} == {generation.id}
    assert states[-1].state == COMPLETED
    assert [state.revision for state in states] == sorted({state.revision for state in states})


def watch_generations(studio: Studio) -> None:
    ids = [studio.generation.id, create_cancelled(studio.client, studio.project_id).id]
    by_ids = list(studio.client.generations.watch_many(ids, timeout=30.0))
    assert {state.id: state.state for state in by_ids} == {ids[0]: COMPLETED, ids[1]: CANCELLED}
    by_project = studio.client.generations.watch_many(
        project=studio.project_id, changed_since=studio.generation.update_time
    )
    received = next(state for state in by_project if state.id == studio.generation.id)
    by_project.close()
    assert received.state == COMPLETED


def cancel_generation(studio: Studio) -> None:
    cancelled = create_cancelled(studio.client, studio.project_id)
    assert (cancelled.state, cancelled.avatar_id) == (CANCELLED, None)
    assert studio.client.generations.cancel(cancelled.id) == cancelled


def retry_generation(studio: Studio) -> None:
    cancelled = create_cancelled(studio.client, studio.project_id)
    retry = studio.client.generations.retry(cancelled.id).generation
    assert (retry.retry_of, retry.prompt, retry.options) == (
        cancelled.id,
        cancelled.prompt,
        cancelled.options,
    )
    assert retry.id != cancelled.id
    assert retry.state in (PENDING, PROCESSING, COMPLETED)


def record_usage(studio: Studio) -> None:
    avatar = studio.new_avatar()
    answers = [
        studio.client.usage.record(
            avatar.id,
            action=action,
            app_id="pose-generator",
            app_name="Pose Generator",
            reference_id="42",
            reference_type="pose_set",
            metadata=METADATA,
        )
        for action in ("generate_poses", "export")
    ]
    assert [answer.usage_count for answer in answers] == [1, 2]
    usage = answers[0].usage
    assert (usage.avatar_id, usage.user_id, usage.app_id) == (avatar.id, studio.user, "pose-generator")
    assert (usage.app_name, usage.action) == ("Pose Generator", "generate_poses")
    assert (usage.reference_id, usage.reference_type) == ("42", "pose_set")
    assert usage.metadata == METADATA
    assert studio.client.avatars.get(avatar.id).last_used_time == answers[1].usage.create_time


def list_usage(studio: Studio) -> None:
    avatar = studio.new_avatar()
    recorded = [
        studio.client.usage.record(avatar.id, action=action, app_id="pose-generator").usage
        for action in ("pose", "export", "pose")
    ]
    assert list(studio.client.usage.list(avatar.id, page_size=1)) == recorded[::-1]
    assert list(studio.client.usage.list(avatar.id, action="export")) == [recorded[1]]
    assert list(studio.client.usage.list(avatar.id, app_id="video-generator")) == []


def summarize_usage(studio: Studio) -> None:
    avatar = studio.new_avatar()
    for app, action in (("video", "animate"), ("poses", "pose"), ("poses", "export"), ("poses", "pose")):
        studio.client.usage.record(avatar.id, action=action, app_id=app)
    summaries = studio.client.usage.summarize(avatar.id)
    assert [(summary.app_id, summary.usage_count) for summary in summaries] == [("poses", 3), ("video", 1)]
    assert [(one.action, one.usage_count) for one in summaries[0].actions] == [("pose", 2), ("export", 1)]


def get_stats(studio: Studio) -> None:
    studio.client.usage.record(studio.avatar.id, action="pose", app_id="poses")

    def settled() -> Any:
        stats = studio.client.usage.stats()
        states = {count.state: count.generation_count for count in stats.generations}
        return None if states[PENDING] or states[PROCESSING] else stats

    stats = wait_until(settled)
    avatars = list(studio.client.avatars.list(page_size=100))
    assert stats.avatar_count == len(avatars)
    assert stats.usage_count == sum(avatar.usage_count for avatar in avatars)
    assert stats.average_usage_per_avatar == stats.usage_count / stats.avatar_count
    uploaded = [avatar for avatar in avatars if avatar.source_type == SourceType.UPLOADED]
    assert stats.recent_upload_count == len(uploaded)
    generations = Counter(generation.state for generation in studio.client.generations.list(page_size=100))
    assert {count.state: count.generation_count for count in stats.generations} == {
        state: generations[state] for state in GenerationState
    }


def list_presets(studio: Studio) -> None:
    presets = list(studio.client.presets.list(page_size=7))
    assert 20 <= len(presets) == len({preset.id for preset in presets})
    popularities = [preset.usage_count for preset in presets]
    assert popularities == sorted(popularities, reverse=True)
    assert not any(preset.image_data for preset in presets)
    (shown, *_) = studio.client.presets.list(
        category=presets[0].category, query=presets[0].name, include_images=True
    )
    assert shown.category == presets[0].category
    assert Image.open(BytesIO(shown.image_data)).size == (300, 300)


def get_preset(studio: Studio) -> None:
    listed = next(iter(studio.client.presets.list(include_images=True)))
    preset = studio.client.presets.get(listed.id)
    assert (preset.id, preset.name, preset.image_data) == (listed.id, listed.name, listed.image_data)
    assert preset.prompt
    assert preset.persona.name


def list_persona_examples(studio: Studio) -> None:
    examples = list(studio.client.personas.list(page_size=3))
    assert 0 < len(examples) == len({example.id for example in examples})
    assert all(example.name and example.persona.name for example in examples)
    of_category = list(studio.client.personas.list(category=examples[0].category))
    assert {example.category for example in of_category} == {examples[0].category}


def get_persona_example(studio: Studio) -> None:
    listed = next(iter(studio.client.personas.list()))
    example = studio.client.personas.get(listed.id)
    assert (example.id, example.name, example.persona) == (listed.id, listed.name, listed.persona)


def not_found(read: Callable[[], object]) -> tuple[str, str]:
    """Return the type and id in the NotFoundError of a call."""
    with pytest.raises(NotFoundError) as refused:
        read()
    assert refused.value.resource is not None
    return refused.value.resource.type, refused.value.resource.id


CHECKS: dict[str, Callable[[Studio], None]] = {
    "AvatarProjectService.CreateProject": create_project,
    "AvatarProjectService.GetProject": get_project,
    "AvatarProjectService.ListProjects": list_projects,
    "AvatarProjectService.UpdateProject": update_project,
    "AvatarProjectService.DeleteProject": delete_project,
    "AvatarService.UploadAvatar": upload_avatar,
    "AvatarService.GetAvatar": get_avatar,
    "AvatarService.BatchGetAvatars": batch_get_avatars,
    "AvatarService.ListAvatars": list_avatars,
    "AvatarService.UpdateAvatar": update_avatar,
    "AvatarService.DeleteAvatar": delete_avatar,
    "AvatarService.DownloadImage": download_image,
    "GenerationService.CreateGeneration": create_generation,
    "GenerationService.EstimateGeneration": estimate_generation,
    "GenerationService.GetGeneration": get_generation,
    "GenerationService.ListGenerations": list_generations,
    "GenerationService.WatchGeneration": watch_generation,
    "GenerationService.WatchGenerations": watch_generations,
    "GenerationService.CancelGeneration": cancel_generation,
    "GenerationService.RetryGeneration": retry_generation,
    "UsageService.RecordUsage": record_usage,
    "UsageService.ListUsage": list_usage,
    "UsageService.SummarizeUsage": summarize_usage,
    "UsageService.GetStats": get_stats,
    "PresetService.ListPresets": list_presets,
    "PresetService.GetPreset": get_preset,
    "PresetService.ListPersonaExamples": list_persona_examples,
    "PresetService.GetPersonaExample": get_persona_example,
}
"""A test of each RPC."""


def test_the_table_has_every_rpc_of_the_contract() -> None:
    # Only operators may call `OperationsService`: see `tests/integration/test_operations.py`.
    names = [name for name in SERVICE_NAMES if not name.endswith(".OperationsService")]
    services = map(descriptor_pool.Default().FindServiceByName, names)
    rpcs = {f"{service.name}.{method.name}" for service in services for method in service.methods}

    assert CHECKS.keys() == rpcs
    assert len(rpcs) == 28


@pytest.mark.parametrize("rpc", CHECKS)
def test_an_rpc_does_what_the_contract_says(studio: Studio, rpc: str) -> None:
    CHECKS[rpc](studio)

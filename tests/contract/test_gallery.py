"""The gallery: its content, its lists, and generations that start from it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from avatar_creator import Attributes, AvatarCreator, NotFoundError, Persona, SourceType, Style
from avatar_creator_server.database import seed_data
from tests.support.generations import final_state
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread


@pytest.fixture
def client(shared_client: AvatarCreator) -> AvatarCreator:
    """A client of the shared service, as `user`."""
    return shared_client


def test_the_lists_have_the_whole_gallery(client: AvatarCreator) -> None:
    presets = list(client.presets.list(page_size=7))
    examples = list(client.personas.list(page_size=5))

    assert {preset.id for preset in presets} == {written["id"] for written in seed_data.presets()}
    assert {example.id for example in examples} == {written["id"] for written in seed_data.persona_examples()}
    assert len(presets) == len({preset.id for preset in presets}) == 24
    assert len(examples) == len({example.id for example in examples}) == 12
    assert len({preset.category for preset in presets}) >= 6


def test_a_preset_has_the_values_of_its_file(client: AvatarCreator) -> None:
    written = seed_data.presets()[0]

    preset = client.presets.get(written["id"])

    assert (preset.name, preset.description, preset.category, preset.prompt) == tuple(
        written[field] for field in ("name", "description", "category", "prompt")
    )
    assert preset.persona == Persona(**written["persona"])
    assert preset.image_data == seed_data.picture(preset.id)


def test_a_persona_example_has_the_values_of_its_file(client: AvatarCreator) -> None:
    written = seed_data.persona_examples()[0]

    example = client.personas.get(written["id"])

    assert (example.name, example.category) == (written["name"], written["category"])
    assert example.persona == Persona(**written["persona"])


def test_a_list_has_pictures_only_if_requested(client: AvatarCreator) -> None:
    assert [preset.image_data for preset in client.presets.list()] == [None] * 24
    for preset in client.presets.list(include_images=True):
        picture = Image.open(BytesIO(present(preset.image_data)))
        picture.load()
        assert (picture.format, picture.size) == ("WEBP", (300, 300)), preset.name
        assert client.presets.get(preset.id).image_data == preset.image_data


def test_presets_are_filtered_by_category_and_words(client: AvatarCreator) -> None:
    everything = list(client.presets.list())
    category = everything[0].category
    word = everything[0].name.split()[-1]

    def names(**filters: Any) -> set[str]:
        return {preset.name for preset in client.presets.list(**filters)}

    of_category = {preset.name for preset in everything if preset.category == category}
    with_word = {
        preset.name
        for preset in everything
        if word.casefold() in f"{preset.name}\n{preset.description}".casefold()
    }
    assert 0 < len(of_category) < 24
    assert names(category=category) == of_category
    assert names(query=word.upper()) == names(query=word.lower()) == with_word
    assert names(category=category, query=word) == of_category & with_word
    assert names(category="nothing") == names(query="zzzz") == set()
    assert {example.category for example in client.personas.list(category="education")} == {"education"}


def test_a_search_ignores_accents(client: AvatarCreator) -> None:
    assert [preset.name for preset in client.presets.list(query="café")]
    assert list(client.presets.list(query="CAFE")) == list(client.presets.list(query="café"))


@pytest.mark.parametrize("kind", ["preset", "persona example"])
def test_an_unknown_id_is_not_found(client: AvatarCreator, kind: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.presets.get("nothing") if kind == "preset" else client.personas.get("nothing")

    assert refused.value.resource is not None
    assert (refused.value.resource.type, refused.value.resource.id) == (kind, "nothing")


def test_a_generation_starts_from_a_preset(client: AvatarCreator) -> None:
    preset = list(client.presets.list())[-1]
    project = client.projects.create("From a preset")

    generation = final_state(client.generations.create(project.id, preset=preset.id, width=256, height=256))

    avatar = client.avatars.get(present(generation.avatar_id))
    assert generation.preset_id == preset.id
    assert (generation.prompt, generation.persona, generation.attributes) == (
        preset.prompt,
        preset.persona,
        preset.attributes,
    )
    assert avatar.source_type == SourceType.FROM_PRESET
    assert (avatar.name, avatar.persona, avatar.attributes) == (
        preset.persona.name,
        preset.persona,
        preset.attributes,
    )
    assert client.presets.get(preset.id).usage_count > preset.usage_count


def test_given_fields_override_preset_and_persona_example(client: AvatarCreator) -> None:
    preset, example = next(client.presets.list()), next(client.personas.list())
    project = client.projects.create("Explicit")

    created = client.generations.create(
        project.id,
        "a portrait in the rain",
        persona=Persona(age=41),
        attributes=Attributes(style=Style.ELEGANT),
        preset=preset.id,
        persona_example=example.id,
    ).generation

    assert created.prompt == "a portrait in the rain"
    assert (created.preset_id, created.persona_example_id) == (preset.id, example.id)
    assert (created.persona.age, created.persona.name) == (41, preset.persona.name)
    assert created.attributes.style == Style.ELEGANT
    assert created.attributes.gender == preset.attributes.gender


def test_a_generation_starts_from_a_persona_example(client: AvatarCreator) -> None:
    example = list(client.personas.list())[-1]
    project = client.projects.create("From a persona")

    generation = final_state(
        client.generations.create(project.id, "a portrait", persona_example=example.id, width=256, height=256)
    )

    avatar = client.avatars.get(present(generation.avatar_id))
    assert avatar.persona == generation.persona == example.persona
    assert avatar.source_type == SourceType.TEXT_TO_IMAGE
    assert client.personas.get(example.id).usage_count > example.usage_count


def test_the_most_chosen_come_first(own_client: AvatarCreator) -> None:
    client = own_client
    presets, examples = list(client.presets.list()), list(client.personas.list())
    project = client.projects.create("Chosen")
    chosen = {presets[5].id: 2, presets[20].id: 3}
    for preset_id, times in chosen.items():
        for _ in range(times):
            client.generations.create(
                project.id, preset=preset_id, persona_example=examples[7].id, width=256, height=256
            )

    popular = list(client.presets.list(page_size=1))

    assert [(preset.id, preset.usage_count) for preset in popular[:3]] == [
        (presets[20].id, 3),
        (presets[5].id, 2),
        (presets[0].id, 0),
    ]
    assert all(one.usage_count >= next_one.usage_count for one, next_one in pairwise(popular))
    assert len(popular) == 24
    assert [(example.id, example.usage_count) for example in list(client.personas.list())[:1]] == [
        (examples[7].id, 5)
    ]


@pytest.fixture(params=["embedded", "distributed"])
def own_client(request: pytest.FixtureRequest, user: str) -> Iterator[AvatarCreator]:
    """A client of a service whose gallery no other test uses."""
    deployment: Deployment = request.getfixturevalue(request.param)
    with ServiceInThread.serving(deployment), deployment.client(user) as connected:
        yield connected


def test_a_repeated_migration_restores_the_gallery_and_keeps_other_entries(
    distributed: Deployment, user: str
) -> None:
    changed, gone = seed_data.presets()[:2]
    [removed, *_] = seed_data.persona_examples()
    distributed.execute(
        "UPDATE avatar_presets SET name = 'Changed', popularity = 9 WHERE id = %s", changed["id"]
    )
    distributed.execute("DELETE FROM avatar_presets WHERE id = %s", gone["id"])
    distributed.execute("DELETE FROM persona_examples WHERE id = %s", removed["id"])
    distributed.execute(
        "INSERT INTO persona_examples (id, name, description, category, persona, use_count)"
        " VALUES ('theirs', 'Theirs', '', 'own', '{}', 4)"
    )

    outcome = distributed.run_command("migrate")

    assert outcome.returncode == 0, outcome.stderr
    with ServiceInThread.serving(distributed), distributed.client(user) as client:
        assert client.presets.get(changed["id"]).name == changed["name"]
        assert client.presets.get(changed["id"]).usage_count == 9
        assert client.presets.get(gone["id"]).name == gone["name"]
        assert client.personas.get(removed["id"]).name == removed["name"]
        assert client.personas.get("theirs").usage_count == 4
        assert len(list(client.presets.list())) == 24

"""The gallery: what is in it, how it is listed, and starting an avatar from it."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from avatar_creator import Attributes, AvatarCreator, NotFoundError, Persona, SourceType, Style
from avatar_creator_server.database import seed_data
from tests.support.service import Deployment, run_command


@pytest.fixture
def client(shared_client: AvatarCreator) -> AvatarCreator:
    """A client of the shared service, as `user`."""
    return shared_client


def test_everybody_finds_the_whole_gallery(client: AvatarCreator) -> None:
    presets = list(client.presets.list(page_size=7))
    examples = list(client.personas.list(page_size=5))

    assert {preset.id for preset in presets} == {written["id"] for written in seed_data.presets()}
    assert {example.id for example in examples} == {written["id"] for written in seed_data.persona_examples()}
    assert len(presets) == len({preset.id for preset in presets}) == 24
    assert len(examples) == len({example.id for example in examples}) == 12
    assert len({preset.category for preset in presets}) >= 6


def test_a_preset_is_what_was_written_down(client: AvatarCreator) -> None:
    written = seed_data.presets()[0]

    preset = client.presets.get(written["id"])

    assert (preset.name, preset.description, preset.category, preset.prompt) == tuple(
        written[field] for field in ("name", "description", "category", "prompt")
    )
    assert preset.persona == Persona(**written["persona"])
    assert preset.image_data == seed_data.picture(preset.id)


def test_a_persona_example_is_what_was_written_down(client: AvatarCreator) -> None:
    written = seed_data.persona_examples()[0]

    example = client.personas.get(written["id"])

    assert (example.name, example.category) == (written["name"], written["category"])
    assert example.persona == Persona(**written["persona"])


def test_pictures_come_inline_only_where_asked_for(client: AvatarCreator) -> None:
    assert [preset.image_data for preset in client.presets.list()] == [b""] * 24
    for preset in client.presets.list(include_images=True):
        picture = Image.open(BytesIO(preset.image_data))
        picture.load()
        assert (picture.format, picture.size) == ("WEBP", (300, 300)), preset.name
        assert client.presets.get(preset.id).image_data == preset.image_data


def test_presets_are_found_by_category_and_by_words(client: AvatarCreator) -> None:
    everything = list(client.presets.list())
    category = everything[0].category
    word = everything[0].name.split()[-1]

    def names(**wanted: Any) -> set[str]:
        return {preset.name for preset in client.presets.list(**wanted)}

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


def test_accents_do_not_matter(client: AvatarCreator) -> None:
    assert [preset.name for preset in client.presets.list(query="café")]
    assert list(client.presets.list(query="CAFE")) == list(client.presets.list(query="café"))


@pytest.mark.parametrize("kind", ["preset", "persona example"])
def test_what_is_not_in_the_gallery_is_not_found(client: AvatarCreator, kind: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.presets.get("nothing") if kind == "preset" else client.personas.get("nothing")

    assert refused.value.resource is not None
    assert (refused.value.resource.type, refused.value.resource.id) == (kind, "nothing")


def test_an_avatar_is_started_from_a_preset(client: AvatarCreator) -> None:
    preset = list(client.presets.list())[-1]
    project = client.projects.create("From a preset")

    made = client.generations.create_and_wait(project.id, preset_id=preset.id, width=256, height=256)

    avatar = client.avatars.get(made.avatar_id)
    assert made.preset_id == preset.id
    assert (made.prompt, made.persona, made.attributes) == (preset.prompt, preset.persona, preset.attributes)
    assert avatar.source_type == SourceType.SOURCE_TYPE_FROM_PRESET
    assert (avatar.name, avatar.persona, avatar.attributes) == (
        preset.persona.name,
        preset.persona,
        preset.attributes,
    )
    assert client.presets.get(preset.id).popularity > preset.popularity


def test_what_is_said_wins_over_preset_and_persona_example(client: AvatarCreator) -> None:
    preset, example = next(client.presets.list()), next(client.personas.list())
    project = client.projects.create("Explicit")

    ordered = client.generations.create(
        project.id,
        "a portrait in the rain",
        persona=Persona(age=41),
        attributes=Attributes(style=Style.STYLE_ELEGANT),
        preset_id=preset.id,
        persona_example_id=example.id,
    )

    assert ordered.prompt == "a portrait in the rain"
    assert (ordered.preset_id, ordered.persona_example_id) == (preset.id, example.id)
    assert (ordered.persona.age, ordered.persona.name) == (41, preset.persona.name)
    assert ordered.attributes.style == Style.STYLE_ELEGANT
    assert ordered.attributes.gender == preset.attributes.gender


def test_an_avatar_is_started_from_a_persona_example(client: AvatarCreator) -> None:
    example = list(client.personas.list())[-1]
    project = client.projects.create("From a persona")

    made = client.generations.create_and_wait(
        project.id, "a portrait", persona_example_id=example.id, width=256, height=256
    )

    avatar = client.avatars.get(made.avatar_id)
    assert avatar.persona == made.persona == example.persona
    assert avatar.source_type == SourceType.SOURCE_TYPE_TEXT_TO_IMAGE
    assert client.personas.get(example.id).use_count > example.use_count


def test_what_is_chosen_most_often_comes_first(deployment: Deployment, client_of_own: AvatarCreator) -> None:
    client = client_of_own
    presets, examples = list(client.presets.list()), list(client.personas.list())
    project = client.projects.create("Chosen")
    chosen = {presets[5].id: 2, presets[20].id: 3}
    for preset_id, times in chosen.items():
        for _ in range(times):
            client.generations.create(
                project.id, preset_id=preset_id, persona_example_id=examples[7].id, width=256, height=256
            )

    popular = list(client.presets.list(page_size=1))

    assert [(preset.id, preset.popularity) for preset in popular[:3]] == [
        (presets[20].id, 3),
        (presets[5].id, 2),
        (presets[0].id, 0),
    ]
    assert all(one.popularity >= next_one.popularity for one, next_one in pairwise(popular))
    assert len(popular) == 24
    assert [(example.id, example.use_count) for example in list(client.personas.list())[:1]] == [
        (examples[7].id, 5)
    ]
    client.projects.delete(project.id)


@pytest.fixture
def client_of_own(deployment: Deployment, user: str) -> AvatarCreator:
    """A client of `deployment`, whose gallery nobody else chooses from."""
    connected: AvatarCreator = deployment.client(user)
    return connected


def test_migrating_again_mends_the_gallery_and_keeps_what_is_not_its_own(
    distributed: Deployment, user: str
) -> None:
    distributed.start_server()
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

    outcome = run_command("migrate", settings=distributed.settings, directory=distributed.directory)

    assert outcome.returncode == 0, outcome.stderr
    with distributed.client(user) as client:
        assert client.presets.get(changed["id"]).name == changed["name"]
        assert client.presets.get(changed["id"]).popularity == 9
        assert client.presets.get(gone["id"]).name == gone["name"]
        assert client.personas.get(removed["id"]).name == removed["name"]
        assert client.personas.get("theirs").use_count == 4
        assert len(list(client.presets.list())) == 24

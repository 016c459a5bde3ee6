"""The content of the gallery: presets, their pictures, and persona examples."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from avatar_creator.v1.generation_pb2 import GenerationOptions
from avatar_creator.v1.generation_service_pb2 import CreateGenerationRequest
from avatar_creator_server.api.validation import NAME, validate
from avatar_creator_server.api.validation_rules import text
from avatar_creator_server.contract.mapping import attributes_to_proto, persona_to_proto
from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_tasks.draw_presets import GALLERY, draw_picture, draw_pictures

Table = dict[str, Any]

PICTURES = GALLERY / "pictures"
WORDS: dict[str, dict[str, str]] = {
    field.name: getattr(vocabulary, field.name.upper())
    for field in fields(Attributes)
    if field.name != "ethnicity"
}


def tables(file: str, name: str) -> list[Table]:
    """Return all tables of a file, and check that the file has no other content."""
    content = tomllib.loads((GALLERY / file).read_text(encoding="utf-8"))
    assert set(content) == {name}
    found: list[Table] = content[name]
    return found


PRESETS = tables("presets.toml", "preset")
EXAMPLES = tables("personas.toml", "persona_example")

every_preset = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset["name"])
every_entry = pytest.mark.parametrize("entry", [*PRESETS, *EXAMPLES], ids=lambda entry: entry["name"])


def persona_of(entry: Table) -> Persona:
    """Return the persona of a preset or a persona example."""
    return Persona(**{**entry["persona"], "personality": tuple(entry["persona"]["personality"])})


def shown(field: str) -> set[str]:
    """Return the words that the presets use for an attribute."""
    return {preset["attributes"][field] for preset in PRESETS if field in preset["attributes"]}


def test_there_are_24_presets_and_12_persona_examples() -> None:
    assert (len(PRESETS), len(EXAMPLES)) == (24, 12)
    assert all(
        set(preset) == {"id", "name", "description", "category", "prompt", "seed", "persona", "attributes"}
        for preset in PRESETS
    )
    assert all(set(example) == {"id", "name", "description", "category", "persona"} for example in EXAMPLES)


def test_ids_are_unique_and_ascend_in_each_file() -> None:
    ids = [entry["id"] for entry in (*PRESETS, *EXAMPLES)]

    assert len(set(ids)) == len(ids)
    for entries in (PRESETS, EXAMPLES):
        assert [entry["id"] for entry in entries] == sorted(entry["id"] for entry in entries)


def test_names_and_persons_are_unique() -> None:
    for entries in (PRESETS, EXAMPLES):
        assert len({entry["name"] for entry in entries}) == len(entries)
    assert len({entry["persona"]["name"] for entry in (*PRESETS, *EXAMPLES)}) == 36


@every_entry
def test_an_entry_is_within_the_contracts_limits(entry: Table) -> None:
    persona = persona_of(entry)

    assert UUID(entry["id"]).version == 7
    assert str(UUID(entry["id"])) == entry["id"]
    assert NAME(entry["name"]) is None
    assert text(2000, required=True)(entry["description"]) is None
    assert re.fullmatch("[a-z]+", entry["category"])
    assert persona.name
    assert persona.age
    assert 2 <= len(persona.personality) <= 4
    assert persona.background
    validate(persona_to_proto(persona))


@every_entry
def test_texts_are_sentences_without_extra_blanks(entry: Table) -> None:
    persona = entry["persona"]
    sentences = (entry["description"], persona["background"])

    assert all(sentence.endswith(".") for sentence in sentences)
    for words in (*sentences, entry["name"], entry.get("prompt", ""), *persona["personality"]):
        assert words == " ".join(words.split())


@every_preset
def test_a_generation_can_start_from_a_preset(preset: Table) -> None:
    persona = persona_to_proto(persona_of(preset))
    attributes = attributes_to_proto(Attributes(**preset["attributes"]))

    assert preset["prompt"]
    validate(
        CreateGenerationRequest(
            project_id="project",
            prompt=preset["prompt"],
            avatar_name=preset["name"],
            persona=persona,
            attributes=attributes,
            options=GenerationOptions(seed=preset["seed"]),
            preset_id=preset["id"],
        )
    )


@every_preset
def test_a_presets_attributes_are_words_of_the_vocabulary(preset: Table) -> None:
    attributes = preset["attributes"]

    assert attributes["ethnicity"]
    for field, words in WORDS.items():
        assert field not in attributes or attributes[field] in words


@every_preset
def test_hair_is_given_if_it_is_visible(preset: Table) -> None:
    attributes = preset["attributes"]
    visible = attributes.get("headwear") not in ("hijab", "turban")

    assert ("hair_style" in attributes, "hair_color" in attributes) == (visible, visible)


@every_preset
def test_the_age_of_a_preset_is_in_its_age_range(preset: Table) -> None:
    assert vocabulary.age_range_of(preset["persona"]["age"]) == preset["attributes"]["age_range"]


@pytest.mark.parametrize("field", ["gender", "age_range", "headwear", "skin_tone"])
def test_the_presets_use_every_word(field: str) -> None:
    assert shown(field) == set(WORDS[field])


def test_presets_have_at_least_seven_categories() -> None:
    categories = [preset["category"] for preset in PRESETS]

    assert len(set(categories)) >= 7
    assert {categories.count(category) for category in categories} <= {3, 4}
    assert {example["category"] for example in EXAMPLES} <= set(categories)


@every_preset
def test_a_preset_has_its_picture(preset: Table) -> None:
    with Image.open(BytesIO((PICTURES / f"{preset['id']}.webp").read_bytes())) as picture:
        picture.load()

    assert (picture.format, picture.size, picture.mode) == ("WEBP", (300, 300), "RGB")


def test_there_are_no_other_and_no_equal_pictures() -> None:
    pictures = {path.name: path.read_bytes() for path in PICTURES.iterdir()}

    assert set(pictures) == {f"{preset['id']}.webp" for preset in PRESETS}
    assert len(set(pictures.values())) == len(pictures)
    assert sum(map(len, pictures.values())) < 400 * 1024


@pytest.mark.parametrize("preset", PRESETS[::6], ids=lambda preset: preset["name"])
def test_a_picture_is_the_drawing_of_its_preset(preset: Table) -> None:
    assert draw_picture(preset) == (PICTURES / f"{preset['id']}.webp").read_bytes()


def test_drawing_the_pictures_deletes_those_of_removed_presets(tmp_path: Path) -> None:
    name = f"{PRESETS[0]['id']}.webp"
    first = (GALLERY / "presets.toml").read_text(encoding="utf-8").split("[[preset]]")[1]
    (tmp_path / "presets.toml").write_text(f"[[preset]]{first}", encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "gone.webp").write_bytes(b"old")

    draw_pictures(tmp_path)

    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [name]
    assert (tmp_path / "pictures" / name).read_bytes() == (PICTURES / name).read_bytes()

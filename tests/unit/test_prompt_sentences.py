"""The prompt as sentences, and the instruction to edit a picture: the same facts as the tags."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from avatar_creator_server.generations.prompt import describe, enhance, instruct
from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes, Persona

SARI = Persona("Sari", 25, ("warm", "curious"))
FULL = Attributes(
    gender="female",
    age_range="young_adult",
    ethnicity="Indonesian",
    body_type="athletic",
    hair_style="long",
    hair_color="black",
    eye_color="brown",
    skin_tone="tan",
    style="professional",
    headwear="hijab",
)
PHOTOGRAPH = (
    "The photograph is ultra realistic and photorealistic, with high detail, in high resolution and 8k "
    "quality: professional photography with a DSLR camera, an 85mm portrait lens, f/1.8 aperture, studio "
    "lighting and a bokeh background."
)
TABLES = {
    "gender": vocabulary.GENDER,
    "age_range": vocabulary.AGE_RANGE,
    "body_type": vocabulary.BODY_TYPE,
    "hair_style": vocabulary.HAIR_STYLE,
    "hair_color": vocabulary.HAIR_COLOR,
    "eye_color": vocabulary.EYE_COLOR,
    "skin_tone": vocabulary.SKIN_TONE,
    "style": vocabulary.STYLE,
    "headwear": vocabulary.HEADWEAR,
}


def test_all_facts_are_sentences() -> None:
    assert describe("smiling at a market.", SARI, FULL) == (
        "A professional photo studio portrait of Sari: smiling at a market. Sari is 25 years old, female, a "
        "young adult (18-29 years old), of Indonesian ethnicity and of athletic build. Sari has long black "
        "hair, brown eyes, tan skin and a warm and curious personality. Sari is wearing a hijab and "
        f"professional attire. {PHOTOGRAPH}"
    )


def test_absent_facts_add_no_sentence() -> None:
    assert describe("", Persona(), Attributes()) == (
        f"A professional photo studio portrait of a person. {PHOTOGRAPH}"
    )
    assert describe("a sailor", Persona(), Attributes(hair_style="bald")) == (
        "A professional photo studio portrait of a person: a sailor. The person has a bald head. "
        f"{PHOTOGRAPH}"
    )


def test_an_instruction_names_what_changes_and_what_stays() -> None:
    assert instruct("at a market", SARI, Attributes(style="formal"), 1) == (
        "Make a professional studio photograph of the person in the picture: at a market. The person is "
        "25 years old and a young adult (18-29 years old). The person has a warm and curious personality. "
        "The person is wearing formal attire. Keep the face, the identity and all other features of the "
        "person exactly as they are. The photograph is photorealistic, with an 85mm portrait lens, f/1.8 "
        "aperture, studio lighting and a bokeh background."
    )


def test_an_instruction_for_several_references_says_so() -> None:
    assert "the person in the pictures." in instruct("", Persona(), Attributes(), 2)


@pytest.mark.parametrize(("attribute", "word"), [(name, word) for name in TABLES for word in TABLES[name]])
def test_sentences_have_each_fact_of_the_tags(attribute: str, word: str) -> None:
    attributes = replace(Attributes(), **{attribute: word})
    tag = enhance("", Persona(), attributes).split(", professional photo studio")[0]

    for text in (describe("", Persona(), attributes), instruct("", Persona(), attributes, 1)):
        assert tag.removeprefix("wearing ") in text


def test_the_tables_have_all_attributes_with_words_of_their_own() -> None:
    assert set(TABLES) == {field.name for field in fields(Attributes)} - {"ethnicity"}

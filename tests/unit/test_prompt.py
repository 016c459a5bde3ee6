"""The enhanced prompt, to the letter."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from avatar_creator import Attributes as AttributesMessage
from avatar_creator import AvatarCreator, Gender, Headwear, Style
from avatar_creator import Persona as PersonaMessage
from server.domain import vocabulary
from server.domain.people import Attributes, Persona
from server.domain.prompt import NEGATIVE_PROMPT, QUALITY, enhance

EXAMPLE = (
    "Sarah, 32 years old, professional personality, female, middle-aged adult (30-50 years old), "
    "asian ethnicity, wearing professional attire, confident business woman, professional photo studio "
    "portrait, ultra realistic, high detail, professional photography, DSLR camera, 85mm portrait lens, "
    "f/1.8 aperture, studio lighting, bokeh background, photorealistic, high resolution, 8k quality"
)
NEGATIVE = (
    "ugly, blurry, low quality, distorted, deformed, bad anatomy, disfigured, poorly drawn face, cartoon, "
    "anime, 3d render, painting, illustration, unrealistic, artificial, plastic, wax figure, mannequin"
)
PLAIN = (
    "professional photo studio portrait, ultra realistic, high detail, professional photography, "
    "DSLR camera, 85mm portrait lens, f/1.8 aperture, studio lighting, bokeh background, photorealistic, "
    "high resolution, 8k quality"
)

FULL = Attributes(
    gender="female",
    age_range="young_adult",
    ethnicity="Indonesian",
    body_type="slim",
    hair_style="long",
    hair_color="black",
    eye_color="brown",
    skin_tone="tan",
    style="professional",
    headwear="hijab",
)


def test_the_example_is_built_to_the_letter() -> None:
    persona = Persona(name="Sarah", age=32, personality=("professional",))
    attributes = Attributes(gender="female", ethnicity="asian", style="professional")

    assert enhance("confident business woman", persona, attributes) == EXAMPLE
    assert NEGATIVE_PROMPT == NEGATIVE
    assert QUALITY == PLAIN


def test_a_generation_has_the_example_to_the_letter(shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Prompts")

    generation = shared_client.generations.create(
        project.id,
        prompt="confident business woman",
        persona=PersonaMessage(name="Sarah", age=32, personality=["professional"]),
        attributes=AttributesMessage(
            gender=Gender.GENDER_FEMALE, ethnicity="asian", style=Style.STYLE_PROFESSIONAL
        ),
        width=256,
        height=256,
    )

    assert generation.enhanced_prompt == EXAMPLE
    assert generation.negative_prompt == NEGATIVE
    assert generation.prompt == "confident business woman"
    *_, ended = shared_client.generations.watch(generation.id)
    assert (ended.enhanced_prompt, ended.negative_prompt) == (EXAMPLE, NEGATIVE)
    avatar = shared_client.avatars.get(ended.avatar_id)
    assert avatar.generation_prompt == "confident business woman"


def test_headwear_reaches_a_generations_prompt(shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Prompts")

    generation = shared_client.generations.create(
        project.id,
        prompt="a portrait",
        attributes=AttributesMessage(headwear=Headwear.HEADWEAR_PECI),
        width=256,
        height=256,
    )

    assert generation.enhanced_prompt == f"wearing a peci, a portrait, {PLAIN}"


def test_all_attributes_come_in_one_order() -> None:
    persona = Persona("Sari", 25, ("warm", "curious"), "Grew up in Bandung.")

    assert enhance("a portrait", persona, FULL) == (
        "Sari, 25 years old, warm, curious personality, female, young adult (18-29 years old), "
        "Indonesian ethnicity, slim build, long black hair, brown eyes, tan skin, wearing a hijab, "
        f"wearing professional attire, a portrait, {PLAIN}"
    )


def test_nothing_is_added_for_what_is_absent() -> None:
    assert enhance("", Persona(), Attributes()) == PLAIN
    assert enhance("a portrait", Persona(), Attributes()) == f"a portrait, {PLAIN}"


@pytest.mark.parametrize(
    ("persona", "expected"),
    [
        (Persona(name="Sarah"), "Sarah"),
        (Persona(age=7), "7 years old, child (under 13 years old)"),
        (Persona(personality=("warm",)), "warm personality"),
        (Persona(personality=("warm", "shy")), "warm, shy personality"),
    ],
)
def test_each_part_of_a_persona_stands_alone(persona: Persona, expected: str) -> None:
    assert enhance("a portrait", persona, Attributes()) == f"{expected}, a portrait, {PLAIN}"


def test_the_background_stays_out_of_the_prompt() -> None:
    assert enhance("a portrait", Persona(background="Grew up in Bandung."), Attributes()) == (
        f"a portrait, {PLAIN}"
    )


@pytest.mark.parametrize(
    ("attribute", "word", "phrase"),
    [
        (name, word, phrase)
        for name, table in (
            ("gender", vocabulary.GENDER),
            ("age_range", vocabulary.AGE_RANGE),
            ("body_type", vocabulary.BODY_TYPE),
            ("eye_color", vocabulary.EYE_COLOR),
            ("skin_tone", vocabulary.SKIN_TONE),
            ("style", vocabulary.STYLE),
            ("headwear", vocabulary.HEADWEAR),
        )
        for word, phrase in table.items()
    ],
)
def test_an_attribute_adds_its_phrase_and_nothing_else(attribute: str, word: str, phrase: str) -> None:
    attributes = replace(Attributes(), **{attribute: word})

    assert enhance("a portrait", Persona(), attributes) == f"{phrase}, a portrait, {PLAIN}"


def test_ethnicity_is_the_callers_words() -> None:
    assert enhance("a portrait", Persona(), Attributes(ethnicity="Afro-Brazilian")) == (
        f"Afro-Brazilian ethnicity, a portrait, {PLAIN}"
    )


@pytest.mark.parametrize(
    ("style", "color", "expected"),
    [
        ("long", "black", "long black hair"),
        ("long", "", "long hair"),
        ("", "black", "black hair"),
        ("bun", "dark_brown", "dark brown hair in a bun"),
        ("bun", "", "hair in a bun"),
        ("ponytail", "red", "red hair in a ponytail"),
        ("buzz_cut", "gray", "buzz-cut gray hair"),
        ("shoulder_length", "", "shoulder-length hair"),
        ("bald", "", "bald head"),
        ("bald", "blonde", "bald head"),
    ],
)
def test_hair_is_one_phrase_of_style_and_colour(style: str, color: str, expected: str) -> None:
    attributes = Attributes(hair_style=style, hair_color=color)

    assert enhance("a portrait", Persona(), attributes) == f"{expected}, a portrait, {PLAIN}"


def test_every_style_and_colour_of_hair_reads_as_a_phrase() -> None:
    for style in ("", *vocabulary.HAIR_STYLE):
        for color in ("", *vocabulary.HAIR_COLOR):
            built = enhance("", Persona(), Attributes(hair_style=style, hair_color=color))
            hair = built.removesuffix(PLAIN).removesuffix(", ")
            assert "…" not in hair
            assert hair == " ".join(hair.split())
            assert bool(hair) == bool(style or color)
            assert style == "bald" or vocabulary.HAIR_COLOR.get(color, "") in hair


def test_the_age_range_given_wins_over_the_persona_s_age() -> None:
    attributes = Attributes(age_range="senior")

    assert enhance("a portrait", Persona(age=32), attributes) == (
        f"32 years old, senior (over 65 years old), a portrait, {PLAIN}"
    )


def test_every_attribute_there_is_changes_the_prompt() -> None:
    """So that a new one is not forgotten."""
    whole = enhance("a portrait", Persona(), FULL)

    for attribute in fields(Attributes):
        without = enhance("a portrait", Persona(), replace(FULL, **{attribute.name: ""}))
        assert len(without) < len(whole), attribute.name

"""The enhanced prompt, word for word, and the estimate of its tokens."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from avatar_creator import Attributes as AttributesValue
from avatar_creator import AvatarCreator
from avatar_creator import Persona as PersonaValue
from avatar_creator_server.generations.prompt import (
    NEGATIVE_PROMPT,
    QUALITY,
    cut_warning,
    enhance,
    estimated_tokens,
)
from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes, Persona
from tests.support.presence import present

TOKENS = 512
"""Number of tokens that FLUX.1-dev reads."""

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


def test_the_example_is_built_word_for_word() -> None:
    persona = Persona(name="Sarah", age=32, personality=("professional",))
    attributes = Attributes(gender="female", ethnicity="asian", style="professional")

    assert enhance("confident business woman", persona, attributes) == EXAMPLE
    assert NEGATIVE_PROMPT == NEGATIVE
    assert QUALITY == PLAIN


def test_a_generation_has_the_example_word_for_word(shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Prompts")

    generation = shared_client.generations.create(
        project.id,
        prompt="confident business woman",
        persona=PersonaValue(name="Sarah", age=32, personality=["professional"]),
        attributes=AttributesValue(gender="female", ethnicity="asian", style="professional"),
        width=256,
        height=256,
    ).generation

    assert generation.enhanced_prompt == EXAMPLE
    assert generation.negative_prompt == NEGATIVE
    assert generation.prompt == "confident business woman"
    *_, ended = shared_client.generations.watch(generation.id)
    assert (ended.enhanced_prompt, ended.negative_prompt) == (EXAMPLE, NEGATIVE)
    avatar = shared_client.avatars.get(present(ended.avatar_id))
    assert avatar.generation_prompt == "confident business woman"


def test_headwear_is_in_the_prompt_of_a_generation(shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Prompts")

    generation = shared_client.generations.create(
        project.id,
        prompt="a portrait",
        attributes={"headwear": "peci"},
        width=256,
        height=256,
    ).generation

    assert generation.enhanced_prompt == f"wearing a peci, a portrait, {PLAIN}"


def test_attributes_have_a_fixed_order() -> None:
    persona = Persona("Sari", 25, ("warm", "curious"), "Grew up in Bandung.")

    assert enhance("a portrait", persona, FULL) == (
        "Sari, 25 years old, warm, curious personality, female, young adult (18-29 years old), "
        "Indonesian ethnicity, slim build, long black hair, brown eyes, tan skin, wearing a hijab, "
        f"wearing professional attire, a portrait, {PLAIN}"
    )


def test_absent_fields_add_nothing() -> None:
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
def test_each_field_of_a_persona_works_alone(persona: Persona, expected: str) -> None:
    assert enhance("a portrait", persona, Attributes()) == f"{expected}, a portrait, {PLAIN}"


def test_the_background_is_not_in_the_prompt() -> None:
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
def test_an_attribute_adds_only_its_phrase(attribute: str, word: str, phrase: str) -> None:
    attributes = replace(Attributes(), **{attribute: word})

    assert enhance("a portrait", Persona(), attributes) == f"{phrase}, a portrait, {PLAIN}"


def test_ethnicity_has_the_words_of_the_caller() -> None:
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
def test_hair_is_one_phrase_of_style_and_color(style: str, color: str, expected: str) -> None:
    attributes = Attributes(hair_style=style, hair_color=color)

    assert enhance("a portrait", Persona(), attributes) == f"{expected}, a portrait, {PLAIN}"


def test_every_style_and_color_of_hair_make_a_phrase() -> None:
    for style in ("", *vocabulary.HAIR_STYLE):
        for color in ("", *vocabulary.HAIR_COLOR):
            built = enhance("", Persona(), Attributes(hair_style=style, hair_color=color))
            hair = built.removesuffix(PLAIN).removesuffix(", ")
            assert "…" not in hair
            assert hair == " ".join(hair.split())
            assert bool(hair) == bool(style or color)
            assert style == "bald" or vocabulary.HAIR_COLOR.get(color, "") in hair


def test_a_given_age_range_overrides_the_age_of_the_persona() -> None:
    attributes = Attributes(age_range="senior")

    assert enhance("a portrait", Persona(age=32), attributes) == (
        f"32 years old, senior (over 65 years old), a portrait, {PLAIN}"
    )


def test_every_attribute_changes_the_prompt() -> None:
    """Fail for a new attribute that the prompt does not use."""
    whole = enhance("a portrait", Persona(), FULL)

    for attribute in fields(Attributes):
        without = enhance("a portrait", Persona(), replace(FULL, **{attribute.name: ""}))
        assert len(without) < len(whole), attribute.name


# Number of tokens

ENGLISH = (
    "A confident businesswoman in her late thirties stands by the window of a bright corner office in "
    "Jakarta, wearing a charcoal blazer over an ivory silk blouse. She has warm brown eyes, a faint smile "
    "and shoulder-length dark hair that catches the afternoon light. "
)
GERMAN = (
    "Eine selbstbewusste Geschäftsfrau Ende dreißig steht am Fenster eines hellen Büros, trägt einen "
    "anthrazitfarbenen Blazer über einer Seidenbluse und lächelt kaum merklich. "
)
FRENCH = (
    "Une femme d'affaires sûre d'elle, la trentaine, debout près de la fenêtre d'un bureau lumineux, porte "
    "un blazer gris sur un chemisier de soie. "
)
INDONESIAN = (
    "Seorang perempuan muda dari Bandung, mengenakan jilbab berwarna krem dan kebaya modern dengan bordir "
    "halus. Ia tersenyum ramah ke arah kamera, matanya cokelat hangat, kulitnya sawo matang. "
)
VIETNAMESE = "Một nữ doanh nhân tự tin khoảng ba mươi tám tuổi đứng cạnh cửa sổ của một văn phòng sáng sủa. "
RUSSIAN = "Уверенная деловая женщина под сорок лет стоит у окна светлого офиса, на ней серый пиджак. "
CHINESE = "一位三十多岁的自信职业女性站在明亮办公室的窗边，身穿炭灰色西装外套，内搭象牙色丝绸衬衫。"
TAGS = "masterpiece, ultra detailed, freckles, cinematic lighting, bokeh, 85mm f/1.4, (sharp focus:1.3), 8k, "

# Tokens, with the end mark, that the tokenizer of FLUX.1-dev (`tokenizer_2`) makes of ten times the text.
COUNTED = [
    (ENGLISH, 601),
    (GERMAN, 511),
    (FRENCH, 501),
    (INDONESIAN, 861),
    (VIETNAMESE, 761),
    (RUSSIAN, 641),
    (CHINESE, 43),
    (TAGS, 361),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED, ids=lambda value: str(value)[:10])
def test_the_estimate_is_rather_too_high_than_too_low(text: str, tokens: int) -> None:
    assert 0.95 * tokens <= estimated_tokens(text * 10) <= 2.5 * tokens


@pytest.mark.parametrize("text", [ENGLISH, GERMAN, FRENCH, INDONESIAN, VIETNAMESE, RUSSIAN])
def test_sentences_are_estimated_closely(text: str) -> None:
    assert estimated_tokens(text * 10) <= 1.35 * dict(COUNTED)[text]


def test_an_empty_prompt_has_only_the_end_mark() -> None:
    assert estimated_tokens("") == 1


def test_a_prompt_that_fits_gives_no_warning() -> None:
    assert cut_warning("", TOKENS) is None
    assert cut_warning(enhance(ENGLISH * 4, Persona("Sari", 25, ("warm", "curious")), FULL), TOKENS) is None
    assert cut_warning(enhance(INDONESIAN, Persona("Sari", 25, ("warm", "curious")), FULL), TOKENS) is None


@pytest.mark.parametrize("text", [ENGLISH, GERMAN, FRENCH, INDONESIAN, VIETNAMESE, RUSSIAN, TAGS])
def test_a_prompt_that_does_not_fit_gives_a_warning(text: str) -> None:
    per_text = dict(COUNTED)[text] / 10
    too_long = text * round(1.1 * TOKENS / per_text + 1)

    assert cut_warning(too_long, TOKENS) is not None


def test_the_warning_has_the_number_of_unread_words() -> None:
    words = "the woman " * 1000
    # 0.7 tokens per word and 0.2 per letter: 1.3 and 1.7 tokens.
    assert cut_warning(words, TOKENS) == (
        "the prompt has about 3,001 tokens and the model reads 512: "
        "it will probably not read about the last 1,660 words of the prompt"
    )


def test_the_warning_of_one_word_is_singular() -> None:
    fits = "the woman " * 170 + "a"
    assert cut_warning(fits, TOKENS) is None
    warning = cut_warning(f"{fits} a", TOKENS)
    assert warning is not None
    assert "about the last word of" in warning

"""The words of a prompt that `sketch` reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes
from avatar_creator_server.people.prompt_vocabulary import EYES, HAIR, PEOPLE, SKIN, WORDS
from avatar_creator_server.people.prompt_words import PromptReading, read_prompt

PARTS = ("glasses", "earrings", "beard")


def seen(prompt: str, **given: str) -> dict[str, Any]:
    """Return what the drawing must show after a prompt: attributes, and parts that no attribute names."""
    reading = read_prompt(prompt, Attributes(**given))
    parts = {name: getattr(reading, name) for name in PARTS if getattr(reading, name) is not None}
    return {name: value for name, value in asdict(reading.attributes).items() if value} | parts


@pytest.mark.parametrize(
    ("english", "indonesian", "shown"),
    [
        ("a woman in a hijab", "perempuan berhijab", {"gender": "female", "headwear": "hijab"}),
        ("a woman with glasses", "wanita dengan kacamata", {"gender": "female", "glasses": True}),
        ("bearded man", "pria berjanggut", {"gender": "male", "beard": "full"}),
        ("man with a moustache", "laki-laki berkumis", {"gender": "male", "beard": "moustache"}),
        (
            "a boy with curly hair",
            "anak laki-laki rambut keriting",
            {"age_range": "child", "hair_style": "curly"},
        ),
        ("a little girl", "anak perempuan", {"gender": "female", "age_range": "child"}),
        ("a child", "seorang anak", {"age_range": "child"}),
        ("an old man", "pria tua", {"gender": "male", "age_range": "senior"}),
        ("a grandmother", "nenek", {"gender": "female", "age_range": "senior"}),
        ("a 35-year-old woman", "wanita berusia 35 tahun", {"age_range": "middle_aged"}),
        (
            "young woman, long hair",
            "wanita muda rambut panjang",
            {"age_range": "young_adult", "hair_style": "long"},
        ),
        ("long-haired woman", "wanita berambut panjang", {"hair_style": "long"}),
        (
            "woman, short black hair",
            "wanita rambut hitam pendek",
            {"hair_style": "short", "hair_color": "black"},
        ),
        ("blue eyes and dark skin", "mata biru dan kulit gelap", {"eye_color": "blue", "skin_tone": "dark"}),
        (
            "man in a suit and a songkok",
            "pria memakai jas dan peci",
            {"style": "professional", "headwear": "peci"},
        ),
        ("a bald man", "pria botak", {"hair_style": "bald"}),
        ("an athletic woman", "wanita atletis", {"body_type": "athletic"}),
        ("woman with earrings", "wanita beranting", {"earrings": True}),
    ],
)
def test_the_same_words_are_read_in_both_languages(
    english: str, indonesian: str, shown: dict[str, object]
) -> None:
    for prompt in (english, english.upper(), indonesian, indonesian.title()):
        assert seen(prompt).items() >= shown.items(), prompt


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("woman without glasses", {"gender": "female", "glasses": False}),
        ("wanita tanpa kacamata", {"gender": "female", "glasses": False}),
        ("wanita tidak berkacamata", {"gender": "female", "glasses": False}),
        (
            "pria yang tidak memakai kacamata dan berpeci",
            {"gender": "male", "glasses": False, "headwear": "peci"},
        ),
        ("a woman who doesn’t wear glasses", {"gender": "female", "glasses": False}),
        ("a man, no beard, glasses", {"gender": "male", "beard": "", "glasses": True}),
        ("a man with no glasses, beard or hat", {"gender": "male", "beard": "", "glasses": False}),
        ("man with glasses but without a beard", {"gender": "male", "glasses": True, "beard": ""}),
        ("perempuan tanpa hijab", {"gender": "female"}),
        ("perempuan tanpa kacamata, berhijab", {"gender": "female", "glasses": False, "headwear": "hijab"}),
        ("not smiling woman wearing glasses", {"gender": "female", "glasses": True}),
        ("not only glasses, also a hat", {"glasses": True, "headwear": "fedora"}),
        ("bukan pria, tetapi wanita", {"gender": "female"}),
        ("tanpa rambut", {"hair_style": "bald"}),
        ("woman, her hair is not long hair", {"gender": "female"}),
    ],
)
def test_a_negated_part_is_not_shown(prompt: str, shown: dict[str, object]) -> None:
    assert seen(prompt) == shown


@pytest.mark.parametrize(
    "prompt",
    [
        "Indonesian",
        "a black person",
        "white",
        "afro-american",
        "African, Javanese and Nordic",
        "orang Papua",
        "Latina",
    ],
)
def test_a_word_of_origin_decides_nothing(prompt: str) -> None:
    assert seen(prompt) == {}


def test_a_word_counts_only_for_the_person_of_the_portrait() -> None:
    assert seen("ibu dengan anak perempuan") == {"gender": "female"}
    assert seen("a woman in an old library with two glasses of tea") == {"gender": "female"}
    assert seen("pria dengan baju merah muda") == {"gender": "male"}
    assert seen("women's rights lawyer, black dress, red shoes") == {}


def test_a_woman_or_a_man_is_grown_up_unless_an_age_says_more() -> None:
    assert read_prompt("seorang wanita", Attributes()).adult
    assert not read_prompt("anak perempuan", Attributes()).adult
    assert not read_prompt("a woman", Attributes(age_range="teenager")).adult


def test_a_given_attribute_wins_and_its_word_counts_as_unread() -> None:
    reading = read_prompt("man with long hair and a hat", Attributes(gender="female", headwear="hijab"))
    assert reading.attributes == Attributes(gender="female", hair_style="long", headwear="hijab")
    assert reading.read == ("long", "hair")
    assert reading.unread == ("man", "hat")
    agreeing = read_prompt("woman in a hijab", Attributes(gender="female", headwear="hijab"))
    assert (agreeing.read, agreeing.unread) == (("woman", "hijab"), ())


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (
            "professional Indonesian woman with modern hijab",
            "it uses “professional”, “woman”, “hijab” and ignores “Indonesian”, “modern”",
        ),
        ("woman without glasses", "it uses “woman”, “without glasses”"),
        ("sunset", "it uses no word of this prompt and ignores “sunset”"),
        ("…", "it uses no word of this prompt"),
        (
            " ".join("abcdefghijk"),
            "it uses no word of this prompt and ignores “b”, “c”, “d”, “e”, “f”, “g”, “h”, “i” and 2 more",
        ),
        ("woman\n\x1b[31m" + "x" * 60, f"it uses “woman” and ignores “31m{'x' * 27}…”"),
    ],
)
def test_the_sentence_names_the_words_as_they_were_written(prompt: str, sentence: str) -> None:
    assert read_prompt(prompt, Attributes()).describe() == sentence


def test_every_value_of_the_tables_is_one_that_the_drawing_knows() -> None:
    words = {name: vars(vocabulary)[name.upper()] for name in asdict(Attributes()) if name != "ethnicity"}
    for table in (PEOPLE, WORDS, HAIR, EYES, SKIN):
        for phrase, meaning in table.items():
            for name, value in meaning.items():
                if name in words:
                    assert not value or value in words[name], phrase
                else:
                    assert name in {*PARTS, "adult"}, phrase


def test_a_long_prompt_is_read() -> None:
    reading: PromptReading = read_prompt("no glasses, " * 300 + "woman", Attributes())
    assert (reading.attributes.gender, reading.glasses) == ("female", False)

"""The enhanced prompt: persona, attributes and the caller's words in one fixed order."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate

from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes, Persona

QUALITY = (
    "professional photo studio portrait, ultra realistic, high detail, professional photography, "
    "DSLR camera, 85mm portrait lens, f/1.8 aperture, studio lighting, bokeh background, photorealistic, "
    "high resolution, 8k quality"
)
"""Ends every enhanced prompt. Taken to the letter from the product's definition."""

NEGATIVE_PROMPT = (
    "ugly, blurry, low quality, distorted, deformed, bad anatomy, disfigured, poorly drawn face, cartoon, "
    "anime, 3d render, painting, illustration, unrealistic, artificial, plastic, wax figure, mannequin"
)
"""What is kept out of every picture. Taken to the letter from the product's definition."""

PROMPT_TOKENS = 512
"""How many tokens of a prompt FLUX.1 reads, the end mark included: `max_sequence_length` of `FluxPipeline`.

https://huggingface.co/docs/diffusers/api/pipelines/flux: 512 is its default, and it allows no more.
"""

_END_OF_TEXT = 1
_LETTERS = "A-Za-z\u00c0-\u024f\u0400-\u052f\u1e00-\u1eff"
_PIECES = re.compile(rf"[{_LETTERS}]+|[!-~]|[^\s!-~{_LETTERS}]+")
_ACCENTED_LETTERS = frozenset("ßàáâäçèéêîóôöùûüăşţșț")
"""Those in T5's vocabulary. Cyrillic letters are taken to be in it too, one by one: half of them are."""
_ENGLISH = ("the", "and", "with", "his", "their", "from", "who", "are", "looking", "soft", "light")
_ENGLISH_OF_PORTRAITS = ("woman", "hair", "eyes", "face", "smile", "smiling", "wearing", "dress", "beautiful")
_GERMAN = ("und", "mit", "ein", "eine", "einen", "einem", "ist", "im")
_FRENCH = ("les", "des", "une", "dans", "avec", "sur")
_ROMANIAN = ("și", "pentru", "sunt", "unei")
_COMMONEST_WORDS = frozenset((*_ENGLISH, *_ENGLISH_OF_PORTRAITS, *_GERMAN, *_FRENCH, *_ROMANIAN))
"""Of the languages T5's vocabulary was made of, and hardly to be met in others. None is in `QUALITY`."""
_LEAST_SHARE_OF_COMMONEST = 0.04


def enhance(prompt: str, persona: Persona, attributes: Attributes) -> str:
    """Build the enhanced prompt. Absent fields add nothing; an absent age range follows the persona's age."""
    return ", ".join(_parts(prompt, persona, attributes))


def _parts(prompt: str, persona: Persona, attributes: Attributes) -> Iterator[str]:
    if persona.name:
        yield persona.name
    if persona.age:
        yield f"{persona.age} years old"
    if persona.personality:
        yield f"{', '.join(persona.personality)} personality"
    if attributes.gender:
        yield vocabulary.GENDER[attributes.gender]
    age_range = vocabulary.shown_age_range(attributes.age_range, persona.age)
    if age_range:
        yield vocabulary.AGE_RANGE[age_range]
    if attributes.ethnicity:
        yield f"{attributes.ethnicity} ethnicity"
    if attributes.body_type:
        yield vocabulary.BODY_TYPE[attributes.body_type]
    if attributes.hair_style or attributes.hair_color:
        yield _hair(attributes)
    if attributes.eye_color:
        yield vocabulary.EYE_COLOR[attributes.eye_color]
    if attributes.skin_tone:
        yield vocabulary.SKIN_TONE[attributes.skin_tone]
    if attributes.headwear:
        yield vocabulary.HEADWEAR[attributes.headwear]
    if attributes.style:
        yield vocabulary.STYLE[attributes.style]
    if prompt:
        yield prompt
    yield QUALITY


def _hair(attributes: Attributes) -> str:
    cut = vocabulary.HAIR_STYLE[attributes.hair_style] if attributes.hair_style else "… hair"
    color = vocabulary.HAIR_COLOR[attributes.hair_color] if attributes.hair_color else ""
    return " ".join(cut.replace("…", color).split())


def cut_warning(provider_prompt: str) -> str | None:
    """Say that the model will probably not read all of a prompt; None if it probably will."""
    tokens = estimated_tokens(provider_prompt)
    if tokens <= PROMPT_TOKENS:
        return None
    room = PROMPT_TOKENS - _END_OF_TEXT
    unread = sum(so_far > room for so_far in accumulate(_tokens_of_words(provider_prompt)))
    end = f"the last {unread:,} words" if unread > 1 else "the last word"
    return (
        f"the prompt has about {tokens:,} tokens and the model reads {PROMPT_TOKENS}: about {end} of the "
        "enhanced prompt will probably not be read"
    )


def estimated_tokens(prompt: str) -> int:
    """How many tokens T5 probably makes of a prompt, its end mark included; rather too many than too few.

    T5 has 32,000 pieces of words, made of text that is English and, a little, German, French and Romanian
    (https://arxiv.org/abs/1910.10683, section Vocabulary); other languages fall apart into two letters a
    token. The rates were measured with the tokenizer of FLUX.1-dev on texts in 40 languages. Of prompts in
    sentences the estimate is 0.95 to 1.35 times the count. English, German and French without any of their
    commonest words, as in a bare list, are taken for another language: up to 2.9 times. Most scripts but
    Latin and Cyrillic are not in the vocabulary: what is written between two blanks becomes one token that
    says nothing.
    """
    return math.ceil(_END_OF_TEXT + sum(_tokens_of_words(prompt)))


def _tokens_of_words(prompt: str) -> Iterator[float]:
    text = unicodedata.normalize("NFKC", prompt)
    words = re.findall(f"[{_LETTERS}]+", text.casefold())
    common = sum(word in _COMMONEST_WORDS for word in words)
    language_is_known = common >= _LEAST_SHARE_OF_COMMONEST * max(1, len(words))
    for word in text.split():
        # The blank is a token of its own unless a piece of the vocabulary begins with it.
        blank = 0.0 if re.match(f"[{_LETTERS}0-9]", word) else 1.0
        yield blank + sum(_tokens_of_piece(piece, language_is_known) for piece in _PIECES.findall(word))


def _tokens_of_piece(piece: str, language_is_known: bool) -> float:
    if not re.match(f"[{_LETTERS}]", piece):
        return 1.0
    in_capitals = len(piece) > 1 and piece.isupper()
    per_letter = 0.2 if language_is_known and not in_capitals else 0.48
    beyond_ascii = [letter for letter in piece.casefold() if not letter.isascii()]
    unknown = sum(letter not in _ACCENTED_LETTERS and not _is_cyrillic(letter) for letter in beyond_ascii)
    letters = len(piece)
    compound = 0.2 * max(0, letters - 10)
    # A letter that is not in the vocabulary breaks the word in three.
    accents = 0.3 * (len(beyond_ascii) - unknown) + 1.8 * unknown
    return 0.7 + per_letter * letters + compound + accents


def _is_cyrillic(letter: str) -> bool:
    return "\u0400" <= letter <= "\u052f"

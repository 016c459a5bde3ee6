"""The enhanced prompt: persona, attributes and the caller's words in one fixed order, and its length."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes, Persona

QUALITY = (
    "professional photo studio portrait, ultra realistic, high detail, professional photography, "
    "DSLR camera, 85mm portrait lens, f/1.8 aperture, studio lighting, bokeh background, photorealistic, "
    "high resolution, 8k quality"
)
"""End of every enhanced prompt, word for word from the product's definition."""

NEGATIVE_PROMPT = (
    "ugly, blurry, low quality, distorted, deformed, bad anatomy, disfigured, poorly drawn face, cartoon, "
    "anime, 3d render, painting, illustration, unrealistic, artificial, plastic, wax figure, mannequin"
)
"""Default negative prompt, word for word from the product's definition."""

_END_OF_TEXT = 1
_LETTERS = "A-Za-z\u00c0-\u024f\u0400-\u052f\u1e00-\u1eff"
_PIECES = re.compile(rf"[{_LETTERS}]+|[!-~]|[^\s!-~{_LETTERS}]+")
_ACCENTED_LETTERS = frozenset("ßàáâäçèéêîóôöùûüăşţșț")
"""Accented letters in T5's vocabulary. Cyrillic letters count as in it too, although only half are."""
_ENGLISH = ("the", "and", "with", "his", "their", "from", "who", "are", "looking", "soft", "light")
_ENGLISH_OF_PORTRAITS = ("woman", "hair", "eyes", "face", "smile", "smiling", "wearing", "dress", "beautiful")
_GERMAN = ("und", "mit", "ein", "eine", "einen", "einem", "ist", "im")
_FRENCH = ("les", "des", "une", "dans", "avec", "sur")
_ROMANIAN = ("și", "pentru", "sunt", "unei")
_COMMON_WORDS = frozenset((*_ENGLISH, *_ENGLISH_OF_PORTRAITS, *_GERMAN, *_FRENCH, *_ROMANIAN))
"""Common words of the languages in T5's vocabulary that are rare in other languages. None is in `QUALITY`."""
_MIN_SHARE_OF_COMMON_WORDS = 0.04


def enhance(prompt: str, persona: Persona, attributes: Attributes) -> str:
    """Build the enhanced prompt. Without an age range, the prompt has the age range of the persona's age."""
    age_range = vocabulary.shown_age_range(attributes.age_range, persona.age)
    parts = (
        persona.name,
        f"{persona.age} years old" if persona.age else "",
        f"{', '.join(persona.personality)} personality" if persona.personality else "",
        _phrase(vocabulary.GENDER, attributes.gender),
        _phrase(vocabulary.AGE_RANGE, age_range),
        f"{attributes.ethnicity} ethnicity" if attributes.ethnicity else "",
        _phrase(vocabulary.BODY_TYPE, attributes.body_type),
        _hair(attributes),
        _phrase(vocabulary.EYE_COLOR, attributes.eye_color),
        _phrase(vocabulary.SKIN_TONE, attributes.skin_tone),
        _phrase(vocabulary.HEADWEAR, attributes.headwear),
        _phrase(vocabulary.STYLE, attributes.style),
        prompt,
        QUALITY,
    )
    return ", ".join(part for part in parts if part)


def describe(prompt: str, persona: Persona, attributes: Attributes) -> str:
    """Build the enhanced prompt as sentences, with the same facts as `enhance`."""
    subject = persona.name or "a person"
    request = f": {_without_end(prompt)}" if prompt.strip() else ""
    sentences = (
        f"A professional photo studio portrait of {subject}{request}.",
        *_facts(persona.name or "The person", persona, attributes),
        "The photograph is ultra realistic and photorealistic, with high detail, in high resolution and 8k "
        "quality: professional photography with a DSLR camera, an 85mm portrait lens, f/1.8 aperture, studio "
        "lighting and a bokeh background.",
    )
    return " ".join(sentences)


def instruct(prompt: str, persona: Persona, attributes: Attributes, references: int) -> str:
    """Build an instruction to draw the person of the references, for a model that edits pictures.

    The wording follows the advice for FLUX.1-Kontext to name the subject, and what must remain unchanged
    (https://fal.ai/models/fal-ai/flux-kontext/dev/api, "Best Practices").
    """
    pictures = "the picture" if references == 1 else "the pictures"
    request = f": {_without_end(prompt)}" if prompt.strip() else ""
    sentences = (
        f"Make a professional studio photograph of the person in {pictures}{request}.",
        *_facts("The person", persona, attributes),
        "Keep the face, the identity and all other features of the person exactly as they are.",
        "The photograph is photorealistic, with an 85mm portrait lens, f/1.8 aperture, studio lighting and a "
        "bokeh background.",
    )
    return " ".join(sentences)


def _facts(subject: str, persona: Persona, attributes: Attributes) -> Iterator[str]:
    """Yield a sentence for each kind of fact that is given."""
    age_range = vocabulary.shown_age_range(attributes.age_range, persona.age)
    body_type = _phrase(vocabulary.BODY_TYPE, attributes.body_type)
    is_what = (
        f"{persona.age} years old" if persona.age else "",
        _phrase(vocabulary.GENDER, attributes.gender),
        _with_article(_phrase(vocabulary.AGE_RANGE, age_range)),
        f"of {attributes.ethnicity} ethnicity" if attributes.ethnicity else "",
        f"of {body_type}" if body_type else "",
    )
    hair = _hair(attributes)
    has_what = (
        _with_article(hair) if hair.endswith("head") else hair,
        _phrase(vocabulary.EYE_COLOR, attributes.eye_color),
        _phrase(vocabulary.SKIN_TONE, attributes.skin_tone),
        f"{_with_article(_listed(persona.personality))} personality" if persona.personality else "",
    )
    worn = (
        _phrase(vocabulary.HEADWEAR, attributes.headwear),
        _phrase(vocabulary.STYLE, attributes.style),
    )
    for verb, phrases in (("is", is_what), ("has", has_what), ("is wearing", worn)):
        given = [phrase.removeprefix("wearing ") for phrase in phrases if phrase]
        if given:
            yield f"{subject} {verb} {_listed(given)}."


def _listed(phrases: Sequence[str]) -> str:
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last


def _with_article(phrase: str) -> str:
    if not phrase:
        return ""
    return f"{'an' if phrase[0].casefold() in 'aeiou' else 'a'} {phrase}"


def _without_end(prompt: str) -> str:
    return prompt.strip().removesuffix(".")


def _phrase(phrases: Mapping[str, str], word: str) -> str:
    return phrases[word] if word else ""


def _hair(attributes: Attributes) -> str:
    if not (attributes.hair_style or attributes.hair_color):
        return ""
    style = _phrase(vocabulary.HAIR_STYLE, attributes.hair_style) or "… hair"
    color = _phrase(vocabulary.HAIR_COLOR, attributes.hair_color)
    return " ".join(style.replace("…", color).split())


def cut_warning(provider_prompt: str, prompt_tokens: int) -> str | None:
    """Return a warning that the model will probably not read the whole prompt; None if it probably will.

    Args:
        provider_prompt: The prompt as it is sent.
        prompt_tokens: Number of tokens that the model reads, with the end mark.
    """
    tokens = estimated_tokens(provider_prompt)
    if tokens <= prompt_tokens:
        return None
    room = prompt_tokens - _END_OF_TEXT
    unread = sum(so_far > room for so_far in accumulate(_tokens_of_words(provider_prompt)))
    end = f"the last {unread:,} words" if unread > 1 else "the last word"
    return (
        f"the prompt has about {tokens:,} tokens and the model reads {prompt_tokens}: "
        f"it will probably not read about {end} of the prompt"
    )


def estimated_tokens(prompt: str) -> int:
    """Estimate how many tokens T5 makes of a prompt, including its end mark; rather too many than too few.

    T5 has 32,000 pieces of words from English and some German, French and Romanian text
    (https://arxiv.org/abs/1910.10683, section Vocabulary). Words of other languages become tokens of two
    letters. The rates were measured with the tokenizer of FLUX.1-dev on texts in 40 languages. For prompts in
    sentences, the estimate is 0.95 to 1.35 times the real number. English, German and French without common
    words, for example in a list, count as another language: up to 2.9 times the real number. Most scripts
    except Latin and Cyrillic are not in the vocabulary: text between two blanks becomes one unknown token.
    Other models have other tokenizers (CLIP's, Qwen's, Mistral's), for which this is an estimate too.
    """
    return math.ceil(_END_OF_TEXT + sum(_tokens_of_words(prompt)))


def _tokens_of_words(prompt: str) -> Iterator[float]:
    text = unicodedata.normalize("NFKC", prompt)
    words = re.findall(f"[{_LETTERS}]+", text.casefold())
    common = sum(word in _COMMON_WORDS for word in words)
    language_is_known = common >= _MIN_SHARE_OF_COMMON_WORDS * max(1, len(words))
    for word in text.split():
        # A blank is a separate token, unless it begins a piece of the vocabulary.
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
    # A letter that is not in the vocabulary splits its word into three tokens.
    accents = 0.3 * (len(beyond_ascii) - unknown) + 1.8 * unknown
    return 0.7 + per_letter * letters + compound + accents


def _is_cyrillic(letter: str) -> bool:
    return "\u0400" <= letter <= "\u052f"

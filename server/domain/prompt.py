"""The enhanced prompt: persona, attributes and the caller's words in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator

from server.domain import vocabulary
from server.domain.people import Attributes, Persona

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

"""Keyword arguments that several methods of the clients share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from avatar_creator.enums import GenerationPriority, GenerationPriorityWord
from avatar_creator.pictures import Picture
from avatar_creator.values import (
    Attributes,
    AttributesFields,
    Avatar,
    Persona,
    PersonaExample,
    PersonaFields,
    Preset,
)


class GenerationParameters(TypedDict, total=False):
    """Optional keyword arguments of every method that starts or estimates a generation.

    None means that an argument is not given. An app can also keep them in one dictionary and pass it on:

        portrait: GenerationParameters = {"width": 512, "height": 768, "seed": 7}
        avatars.generations.create(project.id, "calm woman", **portrait)

    Attributes:
        avatar_name: Name of the avatar, at most 120 characters; None means the persona's name, or the first
            words of the prompt if it has none.
        persona: Description of the person: a `Persona`, or its fields, as in `{"name": "Sarah"}`.
        attributes: Appearance of the person: `Attributes`, or their fields, as in `{"gender": "female"}`.
        width: Width in pixels, 256 to 1,440 in multiples of 16; None means 1,024.
        height: Height in pixels, 256 to 1,440 in multiples of 16; None means 1,024.
        seed: Start value of the random numbers, 0 to 2^32-1; None lets the service choose. Variations have
            consecutive seeds from this one on, and 0 follows 2^32-1.
        steps: Number of denoising steps, 1 to 50; None means the default of the service's model.
        guidance_scale: Strength of the prompt's influence on the picture, 1 to 20; None means the default of
            the service's model.
        negative_prompt: Content to keep out of the picture, at most 2,000 characters; None means the
            service's own list.
        strict: True refuses options that the service's route does not support. Otherwise, it ignores them
            with a warning.
        omit_recipe: True keeps the recipe out of the picture's file, except for the marker of AI.
        preset: Preset, or its id, that fills the prompt, and the fields of persona and attributes that are
            left out.
        persona_example: Persona example, or its id, that fills the fields of the persona that are left out.
        reference: Avatar to start from, or its id; the service uses its picture. A picture (the path of a
            file, bytes, an open file, or an image of Pillow) is first uploaded to the project, where it stays
            as an avatar; a text is an id if it is a UUID, and a path otherwise. A list of 1 to 8 different
            references gives several pictures of the same person; the service's route says how many it takes.
        reference_strength: Allowed distance from the reference's picture, above 0 and at most 1; None means
            0.6.
        priority: Urgency of the generation; None means normal.
    """

    avatar_name: str | None
    persona: Persona | PersonaFields | None
    attributes: Attributes | AttributesFields | None
    width: int | None
    height: int | None
    seed: int | None
    steps: int | None
    guidance_scale: float | None
    negative_prompt: str | None
    strict: bool | None
    omit_recipe: bool | None
    preset: Preset | str | None
    persona_example: PersonaExample | str | None
    reference: Avatar | Picture | Sequence[Avatar | Picture] | None
    reference_strength: float | None
    priority: GenerationPriority | GenerationPriorityWord | None

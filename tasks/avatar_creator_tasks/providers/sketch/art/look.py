"""The look of one person: the given traits, and for each missing one a choice made by the seed."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from avatar_creator_tasks.providers.sketch.art.palette import (
    EYES,
    HAIR,
    SCHEMES,
    SHIRTS,
    SKIN,
    SUITS,
    Color,
    Scheme,
    Skin,
    mix,
)

T = TypeVar("T")

Weights = Mapping[str, float]

GENDERS: Weights = {"female": 5, "male": 5, "non_binary": 1}
AGES: Weights = {
    "child": 0.6,
    "teenager": 1,
    "young_adult": 5,
    "middle_aged": 4,
    "mature": 1.2,
    "senior": 0.8,
}
BODIES: Weights = {"slim": 3, "average": 5, "athletic": 2, "muscular": 1, "curvy": 1, "plus_size": 1}
SOFT_CUTS: Weights = {
    "short": 2,
    "shoulder_length": 4,
    "long": 4,
    "wavy": 4,
    "curly": 3,
    "afro": 1,
    "braided": 1.5,
    "bun": 2.5,
    "ponytail": 2.5,
}
CRISP_CUTS: Weights = {"short": 10, "buzz_cut": 2, "curly": 2, "wavy": 2, "afro": 1, "bun": 0.3}
BALDING_CUTS: Weights = {**CRISP_CUTS, "bald": 4}
STYLES: Weights = {
    "casual": 5,
    "professional": 2,
    "formal": 0.6,
    "traditional": 0.8,
    "sporty": 1.5,
    "creative": 2,
    "elegant": 1.2,
    "streetwear": 2,
}
STYLES_YOUNG: Weights = {"casual": 5, "traditional": 0.5, "sporty": 2, "creative": 3, "streetwear": 2}
SKINS: Weights = {
    "very_light": 1,
    "light": 2,
    "medium": 2,
    "olive": 1.5,
    "tan": 1.5,
    "brown": 1.5,
    "dark": 1.2,
}
HAIRS_FAIR: Weights = {"black": 1, "dark_brown": 2, "brown": 3, "blonde": 2, "red": 1.2}
HAIRS_MIDDLE: Weights = {"black": 3, "dark_brown": 4, "brown": 2}
HAIRS_DEEP: Weights = {"black": 5, "dark_brown": 2}
HAIRS_OLD: Weights = {"gray": 3, "white": 2}
EYES_FAIR: Weights = {"brown": 2, "dark_brown": 1, "hazel": 2, "amber": 0.5, "green": 2, "blue": 3, "gray": 1}
EYES_MIDDLE: Weights = {"brown": 4, "dark_brown": 4, "hazel": 1, "amber": 0.5, "green": 0.3}
EYES_DEEP: Weights = {"brown": 3, "dark_brown": 5, "amber": 0.3}

_YOUNG = frozenset({"child", "teenager"})
_UNLINED = frozenset({"child", "teenager", "young_adult"})
_FAIR = frozenset({"very_light", "light"})
_DEEP = frozenset({"brown", "dark"})
_EAST: Weights = {"very_light": 2, "light": 5, "medium": 3}
_ISLANDS: Weights = {"medium": 3, "olive": 3, "tan": 4, "brown": 1}
_SOUTH: Weights = {"olive": 1, "tan": 3, "brown": 4}
_BLACK: Weights = {"brown": 4, "dark": 5}
_NORTH: Weights = {"very_light": 4, "light": 5}
_LATIN: Weights = {"light": 1, "medium": 3, "olive": 3, "tan": 3}
_GULF: Weights = {"light": 1, "medium": 3, "olive": 4, "tan": 2}

ORIGINS: tuple[tuple[tuple[str, ...], Weights], ...] = (
    (
        ("native american", "american indian", "latina", "latino", "latinx", "latin", "hispanic", "mexican"),
        _LATIN,
    ),
    (("brazilian", "colombian", "peruvian"), _LATIN),
    (("african", "nigerian", "kenyan", "ghanaian", "ethiopian", "black", "jamaican", "caribbean"), _BLACK),
    (("southeast asian", "indonesian", "javanese", "sundanese", "balinese", "malay", "malaysian"), _ISLANDS),
    (("filipino", "filipina", "thai", "polynesian"), _ISLANDS),
    (("south asian", "indian", "pakistani", "bangladeshi", "sri lankan", "tamil", "nepali"), _SOUTH),
    (("middle eastern", "arab", "arabic", "persian", "iranian", "turkish", "egyptian", "moroccan"), _GULF),
    (("chinese", "japanese", "korean", "vietnamese", "mongolian", "asian"), _EAST),
    (("european", "caucasian", "white", "nordic", "german", "british", "irish", "french", "dutch"), _NORTH),
)
"""Words in an ethnicity, and the skin tones that they make more likely when none is given. The first matching
row counts."""


class Traits(Protocol):
    """The given traits of a person. Each one is empty if it is not given."""

    @property
    def gender(self) -> str:
        """A key of `GENDERS`."""

    @property
    def age_range(self) -> str:
        """A key of `AGES`."""

    @property
    def ethnicity(self) -> str:
        """Free text, which makes some skin tones more likely."""

    @property
    def body_type(self) -> str:
        """A key of `BODIES`."""

    @property
    def hair_style(self) -> str:
        """A key of `SOFT_CUTS` or `BALDING_CUTS`."""

    @property
    def hair_color(self) -> str:
        """A key of `palette.HAIR`."""

    @property
    def eye_color(self) -> str:
        """A key of `palette.EYES`."""

    @property
    def skin_tone(self) -> str:
        """A key of `palette.SKIN`."""

    @property
    def style(self) -> str:
        """A key of `STYLES`."""

    @property
    def headwear(self) -> str:
        """Name of a piece of headwear that `headwear` paints."""


@dataclass(frozen=True, slots=True)
class Details:
    """Parts of a look that no trait names. The seed chooses those that are None."""

    adult: bool = False
    """True if the person is grown up, whichever age the seed chooses."""
    glasses: bool | None = None
    earrings: bool | None = None
    beard: str | None = None
    """See `Look.beard`."""


NO_DETAILS = Details()


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that the drawing needs to know about one person."""

    gender: str
    age: str
    """A key of `AGES`."""
    body: str
    cut: str
    """A key of `SOFT_CUTS` or `BALDING_CUTS`."""
    style: str
    headwear: str
    """Name of a piece of headwear, or empty."""
    skin: Skin
    hair: Color
    eyes: Color
    scheme: Scheme
    suit: Color
    shirt: Color
    masculine: float
    """Masculinity of face, brows and hair, 0 to 1."""
    soft: bool
    """True if hair and clothes have a typically feminine cut."""
    side: int
    """Side of the parting: 1 right, -1 left."""
    beard: str
    """`full`, `short`, `moustache`, or empty."""
    glasses: str
    """`round`, `square`, or empty."""
    earrings: bool
    freckles: bool
    laugh: bool
    """True if the mouth is open."""
    smile: float
    """Width of the smile, 0.85 to 1.15."""
    nose: float
    """Width of the nose, 0.85 to 1.15."""
    brow: float
    """Arch of the brows, -1 to 1."""
    tilt: float
    """Height of the outer corners of the eyes, -1 to 1."""
    width: float
    """Width of the face, 0.97 to 1.03."""
    variant: float
    """Choice among the variants of a garment or a hat, 0 to 1."""

    @property
    def adult(self) -> bool:
        """True if the body is fully grown."""
        return self.age not in _YOUNG

    @property
    def draped(self) -> bool:
        """True if a headscarf lies over the head and is not tied at the back."""
        return self.headwear == "headscarf" and self.masculine <= 0.7

    @property
    def old(self) -> bool:
        """True if the face has wrinkles."""
        return self.age in ("mature", "senior")


def resolve(traits: Traits, seed: int, details: Details = NO_DETAILS) -> Look:
    """Complete the traits and details of a person by random choices.

    The function makes every choice even if a trait is given, so that a seed stays the same person when a trait
    is added.
    """
    rng = random.Random(seed)
    gender = _choice(rng, traits.gender, GENDERS)
    between = rng.uniform(0.25, 0.75)
    masculine = {"female": 0.0, "male": 1.0}.get(gender, between)
    age = _choice(rng, traits.age_range, AGES)
    if details.adult and age in _YOUNG:
        age = "young_adult"
    body = _choice(rng, traits.body_type, BODIES)
    soft = masculine < 0.5
    cut = _choice(rng, traits.hair_style, _likely_cuts(age, soft))
    style = _choice(rng, traits.style, STYLES_YOUNG if age == "child" else STYLES)
    tone = _choice(rng, traits.skin_tone, _likely_skins(traits.ethnicity))
    hair = HAIR[_choice(rng, traits.hair_color, _likely_hair_colors(age, tone))]
    if age == "mature" and not traits.hair_color:
        hair = mix(hair, HAIR["gray"], 0.45)
    eyes = EYES[_choice(rng, traits.eye_color, _likely_eye_colors(tone))]
    bearded = gender == "male" and age not in _YOUNG
    beard = _choice(rng, "", {"": 5, "short": 3, "full": 2, "moustache": 0.7})
    glasses_share = {"child": 0.08, "teenager": 0.15, "senior": 0.4, "mature": 0.3}.get(age, 0.18)
    glasses = _given(details.glasses, rng.random() <= glasses_share)
    frame = rng.choice(("round", "square"))
    return Look(
        gender=gender,
        age=age,
        body=body,
        cut=cut,
        style=style,
        headwear=traits.headwear,
        skin=SKIN[tone],
        hair=hair,
        eyes=eyes,
        scheme=rng.choice(SCHEMES),
        suit=rng.choice(SUITS),
        shirt=rng.choice(SHIRTS),
        masculine=masculine,
        soft=soft,
        side=rng.choice((-1, 1)),
        beard=_given(details.beard, beard if bearded else ""),
        glasses=frame if glasses else "",
        earrings=_given(details.earrings, rng.random() < (0.55 if soft else 0.05) and age != "child"),
        freckles=rng.random() < (0.2 if tone in _FAIR else 0.05),
        laugh=rng.random() < 0.45,
        smile=rng.uniform(0.85, 1.15),
        nose=rng.uniform(0.85, 1.15),
        brow=rng.uniform(-1, 1),
        tilt=rng.uniform(-1, 1),
        width=rng.uniform(0.97, 1.03),
        variant=rng.random(),
    )


def _choice(rng: random.Random, given: str, weights: Weights) -> str:
    drawn = rng.choices(list(weights), list(weights.values()))[0]
    return given or drawn


def _given(given: T | None, chosen: T) -> T:
    return chosen if given is None else given


def _likely_cuts(age: str, soft: bool) -> Weights:
    if soft:
        return SOFT_CUTS
    return CRISP_CUTS if age in _UNLINED else BALDING_CUTS


def _likely_hair_colors(age: str, tone: str) -> Weights:
    if age == "senior":
        return HAIRS_OLD
    if tone in _FAIR:
        return HAIRS_FAIR
    return HAIRS_DEEP if tone in _DEEP else HAIRS_MIDDLE


def _likely_eye_colors(tone: str) -> Weights:
    if tone in _FAIR:
        return EYES_FAIR
    return EYES_DEEP if tone in _DEEP else EYES_MIDDLE


def _likely_skins(ethnicity: str) -> Weights:
    text = ethnicity.lower()
    for words, skins in ORIGINS:
        if any(re.search(rf"\b{word}\b", text) for word in words):
            return skins
    return SKINS

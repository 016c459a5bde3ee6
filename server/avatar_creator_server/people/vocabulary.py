"""The words for attributes, with the phrase for each in a prompt.

The keys are the contract's enum values in lower case without their prefix: `HAIR_STYLE_BUZZ_CUT` is
`buzz_cut`. The contract's comments repeat the phrases, and a test compares the two.
"""

from __future__ import annotations

GENDER = {"female": "female", "male": "male", "non_binary": "non-binary"}

AGE_RANGE = {
    "child": "child (under 13 years old)",
    "teenager": "teenager (13-17 years old)",
    "young_adult": "young adult (18-29 years old)",
    "middle_aged": "middle-aged adult (30-50 years old)",
    "mature": "mature adult (51-65 years old)",
    "senior": "senior (over 65 years old)",
}

BODY_TYPE = {
    "slim": "slim build",
    "average": "average build",
    "athletic": "athletic build",
    "muscular": "muscular build",
    "curvy": "curvy build",
    "plus_size": "plus-size build",
}

HAIR_STYLE = {
    "bald": "bald head",
    "buzz_cut": "buzz-cut … hair",
    "short": "short … hair",
    "shoulder_length": "shoulder-length … hair",
    "long": "long … hair",
    "wavy": "wavy … hair",
    "curly": "curly … hair",
    "afro": "afro … hair",
    "braided": "braided … hair",
    "bun": "… hair in a bun",
    "ponytail": "… hair in a ponytail",
}
"""Phrases in which the hair color, if given, replaces `…`."""

HAIR_COLOR = {
    "black": "black",
    "dark_brown": "dark brown",
    "brown": "brown",
    "blonde": "blonde",
    "red": "red",
    "gray": "gray",
    "white": "white",
}

EYE_COLOR = {
    "brown": "brown eyes",
    "dark_brown": "dark brown eyes",
    "hazel": "hazel eyes",
    "amber": "amber eyes",
    "green": "green eyes",
    "blue": "blue eyes",
    "gray": "gray eyes",
}

SKIN_TONE = {
    "very_light": "very light skin",
    "light": "light skin",
    "medium": "medium skin",
    "olive": "olive skin",
    "tan": "tan skin",
    "brown": "brown skin",
    "dark": "dark skin",
}

STYLE = {
    "professional": "wearing professional attire",
    "casual": "wearing casual attire",
    "formal": "wearing formal attire",
    "traditional": "wearing traditional attire",
    "sporty": "wearing sporty attire",
    "creative": "wearing creative attire",
    "elegant": "wearing elegant attire",
    "streetwear": "wearing streetwear attire",
}

HEADWEAR = {
    "hijab": "wearing a hijab",
    "headscarf": "wearing a headscarf",
    "peci": "wearing a peci",
    "turban": "wearing a turban",
    "kippah": "wearing a kippah",
    "cap": "wearing a cap",
    "beanie": "wearing a beanie",
    "fedora": "wearing a fedora",
    "sun_hat": "wearing a sun hat",
}


def shown_age_range(age_range: str, age: int) -> str:
    """Return the age range to show: the given one, or else that of the age, or empty without both."""
    return age_range or (age_range_of(age) if age else "")


def age_range_of(age: int) -> str:
    """Return the age range of an age in years."""
    for oldest, age_range in (
        (12, "child"),
        (17, "teenager"),
        (29, "young_adult"),
        (50, "middle_aged"),
        (65, "mature"),
    ):
        if age <= oldest:
            return age_range
    return "senior"

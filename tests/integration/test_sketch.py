"""The provider `sketch` in the complete service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avatar_creator import (
    Attributes,
    AvatarCreator,
    EyeColor,
    Gender,
    HairColor,
    HairStyle,
    Headwear,
    SkinTone,
    Style,
)
from tests.support.generations import final_state
from tests.support.presence import present

BASE = {
    "gender": Gender.FEMALE,
    "hair_style": HairStyle.LONG,
    "hair_color": HairColor.BLACK,
    "eye_color": EyeColor.BROWN,
    "skin_tone": SkinTone.TAN,
    "style": Style.CASUAL,
}
OTHER = {
    "gender": Gender.MALE,
    "hair_style": HairStyle.AFRO,
    "hair_color": HairColor.RED,
    "eye_color": EyeColor.BLUE,
    "skin_tone": SkinTone.DARK,
    "style": Style.FORMAL,
    "headwear": Headwear.TURBAN,
}


Draw = Callable[..., str]


@pytest.fixture
def draw(shared_client: AvatarCreator) -> Draw:
    """Return a function that generates a small portrait and returns the SHA-256 of its picture."""
    project = shared_client.projects.create("Sketches")

    def draw(seed: int, **attributes: int) -> str:
        generation = final_state(
            shared_client.generations.create(
                project.id,
                prompt="portrait",
                attributes=Attributes(**attributes),  # type: ignore[arg-type]
                width=256,
                height=320,
                seed=seed,
            )
        )
        image = shared_client.avatars.get(present(generation.avatar_id)).image
        assert (image.width, image.height) == (256, 320)
        assert generation.provider == "sketch"
        return image.sha256

    return draw


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(draw: Draw) -> None:
    assert draw(5, **BASE) == draw(5, **BASE)
    assert draw(5, **BASE) != draw(6, **BASE)


def test_each_attribute_changes_the_picture(draw: Draw) -> None:
    pictures = {draw(5, **{**BASE, field: value}) for field, value in OTHER.items()}
    assert len(pictures | {draw(5, **BASE)}) == len(OTHER) + 1

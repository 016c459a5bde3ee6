"""Records made of rows are those that their dataclass would make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from avatar_creator_server.database.records import maker


@dataclass(frozen=True, slots=True)
class _Picture:
    id: str
    width: int = 0


@dataclass(frozen=True, slots=True)
class _Photograph(_Picture):
    camera: str = ""


def test_a_record_of_a_derived_dataclass_has_the_values_of_both() -> None:
    assert maker(_Photograph)("a", 256, "a box") == _Photograph("a", 256, "a box")


def test_a_made_record_is_one_of_its_dataclass() -> None:
    made = maker(_Picture)("a", 256)

    assert type(made) is _Picture
    assert made == _Picture("a", 256)
    assert hash(made) == hash(_Picture("a", 256))
    assert replace(made, width=512) == _Picture("a", 512)


def test_a_made_record_is_frozen() -> None:
    made = maker(_Picture)("a", 256)

    with pytest.raises(FrozenInstanceError):
        made.__setattr__("width", 512)


def test_a_field_without_a_value_has_its_default() -> None:
    assert maker(_Picture)("a") == _Picture("a")


def test_a_field_without_a_value_and_a_default_is_refused() -> None:
    with pytest.raises(TypeError, match="id"):
        maker(_Picture)(width=256)

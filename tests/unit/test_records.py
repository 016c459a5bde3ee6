"""Records made of rows are those that their dataclass would make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from avatar_creator_server.database.records import maker, with_values


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


@dataclass(frozen=True, slots=True)
class _Checked(_Picture):
    def __post_init__(self) -> None:
        if not self.width:
            raise ValueError("a picture has a width")


@dataclass(frozen=True, slots=True)
class _Counted(_Picture):
    uses: int = field(init=False, default=0)


def test_a_dataclass_with_checks_makes_them() -> None:
    with pytest.raises(ValueError, match="width"):
        maker(_Checked)("a")


def test_a_field_that_is_no_argument_is_none_of_the_maker_either() -> None:
    assert maker(_Counted)("a", 256) == _Counted("a", 256)
    with pytest.raises(TypeError):
        maker(_Counted)("a", 256, 1)


def test_a_field_without_a_value_has_its_default() -> None:
    assert maker(_Picture)("a") == _Picture("a")


def test_a_field_without_a_value_and_a_default_is_refused() -> None:
    with pytest.raises(TypeError, match="id"):
        maker(_Picture)(width=256)


def test_a_copy_with_other_values_is_the_one_that_dataclasses_would_make() -> None:
    photograph = _Photograph("a", 256, "a box")

    assert with_values(photograph, width=512) == replace(photograph, width=512)
    assert photograph.width == 256
    with pytest.raises(TypeError):
        with_values(photograph, height=1)

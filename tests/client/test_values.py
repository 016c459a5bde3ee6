"""Values of the client: they have every field of the contract, and enums have every word."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from io import BytesIO
from pkgutil import iter_modules
from typing import Any, get_args, get_type_hints

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet
from google.type.date_pb2 import Date
from PIL import Image as Pillow

import avatar_creator
from avatar_creator import (
    Attributes,
    Avatar,
    AvatarBatch,
    DailySpend,
    ErrorReason,
    Gender,
    Generation,
    GenerationFailure,
    GenerationState,
    HairColor,
    InvalidArgumentError,
    Persona,
    Preset,
    Stats,
    UsageRecord,
    enums,
    v1,
    values,
)
from avatar_creator.conversion import Value
from avatar_creator.enums import Word
from avatar_creator.v1.avatar_pb2 import Avatar as AvatarMessage
from avatar_creator.v1.avatar_pb2 import SourceType as SourceTypeMessage
from avatar_creator.v1.avatar_service_pb2 import BatchGetAvatarsResponse
from avatar_creator.v1.generation_pb2 import Generation as GenerationMessage
from avatar_creator.v1.generation_pb2 import GenerationError as GenerationErrorMessage
from avatar_creator.v1.preset_pb2 import AvatarPreset
from avatar_creator.v1.usage_pb2 import UsageRecord as UsageRecordMessage
from avatar_creator.v1.usage_service_pb2 import DailySpend as DailySpendMessage
from avatar_creator.v1.usage_service_pb2 import GetStatsResponse

ID = "01a204c5-f0a0-7420-b0e8-3a0825fedfed"

LEFT_OUT = {
    "BatchGetAvatarsResponse.omitted_thumbnail_avatar_ids": "the client reads these thumbnails itself",
    "GetStatsResponse.next_page_token": "the client reads all pages",
}
"""Fields of the contract that a value does not have, and why."""

RENAMED = {"GenerationError.message": "explanation"}
"""Fields of the contract that have another name in a value: `message` of each value is its message."""

VALUES: dict[str, Any] = {
    name: each
    for name, each in vars(values).items()
    if isinstance(each, type) and issubclass(each, Value) and each is not Value
}
ENUMS: dict[str, Any] = {
    name: each
    for name, each in vars(enums).items()
    if isinstance(each, type) and issubclass(each, Word) and each is not Word
}


def contract() -> Iterator[Any]:
    """Yield the descriptors of all files of the contract."""
    for module in iter_modules(v1.__path__):
        # The options describe the contract's fields and calls, and no client sends or receives them.
        if module.name.endswith("_pb2") and module.name != "options_pb2":
            yield import_module(f"avatar_creator.v1.{module.name}").DESCRIPTOR


def descriptor_of(value: Any) -> Descriptor:
    """Return the descriptor of the message of a value class."""
    (base,) = value.__orig_bases__
    module, name = get_args(base)[0].__forward_arg__.split(".")
    found: Descriptor = getattr(import_module(f"avatar_creator.v1.{module}"), name).DESCRIPTOR
    return found


MESSAGES = {descriptor_of(value).full_name: name for name, value in VALUES.items()}


def filled(descriptor: Descriptor) -> Any:
    """Return a message in which every field, at every depth, differs from its default."""
    from google.protobuf.message_factory import GetMessageClass

    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["key"] = "text"
            continue
        item = item_of(field)
        if isinstance(getattr(message, field.name), int | float | str | bytes | bool):
            setattr(message, field.name, item)
        elif hasattr(getattr(message, field.name), "CopyFrom"):
            getattr(message, field.name).CopyFrom(item)
        else:
            getattr(message, field.name).extend([item])
    return message


def item_of(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        known = {
            "google.protobuf.Timestamp": {"seconds": 1_795_791_333, "nanos": 14_875_000},
            "google.type.Date": {"year": 2026, "month": 11, "day": 27},
        }.get(field.message_type.full_name)
        if known is not None:
            from google.protobuf.message_factory import GetMessageClass

            return GetMessageClass(field.message_type)(**known)
        if field.message_type.full_name == "google.protobuf.Struct":
            from google.protobuf.struct_pb2 import Struct

            struct = Struct()
            struct.update({"poses": 12, "deep": {"score": 0.5, "names": ["a", None, True]}})
            return struct
        return filled(field.message_type)
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text",
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
        FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    }.get(field.cpp_type, 7)


# The contract


@pytest.mark.parametrize("name", VALUES)
def test_a_value_has_every_field_of_its_message(name: str) -> None:
    descriptor = descriptor_of(VALUES[name])
    own = {field.name for field in fields(VALUES[name])}
    paths = {f"{descriptor.name}.{field.name}": field.name for field in descriptor.fields}
    assert own == {RENAMED.get(path, name) for path, name in paths.items() if path not in LEFT_OUT}


def test_every_message_inside_a_value_has_a_value() -> None:
    for name in VALUES:
        for field in descriptor_of(VALUES[name]).fields:
            inner = field.message_type
            if inner is not None and inner.file.package == "avatar_creator.v1":
                assert inner.GetOptions().map_entry or inner.full_name in MESSAGES, field.full_name


def test_every_enum_of_the_contract_has_all_words() -> None:
    described: dict[str, EnumDescriptor] = {
        name: enum for file in contract() for name, enum in file.enum_types_by_name.items()
    }
    assert described.keys() == ENUMS.keys()
    for name, enum in described.items():
        prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
        assert {member.name: member.number for member in ENUMS[name]} == {
            value.name.removeprefix(prefix): value.number for value in enum.values if value.number
        }
        assert all(member.value in (member.name, member.name.lower()) for member in ENUMS[name])


@pytest.mark.parametrize("name", [name for name in ENUMS if hasattr(enums, f"{name}Word")])
def test_a_type_checker_knows_every_word(name: str) -> None:
    assert list(get_args(getattr(enums, f"{name}Word"))) == [member.value for member in ENUMS[name]]


@pytest.mark.parametrize("name", VALUES)
def test_no_field_gets_lost_on_the_way_to_a_value_and_back(name: str) -> None:
    message = filled(descriptor_of(VALUES[name]))
    value = VALUES[name].from_message(message)
    rebuilt = VALUES[name](**{field.name: getattr(value, field.name) for field in fields(value)})

    assert value.message == message
    assert rebuilt == value
    for left_out in LEFT_OUT:
        of, _, path = left_out.partition(".")
        if of == message.DESCRIPTOR.name:
            message.ClearField(path)
    assert rebuilt.message == message
    empty = VALUES[name].from_message(type(message)())
    for field in fields(value):
        hint = get_type_hints(VALUES[name])[field.name]
        if type(None) in get_args(hint):
            assert getattr(empty, field.name) is None, field.name
        assert getattr(value, field.name) not in (None, ()), field.name


@pytest.mark.parametrize("name", VALUES)
def test_a_value_can_be_pickled_copied_compared_hashed_and_printed(name: str) -> None:
    value = VALUES[name].from_message(filled(descriptor_of(VALUES[name])))
    arrived = pickle.loads(pickle.dumps(value))

    assert arrived == value == copy.deepcopy(value) == copy.copy(value)
    assert hash(arrived) == hash(value)
    assert arrived != object()
    assert json.loads(value.to_json()) == value.to_dict() == arrived.to_dict()
    assert len(repr(value)) <= 80
    assert "\n" not in repr(value)
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)


def test_every_value_and_enum_can_be_imported_from_the_package() -> None:
    for name in (*VALUES, *ENUMS):
        assert name in avatar_creator.__all__, name


# Facts of a value


def avatar(**changes: Any) -> Avatar:
    created = {"seconds": 1_795_791_333, "nanos": 14_875_000}
    return Avatar.from_message(
        AvatarMessage(
            **{
                "id": ID,
                "name": "Sarah",
                "source_type": SourceTypeMessage.SOURCE_TYPE_UPLOADED,
                "create_time": created,
                **changes,
            }
        )
    )


def test_absent_facts_are_none_and_times_have_a_zone() -> None:
    sarah = avatar(seed_used=0)

    assert (sarah.generation_id, sarah.last_used_time, sarah.thumbnail, sarah.thumbnail_data) == (None,) * 4
    assert (sarah.seed_used, avatar().seed_used) == (0, None)
    assert (sarah.persona, sarah.persona.age, sarah.attributes.gender) == (Persona(), None, None)
    assert sarah.reference_avatar_ids == ()
    assert sarah.create_time == datetime(2026, 11, 27, 14, 55, 33, 14_875, tzinfo=UTC)
    assert sarah.to_dict()["create_time"] == "2026-11-27T14:55:33.014875Z"
    assert repr(sarah) == f"Avatar(id='{ID}', name='Sarah', …)"


def test_a_failure_has_its_explanation_as_text_and_its_message_as_every_value() -> None:
    message = GenerationErrorMessage(
        reason=ErrorReason.PROVIDER_NSFW.number,  # type: ignore[arg-type]
        message="the picture was withheld",
    )
    failure = GenerationFailure.from_message(message)

    assert str(failure) == failure.explanation == "the picture was withheld"
    assert failure.message == message
    assert failure.to_dict() == {"reason": "PROVIDER_NSFW", "explanation": "the picture was withheld"}


def test_prices_are_exact_dollars() -> None:
    assert Generation.from_message(GenerationMessage(price_micros=3_500)).price_usd == Decimal("0.0035")
    assert Generation.from_message(GenerationMessage(price_micros=3_500_000)).price_usd == Decimal("3.5")


def test_a_day_is_a_date() -> None:
    days = [DailySpendMessage(day=Date(year=2026, month=11, day=27)), DailySpendMessage()]
    stats = GetStatsResponse(spending=days)
    first, second = Stats.from_message(stats).spending
    assert (first.day, first.app_id, first.to_dict()["day"]) == (date(2026, 11, 27), None, "2026-11-27")
    assert isinstance(second, DailySpend)


def test_metadata_is_read_only_and_as_it_was_recorded() -> None:
    message = UsageRecordMessage(id=ID)
    recorded: dict[str, Any] = {"poses": 12, "score": 0.5, "names": ["a", None], "deep": {"checked": True}}
    message.metadata.update(recorded)
    use = UsageRecord.from_message(message)

    assert use.metadata == recorded
    assert json.dumps(dict(use.metadata)) == json.dumps(dict(use.metadata) | {"poses": 12})
    with pytest.raises(TypeError):
        use.metadata["poses"] = 13  # type: ignore[index]


def test_a_changed_value_has_the_message_of_its_fields() -> None:
    sarah = avatar(seed_used=0)
    renamed = replace(sarah, name="Sari", attributes=Attributes(gender="female"))

    assert renamed != sarah
    assert (renamed.message.name, renamed.message.attributes.gender, renamed.message.seed_used) == (
        "Sari",
        1,
        0,
    )
    assert not renamed.message.HasField("persona")
    assert Avatar.from_message(renamed.message) == renamed


def test_fields_of_a_newer_service_stay_in_the_message() -> None:
    newer = avatar().message.SerializeToString() + b"\xfa\x3f\x03new"
    read = pickle.loads(pickle.dumps(Avatar.from_message(AvatarMessage.FromString(newer))))

    assert read == avatar()
    unknown: Any = UnknownFieldSet(read.message)
    assert [field.data for field in unknown] == [b"new"]


def test_the_message_of_a_value_is_a_copy() -> None:
    sarah = avatar()
    sarah.message.name = "Sari"
    assert (sarah.name, sarah.message.name) == ("Sarah", "Sarah")


def test_a_batch_has_the_messages_of_its_avatars_even_if_the_given_one_changes() -> None:
    newer = AvatarMessage.FromString(avatar().message.SerializeToString() + b"\xfa\x3f\x03new")
    given = BatchGetAvatarsResponse(avatars=[newer], missing_avatar_ids=["a2"])
    expected = BatchGetAvatarsResponse.FromString(given.SerializeToString())
    batch = AvatarBatch.from_message(given)
    assert given == expected

    given.avatars[0].name = "Sari"
    batch.message.avatars[0].name = "Sari"
    for read in (batch, pickle.loads(pickle.dumps(batch))):
        assert read.message == expected
        assert read.avatars[0].message == newer


def test_long_and_strange_texts_fit_into_one_line() -> None:
    assert repr(avatar(name="confident business woman")) == (
        f"Avatar(id='{ID}', name='confident business…', …)"
    )
    assert repr(replace(avatar(), id="a1")) == "Avatar(id='a1', name='Sarah', source_type='uploaded')"
    assert len(repr(avatar(name="Sa\nrah\x1b[31m" * 50))) <= 80
    assert "\x1b" not in repr(avatar(name="\x1b[31m"))


# Words


@pytest.mark.parametrize("word", ["non_binary", "non-binary", "Non Binary", "NON_BINARY"])
def test_a_word_is_found_in_each_form_in_which_people_write_it(word: str) -> None:
    assert Gender(word) is Gender.NON_BINARY
    assert Attributes(gender=word).gender is Gender.NON_BINARY  # type: ignore[arg-type]


def test_a_member_is_equal_to_its_word_and_prints_as_it() -> None:
    assert (f"{Gender.FEMALE}", repr(Gender.FEMALE), Gender.FEMALE.number) == ("female", "Gender.FEMALE", 1)
    assert Generation.from_message(GenerationMessage(state=3)).state == "completed"  # type: ignore[arg-type]
    assert {"completed": 1}[GenerationState.COMPLETED] == 1


def test_the_reason_of_a_failure_is_the_word_of_errors_and_logs() -> None:
    assert ErrorReason.PROVIDER_NSFW == "PROVIDER_NSFW"


@pytest.mark.parametrize("number", [99, -1])
def test_an_unknown_number_survives_is_compared_printed_and_pickled(number: int) -> None:
    message = GenerationMessage(id=ID, state=number)  # type: ignore[arg-type]
    newer = Generation.from_message(message).state
    word = f"unknown_{number}"

    assert (newer.number, newer.value, repr(newer)) == (number, word, f"GenerationState.{word.upper()}")
    assert (
        newer == GenerationState.of_number(number) == GenerationState(word) == GenerationState(word.upper())
    )
    assert newer not in list(GenerationState)
    assert pickle.loads(pickle.dumps(newer)) == copy.deepcopy(newer) == newer
    assert pickle.loads(pickle.dumps(newer)).number == number
    assert Attributes(gender=Gender.of_number(number)).message.gender == number


def test_a_stored_word_of_a_newer_service_is_the_member_after_an_upgrade() -> None:
    assert Gender("unknown_1") is Gender.FEMALE


@pytest.mark.parametrize("wrong", ["femal", "", "unknown_x", 1, None, HairColor.BLACK, ["female"]])
def test_no_other_word_is_a_member(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Gender.given("gender", wrong)
    assert caught.value.message.startswith("gender must be one of female, male, non_binary (got ")
    assert caught.value.field_violations[0].field == "gender"


def test_attributes_and_personas_check_what_they_are_made_of() -> None:
    with pytest.raises(InvalidArgumentError, match="hair_color must be one of black, dark_brown"):
        Attributes(hair_color="green")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="personality must be a list"):
        Persona(personality="calm")
    assert Persona(name="", age=0, personality=["calm"]) == Persona(personality=("calm",))


# Notebooks


def webp() -> bytes:
    file = BytesIO()
    Pillow.new("RGB", (300, 300), "teal").save(file, "WEBP")
    return file.getvalue()


def html(value: Any) -> str:
    """Return what a notebook shows for a value."""
    shown: str = value._repr_html_()
    return shown


def test_a_notebook_shows_an_avatar_as_its_picture() -> None:
    sarah = avatar(thumbnail_data=webp())

    assert '<img src="data:image/webp;base64,' in html(sarah)
    picture = sarah._repr_png_()
    assert picture is not None
    assert Pillow.open(BytesIO(picture)).size == (300, 300)


def test_a_notebook_shows_an_avatar_without_its_picture_as_a_labeled_card() -> None:
    card = html(avatar(name="Sarah <Binti> Ali"))

    assert "<img" not in card
    assert "Sarah &lt;Binti&gt; Ali" in card
    assert "uploaded" in card
    assert ID in card
    assert avatar()._repr_png_() is None


def test_a_notebook_shows_a_page_of_avatars_as_a_grid() -> None:
    page = avatar_creator.Page((avatar(), avatar(name="Sari", thumbnail_data=webp())), "next")

    assert (html(page).count("Sarah"), html(page).count("<img")) == (2, 1)
    assert repr(page) == "Page(<2 of Avatar>, more follow)"
    assert repr(avatar_creator.Page((), "")) == "Page(<0>)"


def test_a_notebook_shows_a_preset_as_its_picture() -> None:
    assert "<img" in html(Preset.from_message(AvatarPreset(id=ID, name="Chef", image_data=webp())))


def test_a_notebook_shows_a_generation_as_a_card() -> None:
    message = GenerationMessage(
        id=ID,
        state=GenerationState.FAILED.number,  # type: ignore[arg-type]
        avatar_name="Ratna",
        prompt="<script>woman</script>",
        progress_percent=70,
        warnings=["words were cut"],
        error=GenerationErrorMessage(
            reason=ErrorReason.PROVIDER_NSFW.number,  # type: ignore[arg-type]
            message="the picture was withheld",
        ),
        price_micros=3_500,
    )
    card = html(Generation.from_message(message))

    assert "<script>" not in card
    for text in (
        "Ratna",
        "failed, 70 %",
        "PROVIDER_NSFW: the picture was withheld",
        "words were cut",
        "$0.0035",
    ):
        assert text in card

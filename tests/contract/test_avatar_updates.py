"""Updates of avatars with and without a field mask, and reading many avatars at once."""

from __future__ import annotations

import uuid
from io import BytesIO
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image

from avatar_creator.v1 import avatar_service_pb2 as pb
from avatar_creator.v1.attributes_pb2 import Attributes, Gender, Headwear, Style
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.persona_pb2 import Persona
from tests import pictures
from tests.contract.calls import Calls
from tests.support.threads import Threads
from tests.support.waiting import wait_until

PICTURE = pictures.png()
PERSONA = Persona(name="Sarah", age=32, personality=["warm", "calm"], background="From Bath.")
ATTRIBUTES = Attributes(
    gender=Gender.GENDER_FEMALE, ethnicity="British", style=Style.STYLE_CASUAL, headwear=Headwear.HEADWEAR_CAP
)


@pytest.fixture
def avatar(calls: Calls) -> Avatar:
    """An avatar with a persona and attributes."""
    return calls.upload(
        calls.create_project().id, PICTURE, name="Face", persona=PERSONA, attributes=ATTRIBUTES
    )


def updated(calls: Calls, avatar: Avatar, *paths: str, **values: Any) -> Avatar:
    request = pb.UpdateAvatarRequest(
        avatar=Avatar(id=avatar.id, **values), update_mask=FieldMask(paths=paths)
    )
    answer = calls.avatars.UpdateAvatar(request).avatar
    assert calls.avatars.GetAvatar(pb.GetAvatarRequest(avatar_id=avatar.id)).avatar == answer
    return answer


def persona(**changes: Any) -> Persona:
    fields = {field.name: getattr(PERSONA, field.name) for field in Persona.DESCRIPTOR.fields}
    return Persona(**{**fields, **changes})


def attributes(**changes: Any) -> Attributes:
    fields = {field.name: getattr(ATTRIBUTES, field.name) for field in Attributes.DESCRIPTOR.fields}
    return Attributes(**{**fields, **changes})


@pytest.mark.parametrize(
    ("paths", "values", "changed"),
    [
        # Without a mask: the populated fields.
        ((), {"name": "New"}, {"name": "New"}),
        ((), {"persona": Persona(age=33)}, {"persona": persona(age=33)}),
        (
            (),
            {"name": "New", "attributes": Attributes(style=Style.STYLE_FORMAL)},
            {"name": "New", "attributes": attributes(style=Style.STYLE_FORMAL)},
        ),
        # With a mask: the fields of the mask, also if they are empty.
        (("name",), {"name": "New", "persona": Persona(age=1)}, {"name": "New"}),
        (("persona",), {"persona": Persona(age=33)}, {"persona": Persona(age=33)}),
        (("persona",), {}, {"persona": Persona()}),
        (("persona.age",), {"persona": Persona(name="X", age=33)}, {"persona": persona(age=33)}),
        (("persona.age",), {}, {"persona": persona(age=0)}),
        (
            ("persona.personality",),
            {"persona": Persona(personality=["bold"])},
            {"persona": persona(personality=["bold"])},
        ),
        (("persona.personality",), {}, {"persona": persona(personality=[])}),
        (("attributes",), {}, {"attributes": Attributes()}),
        (
            ("attributes.headwear", "attributes.ethnicity"),
            {"attributes": Attributes(ethnicity="Éire")},
            {"attributes": attributes(headwear=0, ethnicity="Éire")},
        ),
        (
            ("name", "persona.name", "persona"),
            {"name": "New", "persona": Persona(name="Eva")},
            {"name": "New", "persona": Persona(name="Eva")},
        ),
        (("*",), {"name": "New"}, {"name": "New", "persona": Persona(), "attributes": Attributes()}),
    ],
    ids=str,
)
def test_an_update_changes_the_fields_of_the_mask_or_the_populated_fields(
    calls: Calls, avatar: Avatar, paths: tuple[str, ...], values: dict[str, Any], changed: dict[str, Any]
) -> None:
    expected = Avatar()
    expected.CopyFrom(avatar)
    for field, value in changed.items():
        if field == "name":
            expected.name = value
        else:
            getattr(expected, field).CopyFrom(value)

    answer = updated(calls, avatar, *paths, **values)

    assert answer.update_time.ToNanoseconds() > avatar.update_time.ToNanoseconds()
    expected.update_time.CopyFrom(answer.update_time)
    expected.revision += 1
    assert answer == expected


def test_an_update_without_writable_fields_changes_nothing(calls: Calls, avatar: Avatar) -> None:
    assert updated(calls, avatar) == avatar
    assert updated(calls, avatar, usage_count=77, user_id="another-user", thumbnail_data=b"x") == avatar


def test_fields_outside_the_mask_are_not_validated(calls: Calls, avatar: Avatar) -> None:
    """Act like a program that reads an avatar of a later version, changes its name and sends it back."""
    unknown = Attributes(gender=99, ethnicity="x" * 1000)  # type: ignore[arg-type]

    answer = updated(calls, avatar, "name", name="New", attributes=unknown, source_type=77)

    assert (answer.name, answer.attributes) == ("New", ATTRIBUTES)


def test_a_changed_avatar_is_found_by_its_new_values(calls: Calls, avatar: Avatar) -> None:
    def found(**filters: Any) -> list[str]:
        return [listed.id for listed in calls.avatars.ListAvatars(pb.ListAvatarsRequest(**filters)).avatars]

    updated(
        calls,
        avatar,
        name="Ågnes",
        persona=Persona(name="Éva"),
        attributes=Attributes(ethnicity="Ázsiai"),
    )

    assert found(query="agnes éva") == found(ethnicity="AZSIAI") == [avatar.id]
    assert found(query="face") == found(query="sarah") == found(ethnicity="british") == []


def test_concurrent_updates_of_different_fields_are_all_kept(calls: Calls, avatar: Avatar) -> None:
    changes: list[dict[str, Any]] = [
        {"name": "New"},
        {"persona": Persona(age=50)},
        {"persona": Persona(name="Eva")},
        {"attributes": Attributes(style=Style.STYLE_FORMAL)},
        {"attributes": Attributes(ethnicity="Irish")},
    ]

    def update(values: dict[str, Any]) -> None:
        calls.avatars.UpdateAvatar(pb.UpdateAvatarRequest(avatar=Avatar(id=avatar.id, **values)))

    with Threads(len(changes)) as threads:
        threads.map(update, changes)

    now = calls.avatars.GetAvatar(pb.GetAvatarRequest(avatar_id=avatar.id)).avatar

    assert now.name == "New"
    assert now.persona == persona(name="Eva", age=50)
    assert now.attributes == attributes(style=Style.STYLE_FORMAL, ethnicity="Irish")


# Batches


def test_a_batch_has_the_order_of_the_ids(calls: Calls) -> None:
    project = calls.create_project().id
    ids = [calls.upload(project, PICTURE).id for _ in range(4)]
    missing = [str(uuid.uuid4()), "no id at all"]
    requested = [ids[2], missing[0], ids[0], ids[2], missing[1], missing[0], ids[3]]

    answer = calls.avatars.BatchGetAvatars(pb.BatchGetAvatarsRequest(avatar_ids=requested))

    assert [avatar.id for avatar in answer.avatars] == [ids[2], ids[0], ids[3]]
    assert list(answer.missing_avatar_ids) == missing
    for avatar in answer.avatars:
        assert avatar == calls.avatars.GetAvatar(pb.GetAvatarRequest(avatar_id=avatar.id)).avatar


def test_a_batch_can_include_thumbnails(calls: Calls) -> None:
    ids = [calls.upload(calls.create_project().id, PICTURE).id for _ in range(2)]
    request = pb.BatchGetAvatarsRequest(avatar_ids=ids, include_thumbnails=True)

    def with_thumbnails() -> list[Avatar]:
        avatars = list(calls.avatars.BatchGetAvatars(request).avatars)
        return avatars if all(avatar.thumbnail_data for avatar in avatars) else []

    for avatar in wait_until(with_thumbnails):
        picture = Image.open(BytesIO(avatar.thumbnail_data))
        assert (picture.format, picture.size) == ("WEBP", (300, 300))

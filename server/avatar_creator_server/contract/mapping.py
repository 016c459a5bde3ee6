"""Conversion between the contract's messages and the records of the service."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from avatar_creator.v1 import (
    attributes_pb2,
    avatar_pb2,
    avatar_project_pb2,
    error_reason_pb2,
    generation_pb2,
    persona_pb2,
    preset_pb2,
    usage_pb2,
    usage_service_pb2,
)
from avatar_creator_server.avatars.records import Avatar
from avatar_creator_server.contract.field_options import limits_of
from avatar_creator_server.database.records import field_values
from avatar_creator_server.generations.lists import GenerationFilter
from avatar_creator_server.generations.recipes.recipe import Recipe, first
from avatar_creator_server.generations.records import DEFAULT_SIDE_PIXELS, Attempt, Generation, Options
from avatar_creator_server.images.picture_links import PictureLinks, Variant
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.presets.records import PersonaExample, Preset
from avatar_creator_server.projects.records import Project
from avatar_creator_server.statistics.records import DailySpend
from avatar_creator_server.usage.records import AppUsage, UsageRecord

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_LEVELS = limits_of("RecordUsageRequest.metadata").max_levels
"""Maximum depth of the metadata of a use. Protobuf decoders refuse messages nested deeper than 100 levels."""

_MAX_EXACT_INTEGER = 2**53
"""Largest number up to which a double can represent every whole number."""

_Values = Any
"""Values of a message by name of field; None for no message. The types of Protobuf do not know that a field
accepts them."""

_SECONDS_PER_DAY = 24 * 60 * 60
_NANOS_PER_MICRO = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ATTRIBUTE_ENUMS: dict[str, Any] = {
    "gender": attributes_pb2.Gender,
    "age_range": attributes_pb2.AgeRange,
    "body_type": attributes_pb2.BodyType,
    "hair_style": attributes_pb2.HairStyle,
    "hair_color": attributes_pb2.HairColor,
    "eye_color": attributes_pb2.EyeColor,
    "skin_tone": attributes_pb2.SkinTone,
    "style": attributes_pb2.Style,
    "headwear": attributes_pb2.Headwear,
}


def word_of(enum: Any, number: int) -> str:
    """Return the word for an enum value: its name in lower case without the prefix; empty for zero."""
    return _words(enum)[number]


def number_of(enum: Any, word: str) -> int:
    """Return the enum value of a word in any case; zero for no word, and for one of a later version."""
    numbers = _numbers(enum)
    # Stored words are in lower case.
    return numbers.get(word) or numbers.get(word.lower(), 0)


@cache
def _words(enum: Any) -> Mapping[int, str]:
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return {number: name.removeprefix(prefix).lower() if number else "" for name, number in enum.items()}


@cache
def _numbers(enum: Any) -> Mapping[str, int]:
    return {word: number for number, word in _words(enum).items()}


def timestamp(instant: datetime | None) -> Timestamp | None:
    """Encode an instant."""
    return Timestamp(**_time(instant)) if instant else None


# The functions that follow return the values of a message, for a field of another one. Given the message
# itself, Protobuf would encode and decode it to copy it, which takes longer than all else here.


def _time(instant: datetime | None) -> _Values:
    if instant is None:
        return None
    # `FromDatetime` of Protobuf takes four times as long.
    since = instant - _EPOCH
    return {
        "seconds": since.days * _SECONDS_PER_DAY + since.seconds,
        "nanos": since.microseconds * _NANOS_PER_MICRO,
    }


def _persona(persona: Persona) -> _Values:
    return {
        "name": persona.name,
        "age": persona.age,
        "personality": persona.personality,
        "background": persona.background,
    }


def _attributes(attributes: Attributes) -> _Values:
    values: dict[str, Any] = {"ethnicity": attributes.ethnicity}
    for field, numbers in _attribute_numbers():
        if word := getattr(attributes, field):
            values[field] = numbers.get(word, 0)
    return values


@cache
def _attribute_numbers() -> list[tuple[str, Mapping[str, int]]]:
    return [(field, _numbers(enum)) for field, enum in _ATTRIBUTE_ENUMS.items()]


def _image(file: StoredFile) -> _Values:
    return {
        "content_type": file.content_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "width": file.width,
        "height": file.height,
    }


def _values(record: DataclassInstance | None) -> _Values:
    """Return the values of a record without nested ones, whose fields have the names of the message's."""
    return field_values(record) if record else None


def _error(reason: str, message: str) -> _Values:
    if not reason:
        return None
    return {"reason": number_of(error_reason_pb2.ErrorReason, reason), "message": message}


def instant_of(message: Message, field: str) -> datetime | None:
    """Return the instant in a message's field, to the microsecond; None if the field is absent."""
    if not message.HasField(field):
        return None
    instant: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return instant


def persona_to_proto(persona: Persona) -> persona_pb2.Persona:
    """Encode a persona."""
    return persona_pb2.Persona(**_persona(persona))


def persona_from_proto(message: persona_pb2.Persona) -> Persona:
    """Decode a persona."""
    return Persona(message.name, message.age, tuple(message.personality), message.background)


def attributes_to_proto(attributes: Attributes) -> attributes_pb2.Attributes:
    """Encode attributes."""
    return attributes_pb2.Attributes(**_attributes(attributes))


def attributes_from_proto(message: attributes_pb2.Attributes) -> Attributes:
    """Decode attributes."""
    words = {field: word_of(enum, getattr(message, field)) for field, enum in _ATTRIBUTE_ENUMS.items()}
    return Attributes(ethnicity=message.ethnicity, **words)


def project_to_proto(project: Project) -> avatar_project_pb2.AvatarProject:
    """Encode a project, without its newest avatars."""
    return avatar_project_pb2.AvatarProject(
        id=project.id,
        user_id=project.user_id,
        name=project.name,
        description=project.description,
        avatar_count=project.avatar_count,
        cover_avatar_id=project.cover_avatar_id,
        create_time=_time(project.create_time),
        update_time=_time(project.update_time),
        revision=project.revision,
    )


def image_to_proto(file: StoredFile) -> avatar_pb2.Image:
    """Encode the record of a stored picture."""
    return avatar_pb2.Image(**_image(file))


def avatar_to_proto(avatar: Avatar, links: PictureLinks | None = None) -> avatar_pb2.Avatar:
    """Encode an avatar, with the addresses of its pictures if there are `links`, which make them."""
    message = avatar_pb2.Avatar(
        id=avatar.id,
        user_id=avatar.user_id,
        project_id=avatar.project_id,
        name=avatar.name,
        image=_image(avatar.image),
        thumbnail=_image(avatar.thumbnail) if avatar.thumbnail else None,
        thumbnail_pending=avatar.thumbnail is None,
        source_type=number_of(avatar_pb2.SourceType, avatar.source_type),  # type: ignore[arg-type]
        persona=_persona(avatar.persona),
        attributes=_attributes(avatar.attributes),
        generation_prompt=avatar.generation_prompt,
        seed_used=avatar.seed_used,
        generation_id=avatar.generation_id,
        reference_avatar_id=first(avatar.reference_avatar_ids),
        reference_avatar_ids=avatar.reference_avatar_ids,
        picture_moderation=_values(avatar.picture_moderation),
        usage_count=avatar.usage_count,
        last_used_time=_time(avatar.last_used_time),
        create_time=_time(avatar.create_time),
        update_time=_time(avatar.update_time),
        revision=avatar.revision,
    )
    if links is not None:
        message.image_url = links.make(avatar.id, Variant.ORIGINAL)
        if avatar.thumbnail is not None:
            message.thumbnail_url = links.make(avatar.id, Variant.THUMBNAIL)
    return message


def options_from_proto(message: generation_pb2.GenerationOptions) -> Options:
    """Decode options, and fill in the default size."""
    return Options(
        width=message.width or DEFAULT_SIDE_PIXELS,
        height=message.height or DEFAULT_SIDE_PIXELS,
        seed=message.seed if message.HasField("seed") else None,
        steps=message.steps,
        guidance_scale=message.guidance_scale,
        negative_prompt=message.negative_prompt,
        reference_strength=message.reference_strength,
        strict=message.strict,
        omit_recipe=message.omit_recipe,
    )


def generation_filter_from_proto(message: Any) -> GenerationFilter:
    """Decode what a list and a `GenerationFilter` for operators have in common."""
    return GenerationFilter(
        project_id=message.project_id,
        states=tuple(word_of(generation_pb2.GenerationState, state) for state in message.states),
        error_reasons=tuple(
            word_of(error_reason_pb2.ErrorReason, reason).upper() for reason in message.error_reasons
        ),
        priorities=tuple(word_of(generation_pb2.GenerationPriority, each) for each in message.priorities),
        created_before=instant_of(message, "create_time_to"),
    )


def generation_to_proto(generation: Generation) -> generation_pb2.Generation:
    """Encode the whole state of a generation."""
    state = number_of(generation_pb2.GenerationState, generation.state)
    stage = number_of(generation_pb2.GenerationStage, generation.stage)
    priority = number_of(generation_pb2.GenerationPriority, generation.priority)
    options = generation.options
    return generation_pb2.Generation(
        id=generation.id,
        user_id=generation.user_id,
        project_id=generation.project_id,
        revision=generation.revision,
        state=state,  # type: ignore[arg-type]
        stage=stage,  # type: ignore[arg-type]
        progress_percent=generation.progress_percent,
        progress_estimated=generation.progress_estimated,
        attempt_number=generation.attempt_number,
        retry_count=generation.retry_count,
        next_attempt_time=_time(generation.next_attempt_time),
        avatar_name=generation.avatar_name,
        prompt=generation.prompt,
        persona=_persona(generation.persona),
        attributes=_attributes(generation.attributes),
        options=_values(options),
        enhanced_prompt=generation.enhanced_prompt,
        negative_prompt=generation.negative_prompt,
        provider=generation.provider,
        provider_prompt=generation.provider_prompt,
        seed_used=generation.seed_used,
        avatar_id=generation.avatar_id,
        error=_error(generation.error_reason, generation.error_message),
        warnings=generation.warnings,
        preset_id=generation.preset_id,
        persona_example_id=generation.persona_example_id,
        retry_of=generation.retry_of,
        create_time=_time(generation.create_time),
        start_time=_time(generation.start_time),
        end_time=_time(generation.end_time),
        update_time=_time(generation.update_time),
        queue_position=generation.queue_position,
        expected_seconds=generation.expected_seconds,
        app_id=generation.app_id,
        group_id=generation.group_id,
        reference_avatar_id=first(generation.reference_avatar_ids),
        reference_avatar_ids=generation.reference_avatar_ids,
        reproduce_of=generation.reproduce_of,
        reproduction=_values(generation.reproduction),
        price_micros=generation.price_micros,
        priority=priority,  # type: ignore[arg-type]
        picture_moderation=_values(generation.picture_moderation),
    )


def recipe_to_proto(recipe: Recipe) -> generation_pb2.Recipe:
    """Encode a recipe."""
    return generation_pb2.Recipe(
        **field_values(recipe),
        reference_avatar_id=first(recipe.reference_avatar_ids),
        reference_sha256=first(recipe.reference_sha256s),
    )


def attempt_to_proto(attempt: Attempt) -> generation_pb2.GenerationAttempt:
    """Encode an attempt."""
    outcome = number_of(generation_pb2.AttemptOutcome, attempt.outcome)
    return generation_pb2.GenerationAttempt(
        attempt_number=attempt.attempt_number,
        outcome=outcome,  # type: ignore[arg-type]
        worker=attempt.worker,
        provider=attempt.provider,
        route=attempt.route,
        price_micros=attempt.price_micros,
        provider_request_id=attempt.provider_request_id,
        possibly_charged=attempt.possibly_charged,
        error=_error(attempt.error_reason, attempt.error_message),
        start_time=_time(attempt.start_time),
        end_time=_time(attempt.end_time),
    )


def metadata_from_proto(message: Struct) -> dict[str, Any]:
    """Decode metadata to JSON values. Whole numbers become ints, so JSON has them without a decimal point.

    Raises:
        ValueError: JSON or PostgreSQL cannot store a value, or the metadata is nested too deeply.
    """
    return {_text(name): _json_value(value, 1) for name, value in message.fields.items()}


def _json_value(message: Value, level: int) -> Any:
    if level > MAX_LEVELS:
        raise ValueError(f"is nested deeper than {MAX_LEVELS} levels")
    match message.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return message.bool_value
        case "string_value":
            return _text(message.string_value)
        case "list_value":
            return [_json_value(value, level + 1) for value in message.list_value.values]
        case "struct_value":
            fields = message.struct_value.fields.items()
            return {_text(name): _json_value(value, level + 1) for name, value in fields}
        case "number_value":
            number = message.number_value
            if not math.isfinite(number):
                raise ValueError(f"has the number {number}, which JSON does not allow")
            return int(number) if number.is_integer() and abs(number) <= _MAX_EXACT_INTEGER else number
    raise ValueError("has a value without a type; set null_value for null")


def _text(string: str) -> str:
    if "\0" in string:
        raise ValueError("has a zero character (U+0000)")
    return string


def usage_to_proto(usage: UsageRecord) -> usage_pb2.UsageRecord:
    """Encode a use."""
    return usage_pb2.UsageRecord(
        id=usage.id,
        avatar_id=usage.avatar_id,
        user_id=usage.user_id,
        app_id=usage.app_id,
        app_name=usage.app_name,
        action=usage.action,
        reference_id=usage.reference_id,
        reference_type=usage.reference_type,
        metadata=ParseDict(usage.metadata, Struct()),
        create_time=_time(usage.create_time),
    )


def app_usage_to_proto(usage: AppUsage) -> usage_pb2.AppUsageSummary:
    """Encode the sums of one app."""
    return usage_pb2.AppUsageSummary(
        app_id=usage.app_id,
        app_name=usage.app_name,
        usage_count=usage.usage_count,
        first_used_time=_time(usage.first_used_time),
        last_used_time=_time(usage.last_used_time),
        actions=[
            usage_pb2.ActionCount(action=action, usage_count=number) for action, number in usage.actions
        ],
        action_count=usage.action_count,
    )


def daily_spend_to_proto(spend: DailySpend) -> usage_service_pb2.DailySpend:
    """Encode the spending of one app on one day."""
    day = date.fromisoformat(spend.day)
    return usage_service_pb2.DailySpend(
        day=Date(year=day.year, month=day.month, day=day.day),
        app_id=spend.app_id,
        price_micros=spend.price_micros,
        attempt_count=spend.attempt_count,
    )


def preset_to_proto(preset: Preset) -> preset_pb2.AvatarPreset:
    """Encode a preset."""
    return preset_pb2.AvatarPreset(
        id=preset.id,
        name=preset.name,
        description=preset.description,
        category=preset.category,
        prompt=preset.prompt,
        persona=_persona(preset.persona),
        attributes=_attributes(preset.attributes),
        usage_count=preset.popularity,
        image_data=preset.image,
    )


def persona_example_to_proto(example: PersonaExample) -> persona_pb2.PersonaExample:
    """Encode a persona example."""
    return persona_pb2.PersonaExample(
        id=example.id,
        name=example.name,
        description=example.description,
        category=example.category,
        persona=_persona(example.persona),
        usage_count=example.use_count,
    )

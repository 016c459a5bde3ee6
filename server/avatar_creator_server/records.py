"""The values that travel between domain code, servicers and workers: what was read from the tables."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from avatar_creator_server.database import models
from avatar_creator_server.people.person import Attributes, Persona

T = TypeVar("T")

PENDING = "pending"
PROCESSING = "processing"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"

GENERATION_STATES = (PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED)
"""Every state a generation can be in."""

INTERACTIVE = "interactive"
NORMAL = "normal"
BULK = "bulk"

PRIORITIES = (INTERACTIVE, NORMAL, BULK)
"""How urgent a generation may be, the most urgent first; a row has its place in this list."""

ENDED_STATES = frozenset({COMPLETED, FAILED, CANCELLED})
"""States that no transition leaves."""

DEFAULT_SIDE_PIXELS = 1024
"""Width and height of a picture when none is asked for."""
DEFAULT_STEPS = 28
DEFAULT_GUIDANCE_SCALE = 3.5
"""What diffusers' FluxPipeline takes: a usual choice for FLUX.1-dev."""
DEFAULT_REFERENCE_STRENGTH = 0.6
"""What diffusers' FluxImg2ImgPipeline takes."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of avatars that belongs to one user."""

    id: str
    user_id: str
    name: str
    description: str
    avatar_count: int
    cover_avatar_id: str
    """The newest avatar in it; empty while it has none."""
    create_time: datetime
    update_time: datetime

    @classmethod
    def from_row(cls, row: Any) -> Project:
        """Read the row of a project that was selected together with its `cover_avatar_id`."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            name=row.name,
            description=row.description,
            avatar_count=row.avatar_count,
            cover_avatar_id=row.cover_avatar_id or "",
            create_time=row.create_time,
            update_time=row.update_time,
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A picture in the storage."""

    id: str
    key: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int

    @classmethod
    def from_row(cls, row: models.File) -> StoredFile:
        """Read the row of a file."""
        return cls(row.id, row.key, row.content_type, row.size_bytes, row.sha256, row.width, row.height)


@dataclass(frozen=True, slots=True)
class Avatar:
    """A person that apps can put on screen."""

    id: str
    user_id: str
    project_id: str
    name: str
    image: StoredFile
    thumbnail: StoredFile | None
    """None until a worker has made it."""
    source_type: str
    persona: Persona
    attributes: Attributes
    generation_prompt: str
    seed_used: int | None
    generation_id: str
    reference_avatar_id: str
    """The avatar whose picture it was made from; empty if none."""
    usage_count: int
    last_used_time: datetime | None
    create_time: datetime
    update_time: datetime

    @classmethod
    def from_row(cls, row: models.Avatar) -> Avatar:
        """Read the row of an avatar that was selected together with its files."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            project_id=row.project_id,
            name=row.name,
            image=StoredFile.from_row(row.image_file),
            thumbnail=StoredFile.from_row(row.thumbnail_file) if row.thumbnail_file else None,
            source_type=row.source_type,
            persona=Persona(
                row.persona_name,
                row.persona_age,
                tuple(row.persona_personality),
                row.persona_background,
            ),
            attributes=Attributes(**{field.name: getattr(row, field.name) for field in fields(Attributes)}),
            generation_prompt=row.generation_prompt,
            seed_used=row.seed_used,
            generation_id=row.generation_id or "",
            reference_avatar_id=row.reference_avatar_id,
            usage_count=row.usage_count,
            last_used_time=row.last_used_time,
            create_time=row.create_time,
            update_time=row.update_time,
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What the picture is to be like, beside its content."""

    width: int = DEFAULT_SIDE_PIXELS
    """Pixels, 256 to 1,440 in multiples of 16."""
    height: int = DEFAULT_SIDE_PIXELS
    """Pixels, 256 to 1,440 in multiples of 16."""
    seed: int | None = None
    """0 to 2^32-1; None lets the service choose."""
    steps: int = 0
    """Denoising steps, 1 to 50; 0 for `DEFAULT_STEPS`."""
    guidance_scale: float = 0.0
    """1 to 20; 0 for `DEFAULT_GUIDANCE_SCALE`."""
    negative_prompt: str = ""
    """The caller's own; empty for the service's."""
    reference_strength: float = 0.0
    """How far the picture may go from its reference, above 0 to 1; 0 for `DEFAULT_REFERENCE_STRENGTH`."""
    strict: bool = False
    """Whether what cannot be honoured is an error instead of a warning."""
    omit_recipe: bool = False
    """Whether the picture's file is to say nothing of how it was made."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a picture compares with the one whose recipe it was made by."""

    identical_pixels: bool
    colour_difference: float | None
    """See `avatar_creator_server.generations.recipes.recipe.colour_difference`; None when the other picture is gone."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The whole current state of a generation."""

    id: str
    user_id: str
    project_id: str
    revision: int
    state: str
    stage: str
    priority: str
    progress_percent: int
    progress_estimated: bool
    attempt_number: int
    retry_count: int
    next_attempt_time: datetime | None
    """When it is due; None unless it is pending."""
    avatar_name: str
    prompt: str
    persona: Persona
    attributes: Attributes
    options: Options
    enhanced_prompt: str
    negative_prompt: str
    provider: str
    provider_prompt: str
    seed_used: int
    avatar_id: str
    error_reason: str
    error_message: str
    warnings: tuple[str, ...]
    preset_id: str
    persona_example_id: str
    retry_of: str
    reproduce_of: str
    reference_avatar_id: str
    group_id: str
    app_id: str
    price_micros: int
    """What its attempts cost so far, in millionths of a US dollar."""
    reproduction: Reproduction | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    update_time: datetime
    queue_position: int | None = None
    """How many generations are due before it; None unless it is pending and the queue was looked at."""
    expected_seconds: int | None = None
    """In how many seconds it will probably have ended; None likewise, or while none has completed yet."""

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in ENDED_STATES

    @classmethod
    def from_row(cls, row: models.AvatarGeneration, avatar_id: str | None) -> Generation:
        """Read the row of a generation and the id of the avatar it made."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            project_id=row.project_id,
            revision=row.revision,
            state=row.state,
            stage=row.stage,
            priority=PRIORITIES[row.priority],
            progress_percent=row.progress_percent,
            progress_estimated=bool(row.progress_estimated),
            attempt_number=row.attempt_number,
            retry_count=row.retry_count,
            next_attempt_time=row.due_time if row.state == PENDING else None,
            avatar_name=row.avatar_name,
            prompt=row.prompt,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
            options=_from_json(Options, row.options),
            enhanced_prompt=row.enhanced_prompt,
            negative_prompt=row.negative_prompt,
            provider=row.provider,
            provider_prompt=row.provider_prompt,
            seed_used=row.seed_used,
            avatar_id=avatar_id or "",
            error_reason=row.error_reason,
            error_message=row.error_message,
            warnings=tuple(row.warnings),
            preset_id=row.preset_id or "",
            persona_example_id=row.persona_example_id or "",
            retry_of=row.retry_of,
            reproduce_of=row.reproduce_of,
            reference_avatar_id=row.reference_avatar_id,
            group_id=row.group_id,
            app_id=row.app_id,
            price_micros=row.price_micros,
            reproduction=_from_json(Reproduction, row.reproduction) if row.reproduction else None,
            create_time=row.create_time,
            start_time=row.start_time,
            end_time=row.end_time,
            update_time=row.update_time,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a worker at a generation."""

    attempt_number: int
    outcome: str
    worker: str
    provider: str
    route: str
    provider_request_id: str
    possibly_charged: bool
    price_micros: int
    """Millionths of a US dollar."""
    error_reason: str
    error_message: str
    start_time: datetime
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One use of an avatar by an app."""

    id: str
    avatar_id: str
    user_id: str
    app_id: str
    app_name: str
    action: str
    reference_id: str
    reference_type: str
    metadata: dict[str, Any]
    create_time: datetime

    @classmethod
    def from_row(cls, row: models.AvatarUsage) -> UsageRecord:
        """Read the row of a use."""
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class AppUsage:
    """The uses of one avatar by one app, summed."""

    app_id: str
    app_name: str
    usage_count: int
    first_used_time: datetime
    last_used_time: datetime
    actions: tuple[tuple[str, int], ...]
    """Each action and how often it was recorded, most first."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures about all of a user's avatars and generations."""

    avatar_count: int
    recent_upload_count: int
    """Of these, uploaded in the last 7 days."""
    usage_count: int
    generations: dict[str, int]
    """How many are in each state."""
    spending: tuple[DailySpend, ...]
    """By day and app, newest day first."""


@dataclass(frozen=True, slots=True)
class DailySpend:
    """What the generations of an app cost on one day."""

    day: str
    """Date in UTC, `2026-01-31`."""
    app_id: str
    """Empty for tokens that name no app."""
    price_micros: int
    """Millionths of a US dollar."""
    attempt_count: int


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready-made starting point for an avatar."""

    id: str
    name: str
    description: str
    category: str
    prompt: str
    persona: Persona
    attributes: Attributes
    popularity: int
    image: bytes
    """300x300 WebP; empty where it was not read."""

    @classmethod
    def from_row(cls, row: models.AvatarPreset) -> Preset:
        """Read the row of a preset, selected with its picture or without."""
        return cls(
            id=row.id,
            name=row.name,
            description=row.description,
            category=row.category,
            prompt=row.prompt,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
            popularity=row.popularity,
            image=bytes(row.image or b""),
        )


@dataclass(frozen=True, slots=True)
class PersonaExample:
    """A ready-made persona to start an avatar from."""

    id: str
    name: str
    description: str
    category: str
    persona: Persona
    use_count: int

    @classmethod
    def from_row(cls, row: models.PersonaExample) -> PersonaExample:
        """Read the row of a persona example."""
        return cls(
            row.id, row.name, row.description, row.category, persona_from_json(row.persona), row.use_count
        )


def persona_from_json(stored: dict[str, Any]) -> Persona:
    """Read a persona as it is kept in a JSON column."""
    persona = _from_json(Persona, stored)
    return replace(persona, personality=tuple(persona.personality))


def attributes_from_json(stored: dict[str, Any]) -> Attributes:
    """Read attributes as they are kept in a JSON column."""
    return _from_json(Attributes, stored)


def _from_json(kind: type[T], stored: dict[str, Any]) -> T:
    # What a later version of this code wrote is left out: during an upgrade both read the same rows.
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in stored.items() if name in known})

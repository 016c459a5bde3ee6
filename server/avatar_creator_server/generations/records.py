"""The records of generations and their attempts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from avatar_creator_server.database import models
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.models.states import ENDED_STATES, PRIORITIES, GenerationState
from avatar_creator_server.people.person import Attributes, Persona, attributes_from_json, persona_from_json

DEFAULT_SIDE_PIXELS = 1024
"""Width and height of a picture when none is asked for."""
DEFAULT_STEPS = 28
DEFAULT_GUIDANCE_SCALE = 3.5
"""What diffusers' FluxPipeline takes: a usual choice for FLUX.1-dev."""
DEFAULT_REFERENCE_STRENGTH = 0.6
"""What diffusers' FluxImg2ImgPipeline takes."""


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
            next_attempt_time=row.due_time if row.state == GenerationState.PENDING else None,
            avatar_name=row.avatar_name,
            prompt=row.prompt,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
            options=from_json(Options, row.options),
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
            reproduction=from_json(Reproduction, row.reproduction) if row.reproduction else None,
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

    @classmethod
    def from_row(cls, row: models.GenerationAttempt) -> Attempt:
        """Read the row of an attempt."""
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})

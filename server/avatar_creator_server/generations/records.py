"""The records of generations and their attempts.

States, stages and outcomes are plain strings here: a newer version may have written words that this one
does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from avatar_creator_server.database import models
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.models.states import ENDED_STATES, PRIORITIES, GenerationState
from avatar_creator_server.database.records import read_row
from avatar_creator_server.images.records import PictureModeration
from avatar_creator_server.people.person import Attributes, Persona, attributes_from_json, persona_from_json

DEFAULT_SIDE_PIXELS = 1024
"""Default width and height of a picture."""
DEFAULT_REFERENCE_STRENGTH = 0.6
"""Default of diffusers' FluxImg2ImgPipeline."""


@dataclass(frozen=True, slots=True)
class Options:
    """Requirements for the picture, except for its content."""

    width: int = DEFAULT_SIDE_PIXELS
    """Pixels, 256 to 1,440 in multiples of 16."""
    height: int = DEFAULT_SIDE_PIXELS
    """Pixels, 256 to 1,440 in multiples of 16."""
    seed: int | None = None
    """Seed of the random numbers, 0 to 2^32-1; None lets the service choose."""
    steps: int = 0
    """Number of denoising steps, 1 to 50; 0 means the number that the model is made for."""
    guidance_scale: float = 0.0
    """Strength of the guidance, 1 to 20; 0 means the strength that the model is made for."""
    negative_prompt: str = ""
    """The caller's negative prompt; empty means the one of the service."""
    reference_strength: float = 0.0
    """Allowed distance from the reference, above 0 to 1; 0 means `DEFAULT_REFERENCE_STRENGTH`."""
    strict: bool = False
    """True if an unsupported option is an error, not a warning."""
    omit_recipe: bool = False
    """True if the file of the picture must not contain its recipe, except for the kind of its source."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Comparison of a picture with the picture whose recipe it reproduces."""

    identical_pixels: bool
    color_difference: float | None
    """Result of `generations.recipes.recipe.color_difference`; None if the other picture is gone."""


@dataclass(frozen=True, slots=True)
class RouteChoice:
    """The app and the LoRA that were chosen when a generation was accepted."""

    model: str
    """Id of the model on the hub."""
    app: str
    """The provider's name of the app, for example `fal-ai/flux-lora`."""
    lora: str = ""
    """Repository of the LoRA; empty without a LoRA. The next three fields are about it."""
    lora_weight_file: str = ""
    lora_revision: str = ""
    lora_scale: float = 0.0


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
    """Time at which the next attempt is due; None unless the generation is pending."""
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
    reference_avatar_ids: tuple[str, ...]
    """Avatars whose pictures the new picture starts from, in the order of the request."""
    group_id: str
    app_id: str
    price_micros: int
    """Price of its attempts so far, in millionths of a US dollar."""
    reproduction: Reproduction | None
    picture_moderation: PictureModeration | None
    """Verdict about the picture; None if no classifier has checked it."""
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    update_time: datetime
    route_choice: RouteChoice | None = None
    """The chosen app; None if its route has no apps."""
    queue_position: int | None = None
    """Number of generations due before it; None unless it is pending and the queue was read."""
    expected_seconds: int | None = None
    """Estimated seconds until it ends; None if the queue was not read, before any generation completed, and
    while no worker is alive."""

    @property
    def ended(self) -> bool:
        """True if the generation is completed, failed or cancelled."""
        return self.state in ENDED_STATES

    @classmethod
    def from_row(cls, row: models.AvatarGeneration, avatar_id: str | None) -> Generation:
        """Read the row of a generation, with the id of the avatar that it made, if any."""
        return read_row(
            cls,
            row,
            priority=PRIORITIES[row.priority],
            progress_estimated=bool(row.progress_estimated),
            next_attempt_time=row.due_time if row.state == GenerationState.PENDING else None,
            persona=persona_from_json(row.persona),
            attributes=attributes_from_json(row.attributes),
            options=from_json(Options, row.options),
            avatar_id=avatar_id or "",
            warnings=tuple(row.warnings),
            reference_avatar_ids=models.reference_avatar_ids(row),
            preset_id=row.preset_id or "",
            persona_example_id=row.persona_example_id or "",
            reproduction=from_json(Reproduction, row.reproduction) if row.reproduction else None,
            picture_moderation=(
                from_json(PictureModeration, row.picture_moderation) if row.picture_moderation else None
            ),
            route_choice=from_json(RouteChoice, row.route_choice) if row.route_choice else None,
            queue_position=None,
            expected_seconds=None,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a worker at a generation."""

    attempt_number: int
    outcome: str
    worker: str
    provider: str
    route: str
    provider_request_id: str
    possibly_charged: bool
    price_micros: int
    """Price in millionths of a US dollar."""
    error_reason: str
    error_message: str
    start_time: datetime
    end_time: datetime | None

    @classmethod
    def from_row(cls, row: models.GenerationAttempt) -> Attempt:
        """Read the row of an attempt."""
        return read_row(cls, row)

"""The request for a generation, and how gaps in it are filled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from avatar_creator_server.database.models import AvatarPreset, PersonaExample
from avatar_creator_server.database.models.states import GenerationPriority
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.records import Generation, Options
from avatar_creator_server.people.person import (
    Attributes,
    Persona,
    attributes_from_json,
    persona_from_json,
)

MAX_NAME_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A user's request for a generation."""

    project_id: str
    prompt: str
    avatar_name: str
    persona: Persona
    attributes: Attributes
    options: Options
    preset_id: str = ""
    persona_example_id: str = ""
    reference_avatar_ids: tuple[str, ...] = ()
    """The avatars whose pictures to start from, in the order in which the model receives them."""
    reproduce_of: str = ""
    """The generation whose recipe to run again; empty if none."""
    enhanced_prompt: str = ""
    """The prompt to run again; empty if it must be built."""
    priority: str = GenerationPriority.NORMAL
    """A `GenerationPriority`."""

    @property
    def texts(self) -> dict[str, str]:
        """The texts that the caller wrote, by field of `CreateGenerationRequest`."""
        persona = self.persona
        texts = {
            "prompt": self.prompt,
            "avatar_name": self.avatar_name,
            "persona.name": persona.name,
            **{f"persona.personality[{index}]": trait for index, trait in enumerate(persona.personality)},
            "persona.background": persona.background,
            "attributes.ethnicity": self.attributes.ethnicity,
        }
        return {field: text for field, text in texts.items() if text.strip()}


def request_from(generation: Generation) -> GenerationRequest:
    """Return the request that started a generation."""
    options = generation.options
    return GenerationRequest(
        project_id=generation.project_id,
        prompt=generation.prompt,
        avatar_name=generation.avatar_name,
        persona=generation.persona,
        attributes=generation.attributes,
        # A requested seed is the first variation's; this generation may be a later one.
        options=replace(options, seed=None if options.seed is None else generation.seed_used),
        preset_id=generation.preset_id,
        persona_example_id=generation.persona_example_id,
        reference_avatar_ids=generation.reference_avatar_ids,
        reproduce_of=generation.reproduce_of,
        enhanced_prompt=generation.enhanced_prompt if generation.reproduce_of else "",
        priority=generation.priority,
    )


def fill_from_presets(request: GenerationRequest) -> GenerationRequest:
    """Return the request with its gaps filled from its preset, then from its persona example.

    Raises:
        NotFoundError: There is no such preset or persona example.
    """
    if request.preset_id:
        preset: AvatarPreset | None = AvatarPreset.get_or_none(AvatarPreset.id == request.preset_id)
        if preset is None:
            raise NotFoundError("preset", request.preset_id)
        request = replace(
            request,
            prompt=request.prompt or preset.prompt,
            persona=_fill(request.persona, persona_from_json(preset.persona)),
            attributes=_fill(request.attributes, attributes_from_json(preset.attributes)),
        )
    if request.persona_example_id:
        example: PersonaExample | None = PersonaExample.get_or_none(
            PersonaExample.id == request.persona_example_id
        )
        if example is None:
            raise NotFoundError("persona example", request.persona_example_id)
        request = replace(request, persona=_fill(request.persona, persona_from_json(example.persona)))
    return request


def count_choices(request: GenerationRequest) -> None:
    """Count one more use of the request's preset and persona example, in the current transaction."""
    if request.preset_id:
        AvatarPreset.update(popularity=AvatarPreset.popularity + 1).where(
            AvatarPreset.id == request.preset_id
        ).execute()
    if request.persona_example_id:
        PersonaExample.update(use_count=PersonaExample.use_count + 1).where(
            PersonaExample.id == request.persona_example_id
        ).execute()


def name_for(request: GenerationRequest) -> str:
    """Return the avatar's name: the given one, else the persona's, else the first words of the prompt."""
    for given in (request.avatar_name, request.persona.name):
        if given.strip():
            return given
    name = ""
    for word in request.prompt.split():
        longer = f"{name} {word}".strip()
        if len(longer) > MAX_NAME_CHARACTERS:
            break
        name = longer
    return name or request.prompt.strip()[:MAX_NAME_CHARACTERS] or "Avatar"


def _fill(given: Any, defaults: Any) -> Any:
    return replace(defaults, **{name: value for name, value in asdict(given).items() if value})

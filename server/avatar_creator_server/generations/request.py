"""What a user asks to be generated, and how gaps in it are filled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from avatar_creator_server.database.models import AvatarPreset, PersonaExample
from avatar_creator_server.database.models.states import GenerationPriority
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.records import Generation, Options
from avatar_creator_server.people.person import Attributes, Persona, attributes_from_json, persona_from_json

MAXIMUM_NAME_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a user asks to be generated."""

    project_id: str
    prompt: str
    avatar_name: str
    persona: Persona
    attributes: Attributes
    options: Options
    preset_id: str = ""
    persona_example_id: str = ""
    reference_avatar_id: str = ""
    """The avatar whose picture to start from; empty if none."""
    reproduce_of: str = ""
    """The generation whose recipe to run request_from; empty if none."""
    enhanced_prompt: str = ""
    """The prompt to run request_from; empty: to be built."""
    priority: str = GenerationPriority.NORMAL
    """One of `PRIORITIES`."""

    @property
    def words(self) -> dict[str, str]:
        """The caller's own words, by field of `CreateGenerationRequest`."""
        persona = self.persona
        words = {
            "prompt": self.prompt,
            "avatar_name": self.avatar_name,
            "persona.name": persona.name,
            **{f"persona.personality[{index}]": trait for index, trait in enumerate(persona.personality)},
            "persona.background": persona.background,
            "attributes.ethnicity": self.attributes.ethnicity,
        }
        return {field: text for field, text in words.items() if text.strip()}


def request_from(before: Generation) -> GenerationRequest:
    """The request that a generation was started by."""
    return GenerationRequest(
        project_id=before.project_id,
        prompt=before.prompt,
        avatar_name=before.avatar_name,
        persona=before.persona,
        attributes=before.attributes,
        # The one asked for was the first of all variations'.
        options=replace(before.options, seed=None if before.options.seed is None else before.seed_used),
        preset_id=before.preset_id,
        persona_example_id=before.persona_example_id,
        reference_avatar_id=before.reference_avatar_id,
        reproduce_of=before.reproduce_of,
        enhanced_prompt=before.enhanced_prompt if before.reproduce_of else "",
        priority=before.priority,
    )


def filled_from_presets(request: GenerationRequest) -> GenerationRequest:
    """The request with what it leaves out taken from its preset, then from its persona example.

    Raises:
        NotFoundError: there is no such preset or persona example.
    """
    if request.preset_id:
        preset: AvatarPreset | None = AvatarPreset.get_or_none(AvatarPreset.id == request.preset_id)
        if preset is None:
            raise NotFoundError("preset", request.preset_id)
        request = replace(
            request,
            prompt=request.prompt or preset.prompt,
            persona=_filled(request.persona, persona_from_json(preset.persona)),
            attributes=_filled(request.attributes, attributes_from_json(preset.attributes)),
        )
    if request.persona_example_id:
        example: PersonaExample | None = PersonaExample.get_or_none(
            PersonaExample.id == request.persona_example_id
        )
        if example is None:
            raise NotFoundError("persona example", request.persona_example_id)
        request = replace(request, persona=_filled(request.persona, persona_from_json(example.persona)))
    return request


def count_choices(request: GenerationRequest) -> None:
    """In the current transaction: the request's preset and persona example have been chosen once more."""
    if request.preset_id:
        AvatarPreset.update(popularity=AvatarPreset.popularity + 1).where(
            AvatarPreset.id == request.preset_id
        ).execute()
    if request.persona_example_id:
        PersonaExample.update(use_count=PersonaExample.use_count + 1).where(
            PersonaExample.id == request.persona_example_id
        ).execute()


def name_for(request: GenerationRequest) -> str:
    """The name of the avatar: the one given, else the persona's, else the prompt's first words."""
    for given in (request.avatar_name, request.persona.name):
        if given.strip():
            return given
    name = ""
    for word in request.prompt.split():
        longer = f"{name} {word}".strip()
        if len(longer) > MAXIMUM_NAME_CHARACTERS:
            break
        name = longer
    return name or request.prompt.strip()[:MAXIMUM_NAME_CHARACTERS] or "Avatar"


def _filled(given: Any, defaults: Any) -> Any:
    return replace(defaults, **{name: value for name, value in asdict(given).items() if value})

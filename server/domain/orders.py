"""What a user asks to be generated, and how gaps in it are filled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from server.domain.errors import NotFoundError
from server.domain.people import Attributes, Persona
from server.domain.records import NORMAL, Generation, Options, attributes_from_json, persona_from_json
from server.models import AvatarPreset, PersonaExample

MAXIMUM_NAME_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Order:
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
    """The generation whose recipe to run again; empty if none."""
    enhanced_prompt: str = ""
    """The prompt to run again; empty: to be built."""
    priority: str = NORMAL
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


def again(before: Generation) -> Order:
    """The order that a generation was started by."""
    return Order(
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


def filled_from_gallery(order: Order) -> Order:
    """The order with what it leaves out taken from its preset, then from its persona example.

    Raises:
        NotFoundError: there is no such preset or persona example.
    """
    if order.preset_id:
        preset: AvatarPreset | None = AvatarPreset.get_or_none(AvatarPreset.id == order.preset_id)
        if preset is None:
            raise NotFoundError("preset", order.preset_id)
        order = replace(
            order,
            prompt=order.prompt or preset.prompt,
            persona=_filled(order.persona, persona_from_json(preset.persona)),
            attributes=_filled(order.attributes, attributes_from_json(preset.attributes)),
        )
    if order.persona_example_id:
        example: PersonaExample | None = PersonaExample.get_or_none(
            PersonaExample.id == order.persona_example_id
        )
        if example is None:
            raise NotFoundError("persona example", order.persona_example_id)
        order = replace(order, persona=_filled(order.persona, persona_from_json(example.persona)))
    return order


def count_choices(order: Order) -> None:
    """In the current transaction: the order's preset and persona example have been chosen once more."""
    if order.preset_id:
        AvatarPreset.update(popularity=AvatarPreset.popularity + 1).where(
            AvatarPreset.id == order.preset_id
        ).execute()
    if order.persona_example_id:
        PersonaExample.update(use_count=PersonaExample.use_count + 1).where(
            PersonaExample.id == order.persona_example_id
        ).execute()


def name_for(order: Order) -> str:
    """The name of the avatar: the one given, else the persona's, else the prompt's first words."""
    for given in (order.avatar_name, order.persona.name):
        if given.strip():
            return given
    name = ""
    for word in order.prompt.split():
        longer = f"{name} {word}".strip()
        if len(longer) > MAXIMUM_NAME_CHARACTERS:
            break
        name = longer
    return name or order.prompt.strip()[:MAXIMUM_NAME_CHARACTERS] or "Avatar"


def _filled(given: Any, defaults: Any) -> Any:
    return replace(defaults, **{name: value for name, value in asdict(given).items() if value})

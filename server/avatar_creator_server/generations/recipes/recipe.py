"""Recipes of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.generations.routes import current_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that made a picture. The same provider makes the same or nearly the same picture from it."""

    provider: str
    """`sketch`, `huggingface`, `replicate` or `diffusers`."""
    route: str
    """Name of the provider's route; see `avatar_creator_server.generations.routes.Route.name`."""
    model: str
    """Id of the model on the hub, or a folder; empty for `sketch`."""
    model_revision: str = ""
    """Commit or tag of the model, or the version of `sketch`'s drawing; empty if the route does not say."""
    lora: str = ""
    """Repository or folder of the LoRA; empty without a LoRA."""
    lora_weight_file: str = ""
    """File of the LoRA in its repository; empty if the repository has only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; empty if it is not pinned."""
    lora_scale: float = 0.0
    """Strength of the LoRA; 0 without a LoRA."""
    seed: int
    """Seed of the random numbers, 0 to 2^32-1."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    steps: int = 0
    """Number of denoising steps; 0 if the provider has no steps."""
    guidance_scale: float = 0.0
    """Strength of the guidance; 0 if the provider has no guidance."""
    enhanced_prompt: str
    """The prompt built from persona, attributes and prompt."""
    provider_prompt: str
    """The prompt that was sent to the provider."""
    negative_prompt: str = ""
    """The negative prompt that was sent to the provider; empty if none was sent."""
    reference_avatar_ids: tuple[str, ...] = ()
    """Ids of the reference avatars, in the order in which the model received their pictures."""
    reference_sha256s: tuple[str, ...] = ()
    """SHA-256 of each reference's picture file, in lower-case hexadecimal. Empty for one that was deleted
    while the picture was drawn."""
    reference_strength: float = 0.0
    """Allowed distance from the reference; 0 without a reference."""
    speed: str = "exact"
    """Value of `avatar_creator_server.generations.routes.Route.speed`."""
    provider_facts: Mapping[str, str] = field(default_factory=dict)
    """Facts from the provider; see `avatar_creator_tasks.providers.base.Portrait.facts`."""
    pixels_sha256: str
    """Result of the function of this name for the picture."""
    software: str
    """Result of `this_software` when the picture was made."""
    picture_classifier: str = ""
    """Name of the classifier's folder, or host of its address; empty if none has checked the picture."""
    picture_score: float = 0.0
    """Score of the classifier; see `avatar_creator_server.images.records.PictureModeration`."""
    blurred: bool = False
    """True if the picture is blurred because the classifier flagged it."""

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as the value of a JSON column, with its fields in their order here.

        `reference_avatar_id` and `reference_sha256` repeat the first reference, for earlier versions and for
        readers of the file.
        """
        return {
            **asdict(self),
            "reference_avatar_id": first(self.reference_avatar_ids),
            "reference_sha256": first(self.reference_sha256s),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Recipe:
        """Read a recipe that `to_json` wrote, in this version of the code or a later one.

        Fields that only a later version has are left out: during an upgrade, both read the same rows.
        """
        recipe = from_json(cls, stored)
        return replace(
            recipe,
            route=current_name(recipe.route),
            reference_avatar_ids=_references(stored, "reference_avatar_id"),
            reference_sha256s=_references(stored, "reference_sha256"),
        )


def first(values: Sequence[str]) -> str:
    """Return the first value, or an empty text if there is none."""
    return values[0] if values else ""


def _references(stored: Mapping[str, Any], field_of_one: str) -> tuple[str, ...]:
    """Return a field of all references. Earlier versions stored that of one reference."""
    one = stored.get(field_of_one)
    return tuple(stored.get(f"{field_of_one}s") or ([one] if one else []))


@cache
def this_software() -> str:
    """Return the name and version of the installed package, for example `avatar-creator 0.1.0`."""
    return f"avatar-creator {version('avatar-creator')}"

"""Stored recipes, and the check whether a recipe can be run again."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.database.compiled_queries import CompiledInsert, compiled, run_later
from avatar_creator_server.database.models import Avatar, File, GenerationRecipe
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.errors import FailedPreconditionError
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.routes import Lora, Route, Routes
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.projects.service import in_no_deleted_project

_NO_LORA = Lora(repository="", weight_file="", revision="", scale=0.0, trigger="")


@dataclass(frozen=True, slots=True)
class ReproductionSource:
    """The picture whose recipe is run again."""

    pixels_sha256: str
    provider_prompt: str
    """The prompt that the provider received."""
    image: StoredFile | None
    """None if its avatar is gone."""


def keep_recipe(generation_id: str, recipe: Recipe) -> None:
    """Store the recipe of a generation's picture, in the current transaction."""
    run_later(_recipe().given(generation_id=generation_id, recipe=recipe.to_json()))


@compiled
def _recipe() -> CompiledInsert:
    return CompiledInsert(GenerationRecipe)


def read_recipe(generation_id: str) -> Recipe | None:
    """Return the recipe of a generation's picture, or None if none is stored."""
    row: GenerationRecipe | None = GenerationRecipe.get_or_none(GenerationRecipe.generation == generation_id)
    return Recipe.from_json(row.recipe) if row else None


def require_reproducible(generation: Generation, recipe: Recipe | None, routes: Routes) -> None:
    """Refuse to run a recipe again with another model or route than before.

    Raises:
        FailedPreconditionError: Names the first difference.
    """
    if generation.state != GenerationState.COMPLETED:
        raise _not_reproducible_error(
            "state", f"its state is {generation.state}, and only a completed generation can be reproduced"
        )
    if recipe is None:
        raise _not_reproducible_error("recipe", "it was made before recipes were kept")
    references = len(recipe.reference_avatar_ids)
    route = routes.route(has_reference=references > 0)
    if route is None:
        raise _not_reproducible_error("provider", "the service no longer makes pictures from a reference")
    for name, now in _settings_of(route).items():
        before = getattr(recipe, name)
        if before != now:
            raise _not_reproducible_error(
                name, f"the {name.replace('_', ' ')} was {before or 'none'} and is now {now or 'none'}"
            )
    if references > route.max_references:
        raise _not_reproducible_error("reference_avatar_ids", route.too_many_references(references))


def deleted_original_error() -> FailedPreconditionError:
    """Return the error for a reproduction of a generation that has been deleted."""
    return _not_reproducible_error("recipe", "it reproduces a generation that has been deleted")


def _settings_of(route: Route) -> dict[str, str | float]:
    """Return the settings of the route that a recipe also has, by their names in the recipe."""
    lora = route.lora or _NO_LORA
    return {
        "provider": route.provider,
        "route": route.name,
        "model": route.model,
        "model_revision": route.model_revision,
        "lora": lora.repository,
        "lora_weight_file": lora.weight_file,
        "lora_revision": lora.revision,
        "lora_scale": lora.scale,
        "speed": route.speed,
    }


def _not_reproducible_error(difference: str, description: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "NOT_REPRODUCIBLE",
        f"the generation cannot be reproduced: {description}",
        metadata={"difference": difference},
    )


def read_source(user_id: str, generation_id: str) -> ReproductionSource | None:
    """Read the picture of a generation, to compare a reproduction with it; None if its recipe is gone."""
    recipe = read_recipe(generation_id)
    if recipe is None:
        return None
    avatar = (
        Avatar.select(Avatar, File)
        .join(File, on=(Avatar.image_file == File.id))
        .where(
            Avatar.generation == generation_id,
            Avatar.user_id == user_id,
            in_no_deleted_project(Avatar.project),
        )
        .first()
    )
    image = StoredFile.from_row(avatar.image_file) if avatar else None
    return ReproductionSource(recipe.pixels_sha256, recipe.provider_prompt, image)

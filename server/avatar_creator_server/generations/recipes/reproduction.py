"""Recipes as they are kept, and whether one can be run again."""

from __future__ import annotations

from avatar_creator_server.database.models import GenerationRecipe
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.errors import FailedPreconditionError
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.routes import Routes


def keep_recipe(generation_id: str, recipe: Recipe) -> None:
    """In the current transaction: this made the generation's picture."""
    GenerationRecipe.create(generation=generation_id, recipe=recipe.to_json())


def read_recipe(generation_id: str) -> Recipe | None:
    """What made a generation's picture; None where none is kept."""
    row: GenerationRecipe | None = GenerationRecipe.get_or_none(GenerationRecipe.generation == generation_id)
    return Recipe.from_json(row.recipe) if row else None


def require_reproducible(generation: Generation, recipe: Recipe | None, routes: Routes) -> None:
    """Refuse to run a recipe again by other means than it was made by.

    Raises:
        FailedPreconditionError: says what is different.
    """
    if generation.state != GenerationState.COMPLETED:
        raise _not_reproducible("state", f"it is {generation.state}; only a completed one can be reproduced")
    if recipe is None:
        raise _not_reproducible("recipe", "it was made before recipes were kept")
    route = routes.route(has_reference=bool(recipe.reference_avatar_id))
    lora = route.lora if route else None
    now = {
        "provider": route.provider if route else "",
        "route": route.name if route else "",
        "model": route.model if route else "",
        "model_revision": route.model_revision if route else "",
        "lora": lora.repository if lora else "",
        "lora_weight_file": lora.weight_file if lora else "",
        "lora_revision": lora.revision if lora else "",
        "lora_scale": lora.scale if lora else 0.0,
    }
    for name, value in now.items():
        then = getattr(recipe, name)
        if then != value:
            raise _not_reproducible(
                name, f"the {name.replace('_', ' ')} was {then or 'none'} and is {value or 'none'} now"
            )


def _not_reproducible(difference: str, description: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "NOT_REPRODUCIBLE",
        f"the generation cannot be reproduced: {description}",
        metadata={"difference": difference},
    )

"""Planning: complete a request, choose its route, and check what that route supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avatar_creator_server.avatars.service import require_avatar
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.errors import FieldViolation, InvalidArgumentError, NotFoundError
from avatar_creator_server.generations.limitations import limitations
from avatar_creator_server.generations.prompt import cut_warning, describe, enhance
from avatar_creator_server.generations.provider_prompt import provider_prompt_of
from avatar_creator_server.generations.queries import read_generation
from avatar_creator_server.generations.recipes.reproduction import (
    deleted_original_error,
    read_recipe,
    require_reproducible,
)
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.request import (
    GenerationRequest,
    fill_from_presets,
    request_from,
)
from avatar_creator_server.generations.routes import Route, Routes
from avatar_creator_server.shared.caller import Caller


class GenerationPlanner:
    """Turns a user's request into one that a worker can run, by the routes of one moment."""

    def __init__(self, routes: Routes, prompt_style: str) -> None:
        """Create a planner.

        Args:
            routes: The routes of the service.
            prompt_style: `tags` or `prose`.
        """
        self._routes = routes
        self._build = describe if prompt_style == "prose" else enhance

    def enhanced_prompt_of(self, request: GenerationRequest) -> str:
        """Return the prompt to run again, or the one built from prompt, persona and attributes."""
        return request.enhanced_prompt or self._build(request.prompt, request.persona, request.attributes)

    def complete(self, caller: Caller, request: GenerationRequest) -> GenerationRequest:
        """Return the request with everything filled in that it refers to. Runs in a database job.

        Raises:
            NotFoundError: There is no such preset or persona example, or the user has no such avatar or
                generation.
            FailedPreconditionError: The recipe cannot be run again.
        """
        if request.reproduce_of:
            request = self._reproduction(caller, request)
        for avatar_id in request.reference_avatar_ids:
            require_avatar(caller, avatar_id)
        return fill_from_presets(request)

    def route_of(self, request: GenerationRequest) -> Route:
        """Return the route that the request takes.

        Raises:
            InvalidArgumentError: The service makes no pictures from references, or not from so many, or not
                without one.
        """
        count = len(request.reference_avatar_ids)
        field = "reference_avatar_ids" if count > 1 else "reference_avatar_id"
        route = self._routes.route(has_reference=count > 0)
        if route is None:
            missing = self._routes.missing_reference_app
            violation = FieldViolation(
                field,
                f"Hugging Face's router does not offer {missing}, which draws from a reference"
                if missing
                else "the service's route makes no pictures from a reference",
            )
            raise _unsupported(self._routes.from_text, [violation])
        if route.needs_reference and not count:
            problem = f"the model {route.model} only edits pictures: choose an avatar as the reference"
            raise _unsupported(route, [FieldViolation(field, problem)])
        if count > route.max_references:
            raise _unsupported(route, [FieldViolation(field, route.too_many_references(count))])
        return route

    def price_of(self, request: GenerationRequest) -> int:
        """Return the price of one attempt at the request, in millionths of a US dollar."""
        options = request.options
        references = len(request.reference_avatar_ids)
        return self.route_of(request).price(options.width, options.height, references=references)

    def require_supported(self, request: GenerationRequest) -> None:
        """Refuse a size that the route cannot draw and, with `strict`, options that it does not support.

        Raises:
            InvalidArgumentError: Names the fields.
        """
        route = self.route_of(request)
        violations = list(route.unsupported_sizes(request.options))
        if request.options.strict:
            violations += limitations(route, request)
        if violations:
            raise _unsupported(route, violations)

    def warnings(self, request: GenerationRequest) -> tuple[str, ...]:
        """Return the warnings: about unsupported options, the app, an unknown model, and a cut prompt."""
        route = self.route_of(request)
        warnings = [violation.description for violation in limitations(route, request)]
        warnings += [text for text in (route.notice, route.model_warning) if text]
        if "prompt" in route.supports and route.known_model is not None:
            prompt = provider_prompt_of(route, request, self.enhanced_prompt_of(request))
            cut = cut_warning(prompt, route.known_model.prompt_tokens)
            warnings += [cut] if cut else []
        return tuple(warnings)

    def require_still_reproducible(self, caller: Caller, request: GenerationRequest) -> None:
        """Refuse to draw a reproduction again if its recipe can no longer be run.

        Raises:
            FailedPreconditionError: The recipe cannot be run again, or its generation has been deleted.
        """
        if request.reproduce_of:
            try:
                self._reproducible(caller, request.reproduce_of)
            except NotFoundError as error:
                raise deleted_original_error() from error

    def _reproducible(self, caller: Caller, generation_id: str) -> Generation:
        original = read_generation(caller, generation_id)
        completed = original.state == GenerationState.COMPLETED
        require_reproducible(original, read_recipe(original.id) if completed else None, self._routes)
        return original

    def _reproduction(self, caller: Caller, request: GenerationRequest) -> GenerationRequest:
        """Return the request of the generation to reproduce, with the seed and prompt that it used.

        Raises:
            NotFoundError: The user has no such generation.
            FailedPreconditionError: The recipe cannot be run again.
        """
        original = self._reproducible(caller, request.reproduce_of)
        return replace(
            request_from(original),
            enhanced_prompt=original.enhanced_prompt,
            reproduce_of=original.id,
            priority=request.priority,
            project_id=request.project_id,
            avatar_name=request.avatar_name if request.avatar_name.strip() else original.avatar_name,
            options=replace(original.options, seed=original.seed_used),
            preset_id="",
            persona_example_id="",
        )


def _unsupported(route: Route, violations: Sequence[FieldViolation]) -> InvalidArgumentError:
    return InvalidArgumentError(
        "OPTION_NOT_SUPPORTED",
        "; ".join(f"{violation.field}: {violation.description}" for violation in violations),
        metadata={"provider": route.provider, "route": route.name},
        violations=violations,
    )

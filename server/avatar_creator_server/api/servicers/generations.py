"""Servicer of `GenerationService`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from dataclasses import replace

from avatar_creator.v1 import generation_service_pb2 as pb
from avatar_creator.v1 import generation_service_pb2_grpc as pb_grpc
from avatar_creator.v1.generation_pb2 import GenerationPriority
from avatar_creator_server.api.access import (
    current_caller,
    privileged_caller,
    resolve_list_owner,
    token_seconds_left,
)
from avatar_creator_server.api.answers import fit
from avatar_creator_server.api.context import Context, end_with_reader
from avatar_creator_server.api.request_keys import request_key
from avatar_creator_server.api.validation import validate
from avatar_creator_server.contract import mapping
from avatar_creator_server.database.models import states
from avatar_creator_server.errors import FieldViolation, InvalidArgumentError
from avatar_creator_server.generations.feed import GenerationFeed
from avatar_creator_server.generations.request import GenerationRequest
from avatar_creator_server.generations.service import Generations
from avatar_creator_server.generations.updates import GenerationUpdate
from avatar_creator_server.generations.watch import GenerationWatches

_ALLOWED_WITH_A_RECIPE = frozenset(
    {"project_id", "avatar_name", "priority", "request_id", "reproduce_generation_id"}
)


class GenerationService(pb_grpc.GenerationServiceServicer):
    """Generations of the calling user."""

    def __init__(self, generations: Generations, feed: GenerationFeed, watches: GenerationWatches) -> None:
        self._generations = generations
        self._feed = feed
        self._watches = watches

    async def CreateGeneration(
        self, request: pb.CreateGenerationRequest, context: Context
    ) -> pb.CreateGenerationResponse:
        validate(request, *_violations_of_generation(request, ""))
        first, *variations = await self._generations.create(
            current_caller(),
            request_key("CreateGeneration", request.request_id, request),
            _request_of(request),
            request.variation_count or 1,
        )
        return pb.CreateGenerationResponse(
            generation=mapping.generation_to_proto(first),
            variations=map(mapping.generation_to_proto, variations),
        )

    async def EstimateGeneration(
        self, request: pb.EstimateGenerationRequest, context: Context
    ) -> pb.EstimateGenerationResponse:
        nested = request.generation
        validate(request, *_violations_of_generation(nested, "generation."))
        try:
            estimate = await self._generations.estimate(
                current_caller(), _request_of(nested), nested.variation_count or 1
            )
        except InvalidArgumentError as error:
            raise error.inside("generation") from error
        p50, p90 = estimate.seconds or (None, None)
        return pb.EstimateGenerationResponse(
            provider=estimate.route.provider,
            route=estimate.route.name,
            price_micros=estimate.price_micros,
            seconds_p50=p50,
            seconds_p90=p90,
            expected_seconds=estimate.expected_seconds,
            warnings=estimate.warnings,
        )

    async def GetGeneration(
        self, request: pb.GetGenerationRequest, context: Context
    ) -> pb.GetGenerationResponse:
        validate(request)
        generation, attempts, recipe = await self._generations.get_with_history(
            privileged_caller(request), request.generation_id
        )
        return pb.GetGenerationResponse(
            generation=mapping.generation_to_proto(generation),
            attempts=map(mapping.attempt_to_proto, attempts),
            recipe=mapping.recipe_to_proto(recipe) if recipe else None,
        )

    async def ListGenerations(
        self, request: pb.ListGenerationsRequest, context: Context
    ) -> pb.ListGenerationsResponse:
        validate(request)
        page = await self._generations.list_page(
            resolve_list_owner(request),
            replace(
                mapping.generation_filter_from_proto(request),
                group_id=request.group_id,
                created_from=mapping.instant_of(request, "create_time_from"),
                oldest_first=request.order == pb.GENERATION_ORDER_OLDEST_FIRST,
            ),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        generations, page = fit(page, mapping.generation_to_proto)
        return pb.ListGenerationsResponse(generations=generations, next_page_token=page.next_page_token)

    async def WatchGeneration(  # type: ignore[override]  # see `send`
        self, request: pb.WatchGenerationRequest, context: Context
    ) -> None:
        validate(request)
        caller, known = privileged_caller(request), {request.generation_id: request.known_revision}
        del request  # an open watch does not keep it
        await end_with_reader(
            self._watches.watch(
                caller, known, lambda update: context.write(update.response), seconds=token_seconds_left()
            )
        )

    async def WatchGenerations(  # type: ignore[override]  # see `send`
        self, request: pb.WatchGenerationsRequest, context: Context
    ) -> None:
        validate(request, *_violations_of_watch(request))
        seconds, since = token_seconds_left(), mapping.instant_of(request, "changed_since")

        def send_update(update: GenerationUpdate) -> Awaitable[None]:
            return context.write(update.response_of_several)

        match request.WhichOneof("selector"):
            case "all":
                user_id = resolve_list_owner(request.all).user_id
                watching = self._watches.watch_user(user_id, since, send_update, seconds=seconds)
            case "project_id":
                caller = privileged_caller(request)
                watching = self._watches.watch_project(
                    caller, request.project_id, since, send_update, seconds=seconds
                )
            case "group_id":
                caller = privileged_caller(request)
                known = dict.fromkeys(await self._feed.ids_of_group(caller, request.group_id), 0)
                watching = self._watches.watch(caller, known, send_update, seconds=seconds)
            case _:
                caller = privileged_caller(request)
                known = {target.generation_id: target.known_revision for target in request.targets.targets}
                watching = self._watches.watch(caller, known, send_update, seconds=seconds)
        del request  # an open watch does not keep it
        await end_with_reader(watching)

    async def CancelGeneration(
        self, request: pb.CancelGenerationRequest, context: Context
    ) -> pb.CancelGenerationResponse:
        validate(request)
        generation = await self._generations.cancel(privileged_caller(request), request.generation_id)
        return pb.CancelGenerationResponse(generation=mapping.generation_to_proto(generation))

    async def RetryGeneration(
        self, request: pb.RetryGenerationRequest, context: Context
    ) -> pb.RetryGenerationResponse:
        validate(request)
        generation = await self._generations.retry(
            privileged_caller(request),
            request_key("RetryGeneration", request.request_id, request),
            request.generation_id,
        )
        return pb.RetryGenerationResponse(generation=mapping.generation_to_proto(generation))


def _request_of(request: pb.CreateGenerationRequest) -> GenerationRequest:
    return GenerationRequest(
        project_id=request.project_id,
        prompt=request.prompt if request.prompt.strip() else "",
        avatar_name=request.avatar_name,
        persona=mapping.persona_from_proto(request.persona),
        attributes=mapping.attributes_from_proto(request.attributes),
        options=mapping.options_from_proto(request.options),
        preset_id=request.preset_id,
        persona_example_id=request.persona_example_id,
        reference_avatar_ids=_references_of(request),
        reproduce_of=request.reproduce_generation_id,
        priority=mapping.word_of(GenerationPriority, request.priority) or states.GenerationPriority.NORMAL,
    )


def _references_of(request: pb.CreateGenerationRequest) -> tuple[str, ...]:
    """Return the ids of the references; the field for a single one means a list of one."""
    single = request.reference_avatar_id
    return (single,) if single else tuple(request.reference_avatar_ids)


def _violations_of_generation(request: pb.CreateGenerationRequest, place: str) -> Iterator[FieldViolation]:
    """Yield the violations that depend on several fields of a request."""
    if request.reproduce_generation_id:
        for field, value in request.ListFields():
            empty = field.message_type is not None and not value.ByteSize()
            if field.name not in _ALLOWED_WITH_A_RECIPE and not empty:
                yield FieldViolation(f"{place}{field.name}", "must be empty with a reproduce_generation_id")
    elif not request.prompt.strip() and not request.preset_id:
        yield FieldViolation(f"{place}prompt", "must not be empty (or give a preset_id)")
    if request.reference_avatar_id and request.reference_avatar_ids:
        yield FieldViolation(
            f"{place}reference_avatar_id", "give reference_avatar_id or reference_avatar_ids, not both"
        )
    if request.options.reference_strength and not _references_of(request):
        yield FieldViolation(
            f"{place}options.reference_strength", "needs a reference_avatar_id or reference_avatar_ids"
        )


def _violations_of_watch(request: pb.WatchGenerationsRequest) -> Iterator[FieldViolation]:
    """Yield the violations that depend on several fields of a watch."""
    selector = request.WhichOneof("selector")
    if selector is None:
        yield FieldViolation("targets", "give one of targets, project_id, group_id and all")
    if request.HasField("changed_since") and selector not in ("project_id", "all"):
        yield FieldViolation("changed_since", "needs a project_id or all")
    ids = [target.generation_id for target in request.targets.targets[:100]]
    if len(set(ids)) < len(ids):
        yield FieldViolation("targets.targets", "must name each generation only once")

"""Serves `GenerationService`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from avatar_creator.v1 import generation_service_pb2 as pb
from avatar_creator.v1 import generation_service_pb2_grpc as pb_grpc
from avatar_creator.v1.generation_pb2 import GenerationState
from server import wire
from server.domain.errors import FieldViolation
from server.domain.generations import Generations, Order
from server.domain.watching import GenerationWatches
from server.interceptors.around import Context
from server.interceptors.auth import caller_in_role, current_caller, lister
from server.services.request_keys import request_key
from server.validation import validate


class GenerationService(pb_grpc.GenerationServiceServicer):
    """Generations of the calling user."""

    def __init__(self, generations: Generations, watches: GenerationWatches) -> None:
        self._generations = generations
        self._watches = watches

    async def CreateGeneration(
        self, request: pb.CreateGenerationRequest, context: Context
    ) -> pb.CreateGenerationResponse:
        if request.prompt.strip() or request.preset_id:
            validate(request)
        else:
            validate(request, FieldViolation("prompt", "must not be empty without a preset_id"))
        generation = await self._generations.create(
            current_caller(),
            request_key("CreateGeneration", request.request_id, request),
            Order(
                project_id=request.project_id,
                prompt=request.prompt if request.prompt.strip() else "",
                avatar_name=request.avatar_name,
                persona=wire.persona_from_proto(request.persona),
                attributes=wire.attributes_from_proto(request.attributes),
                options=wire.options_from_proto(request.options),
                preset_id=request.preset_id,
                persona_example_id=request.persona_example_id,
            ),
        )
        return pb.CreateGenerationResponse(generation=wire.generation_to_proto(generation))

    async def GetGeneration(
        self, request: pb.GetGenerationRequest, context: Context
    ) -> pb.GetGenerationResponse:
        validate(request)
        generation, attempts = await self._generations.get_with_attempts(
            caller_in_role(request), request.generation_id
        )
        return pb.GetGenerationResponse(
            generation=wire.generation_to_proto(generation),
            attempts=map(wire.attempt_to_proto, attempts),
        )

    async def ListGenerations(
        self, request: pb.ListGenerationsRequest, context: Context
    ) -> pb.ListGenerationsResponse:
        validate(request)
        page = await self._generations.page(
            lister(request),
            project_id=request.project_id,
            states=[wire.word_of(GenerationState, state) for state in request.states],
            created_from=wire.instant_of(request, "create_time_from"),
            created_before=wire.instant_of(request, "create_time_to"),
            size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListGenerationsResponse(
            generations=map(wire.generation_to_proto, page.items),
            next_page_token=page.next_page_token,
        )

    async def WatchGeneration(
        self, request: pb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[pb.WatchGenerationResponse]:
        validate(request)
        known = {request.generation_id: request.known_revision}
        async for state in self._watches.watch(caller_in_role(request), known):
            yield pb.WatchGenerationResponse(generation=state)

    async def WatchGenerations(
        self, request: pb.WatchGenerationsRequest, context: Context
    ) -> AsyncIterator[pb.WatchGenerationsResponse]:
        validate(request, *_wrong_together(request))
        caller = caller_in_role(request)
        if request.project_id:
            since = wire.instant_of(request, "changed_since")
            states = self._watches.watch_project(caller, request.project_id, since)
        else:
            known = {target.generation_id: target.known_revision for target in request.targets}
            states = self._watches.watch(caller, known)
        async for state in states:
            yield pb.WatchGenerationsResponse(generation=state)

    async def CancelGeneration(
        self, request: pb.CancelGenerationRequest, context: Context
    ) -> pb.CancelGenerationResponse:
        validate(request)
        generation = await self._generations.cancel(caller_in_role(request), request.generation_id)
        return pb.CancelGenerationResponse(generation=wire.generation_to_proto(generation))

    async def RetryGeneration(
        self, request: pb.RetryGenerationRequest, context: Context
    ) -> pb.RetryGenerationResponse:
        validate(request)
        generation = await self._generations.retry(
            caller_in_role(request),
            request_key("RetryGeneration", request.request_id, request),
            request.generation_id,
        )
        return pb.RetryGenerationResponse(generation=wire.generation_to_proto(generation))


def _wrong_together(request: pb.WatchGenerationsRequest) -> Iterator[FieldViolation]:
    """What is wrong with the request's fields as they stand beside each other."""
    if bool(request.targets) == bool(request.project_id):
        yield FieldViolation("targets", "give either targets or a project_id")
    if request.HasField("changed_since") and not request.project_id:
        yield FieldViolation("changed_since", "goes with a project_id only")
    ids = [target.generation_id for target in request.targets[:100]]
    if len(set(ids)) < len(ids):
        yield FieldViolation("targets", "name a generation more than once")

"""The codec of watches: it encodes the contract's messages."""

from __future__ import annotations

from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator.v1.generation_service_pb2 import WatchGenerationResponse, WatchGenerationsResponse
from avatar_creator_server.contract.mapping import generation_to_proto, number_of
from avatar_creator_server.database.models.states import ENDED_STATES
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.updates import GenerationUpdate

_ENDED = frozenset(number_of(GenerationState, state) for state in ENDED_STATES)


class ProtobufGenerationCodec:
    """Encodes the responses of `WatchGeneration` and `WatchGenerations`, each once for all watchers."""

    def update(self, generation: Generation) -> GenerationUpdate:
        """Return the update that shows this state to watchers."""
        message = generation_to_proto(generation)
        return GenerationUpdate(
            message.id,
            message.revision,
            message.state in _ENDED,
            WatchGenerationResponse(generation=message).SerializeToString(),
            WatchGenerationsResponse(generation=message).SerializeToString(),
        )

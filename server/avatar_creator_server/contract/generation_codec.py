"""The codec of generation events: the contract's own message travels on the bus and on a watch."""

from __future__ import annotations

from avatar_creator.v1.generation_pb2 import Generation as GenerationMessage
from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator_server.contract.mapping import generation_to_proto, number_of
from avatar_creator_server.database.models.states import ENDED_STATES
from avatar_creator_server.generations.events import GenerationUpdate
from avatar_creator_server.generations.records import Generation

_ENDED = frozenset(number_of(GenerationState, state) for state in ENDED_STATES)


class ProtobufGenerationCodec:
    """Encodes a generation as `avatar_creator.v1.Generation`, which is also the message of an update."""

    def update(self, generation: Generation) -> GenerationUpdate:
        """Return the update that shows this state to watchers."""
        return _update(generation_to_proto(generation))

    def encode(self, generation: Generation) -> bytes:
        """Return the payload for the bus."""
        return generation_to_proto(generation).SerializeToString()

    def decode(self, payload: bytes) -> GenerationUpdate:
        """Return the update from a payload of the bus."""
        return _update(GenerationMessage.FromString(payload))


def _update(message: GenerationMessage) -> GenerationUpdate:
    return GenerationUpdate(
        message.id, message.project_id, message.revision, message.state in _ENDED, message
    )

"""The prompt that a provider receives: the enhanced prompt, or an instruction to edit references."""

from __future__ import annotations

from avatar_creator_server.generations.prompt import instruct
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.request import GenerationRequest
from avatar_creator_server.generations.routes import Route


def provider_prompt_of(route: Route, asked: Generation | GenerationRequest, enhanced_prompt: str) -> str:
    """Return the prompt that this route sends for a request, with the LoRA's trigger words."""
    references = len(asked.reference_avatar_ids)
    if references and route.follows_instructions:
        return route.prompt_for(instruct(asked.prompt, asked.persona, asked.attributes, references))
    return route.prompt_for(enhanced_prompt)

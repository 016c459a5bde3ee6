"""The parts of a request that its route does not honor, as sentences for the caller."""

from __future__ import annotations

from dataclasses import replace

from avatar_creator_server.errors import FieldViolation
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.request import GenerationRequest
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import shown_attributes
from avatar_creator_server.people.prompt_words import read_prompt


def limitations(route: Route, asked: Generation | GenerationRequest) -> list[FieldViolation]:
    """Return the options that the route does not support, by field of the request.

    A route that reads only some words of the prompt says which ones.
    """
    has_reference = bool(asked.reference_avatar_ids)
    return [
        replace(found, description=f"{found.description}{_words_read(asked)}")
        if found.field == "prompt" and not has_reference
        else found
        for found in route.unsupported_options(asked.options, has_reference=has_reference)
    ]


def _words_read(asked: Generation | GenerationRequest) -> str:
    reading = read_prompt(asked.prompt, shown_attributes(asked.attributes, asked.persona))
    return f": {reading.describe()}"

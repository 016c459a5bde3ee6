"""Names of arguments for the fields of requests, so that errors of the service name what the caller gave."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from avatar_creator import rpcs
from avatar_creator.errors import AvatarCreatorError, FieldViolation
from avatar_creator.rpcs import Rpc

_Rules = Sequence[tuple[str, str]]

_OF_ALL: _Rules = (
    (r"^(avatar|generation|persona_example|preset|project)_id$", r"\1"),
    (r"^worker_name$", "worker"),
    (r"^avatar_ids", "avatars"),
    (r"^update_mask(\.paths)?", "paths"),
)
"""Patterns of fields that are called otherwise in every method, and their arguments."""

_OF_GENERATION: _Rules = (
    (r"^generation\.", ""),
    (r"^options\.", ""),
    (r"^reference_avatar_ids", "reference"),
    (r"^reproduce_generation_id$", "generation"),
)

_BY_RPC: dict[str, _Rules] = {
    rpcs.UPLOAD_AVATAR.path: ((r"^metadata\.", ""), (r"^(chunk|metadata)$", "picture")),
    rpcs.UPDATE_AVATAR.path: ((r"^avatar\.id$", "avatar"), (r"^avatar\.", "")),
    rpcs.UPDATE_PROJECT.path: ((r"^project\.id$", "project"), (r"^project\.", "")),
    rpcs.CREATE_GENERATION.path: (*_OF_GENERATION, (r"^variation_count$", "count")),
    rpcs.ESTIMATE_GENERATION.path: _OF_GENERATION,
    rpcs.WATCH_GENERATIONS.path: (
        (r"^targets\.targets(\[\d+\])?(\.generation_id)?", r"targets\1"),
        (r"^all\.", ""),
    ),
    rpcs.BULK_CANCEL_GENERATIONS.path: ((r"^filter\.", ""),),
    rpcs.BULK_RETRY_GENERATIONS.path: ((r"^filter\.", ""),),
    rpcs.SET_USER_LIMITS.path: ((r"^limits\.", ""),),
}


def name_arguments(error: AvatarCreatorError, rpc: Rpc[Any], picture: str = "picture") -> AvatarCreatorError:
    """Put the names of arguments in place of the fields in an error, also in its message, and return it.

    Args:
        error: The error.
        rpc: The RPC that failed.
        picture: Argument that has the picture of an upload, for example `reference[1]`.
    """
    rules = (*_BY_RPC.get(rpc.path, ()), *_OF_ALL)
    violations = []
    for violation in error.field_violations:
        argument, description = violation.field, violation.description
        for pattern, replacement in rules:
            argument = re.sub(pattern, replacement, argument)
        if rpc is rpcs.UPLOAD_AVATAR and picture != "picture" and argument in ("picture", "name"):
            description = f"its name {description}" if argument == "name" else description
            argument = picture
        error.message = error.message.replace(
            f"{violation.field}: {violation.description}", f"{argument}: {description}", 1
        )
        violations.append(FieldViolation(argument, description))
    error.field_violations = violations
    error.args = (error.message,)
    return error

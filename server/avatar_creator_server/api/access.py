"""Access: who makes the current call, and for which users they may act."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

import structlog
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from avatar_creator_server.api.tokens import OPS, Identity
from avatar_creator_server.errors import PermissionDeniedError
from avatar_creator_server.shared.caller import ALL_USERS, Caller

log = structlog.get_logger()

_identity: ContextVar[Identity] = ContextVar("identity")
_refused: ContextVar[bool] = ContextVar("refused", default=False)


def set_identity(identity: Identity) -> None:
    """Set the identity of the current call."""
    _identity.set(identity)


def current_caller() -> Caller:
    """Return the user who makes the current call, without the powers of a role."""
    return _identity.get().caller


def privileged_caller(request: Message) -> Caller:
    """Return the user who makes the current call, with the powers of their role.

    Use it in the RPCs that operators may call for every user. If the caller is an operator, the call is
    logged with the ids in its request.
    """
    identity = _identity.get()
    if not identity.is_ops:
        return identity.caller
    _log_use_of_ops_role(request)
    return Caller(identity.caller.user_id, sees_all=True)


def resolve_list_owner(request: Any) -> Caller:
    """Return the user whose resources a list or sum covers: `user_id` of the request, or the caller.

    An operator may name any user, or all users. An operator who names a project need not name its owner.

    Raises:
        PermissionDeniedError: The request names another user, and the caller is not an operator.
    """
    identity = _identity.get()
    own = identity.caller
    if request.user_id in ("", own.user_id):
        names_project = not request.user_id and bool(getattr(request, "project_id", ""))
        return privileged_caller(request) if names_project else own
    if not identity.is_ops:
        raise PermissionDeniedError(
            "ROLE_REQUIRED",
            f"only a token with role {OPS} may name another user in user_id",
            metadata={"role": OPS},
        )
    _log_use_of_ops_role(request)
    if request.user_id == ALL_USERS:
        return Caller(own.user_id, sees_all=True)
    return Caller(request.user_id)


def require_operator() -> Caller:
    """Return the operator who makes the current call.

    Raises:
        PermissionDeniedError: The caller is not an operator.
    """
    identity = _identity.get()
    if not identity.is_ops:
        raise PermissionDeniedError(
            "ROLE_REQUIRED",
            f"only a token with role {OPS} may operate the service",
            metadata={"role": OPS},
        )
    return Caller(identity.caller.user_id, sees_all=True)


def log_operation(request: Message) -> None:
    """Log a valid call of an operator: who asks for what."""
    log.info(
        "operation_requested",
        operation=request.DESCRIPTOR.name.removesuffix("Request"),
        user=user_for_log(),
        request=MessageToDict(request, preserving_proto_field_name=True),
    )


def token_seconds_left() -> float:
    """Return the seconds until the token of the current call expires."""
    return max(_identity.get().expires - time.time(), 0.0)


def user_for_log() -> str:
    """Return the caller's user id; empty if the call needs no token or was refused."""
    identity = _identity.get(None)
    return identity.caller.user_id if identity else ""


def mark_refused() -> None:
    """Record that a limit refused the current call."""
    _refused.set(True)


def is_refused() -> bool:
    """Return whether a limit refused the current call."""
    return _refused.get()


def _log_use_of_ops_role(request: Message) -> None:
    ids = {
        field.name: value
        for field, value in request.ListFields()
        if field.name.endswith(("_id", "_ids")) and field.name != "request_id"
    }
    targets = [target.generation_id for target in getattr(getattr(request, "targets", None), "targets", ())]
    log.info(
        "ops_role_used",
        request=request.DESCRIPTOR.name,
        user=user_for_log(),
        **{name: value if isinstance(value, str) else list(value) for name, value in ids.items()},
        **({"generation_ids": targets} if targets else {}),
    )

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
_web_protocol: ContextVar[str] = ContextVar("web_protocol", default="")


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
    owner, with_role = _resolve_owner(request)
    if with_role:
        _log_use_of_ops_role(request)
    return owner


def resolve_bulk_owner(request: Any) -> Caller:
    """Return the user whose generations a bulk call changes: as `resolve_list_owner`, by its `filter`.

    Raises:
        PermissionDeniedError: The filter names another user, and the caller is not an operator.
    """
    owner, with_role = _resolve_owner(request.filter)
    if with_role:
        log_operation(request)
    return owner


def require_operator() -> Caller:
    """Return the operator who makes the current call.

    Raises:
        PermissionDeniedError: The caller is not an operator.
    """
    return _require_role("operate the service")


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


def set_web_protocol(name: str) -> None:
    """Record that the current call came over the web port, in this protocol."""
    _web_protocol.set(name)


def web_protocol() -> str:
    """Return the protocol of a call over the web port; empty for a call over gRPC."""
    return _web_protocol.get()


def mark_refused() -> None:
    """Record that a limit refused the current call."""
    _refused.set(True)


def is_refused() -> bool:
    """Return whether a limit refused the current call."""
    return _refused.get()


def _resolve_owner(selection: Any) -> tuple[Caller, bool]:
    """Return the owner that `user_id` and `project_id` select, and whether that needs the role."""
    identity = _identity.get()
    own = identity.caller
    if selection.user_id not in ("", own.user_id):
        operator = _require_role("name another user in user_id")
        return operator if selection.user_id == ALL_USERS else Caller(selection.user_id), True
    if identity.is_ops and not selection.user_id and bool(getattr(selection, "project_id", "")):
        return Caller(own.user_id, sees_all=True), True
    return own, False


def _require_role(act: str) -> Caller:
    """Return the operator who makes the current call, and finds the resources of all users.

    Raises:
        PermissionDeniedError: The caller is not an operator, so they may not do this act.
    """
    identity = _identity.get()
    if not identity.is_ops:
        raise PermissionDeniedError(
            "ROLE_REQUIRED", f"only a token with role {OPS} may {act}", metadata={"role": OPS}
        )
    return Caller(identity.caller.user_id, sees_all=True)


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

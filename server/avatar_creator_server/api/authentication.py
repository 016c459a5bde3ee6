"""Authentication: every call except health and reflection must carry a valid token.

It also sets the limits of the call at the database: the user's share of it, and the deadline.
"""

from __future__ import annotations

from avatar_creator_server.api.access import set_identity
from avatar_creator_server.api.call_classes import CallClass, class_of
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.tokens import TokenVerifier
from avatar_creator_server.database.call_limits import set_call_limits
from avatar_creator_server.errors import UnauthenticatedError

HEALTH = "/grpc.health.v1."
"""Beginning of the names of the methods that report health."""

_SERVICES_WITHOUT_TOKEN = (HEALTH, "/grpc.reflection.")


def needs_token(method: str) -> bool:
    """Return whether each call of an RPC must have a token."""
    return not method.startswith(_SERVICES_WITHOUT_TOKEN)


class Authentication:
    """Refuses calls without a valid token, and sets the identity and limits of the others."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    def require_token(self, method: str, context: Context) -> None:
        """Verify the token of the current call.

        Raises:
            UnauthenticatedError: The call has no token, or the token is not accepted.
        """
        identity = self._tokens.verify(_bearer_token(context))
        set_identity(identity)
        is_watch = class_of(method) is CallClass.WATCH
        set_call_limits(identity.caller.user_id, context.time_remaining(), is_patient=is_watch)

    def known_user_id(self, context: Context) -> str | None:
        """Return the user of a call whose token was verified before; None if that is not certain."""
        try:
            identity = self._tokens.known_identity(_bearer_token(context))
        except UnauthenticatedError:
            return None
        return identity.caller.user_id if identity else None


def _bearer_token(context: Context) -> str:
    values = [str(value) for key, value in context.invocation_metadata() or () if key == "authorization"]
    if len(values) > 1:
        # A proxy in front of the service may have checked another one than the service would use.
        raise UnauthenticatedError(
            "TOKEN_INVALID", f"the call has {len(values)} values of `authorization`; send exactly one"
        )
    scheme, _, token = "".join(values).partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError(
            "TOKEN_MISSING", "the call needs the metadata `authorization: Bearer <token>`"
        )
    return token

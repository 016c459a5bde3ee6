"""Finds out who calls and in which role, from the JWT every call but health and reflection must carry."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import jwt
import structlog
from google.protobuf.message import Message

from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.api.validation import NAME
from avatar_creator_server.errors import PermissionDeniedError, UnauthenticatedError
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.caller import ALL_USERS, Caller, is_user_id

ALGORITHM = "HS256"
"""The only accepted signature: HMAC with SHA-256. `none` and public-key algorithms are refused."""

APP_CLAIM = "app_id"
"""Names the app a token was issued to."""
ROLE_CLAIM = "role"
"""Names the role of a token's user. The only one there is is `OPS`; any other gives no powers."""
OPS = "ops"
"""The role of operators: they may read any user's things, and cancel and retry any user's generations."""

_OPEN_SERVICES = ("/grpc.health.v1.", "/grpc.reflection.")
_CACHED_TOKENS = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a token says."""

    caller: Caller
    is_ops: bool
    expires: float
    """The token's `exp`, in seconds since 1970."""


_identity: ContextVar[_Identity] = ContextVar("identity")


def current_caller() -> Caller:
    """Who makes the call that is being handled, as an ordinary user: the powers of a role are not in it."""
    return _identity.get().caller


def privileged_caller(request: Message) -> Caller:
    """Who makes the call, with the powers of their role, for calls that operators may make for any user.

    Every such call of an operator is logged, with the ids it names.
    """
    identity = _identity.get()
    if not identity.is_ops:
        return identity.caller
    _log_ops_call(request)
    return Caller(identity.caller.user_id, sees_all=True)


def resolve_list_owner(request: Any) -> Caller:
    """Whose things a list, or a sum, is asked for: those of the `user_id` in it, or the caller's own.

    An operator may name anybody, or all users; and when a project is named, its owner need not be.

    Raises:
        PermissionDeniedError: it names another user, and the caller is no operator.
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
    _log_ops_call(request)
    if request.user_id == ALL_USERS:
        return Caller(own.user_id, sees_all=True)
    return Caller(request.user_id)


def token_seconds_left() -> float:
    """For how long the token of the call that is being handled is still good."""
    return max(_identity.get().expires - time.time(), 0.0)


def user_for_log() -> str:
    """The caller's user id, or empty when the call needs none or was refused."""
    identity = _identity.get(None)
    return identity.caller.user_id if identity else ""


def _log_ops_call(request: Message) -> None:
    named = {
        field.name: value
        for field, value in request.ListFields()
        if field.name.endswith(("_id", "_ids")) and field.name != "request_id"
    }
    targets = [target.generation_id for target in getattr(request, "targets", ())]
    log.info(
        "ops_call",
        request=request.DESCRIPTOR.name,
        user=user_for_log(),
        **{name: value if isinstance(value, str) else list(value) for name, value in named.items()},
        **({"generation_ids": targets} if targets else {}),
    )


class Authentication:
    """Verifies tokens, and remembers verified ones until they expire."""

    def __init__(
        self,
        secret: str,
        *,
        user_claim: str,
        issuer: str,
        audience: str,
    ) -> None:
        self._secret = secret
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._verified: OrderedDict[str, _Identity] = OrderedDict()

    @asynccontextmanager
    async def require_token(self, method: str, context: Context) -> AsyncIterator[None]:
        """Refuse a call without a valid token; let the others know their caller."""
        if not method.startswith(_OPEN_SERVICES):
            _identity.set(self._verify(_bearer_token(context)))
        yield

    def _verify(self, token: str) -> _Identity:
        """Whom a token names.

        Raises:
            UnauthenticatedError: the token is not accepted; the reason says whether it has expired.
        """
        known = self._verified.get(token)
        if known is not None:
            if time.time() < known.expires:
                return known
            del self._verified[token]
        claims = self._claims(token)
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise _invalid(f"the claim {self._user_claim!r} is not a user id")
        app_id = claims.get(APP_CLAIM, "")
        if not isinstance(app_id, str) or (app_id and NAME(app_id) is not None):
            raise _invalid(f"the claim {APP_CLAIM!r} is not an app's id")
        identity = _Identity(
            Caller(user_id, app_id), is_ops=claims.get(ROLE_CLAIM) == OPS, expires=float(claims["exp"])
        )
        self._verified[token] = identity
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)
        return identity

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=self._issuer or None,
                audience=self._audience or None,
                # Our user claim may be another than `sub`; what it must be is checked by `verify`.
                options={
                    "require": ["exp", self._user_claim],
                    "verify_aud": bool(self._audience),
                    "verify_sub": False,
                },
            )
        except jwt.ExpiredSignatureError as error:
            raise UnauthenticatedError("TOKEN_EXPIRED", "the token has expired") from error
        except jwt.InvalidTokenError as error:
            raise _invalid(str(error)) from error
        return claims


def _bearer_token(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() == "bearer" and token:
                return token.strip()
    raise UnauthenticatedError("TOKEN_MISSING", "the call needs the metadata `authorization: Bearer <token>`")


def _invalid(why: str) -> UnauthenticatedError:
    return UnauthenticatedError("TOKEN_INVALID", f"the token is not accepted: {why}")


def mint_token(
    settings: Settings,
    user_id: str,
    expires_in: int,
    *,
    app_id: str = "",
    role: Literal["", "ops"] = "",
) -> str:
    """A token for `user_id` that `Authentication` with these settings accepts for `expires_in` seconds.

    `app_id` binds it to an app, and `role` gives its user the powers of an operator.

    Raises:
        SettingsError: there is no secret to sign with.
    """
    now = int(time.time())
    claims: dict[str, Any] = {settings.jwt_user_claim: user_id, "iat": now, "exp": now + expires_in}
    if app_id:
        claims[APP_CLAIM] = app_id
    if role:
        claims[ROLE_CLAIM] = role
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return jwt.encode(claims, settings.signing_secret(), ALGORITHM)

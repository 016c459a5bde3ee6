"""Finds out who calls, from the JWT every call but health and reflection must carry."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import jwt

from server.domain.caller import Caller, is_user_id
from server.domain.errors import UnauthenticatedError
from server.interceptors.around import Context
from server.settings import Settings

ALGORITHM = "HS256"
"""The only accepted signature: HMAC with SHA-256. `none` and public-key algorithms are refused."""

_OPEN_SERVICES = ("/grpc.health.v1.", "/grpc.reflection.")
_CACHED_TOKENS = 10_000

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who makes the call that is being handled."""
    return _caller.get()


def user_for_log() -> str:
    """The caller's user id, or empty when the call needs none or was refused."""
    caller = _caller.get(None)
    return caller.user_id if caller else ""


class Authentication:
    """Verifies tokens, and remembers verified ones until they expire."""

    def __init__(
        self,
        secret: str,
        *,
        user_claim: str,
        issuer: str,
        audience: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    @asynccontextmanager
    async def require_token(self, method: str, context: Context) -> AsyncIterator[None]:
        """Refuse a call without a valid token; let the others know their caller."""
        if not method.startswith(_OPEN_SERVICES):
            _caller.set(self.verify(_bearer_token(context)))
        yield

    def verify(self, token: str) -> Caller:
        """The caller a token names.

        Raises:
            UnauthenticatedError: the token is not accepted; the reason says whether it has expired.
        """
        known = self._verified.get(token)
        if known is not None:
            caller, expires = known
            if self._now() < expires:
                return caller
            del self._verified[token]
        claims = self._claims(token)
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise _invalid(f"the claim {self._user_claim!r} is not a user id")
        caller = Caller(user_id)
        self._verified[token] = (caller, float(claims["exp"]))
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)
        return caller

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


def mint_token(settings: Settings, user_id: str, expires_in: int) -> str:
    """A token for `user_id` that `Authentication` with these settings accepts for `expires_in` seconds.

    Raises:
        SettingsError: there is no secret to sign with.
    """
    now = int(time.time())
    claims: dict[str, Any] = {settings.jwt_user_claim: user_id, "iat": now, "exp": now + expires_in}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return jwt.encode(claims, settings.signing_secret(), ALGORITHM)

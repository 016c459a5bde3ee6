"""Tokens: JWTs that name a user, and may name an app and a role."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

import jwt

from avatar_creator_server.api.validation import NAME
from avatar_creator_server.errors import UnauthenticatedError
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.caller import Caller, is_user_id

ALGORITHM = "HS256"
"""The only accepted signature algorithm: HMAC with SHA-256. `none` and public-key algorithms are refused."""

APP_CLAIM = "app_id"
"""Claim with the id of the app that the token was issued to."""
ROLE_CLAIM = "role"
"""Claim with the user's role. `OPS` is the only role; any other value gives no powers."""
OPS = "ops"
"""The role of operators: they may read all users' resources, and cancel and retry all users' generations."""

_MAX_CACHED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of a verified token."""

    caller: Caller
    is_ops: bool
    expires: float
    """The claim `exp`, in seconds since 1970."""


class TokenVerifier:
    """Verifies tokens, and caches verified ones until they expire."""

    def __init__(self, secret: str, *, user_claim: str, issuer: str, audience: str) -> None:
        self._secret = secret
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._verified: OrderedDict[str, Identity] = OrderedDict()

    def verify(self, token: str) -> Identity:
        """Verify a token and return its identity.

        Raises:
            UnauthenticatedError: The token is not accepted. The reason says whether it has expired.
        """
        cached = self._verified.get(token)
        if cached is not None:
            if time.time() < cached.expires:
                return cached
            del self._verified[token]
        claims = self._claims(token)
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise _invalid(f"the claim {self._user_claim!r} is not a user id")
        app_id = claims.get(APP_CLAIM, "")
        if not isinstance(app_id, str) or (app_id and NAME(app_id) is not None):
            raise _invalid(f"the claim {APP_CLAIM!r} is not an app id")
        identity = Identity(
            Caller(user_id, app_id), is_ops=claims.get(ROLE_CLAIM) == OPS, expires=float(claims["exp"])
        )
        self._verified[token] = identity
        if len(self._verified) > _MAX_CACHED_TOKENS:
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
                # The user claim need not be `sub`; `verify` checks it.
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


def _invalid(problem: str) -> UnauthenticatedError:
    return UnauthenticatedError("TOKEN_INVALID", f"the token is not accepted: {problem}")


def mint_token(
    settings: Settings,
    user_id: str,
    expires_in: int,
    *,
    app_id: str = "",
    role: Literal["", "ops"] = "",
) -> str:
    """Create a token that a service with these settings accepts for `expires_in` seconds.

    Args:
        settings: Settings with the secret and the names of the claims.
        user_id: The user that the token names.
        expires_in: Lifetime in seconds.
        app_id: The app that the token is bound to; empty for none.
        role: `ops` gives the user the powers of an operator.

    Raises:
        SettingsError: The settings have no signing secret.
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

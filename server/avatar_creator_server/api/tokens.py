"""Tokens: JWTs that name a user, and may name an app and a role."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jwt
import structlog

from avatar_creator_server.api.claims import ClaimRules, invalid_token, parse_claims
from avatar_creator_server.api.validation import NAME
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.caller import Caller, is_user_id

log = structlog.get_logger()

ALGORITHM = "HS256"
"""The only accepted signature algorithm: HMAC with SHA-256. `none` and public-key algorithms are refused."""

APP_CLAIM = "app_id"
"""Claim with the id of the app that the token was issued to."""
ROLE_CLAIM = "role"
"""Claim with the user's role. `OPS` is the only role; any other value gives no powers."""
OPS = "ops"
"""The role of operators: they may read all users' resources, and cancel and retry all users' generations."""

MAX_TOKEN_BYTES = 16 * 1024
"""Maximum size of a token. Sign-in systems that list a user's groups make tokens of more than 8 KiB."""

_MAX_CACHED_TOKENS = 10_000
_JWS = jwt.PyJWS()


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of a verified token."""

    caller: Caller
    is_ops: bool
    expires: float
    """The time from which the token is refused, in seconds since 1970: `exp` and the leeway."""


class TokenVerifier:
    """Verifies tokens, and caches verified ones until they expire."""

    def __init__(
        self,
        secret: str,
        *,
        user_claim: str,
        rules: ClaimRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create a verifier.

        Args:
            secret: The secret that signs the tokens.
            user_claim: Name of the claim with the user id.
            rules: Rules for the registered claims.
            clock: Returns the seconds since 1970; tests replace it.
        """
        self._secret = secret
        self._user_claim = user_claim
        self._rules = rules
        self._clock = clock
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()
        """Identities by the SHA-256 of their token, because tokens can be large."""

    def verify(self, token: str) -> Identity:
        """Verify a token and return its identity.

        Raises:
            UnauthenticatedError: The token is not accepted. The reason says whether it has expired.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise invalid_token(
                f"it must have at most {MAX_TOKEN_BYTES:,} bytes (got {len(token):,}); "
                "ask its issuer for fewer claims",
                limit_bytes=str(MAX_TOKEN_BYTES),
            )
        if not token.isascii():
            raise invalid_token("it is not a signed JWT")
        digest = _digest(token)
        cached = self._verified.get(digest)
        if cached is not None:
            if self._clock() < cached.expires:
                return cached
            del self._verified[digest]
        identity = self._identity(parse_claims(self._payload(token)))
        self._verified[digest] = identity
        if len(self._verified) > _MAX_CACHED_TOKENS:
            self._verified.popitem(last=False)
        return identity

    def known_identity(self, token: str) -> Identity | None:
        """Return the identity of a token that was verified before, at little cost.

        None if the token is new or has expired: its call must get the error of `verify`.
        """
        if len(token) > MAX_TOKEN_BYTES:
            return None
        identity = self._verified.get(_digest(token))
        return identity if identity is not None and self._clock() < identity.expires else None

    def _payload(self, token: str) -> bytes:
        """Return the payload of a token with a valid signature."""
        try:
            signed = _JWS.decode_complete(token, self._secret, algorithms=[ALGORITHM])
        except jwt.InvalidSignatureError as error:
            raise invalid_token("its signature was not made with the secret of this service") from error
        except jwt.InvalidAlgorithmError as error:
            raise invalid_token(f"it must be signed with {ALGORITHM}") from error
        except jwt.InvalidTokenError as error:
            log.debug("token_refused", cause=str(error))
            raise invalid_token("it is not a signed JWT") from error
        if "crit" in signed["header"]:
            raise invalid_token("its header has critical extensions, of which this service knows none")
        payload: bytes = signed["payload"]
        return payload

    def _identity(self, claims: dict[str, Any]) -> Identity:
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise invalid_token(f"its claim {self._user_claim} must be a user id")
        app_id = claims.get(APP_CLAIM, "")
        if not isinstance(app_id, str) or (app_id and not _is_app_id(app_id)):
            raise invalid_token(f"its claim {APP_CLAIM} must be an app id")
        return Identity(
            Caller(user_id, app_id),
            is_ops=claims.get(ROLE_CLAIM) == OPS,
            expires=self._rules.expiry(claims, self._clock()),
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _is_app_id(text: str) -> bool:
    # JSON can express half of a surrogate pair, which UTF-8 and the database cannot.
    return NAME(text) is None and not any("\ud800" <= character <= "\udfff" for character in text)


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

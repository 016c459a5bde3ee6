"""Claims of a token: their types, and the times at which the token is valid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from avatar_creator_server.errors import UnauthenticatedError

_MAX_TIME = 253_402_300_799
"""Last second of the year 9999. A larger number is a time in milliseconds, or an attack."""


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Rules of a service for the registered claims."""

    issuer: str
    """Value that `iss` must have; not checked if empty."""
    audience: str
    """Value that `aud` must have or contain; not checked if empty."""
    leeway_seconds: float
    """Difference between the clocks of the issuer and the service that does not matter."""

    def expiry(self, claims: dict[str, Any], now: float) -> float:
        """Check the registered claims and return the time from which the token is refused.

        Args:
            claims: The claims.
            now: The current time, in seconds since 1970.

        Raises:
            UnauthenticatedError: A claim does not have its type, or the service does not accept its value.
        """
        expires, not_before, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        _require_text(claims, "jti")
        self._check_issuer(claims)
        self._check_audience(claims)
        if expires is None:
            raise invalid_token("it needs the claim exp")
        for name, start in (("nbf", not_before), ("iat", issued)):
            if start is not None and start > now + self.leeway_seconds:
                raise invalid_token(f"its claim {name} is in the future; check the clock of its issuer")
        if expires + self.leeway_seconds <= now:
            raise UnauthenticatedError("TOKEN_EXPIRED", "the token has expired")
        return expires + self.leeway_seconds

    def _check_issuer(self, claims: dict[str, Any]) -> None:
        _require_text(claims, "iss")
        if self.issuer and claims.get("iss") != self.issuer:
            raise invalid_token("its claim iss is not the issuer that this service expects")

    def _check_audience(self, claims: dict[str, Any]) -> None:
        audiences = claims.get("aud", [])
        if isinstance(audiences, str):
            audiences = [audiences]
        if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
            raise invalid_token("its claim aud must be a text or a list of texts")
        if self.audience and self.audience not in audiences:
            raise invalid_token("its claim aud does not name this service")


def parse_claims(payload: bytes) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        UnauthenticatedError: The payload is not a JSON object, or an object in it has a name twice.
    """
    try:
        claims = json.loads(
            payload.decode(), object_pairs_hook=_with_unique_names, parse_constant=_refuse_constant
        )
    # ValueError also for text that is not UTF-8 and for numbers with thousands of digits.
    except (ValueError, RecursionError) as error:
        raise invalid_token("its claims must be JSON in UTF-8, with each name once") from error
    if not isinstance(claims, dict):
        raise invalid_token("its claims must be a JSON object")
    return claims


def invalid_token(problem: str, **metadata: str) -> UnauthenticatedError:
    """Create the error for a token that the service does not accept; the problem is for the caller."""
    return UnauthenticatedError("TOKEN_INVALID", f"the token is not accepted: {problem}", metadata=metadata)


def _time(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME:
        raise invalid_token(f"its claim {name} must be a number of seconds since 1970")
    return float(value)


def _require_text(claims: dict[str, Any], name: str) -> None:
    if not isinstance(claims.get(name, ""), str):
        raise invalid_token(f"its claim {name} must be a text")


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name occurs twice")
    return unique


def _refuse_constant(constant: str) -> NoReturn:
    # Python reads NaN and Infinity, which are not JSON.
    raise ValueError(f"{constant} is not JSON")

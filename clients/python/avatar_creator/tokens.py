"""The bearer token of a call."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import TypeVar

from avatar_creator.arguments import described
from avatar_creator.errors import UnauthenticatedError

TOKEN_VARIABLE = "AVATAR_CREATOR_TOKEN"
"""Environment variable with the token of a client that is created without one."""

_Function = TypeVar("_Function")


def choose_token(token: _Function | str | None, environment: Mapping[str, str]) -> _Function | str:
    """Return the token from the argument, else from the environment.

    Args:
        token: A token, or a function that returns one. An empty text means calls without a token. None means
            the variable `AVATAR_CREATOR_TOKEN`.
        environment: Environment variables.

    Raises:
        UnauthenticatedError: There is neither; the reason is TOKEN_MISSING.
        ValueError: The token is not a text and not a function.
    """
    if token is not None:
        if not (isinstance(token, str) or callable(token)):
            raise ValueError(f"token must be a text, or a function that returns one (got {described(token)})")
        return token
    if found := environment.get(TOKEN_VARIABLE, "").strip():
        return found
    raise UnauthenticatedError(
        f"no token: pass `token`, or set the environment variable {TOKEN_VARIABLE}; an empty `token` sends "
        "calls without one",
        reason="TOKEN_MISSING",
    )


def require_plain_function(function: object, name: str, remedy: str) -> None:
    """Refuse an async function, which nothing would await.

    Raises:
        ValueError: `function` is async; the message has its argument's name and the remedy.
    """
    if iscoroutinefunction(function):
        raise ValueError(f"{name} must not be an async function; {remedy}")


def bearer(token: object) -> tuple[tuple[str, str], ...]:
    """Return the call metadata that carries the token; empty for an empty token.

    Call metadata, because gRPC's call credentials work only with TLS. Blanks around the token, which a file
    or a shell may leave there, are removed.

    Raises:
        ValueError: The token has characters that metadata cannot carry.
    """
    if not isinstance(token, str):
        raise ValueError(f"token must be a text, or a function that returns one (got {described(token)})")
    token = token.strip()
    if not token:
        return ()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token must have printable ASCII characters only; check where it is read from")
    return (("authorization", f"Bearer {token}"),)

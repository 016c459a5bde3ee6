"""Verification of tokens: sizes, types and times of claims, and the leeway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator_server.api.claims import ClaimRules
from avatar_creator_server.api.tokens import MAX_TOKEN_BYTES, Identity, TokenVerifier
from avatar_creator_server.errors import UnauthenticatedError
from avatar_creator_server.shared.caller import is_user_id

NOW = 1_800_000_000.0
LEEWAY = 30.0
SECRET = "0123456789abcdef" * 4
RULES = ClaimRules(issuer="", audience="", leeway_seconds=LEEWAY)
HEADER = '{"alg": "HS256", "typ": "JWT"}'
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
"""Anything that Python writes as JSON, including NaN and halves of surrogate pairs."""


class Clock:
    """A clock that the test sets."""

    now = NOW

    def __call__(self) -> float:
        return self.now


def verifier(clock: Clock | None = None, rules: ClaimRules = RULES) -> TokenVerifier:
    """Return a verifier with 30 seconds of leeway."""
    return TokenVerifier(SECRET, user_claim="sub", rules=rules, clock=clock or Clock())


def signed(payload: str | bytes, header: str = HEADER) -> str:
    """Return a token with this header and payload, and a valid signature."""
    parts = [part.encode() if isinstance(part, str) else part for part in (header, payload)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(SECRET.encode(), text, hashlib.sha256)
    return b".".join((text, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def token(**claims: Any) -> str:
    """Return a token of sarah that is valid for an hour; claims add to or replace her claims."""
    return signed(json.dumps({"sub": "sarah", "exp": NOW + 3600, **claims}))


def verified(text: str) -> Identity | UnauthenticatedError:
    """Return the identity of a token, or the error that refuses it."""
    try:
        return verifier().verify(text)
    except UnauthenticatedError as error:
        return error


def reason(refused: str, rules: ClaimRules = RULES) -> str:
    """Return the reason with which a token is refused."""
    with pytest.raises(UnauthenticatedError) as error:
        verifier(rules=rules).verify(refused)
    assert error.value.message.isprintable()
    return error.value.reason


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_from_a_fast_clock_is_accepted_within_the_leeway(claim: str) -> None:
    assert verifier().verify(token(**{claim: NOW + LEEWAY})).caller.user_id == "sarah"
    assert reason(token(**{claim: NOW + LEEWAY + 1})) == "TOKEN_INVALID"


def test_a_token_is_accepted_until_the_leeway_after_its_expiry_has_passed() -> None:
    clock = Clock()
    tokens = verifier(clock)
    verify = tokens.verify
    accepted = token(exp=NOW - LEEWAY + 1)

    assert verify(accepted).expires == NOW + 1
    assert tokens.known_identity(accepted) is not None

    clock.now = NOW + 1
    assert tokens.known_identity(accepted) is None
    with pytest.raises(UnauthenticatedError) as error:
        verify(accepted)  # from the cache, this time
    assert error.value.reason == "TOKEN_EXPIRED"
    assert reason(token(exp=NOW - LEEWAY)) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        *("10", "", None, True, False, [NOW], {"time": NOW}),
        *(-1, -1e9, 10**400, -(10**400), 1e300, NOW * 1000),
        *(float("nan"), float("inf"), float("-inf")),
    ],
    ids=str,
)
def test_a_time_of_the_wrong_type_or_size_is_refused(claim: str, value: Any) -> None:
    assert reason(token(**{claim: value})) == "TOKEN_INVALID"


WRONG_CLAIMS: dict[str, list[Any]] = {
    "sub": [
        *(7, None, True, ["sarah"], {}, "", "-", ".", "..", "a/b", "x" * 129),
        *(".x", "@x", "a\\b", "a\0", "ä", "\ud800", "x\n", " x"),
    ],
    "app_id": [7, None, ["a"], {}, " ", "x" * 121, "\ud800", "a\nb"],
    "iss": [7, None, ["issuer"], {}],
    "aud": [7, None, [7], ["avatars", None], {}],
    "jti": [7, None, []],
}


@pytest.mark.parametrize(
    "claims", [{name: value} for name, values in WRONG_CLAIMS.items() for value in values], ids=str
)
def test_a_claim_of_the_wrong_type_or_size_is_refused(claims: dict[str, Any]) -> None:
    assert reason(token(**claims)) == "TOKEN_INVALID"


@pytest.mark.parametrize("role", [7, None, True, ["ops"], {"ops": True}, "admin", "OPS"], ids=str)
def test_an_unknown_role_gives_no_powers(role: Any) -> None:
    assert not verifier().verify(token(role=role)).is_ops


@pytest.mark.parametrize(
    "payload",
    [
        *("[]", '"sarah"', "7", "null", "", "{", "[" * 10_000, '{"a":' * 2_000, "9" * 5_000),
        '{"sub": "sarah", "sub": "olga", "exp": 1800003600}',
        '{"sub": "sarah", "exp": 1800003600, "exp": 1900000000}',
        '{"sub": "sarah", "exp": 1800003600, "other": {"a": 1, "a": 2}}',
        '{"sub": "sarah", "exp": 1800003600, "other": NaN}',
        '{"sub": "sarah", "exp": 1' + "0" * 5_000 + "}",
        '{"sub": "sarah", "exp": 1e999}',
        '\ufeff{"sub": "sarah", "exp": 1800003600}',
        b'{"sub": "sarah", "exp": 1800003600, "other": "\xff"}',
        '{"sub": "sarah", "exp": 1800003600}'.encode("utf-16"),
    ],
    ids=lambda payload: repr(payload[:60]),
)
def test_a_payload_that_is_not_a_plain_json_object_is_refused(payload: str | bytes) -> None:
    assert reason(signed(payload)) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "header",
    [
        *("[]", "7", "{}", "", "{", "[" * 10_000, '{"alg": ' + "9" * 5_000 + "}"),
        *(
            f'{{"alg": {algorithm}}}'
            for algorithm in ('"none"', '"HS512"', '"RS256"', "null", "[]", "{}", "7")
        ),
        '{"alg": "HS256", "crit": ["b64"], "b64": true}',
        '{"alg": "HS256", "crit": ["b64"], "b64": false}',
        '{"alg": "HS256", "b64": false}',
        '{"alg": "HS256", "crit": ["exp"], "exp": 1}',
        '{"alg": "HS256", "crit": []}',
        '{"alg": "HS256", "crit": null}',
        '{"alg": "HS256", "crit": [7]}',
        '{"alg": "HS256", "kid": 7}',
    ],
)
def test_a_header_that_the_service_does_not_understand_is_refused(header: str) -> None:
    payload = json.dumps({"sub": "sarah", "exp": NOW + 3600})

    assert reason(signed(payload, header)) == "TOKEN_INVALID"


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "ä.ö.ü", "é" * 9, "\udcff.a.b", "a b.c.d"])
def test_a_text_that_is_not_a_jwt_is_refused(text: str) -> None:
    assert reason(text) == "TOKEN_INVALID"


def test_a_token_of_16_kib_is_accepted_and_a_longer_one_refused() -> None:
    whole = next(
        found
        for padding in range(MAX_TOKEN_BYTES)
        if len(found := token(groups="x" * (12_000 + padding))) >= MAX_TOKEN_BYTES
    )
    longer = token(groups="x" * 12_400)

    assert len(whole) == MAX_TOKEN_BYTES < len(longer)
    assert verifier().verify(whole).caller.user_id == "sarah"
    with pytest.raises(UnauthenticatedError, match=r"at most 16,384 bytes \(got 16,6") as error:
        verifier().verify(longer)
    assert (error.value.reason, error.value.metadata) == ("TOKEN_INVALID", {"limit_bytes": "16384"})


def test_issuer_and_audience_must_be_those_of_the_service() -> None:
    rules = ClaimRules(issuer="https://login", audience="avatars", leeway_seconds=LEEWAY)
    named: dict[str, Any] = {"iss": "https://login", "aud": ["other", "avatars"]}

    assert verifier(rules=rules).verify(token(**named)).caller.user_id == "sarah"
    assert verifier(rules=rules).verify(token(**named | {"aud": "avatars"})).caller.user_id == "sarah"
    wrong_claims: list[dict[str, Any]] = [
        {"iss": "https://login/"},
        {"aud": "avatar"},
        {"aud": []},
        {"aud": ["avatar"]},
    ]
    for wrong in wrong_claims:
        assert reason(token(**named | wrong), rules) == "TOKEN_INVALID"
    for missing in named:
        left = {name: value for name, value in named.items() if name != missing}
        assert reason(token(**left), rules) == "TOKEN_INVALID"
    assert verifier().verify(token(**named)).caller.user_id == "sarah"


@pytest.mark.parametrize(
    "user",
    [
        *("-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-abcd", "_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-abcd"),
        *("--", "__", "-.", "a", "x" * 128, "sarah@example.org", "auth0|5f7c8ec7"),
    ],
)
def test_an_id_from_a_sign_in_system_is_a_user(user: str) -> None:
    assert verifier().verify(token(sub=user)).caller.user_id == user


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "iat", "nbf", "iss", "aud", "jti", "role", "app_id", "other"]),
        ANY_JSON,
    ),
    st.booleans(),
)
def test_a_signed_token_with_any_claims_is_accepted_or_unauthenticated(
    claims: dict[str, Any], complete: bool
) -> None:
    if complete:
        claims = {"sub": "sarah", "exp": NOW + 3600} | claims
    outcome = verified(signed(json.dumps(claims)))

    if isinstance(outcome, UnauthenticatedError):
        assert outcome.reason in ("TOKEN_INVALID", "TOKEN_EXPIRED")
        assert outcome.message.isprintable()
    else:
        assert is_user_id(outcome.caller.user_id)
        assert NOW < outcome.expires < float("inf")
        outcome.caller.app_id.encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_signed_bytes_are_unauthenticated(header: bytes, payload: bytes) -> None:
    assert reason(signed(payload, header.decode("latin-1"))) == "TOKEN_INVALID"

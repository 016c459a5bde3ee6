"""Texts of libraries lose every secret before they leave the process."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from avatar_creator_server.logs import configure_logging
from avatar_creator_server.redaction import HIDDEN, Redactor

SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=6, max_size=40).filter(
    lambda text: text.strip() == text
)
FORMS: tuple[Callable[[str], str], ...] = (
    str,
    repr,
    lambda secret: repr(f"it's {secret}"),
    lambda secret: repr(f'it is "{secret}'),
    lambda secret: repr(f"it's \"{secret}"),
    json.dumps,
    quote,
    quote_plus,
    lambda secret: quote(secret, safe=""),
    lambda secret: json.dumps(quote(secret, safe="")),
)
PLACES: tuple[Callable[[str], dict[str, str]], ...] = (
    lambda secret: {"JWT_SECRET": secret},
    lambda secret: {"DATABASE_URL": f"postgresql://sarah:{secret}@db/faces"},
    lambda secret: {"DATABASE_URL": f"postgresql://sarah:{quote(secret, safe='')}@db/faces"},
    lambda secret: {"DATABASE_URL": f"postgresql://sarah@db/faces?password={quote(secret, safe='')}"},
    lambda secret: {"REDIS_URL": f"redis://:{secret}@cache"},
    lambda secret: {"https_proxy": f"http://{quote(secret, safe='')}@proxy:3128"},
)


@given(SECRETS, st.sampled_from(PLACES), st.sampled_from(FORMS))
@example("a/b@c:d?e#f%25", PLACES[1], str)
@example("100%sure", PLACES[1], repr)
def test_a_secret_of_the_environment_is_hidden_in_every_form(
    secret: str, place: Callable[[str], dict[str, str]], form: Callable[[str], str]
) -> None:
    redacted = Redactor(place(secret)).redact(f"the driver says <{form(secret)}> about it")

    assert HIDDEN in redacted
    assert form(secret) not in redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open postgresql://sarah:pa55@db:5432/faces", "cannot open postgresql://db:5432/faces"),
        ("https://fal.media/a.png?X-Amz-Signature=abc&x=1 failed", "https://fal.media/a.png failed"),
        ("HTTPS://Sarah@host/path#token=1", "HTTPS://host/path"),
        ("https://a:b@c:d@host/", "https://host/"),
        ("Authorization: Bearer abcdefgh12345678", f"Authorization: {HIDDEN}"),
        ("key hf_abcdefghij is bad", f"key {HIDDEN} is bad"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzYXJhaCJ9.c2lnbmF0dXJl ended", f"token {HIDDEN} ended"),
        ("https://fal.media/a.png is no picture", "https://fal.media/a.png is no picture"),
        ("avatar-creator listens on 127.0.0.1:50051", "avatar-creator listens on 127.0.0.1:50051"),
    ],
)
def test_addresses_and_tokens_lose_their_secrets(text: str, shown: str) -> None:
    assert Redactor({}).redact(text) == shown


def test_a_password_that_is_a_word_does_not_change_other_words() -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://postgres:postgres@db/faces"})

    assert redactor.redact("DATABASE_URL is postgresql://…") == "DATABASE_URL is postgresql://…"
    assert redactor.redact("the password postgres is wrong") == f"the password {HIDDEN} is wrong"


def test_the_name_of_a_database_user_is_no_secret() -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://avatar_creator@db/faces"})

    assert redactor.redact("avatar_creator_server.cli") == "avatar_creator_server.cli"


def test_no_log_has_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    secret = 'päss"word\\with/all@kinds'
    configure_logging("debug", Redactor({"REDIS_URL": f"redis://:{secret}@cache"}))
    try:
        try:
            raise ConnectionError(f"redis://:{secret}@cache does not answer")
        except ConnectionError as error:
            structlog.get_logger().exception("failed", error=repr(error), detail={"url": secret})
            logging.getLogger("library").exception("it failed with %s", secret)
    finally:
        structlog.reset_defaults()
        logging.basicConfig(force=True)

    written = errors.getvalue()
    assert written.count("ConnectionError") >= 3
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], "with/all", "p\\u00e4ss"):
        assert form not in written

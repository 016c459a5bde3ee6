"""Texts of libraries lose every secret before they leave the process."""

from __future__ import annotations

import gc
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from avatar_creator_server.logs import configure_logging
from avatar_creator_server.redaction import HIDDEN, Redactor
from avatar_creator_server.settings.signing_secret import generate_secret

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
        ("token r8_abcdefghij is bad", f"token {HIDDEN} is bad"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzYXJhaCJ9.c2lnbmF0dXJl ended", f"token {HIDDEN} ended"),
        ("https://fal.media/a.png is no picture", "https://fal.media/a.png is no picture"),
        ("avatar-creator listens on 127.0.0.1:50051", "avatar-creator listens on 127.0.0.1:50051"),
    ],
)
def test_addresses_and_tokens_lose_their_secrets(text: str, shown: str) -> None:
    assert Redactor({}).redact(text) == shown


@pytest.mark.parametrize("length", [10, 600, 1_100, 5_000, 200_000])
@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("token eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl ended", "token {} ended"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.{} ended", "token {} ended"),
        ("token eyJ{}.eyJzdWIiOiJ4In0.c2lnbmF0dXJl ended", "token {} ended"),
        ("jwt-eyJ{}.eyJzdWIiOiJ4In0.c2lnbmF0dXJl ended", "jwt-{} ended"),
        ("Authorization: Bearer {}", "Authorization: {}"),
        ("Authorization: Bearer   {}~", "Authorization: {}"),
        ("key hf_{} is bad", "key {} is bad"),
        ("https://host/?signature={} failed", "https://host/ failed"),
        ("https://host/#access_token={} failed", "https://host/ failed"),
        ("https://{}@host/a failed", "https://host/a failed"),
        ("https://sarah:{}@host/a failed", "https://host/a failed"),
        ("redis://:{}/x@cache failed", "redis://cache failed"),
        ("redis://:{}/x?y@cache failed", "redis://cache failed"),
        ("redis://:a?{}@cache failed", "redis://cache failed"),
        ("https://sarah:a#{}@host/a failed", "https://host/a failed"),
    ],
)
def test_a_secret_is_hidden_at_any_length(form: str, shown: str, length: int) -> None:
    secret = ("s3cr37" * length)[:length]
    assert Redactor({}).redact(form.format(secret)) == shown.format(HIDDEN)


@pytest.mark.parametrize("length", [10, 600, 5_000])
def test_the_query_of_a_long_path_is_removed(length: int) -> None:
    path = "a" * length
    redacted = Redactor({}).redact(f"https://host/{path}?signature=s3cr37 failed")
    assert redacted == f"https://host/{path} failed"


@pytest.mark.parametrize(
    "text",
    [
        "https://medium.com/@sarah/a",
        "https://host:8080/@sarah",
        "redis://cache:6379/0",
        "https://[::1]:8080/@x",
    ],
)
def test_a_path_with_an_at_sign_stays(text: str) -> None:
    assert Redactor({}).redact(text) == text


@pytest.mark.parametrize(
    "piece", ["a", "a://", "https://x@", "://@", "eyJ", "eyJaaaaaa.", "eyJ-", "Key ", "?@/"]
)
def test_redaction_takes_time_in_proportion_to_the_text(piece: str) -> None:
    redactor = Redactor({"JWT_SECRET": "0123456789abcdef"})

    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        begin = time.process_time()
        for _ in range(3):
            redactor.redact(text)
        return time.process_time() - begin

    seconds(1_000)
    assert seconds(160_000) < 32 * max(seconds(20_000), 0.002)


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("DB_PASS", True),
        ("MYSQL_PWD", True),
        ("REDISCLI_AUTH", True),
        ("SMTP_PASSWORD", True),
        ("PWD", False),
        ("OLDPWD", False),
        ("COMPASS", False),
        ("SSH_AUTH_SOCK", False),
    ],
)
def test_variables_with_secrets_are_known_by_their_names(name: str, is_secret: bool) -> None:
    redacted = Redactor({name: "/home/sarah"}).redact("it is in /home/sarah")
    assert redacted == ("it is in [secret]" if is_secret else "it is in /home/sarah")


def test_a_password_that_is_a_word_does_not_change_other_words() -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://postgres:postgres@db/faces"})

    assert redactor.redact("DATABASE_URL is postgresql://…") == "DATABASE_URL is postgresql://…"
    assert redactor.redact("the password postgres is wrong") == f"the password {HIDDEN} is wrong"


def test_the_name_of_a_database_user_is_no_secret() -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://avatar_creator@db/faces"})

    assert redactor.redact("avatar_creator_server.cli") == "avatar_creator_server.cli"


class Log:
    """Standard error of a process whose logging a test configures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", self._written)
        for module, hook in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
            monkeypatch.setattr(module, hook, getattr(module, hook))

    def configure(self, level: str, environment: dict[str, str]) -> None:
        """Set up the logs of the process."""
        configure_logging(level, Redactor(environment))

    def text(self) -> str:
        """Return all that was written."""
        return self._written.getvalue()

    def entries(self) -> list[dict[str, Any]]:
        """Return the lines, oldest first."""
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def process_log() -> Iterator[Callable[[], Log]]:
    """Returns the log of a process. A test calls it, because pytest replaces standard error until then."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield lambda: Log(monkeypatch)
    structlog.reset_defaults()
    logging.basicConfig(force=True)


def test_no_secret_breaks_a_line_of_the_log(process_log: Callable[[], Log]) -> None:
    log = process_log()
    log.configure("debug", {"A_KEY": "true", "B_KEY": "1234", "C_KEY": "info", "D_KEY": "event"})

    structlog.get_logger().info(
        "asked",
        cached=True,
        number=1234,
        address='https://host/?x=1\\"',
        nested={"keys": ["true", ("https://sarah:pa55@host/", 1234)]},
    )

    (entry,) = log.entries()
    assert (entry["cached"], entry["number"], entry["level"]) == (True, 1234, "info")
    assert entry["address"] == 'https://host/"'
    assert entry["nested"] == {"keys": [HIDDEN, ["https://host/", 1234]]}


def test_the_traceback_of_an_uncaught_exception_has_no_secret(process_log: Callable[[], Log]) -> None:
    secret = "s3cr3t-of-the-service"
    log = process_log()
    log.configure("info", {"JWT_SECRET": secret})

    def fail() -> None:
        raise ValueError(f"it was {secret}")

    class Closing:
        def __del__(self) -> None:
            fail()

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    closing = Closing()
    del closing
    gc.collect()

    assert [entry["event"] for entry in log.entries()] == ["exception_not_caught"] * 3
    assert all(f"it was {HIDDEN}" in entry["exception"] for entry in log.entries())
    assert secret not in log.text()


def test_the_secret_that_the_embedded_service_generates_is_hidden(tmp_path: Path) -> None:
    redactor = Redactor({})

    secret = generate_secret(tmp_path / "jwt-secret")

    assert redactor.redact(f"it is {secret}") == f"it is {HIDDEN}"


def test_no_log_has_a_secret(process_log: Callable[[], Log]) -> None:
    secret = 'päss"word\\with/all@kinds'
    log = process_log()
    log.configure("debug", {"REDIS_URL": f"redis://:{secret}@cache"})
    try:
        raise ConnectionError(f"redis://:{secret}@cache does not answer")
    except ConnectionError as error:
        structlog.get_logger().exception("failed", error=repr(error), detail={"url": secret, secret: error})
        logging.getLogger("library").exception("it failed with %s", secret)

    written = log.text()
    assert written.count("ConnectionError") >= 3
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], "with/all", "p\\u00e4ss"):
        assert form not in written

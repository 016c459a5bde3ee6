"""The deny list and the moderation service: refused texts, accepted texts, and answers that fail."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import string
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from avatar_creator_server.errors import InvalidArgumentError, UnavailableError
from avatar_creator_server.generations.moderation import Moderation
from avatar_creator_server.generations.moderation.client import ModerationClient, ModerationLimits
from avatar_creator_server.generations.moderation.deny_list import DenyList
from avatar_creator_server.settings import SettingsError
from tests.support.moderation_service import FLAGGED_CATEGORIES, Mode, ModerationServiceFake
from tests.support.ports import free_port

KEY = "sk-canary-7f3a"
NO_KEY = SecretStr("")
SHORT = ModerationLimits(seconds=1.0, answer_bytes=100_000, retry_after=7.0)
SMALL = ModerationLimits(seconds=30.0, answer_bytes=SHORT.answer_bytes, retry_after=7.0)
"""Limits for answers that come: a busy machine may take longer than the short time to connect."""

TERMS = ("ass", "porn", "Hot Teen", "straße", "ano", "色情", "เปลือย", "धमाका", "c4", "sex-toy")


@pytest.fixture(scope="module")
def deny_list() -> DenyList:
    return DenyList(TERMS)


# Deny list


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("porn", "porn"),
        ("a PoRn star", "porn"),
        ("(porn)", "porn"),
        ("soft-porn, please", "porn"),
        ("soft_porn_please", "porn"),
        ("“porn”", "porn"),
        ("a donkey's ass's ear", "ass"),
        ("ｐｏｒｎ", "porn"),
        ("𝖕𝖔𝖗𝖓", "porn"),
        ("ⓟⓞⓡⓝ", "porn"),
        ("po\u200brn", "porn"),
        ("po\u200d\ufeffrn", "porn"),
        ("p\u00ado\u2060rn", "porn"),
        ("p\ufe0fo\u034frn", "porn"),
        ("\u202eporn\u202c", "porn"),
        ("po\U000e0020rn", "porn"),
        ("p\u0336o\u0336r\u0336n\u0336", "porn"),
        ("p o r n", "porn"),
        ("p.o.r.n.", "porn"),
        ("p-o-r-n", "porn"),
        ("P  O\tR\nN", "porn"),
        ("not a p o r n o", "porn"),
        ("hot teen", "hot teen"),
        ("a hot  \t teen", "hot teen"),
        ("hot\nteen", "hot teen"),
        ("hot\u00a0\u3000teen", "hot teen"),
        ("HOT-TEEN", "hot teen"),
        ("hot_teen", "hot teen"),
        ("hot,teen", "hot teen"),
        ("hot hot teen", "hot teen"),
        ("Sex toy", "sex toy"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("一张色情图片", "色 情"),
        ("色 情", "色 情"),
        ("ภาพเปลือยกาย", "เ ป ล ื อ ย"),
        ("बड़ा धमाका हुआ", "धमाका"),
        ("made of C4.", "c4"),
    ],
)
def test_a_denied_term_is_found_however_it_is_written(deny_list: DenyList, text: str, term: str) -> None:
    assert deny_list.first_in(text) == term


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "!!!",
        "a confident business woman",
        "class, grass, assassin, Assamese, passport",
        "Scunthorpe, pornography",
        "pörn",
        "treinta y dos años",
        "an\u0303o",
        "it is hot, teen boys swim",
        "hot. Teen",
        "a hot day with a teen",
        "teen hot",
        "hotteen",
        "po rn",
        "a s",
        "p o, r n",
        "एक धमाकेदार दिन",
        "情色",
        "红色，情侣",
        "c 4",
        "ass1",
    ],
)
def test_other_words_pass(deny_list: DenyList, text: str) -> None:
    assert deny_list.first_in(text) is None


def test_a_random_term_is_found_inside_any_text() -> None:
    dice = random.Random(5)
    letters = string.ascii_lowercase + "äßçñ"

    def word() -> str:
        return "".join(dice.choices(letters, k=dice.randint(3, 9)))

    terms = [" ".join(word() for _ in range(dice.randint(1, 3))) for _ in range(300)]
    deny_list = DenyList(terms)
    for term in terms:
        shouted = "".join(dice.choice((letter, letter.upper(), f"{letter}\u200b")) for letter in term)
        assert deny_list.first_in(f"{word()}: {shouted.replace(' ', '   ')} {word()}"), term


def test_a_long_list_and_a_long_text_are_checked_quickly() -> None:
    dice = random.Random(7)
    words = ["".join(dice.choices(string.ascii_lowercase, k=dice.randint(4, 10))) for _ in range(20_000)]
    deny_list = DenyList(" ".join(words[place : place + 2]) for place in range(0, len(words), 2))
    texts = [
        " ".join(dice.choices(words, k=800))[:4000],
        "a " * 2000,
        "a" * 4000,
        "!" * 4000,
        "⁗" * 4000,  # each becomes four characters when normalized
        "色" * 4000,
    ]

    for text in texts:
        started = time.thread_time()
        assert len(text) == 4000
        deny_list.first_in(text)
        # They take 1 to 15 ms. A check with quadratic time would take 300 ms.
        assert time.thread_time() - started < 0.15, text[:10]


# Deny list file


def test_a_file_has_one_term_in_each_line_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "denied.txt"
    file.write_bytes("\ufeff# words\r\n\r\nporn\r\n  Hot Teen \r\nass # the animal too\r\n\t# end\n".encode())
    deny_list = DenyList.read(file)

    assert [deny_list.first_in(text) for text in ("porn", "hot teen", "an ass")] == [
        "porn",
        "hot teen",
        "ass",
    ]
    assert [deny_list.first_in(text) for text in ("words", "the animal", "end")] == [None] * 3


def test_a_file_of_comments_only_denies_nothing(tmp_path: Path) -> None:
    file = tmp_path / "denied.txt"
    file.write_text("# to be filled\n")

    Moderation.of(file, "", NO_KEY).refuse_denied({"prompt": "porn"})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"porn\n***\n", "line 2: has no letter and no digit"),
        (b"\n\n" + b"x" * 101, "line 3: has 101 characters, at most 100 are allowed"),
        (b"por\xffn\n", "is not UTF-8 at byte 3"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_an_unusable_file_is_refused_with_its_name(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "denied.txt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as refusal:
        Moderation.of(file, "", NO_KEY)
    assert str(refusal.value).startswith(f"PROMPT_DENY_LIST_FILE {file}")
    assert str(refusal.value).endswith(complaint)


def test_a_folder_is_not_a_deny_list(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^PROMPT_DENY_LIST_FILE .* cannot be read: Is a directory$"):
        Moderation.of(tmp_path, "", NO_KEY)


# Refusals


def test_a_refusal_names_each_field_and_its_first_term(deny_list: DenyList) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        Moderation(deny_list, None).refuse_denied(
            {"prompt": "a Hot\u200b   TEEN", "avatar_name": "Ann", "persona.personality[3]": "p.o.r.n"}
        )
    error = refusal.value

    assert error.reason == "PROMPT_REFUSED"
    assert error.metadata == {"source": "deny-list"}
    assert [(violation.field, violation.description) for violation in error.violations] == [
        ("prompt", "has “hot teen”, which is on the deny list of this service; use other words"),
        ("persona.personality[3]", "has “porn”, which is on the deny list of this service; use other words"),
    ]
    assert error.message.startswith("prompt: has “hot teen”, ")
    assert error.retry_after is None


def test_a_term_does_not_span_two_fields(deny_list: DenyList) -> None:
    Moderation(deny_list, None).refuse_denied({"avatar_name": "hot", "prompt": "teen"})


async def test_without_any_check_everything_passes() -> None:
    moderation = Moderation.of(None, "", NO_KEY)

    moderation.refuse_denied({"prompt": "porn"})
    await moderation.refuse_flagged("porn")
    await moderation.close()


# Moderation service


@pytest.fixture
def fake() -> Iterator[ModerationServiceFake]:
    with ModerationServiceFake() as running:
        yield running


@asynccontextmanager
async def moderating_with(
    url: str, key: str = KEY, limits: ModerationLimits | None = None
) -> AsyncIterator[Moderation]:
    moderation = Moderation(None, ModerationClient(url, SecretStr(key), limits))
    try:
        yield moderation
    finally:
        await moderation.close()


async def test_a_clean_text_passes_and_is_sent_as_documented(fake: ModerationServiceFake) -> None:
    async with moderating_with(fake.url) as moderation:
        await moderation.refuse_flagged("an “elegant” woman\n优雅")
        await moderation.refuse_flagged("a man")

    [first, second] = fake.requests
    assert first.authorization == second.authorization == f"Bearer {KEY}"
    assert (first.body, second.body) == ({"input": "an “elegant” woman\n优雅"}, {"input": "a man"})


async def test_without_a_key_no_key_is_sent(fake: ModerationServiceFake) -> None:
    async with moderating_with(fake.url, key="") as moderation:
        await moderation.refuse_flagged("a woman")

    assert [request.authorization for request in fake.requests] == [""]


async def test_a_text_of_blanks_is_not_sent(fake: ModerationServiceFake) -> None:
    async with moderating_with(fake.url) as moderation:
        await moderation.refuse_flagged(" \n")

    assert fake.requests == []


async def test_a_flagged_text_is_refused_with_its_categories(fake: ModerationServiceFake) -> None:
    fake.mode = "flagged"
    async with moderating_with(fake.url) as moderation:
        with pytest.raises(InvalidArgumentError) as refusal:
            await moderation.refuse_flagged("a fight")
    error = refusal.value

    assert error.reason == "PROMPT_REFUSED"
    assert error.metadata == {"source": "moderation"}
    [violation] = error.violations
    assert violation.field == "prompt"
    assert violation.description == (
        f"was flagged by the moderation service as {', '.join(FLAGGED_CATEGORIES)}; use other words"
    )
    assert "a fight" not in error.message


async def test_categories_may_be_unknown_or_null(fake: ModerationServiceFake) -> None:
    fake.mode = "malformed"  # The mode that answers with `malformed_body`, which is well-formed here.
    async with moderating_with(fake.url) as moderation:
        fake.malformed_body = json.dumps({"results": [{"flagged": True, "categories": {}}]})
        with pytest.raises(InvalidArgumentError) as refusal:
            await moderation.refuse_flagged("a fight")
        assert refusal.value.message == "prompt: was flagged by the moderation service; use other words"

        fake.malformed_body = json.dumps(
            {"results": [{"flagged": False, "categories": {"illicit": None, "new": False}}], "further": 1}
        )
        await moderation.refuse_flagged("a walk")


UNUSABLE_ANSWERS: list[Any] = [
    "",
    "<html>",
    "{",
    [],
    {},
    {"results": []},
    {"results": {}},
    {"results": [{}]},
    {"results": [{"flagged": False}]},
    {"results": [{"categories": {}}]},
    {"results": [{"flagged": "false", "categories": {}}]},
    {"results": [{"flagged": 0, "categories": {}}]},
    {"results": [{"flagged": None, "categories": {}}]},
    {"results": [{"flagged": False, "categories": []}]},
    {"results": [{"flagged": False, "categories": {"hate": "no"}}]},
    {"results": [{"flagged": False, "categories": {"x" * 61: False}}]},
    {"results": [{"flagged": False, "categories": {}}], "padding": "x" * SHORT.answer_bytes},
    {"error": {"message": "no"}},
]


@pytest.mark.parametrize("answer", UNUSABLE_ANSWERS, ids=lambda answer: json.dumps(answer)[:60])
async def test_nothing_passes_with_an_unusable_answer(fake: ModerationServiceFake, answer: Any) -> None:
    fake.mode = "malformed"
    fake.malformed_body = answer if isinstance(answer, str) else json.dumps(answer)
    async with moderating_with(fake.url, limits=SMALL) as moderation:
        with pytest.raises(UnavailableError) as refusal:
            await moderation.refuse_flagged("a woman")

    assert refusal.value.reason == "MODERATION_UNAVAILABLE"
    assert refusal.value.retry_after == SMALL.retry_after
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("mode", "requests", "cause"),
    [
        ("500", 1, "status 500"),
        ("hang", 1, "no answer in time"),
        ("trickle", 1, "no answer in time"),
        ("drop", 2, "RemoteProtocolError"),
    ],
)
async def test_nothing_passes_while_the_service_fails(
    fake: ModerationServiceFake, mode: Mode, requests: int, cause: str
) -> None:
    fake.mode = mode
    async with moderating_with(fake.url, limits=SHORT) as moderation:
        started = time.monotonic()
        with capture_logs() as logs, pytest.raises(UnavailableError) as refusal:
            await moderation.refuse_flagged("a woman")
        assert time.monotonic() - started < SHORT.seconds + 1.0

        assert refusal.value.reason == "MODERATION_UNAVAILABLE"
        assert refusal.value.retry_after == SHORT.retry_after
        assert len(fake.requests) == requests
        assert [(entry["event"], entry["cause"]) for entry in logs] == [("moderation_unavailable", cause)]

        fake.mode = "clean"
        await moderation.refuse_flagged("a woman")


async def test_nothing_passes_while_no_service_listens() -> None:
    async with moderating_with(f"http://127.0.0.1:{free_port()}/v1/moderations") as moderation:
        with pytest.raises(UnavailableError):
            await moderation.refuse_flagged("a woman")


async def test_a_closed_connection_is_opened_again(
    fake: ModerationServiceFake,
) -> None:
    async with moderating_with(fake.url) as moderation:
        await moderation.refuse_flagged("a woman")
        fake.drops = 1
        await moderation.refuse_flagged("a man")

    assert [request.body["input"] for request in fake.requests] == ["a woman", "a man", "a man"]


async def test_many_texts_are_moderated_concurrently(fake: ModerationServiceFake) -> None:
    async with moderating_with(fake.url) as moderation:
        await asyncio.gather(*(moderation.refuse_flagged(f"woman {number}") for number in range(50)))

    assert len(fake.requests) == 50


# Settings


@pytest.mark.parametrize(
    "url",
    ["api.example.com/v1/moderations", "ftp://example.com/", "https://", "https://a:port/", "http://a\nb/"],
)
def test_an_invalid_url_is_refused_with_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^MODERATION_URL must be"):
        Moderation.of(None, url, NO_KEY)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}é", f"{KEY}\r\nX-Other: 1"])
def test_an_unusable_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^MODERATION_API_KEY has") as refusal:
        Moderation.of(None, "https://example.com/v1/moderations", SecretStr(key))
    assert KEY not in "".join(traceback.format_exception(refusal.value))


def test_a_key_without_a_service_is_refused() -> None:
    with pytest.raises(SettingsError, match="MODERATION_URL is not"):
        Moderation.of(None, "", SecretStr(KEY))


@pytest.mark.parametrize("mode", ["clean", "flagged", "500", "malformed", "hang", "drop"])
async def test_the_key_is_in_no_log_error_or_repr(
    fake: ModerationServiceFake, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.mode = mode
    shown: list[str] = []
    client = ModerationClient(fake.url, SecretStr(KEY), SHORT)
    moderation = Moderation(None, client)
    with capture_logs() as logs:
        try:
            await moderation.refuse_flagged("a woman")
        except (InvalidArgumentError, UnavailableError) as error:
            shown += [*traceback.format_exception(error), repr(error), repr(vars(error))]
            # As a handler shows errors that prints the variables of each frame.
            shown += [repr(frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__)]
    shown += [repr(moderation), repr(client), repr(vars(client)), repr(logs)]
    shown += [f"{record.getMessage()} {record.args}" for record in caplog.records]
    await moderation.close()

    assert fake.requests[0].authorization == f"Bearer {KEY}"
    assert KEY not in "\n".join(shown)

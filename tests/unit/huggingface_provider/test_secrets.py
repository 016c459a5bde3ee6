"""Messages and facts never contain the API key or other secrets."""

from __future__ import annotations

import pytest

from avatar_creator_tasks.providers.hosted.excerpt import excerpt
from avatar_creator_tasks.providers.huggingface import Access
from tests.support.huggingface_router import RouterFake
from tests.support.provider_recorder import Outputs
from tests.unit.huggingface_provider.drawing import (
    KEY,
    by_route,
    draw,
    draw_and_fail,
    only_submission,
    status,
)


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_a_message_that_contains_the_key_is_shown_without_it(
    fake: RouterFake, outputs: Outputs, route: str
) -> None:
    fake.behave(
        status(
            401,
            body={"error": f"token {KEY} is\u0000 bad\n, see https://x.example/y?token={KEY}#z {'!' * 999}"},
        )
    )
    error = await draw_and_fail(fake, outputs, by_route(route))
    assert "token [secret] is bad , see https://x.example/y !!!" in error.message


async def test_facts_do_not_contain_the_key(fake: RouterFake, outputs: Outputs) -> None:
    await draw(fake, outputs)
    picture = f"{fake.url}/files/{only_submission(fake)['request_id']}/0.png"
    fake.behave(status(200, "result", body={"images": [{"url": picture}], "seed": f"{KEY} {'7' * 999}"}))
    portrait = await draw(fake, outputs)
    assert portrait.facts["seed"].startswith("[secret] 777")
    assert len(portrait.facts["seed"]) <= 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31m\u202e\nb\t c", "a[31m b c"),
        ("hf_\x00abcdefgh", "[secret]"),
        ("Authorization: Bearer abcdefghijk", "Authorization: [secret]"),
        ("at https://u:p@x.example/a?sig=1 and HTTP://y/#f", "at https://x.example/a and HTTP://y/"),
        ("at https://u:p@x.example/a", "at https://x.example/a"),
        ("é" * 300, "é" * 199 + "…"),
    ],
)
def test_an_excerpt_is_one_safe_line(text: str, shown: str) -> None:
    assert excerpt(text, KEY) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no " + "a" * 120_000, "no"),
        ("see https://user:" + "p" * 120_000 + "@x.example", "see"),
        (" ".join([KEY] * 20_000), " ".join(["[secret]"] * 40)[:199] + "…"),
        ("a" * 120_000, ""),
    ],
    ids=["letters", "cut in a login", "many keys", "one word"],
)
def test_an_excerpt_of_a_long_text_comes_from_its_start_and_ends_before_a_cut_word(
    text: str, shown: str
) -> None:
    assert excerpt(text, KEY) == shown


def test_an_excerpt_hides_a_key_of_any_form() -> None:
    assert excerpt("not open, sesame\x07!", "open, sesame") == "not [secret]!"


def test_access_does_not_show_its_key() -> None:
    assert KEY not in repr(Access(KEY))


@pytest.mark.parametrize("bad", [f"{KEY}\n", f" {KEY}", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(outputs: Outputs, bad: str) -> None:
    with pytest.raises(ValueError, match="no header can carry") as caught:
        Access(bad)
    outputs.texts.append(str(caught.value))

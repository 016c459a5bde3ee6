"""Regular expressions need time in proportion to the text, because callers and providers choose the text."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from types import ModuleType

import httpx
import pytest

import avatar_creator
import avatar_creator_server
import avatar_creator_tasks
from avatar_creator_tasks.providers.hosted.answers import AnswerReader
from avatar_creator_tasks.providers.hosted.excerpt import excerpt
from avatar_creator_tasks.providers.hosted.http_client import Answer
from avatar_creator_tasks.providers.hosted.outcomes import Stage
from avatar_creator_tasks.providers.huggingface.signals import HUGGING_FACE

_BOUNDED_BEFORE_THE_SEARCH = {
    # `excerpt` cuts its text first; `test_an_excerpt_costs_the_same_for_any_text` holds that.
    "avatar_creator_tasks.providers.hosted.excerpt",
    # So does `AnswerReader`; `test_a_refusal_costs_the_same_for_any_header` holds that.
    "avatar_creator_tasks.providers.hosted.answers",
}
_NEEDS_TORCH = "avatar_creator_tasks.providers.diffusers"
_LENGTH = 3_000
_TIMES_LONGER = 8
_MAX_GROWTH = 4 * _TIMES_LONGER
"""Linear patterns grow by 8 on a quiet machine, and quadratic patterns by 64."""
_NEGLIGIBLE_SECONDS = 0.02


def _modules() -> Iterator[ModuleType]:
    for package in (avatar_creator, avatar_creator_server, avatar_creator_tasks):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(_NEEDS_TORCH) and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


@cache
def _patterns() -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    return {
        f"{module.__name__}.{name}": value
        for module in _modules()
        if module.__name__ not in _BOUNDED_BEFORE_THE_SEARCH
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }


def _texts(pattern: str, length: int) -> Iterator[str]:
    """Yield texts that repeat the pieces of the pattern, and end in a character that no pattern expects."""
    literals = set(re.findall(r"[A-Za-z0-9 @:/?#.%|+_;=,\"-]", pattern)) | set("a0 /.-_")
    pieces = {*literals, *(first + second for first in literals for second in "a/ .")}
    pieces |= set(re.findall(r"[A-Za-z0-9:/]{3,}", pattern))
    for piece in sorted(pieces):
        yield (piece * (length // len(piece) + 1))[:length] + "\x00"


def _seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> float:
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    begin = time.process_time()
    for _ in pattern.finditer(subject):  # type: ignore[arg-type]  # both are str, or both are bytes
        pass
    return time.process_time() - begin


@pytest.mark.parametrize("name", sorted(_patterns()))
def test_a_pattern_needs_time_in_proportion_to_the_text(name: str) -> None:
    pattern = _patterns()[name]
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    for short, long in zip(_texts(source, _LENGTH), _texts(source, _LENGTH * _TIMES_LONGER), strict=True):
        needed = _seconds(pattern, long)
        if needed > _NEGLIGIBLE_SECONDS:
            assert needed < _MAX_GROWTH * max(_seconds(pattern, short), 1e-4), f"slow for {short[:20]!r}"


@pytest.mark.parametrize("piece", ["a", "a://", "https://x@", "Key ", "hf_abcd ", "Bearer  ", "\n"])
def test_an_excerpt_costs_the_same_for_any_text(piece: str) -> None:
    short, long = (piece * (length // len(piece)) for length in (10_000, 1_000_000))

    def seconds(text: str) -> float:
        begin = time.process_time()
        for _ in range(20):
            excerpt(text, "secret")
        return time.process_time() - begin

    seconds(short)
    assert seconds(long) < 4 * seconds(short)


@pytest.mark.parametrize("stage", [Stage.SUBMIT, Stage.PICTURE])
@pytest.mark.parametrize("name", ["ratelimit", "retry-after", "x-fal-error-type", "content-type"])
@pytest.mark.parametrize("piece", ['"', ";", " ", "a;r=0", '"a', "9", ",", "1:"])
def test_a_refusal_costs_the_same_for_any_header(stage: Stage, name: str, piece: str) -> None:
    reader = AnswerReader("secret", lambda: datetime.now(UTC), HUGGING_FACE)

    def seconds(length: int) -> float:
        headers = httpx.Headers({name: piece * (length // len(piece))})
        begin = time.process_time()
        for _ in range(20):
            reader.refusal(stage, Answer(429, headers, b"{}"))
        return time.process_time() - begin

    seconds(600)
    assert seconds(60_000) < 20 * seconds(600)

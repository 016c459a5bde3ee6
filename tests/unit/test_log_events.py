"""The guides name only log events that the code writes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}

_ENDS = re.compile(r"(?<=[.!?])\s|\|")
"""Ends of sentences and of the cells of a table."""

_ABOUT_LOGS = re.compile(r"\b(logs?|logged)\b")
_NAME = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


def test_every_log_event_in_the_guides_is_one_that_the_code_writes() -> None:
    events, fields = _written()

    named = {
        name for page in sorted((REPOSITORY / "docs").rglob("*.md")) for name in _named(page.read_text())
    }

    assert len(named - fields) > 10
    assert named - fields <= events


def _written() -> tuple[set[str], set[str]]:
    """Return the events that the code logs, and the names of their fields."""
    events: set[str] = set()
    fields: set[str] = set()
    for folder in ("server", "tasks"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                    f"log.{each}" for each in LEVELS
                }:
                    events.add(ast.literal_eval(node.args[0]))
                    fields.update(str(keyword.arg) for keyword in node.keywords)
    return events, fields


def _named(page: str) -> Iterator[str]:
    """Yield the names in sentences about logs, and in the first column of tables of events."""
    for block in re.split(r"\n\s*\n", page):
        if block.startswith("| event |"):
            for row in block.splitlines():
                yield from _NAME.findall(row.split("|")[1])
        for sentence in _ENDS.split(block):
            if _ABOUT_LOGS.search(sentence):
                yield from _NAME.findall(sentence)

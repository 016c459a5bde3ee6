"""Generator of the sync client: it rewrites the modules of `avatar_creator/_async` without async and await.

    python clients/python/generate_sync.py            write `avatar_creator/_sync`
    python clients/python/generate_sync.py --check    fail if `avatar_creator/_sync` is stale

The library `unasync` rewrites only tokens, so the docstrings of the sync client would still speak of `await`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "avatar_creator"
HAND_WRITTEN = {"__init__.py", "batches.py", "connection.py"}
HEADER = (
    "# Generated from avatar_creator/_async/{name} by `make client`. Do not edit: change that file instead.\n"
)

SENTENCES = {
    "The client for asyncio.": "The client that blocks until a call has returned.",
    "Client of an Avatar Creator service for asyncio.": "Client of an Avatar Creator service.",
    "Create the client inside the event loop that uses it.": "Several threads may use one client.",
    "It runs on the event loop.": "It runs on another thread.",
    "A function, async or not, is called": "A function is called",
}
"""Sentences that differ in the sync client. Each must occur, so that an edit of one cannot go unnoticed."""

WORDS = (
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync([A-Z])", r"\1"),
    (r"\banext\(", "next("),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\baclos(e|ing)\b", r"clos\1"),
    (r"\bconnect_async\b", "connect"),
    (r"\bavatar_creator\._async\b", "avatar_creator._sync"),
    (r"^import asyncio\n", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bgrpc\.aio\b", "grpc"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
)
"""Regular expressions for code and docstrings, and their replacements; the order matters."""


def main(arguments: list[str]) -> None:
    generated = generate()
    target = PACKAGE / "_sync"
    current = {path.name: path.read_text() for path in target.glob("*.py") if path.name not in HAND_WRITTEN}
    if arguments == ["--check"]:
        if generated != current:
            sys.exit("The generated sync client is stale: run 'make client'.")
    elif arguments:
        sys.exit(__doc__)
    else:
        for name in current.keys() - generated.keys():
            (target / name).unlink()
        for name, text in generated.items():
            (target / name).write_text(text)


def generate() -> dict[str, str]:
    """Return the text of every generated module by its file name."""
    sources = {
        path.name: path.read_text()
        for path in sorted((PACKAGE / "_async").glob("*.py"))
        if path.name not in HAND_WRITTEN
    }
    unused = [sentence for sentence in SENTENCES if not any(sentence in text for text in sources.values())]
    if unused:
        sys.exit(f"{__file__}: no module has the sentence {unused[0]!r}; correct SENTENCES")
    return {name: formatted(HEADER.format(name=name) + to_sync(name, text)) for name, text in sources.items()}


def to_sync(name: str, text: str) -> str:
    """Return the module without async and await."""
    for sentence, replacement in SENTENCES.items():
        text = text.replace(sentence, replacement)
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    for number, line in enumerate(text.splitlines(), 1):
        if re.search("async|await|aio", line, re.IGNORECASE):
            sys.exit(f"_async/{name}, near line {number}: {line.strip()!r} has no sync form; add it to WORDS")
    return text


def formatted(text: str) -> str:
    """Return the module with its imports sorted and its lines broken as in the rest of the repository."""
    for command in (["check", "--select", "I", "--fix"], ["format"]):
        text = subprocess.run(
            # The file name decides which settings apply; nothing is read from it.
            [
                sys.executable,
                "-m",
                "ruff",
                *command,
                "--quiet",
                "--stdin-filename",
                PACKAGE / "client.py",
                "-",
            ],
            input=text,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    return text


if __name__ == "__main__":
    main(sys.argv[1:])

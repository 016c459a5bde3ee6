"""Check that the project's prose is plain English: no words that readers have to look up.

Run by `make check` over every .py, .proto, .md and .ts file. Words are found in identifiers too: `is_told`
contains `told`. A docstring must not open with a word that makes the reader search for the subject.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

BANNED = {
    r"whoever|whomever": "if someone; the user, the worker, …",
    r"whatever": "any, every; or name the thing",
    r"whom": "whose name, to which user, …",
    r'(?<!")nobody': "no user, no worker, no process, …",
    r"somebody|somebody's": "a user, another worker, …",
    r"likewise": "also, the same",
    r"anew": "again",
    r"beside": "next to, besides, in addition to",
    r"mend|mends|mended|mending": "fix",
    r"(?:is|are|was|were) to be": "must be, will be or should be",
    r"no more(?! than)": "no longer, not any more",
    r"bear|bears|bearing": "has, carries",
    r"wish|wishes|wished": "request, option, want",
    r"told|tells|tell": "send, report, return, notify, show, say",
    r"for[ _]ever": "forever",
    r"at present": "now, currently",
    r"meanwhile": "in the meantime; or say when",
    r"to be had": "available",
    r"apart from": "except",
    r"has an end": "ends",
    r"mind:": "Note:",
    r"nor": "and not, or",
}
"""Pattern of each banned word, and what to write instead."""

_OPENERS = ("Of", "By", "For", "That", "Those", "Whose", "What", "How", "Whether")
"""Words that must not open a docstring."""

_PATTERN = re.compile(
    "|".join(f"(?P<w{index}>{pattern})" for index, pattern in enumerate(BANNED)), re.IGNORECASE
)
_SUGGESTIONS = list(BANNED.values())

_NOUN_OPENERS = (
    "The",
    "A",
    "An",
    "Its",
    "It",
    "This",
    "These",
    "All",
    "Each",
    "Every",
    "One",
    "So",
    "As",
    "Where",
)
"""Words that open a noun phrase: right for a class, a property or a fixture, wrong for a function."""

_SKIPPED = ("clients/python/avatar_creator/v1/", "clients/typescript/gen/", "tests/check_english.py")


def main() -> int:
    """Print every finding; the exit code says whether there was one."""
    findings = [finding for path in _files() for finding in check(path, (REPOSITORY / path).read_text())]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    if not findings:
        sys.stdout.write("The prose has no banned words.\n")
    return 1 if findings else 0


def check(path: str, text: str) -> Iterator[str]:
    """Yield the findings in one file as `path:line: message`."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in _banned_in(line):
            index = int(str(match.lastgroup).removeprefix("w"))
            yield f"{path}:{number}: {match.group()!r}: write {_SUGGESTIONS[index]}"
    if path.endswith(".py"):
        yield from _check_docstrings(path, ast.parse(text))


def _banned_in(line: str) -> Iterator[re.Match[str]]:
    for match in _PATTERN.finditer(line):
        before, after = line[: match.start()][-1:], line[match.end() :][:1]
        # Whole words only; an underscore ends a word, so that identifiers are checked word by word.
        if not before.isalpha() and not after.isalpha():
            yield match


def _check_docstrings(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented = node.value.value
            if isinstance(documented, str) and documented.split()[:1] and documented.split()[0] in _OPENERS:
                yield f"{path}:{node.lineno}: docstring opens with {documented.split()[0]!r}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_noun(node):
            words = (ast.get_docstring(node) or "").split()
            if words and words[0] in _NOUN_OPENERS:
                yield f"{path}:{node.lineno}: docstring of {node.name}() must open with an imperative verb"


def _is_noun(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a noun phrase describes the function: a property or a fixture."""
    decorators = " ".join(map(ast.unparse, function.decorator_list))
    return any(name in decorators for name in ("property", "fixture"))


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.proto", "*.md", "*.ts"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        path
        for path in listed.stdout.splitlines()
        if not path.startswith(_SKIPPED) and (REPOSITORY / path).exists()
    ]


if __name__ == "__main__":
    raise SystemExit(main())

"""The results of `doctor`: on a terminal, in a pipe or as JSON.

Every value is complete, because people copy it, and none has a secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from avatar_creator_server.cli.format import printable
from avatar_creator_server.operations.checks import CheckResult
from avatar_creator_server.redaction import Redactor

_MIN_TABLE_COLUMNS = 100
"""Width from which a table has room for sentences."""
_COLORS = {"ok": "green", "warning": "yellow", "unknown": "magenta", "failed": "red"}


def without_secrets(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the results without secrets and control characters."""
    return [replace(each, found=_shown(each.found), fix=_shown(each.fix)) for each in results]


def checks_as_json(results: Sequence[CheckResult], **more: Any) -> str:
    """Return the results as one JSON document.

    Args:
        results: The results, without secrets.
        more: More members of the document. Their texts are redacted.
    """
    checks = [
        {"check": each.check, "result": each.label, "found": each.found, "fix": each.fix} for each in results
    ]
    passed = all(each.passed for each in results)
    return json.dumps({"passed": passed, "checks": checks, **_redacted(more)}, indent=2)


def _shown(text: str) -> str:
    return printable(Redactor(os.environ).redact(text))


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return _shown(value)
        case Mapping():
            return {name: _redacted(each) for name, each in value.items()}
        case list():
            return [_redacted(each) for each in value]
    return value


def print_checks(results: Sequence[CheckResult], console: Console) -> None:
    """Print a table, or lines if the terminal is narrow or a program reads them."""
    if console.is_terminal and console.width >= _MIN_TABLE_COLUMNS:
        console.print(_table(results))
        return
    for result in results:
        label = result.label
        # The terminal breaks a long line itself, so that a copied value has no line break.
        console.print(Text.assemble(f"{result.check}: ", (label, _COLORS[label])), soft_wrap=True)
        for name, text in (("found", result.found), ("fix", result.fix)):
            if text:
                console.print(Text(f"  {name}: {text}"), soft_wrap=True)


def _table(results: Sequence[CheckResult]) -> Table:
    columns = (Column(name, overflow="fold") for name in ("found", "fix"))
    table = Table(Column("", no_wrap=True), Column("check", no_wrap=True), *columns)
    for result in results:
        label = result.label
        table.add_row(Text(label, _COLORS[label]), result.check, Text(result.found), Text(result.fix))
    return table

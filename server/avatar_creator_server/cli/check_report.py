"""The results of `doctor` on a terminal or in a pipe. Every value is complete, because people copy it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from avatar_creator_server.operations.checks import CheckResult

_MIN_TABLE_COLUMNS = 100
"""Width from which a table has room for sentences."""
_COLORS = {"ok": "green", "warning": "yellow", "failed": "red"}


def print_checks(results: Sequence[CheckResult], console: Console) -> None:
    """Print a table, or lines if the terminal is narrow or a program reads them."""
    if console.is_terminal and console.width >= _MIN_TABLE_COLUMNS:
        console.print(_table(results))
        return
    for result in results:
        label = _label(result)
        # The terminal breaks a long line itself, so that a copied value has no line break.
        console.print(Text.assemble(f"{result.check}: ", (label, _COLORS[label])), soft_wrap=True)
        for name, text in (("found", result.found), ("fix", result.fix)):
            if text:
                console.print(Text(f"  {name}: {text}"), soft_wrap=True)


def _table(results: Sequence[CheckResult]) -> Table:
    columns = (Column(name, overflow="fold") for name in ("found", "fix"))
    table = Table(Column("", no_wrap=True), Column("check", no_wrap=True), *columns)
    for result in results:
        label = _label(result)
        table.add_row(Text(label, _COLORS[label]), result.check, Text(result.found), Text(result.fix))
    return table


def _label(result: CheckResult) -> str:
    if not result.passed:
        return "failed"
    return "warning" if result.fix else "ok"

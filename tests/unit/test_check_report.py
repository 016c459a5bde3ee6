"""The report of `doctor` at several widths of a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from avatar_creator_server.cli.check_report import print_checks
from avatar_creator_server.operations.checks import CheckResult

_URL = f"https://{'a-long-name-of-a-host-' * 8}.example/[path]"
_RESULTS = [
    CheckResult("version", True, "avatar-creator 0.1.0"),
    CheckResult("provider", False, f"{_URL} does not answer", f"set HUGGINGFACE_BASE_URL={_URL}"),
]


def _shown(columns: int | None) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=columns is not None, width=columns, color_system=None)
    print_checks(_RESULTS, console)
    return output.getvalue()


@pytest.mark.parametrize("columns", [20, 60, 80, 99, 100, 120, 200, None])
def test_no_value_is_cut(columns: int | None) -> None:
    shown = _shown(columns)

    assert "…" not in shown
    # A table folds a cell over several rows, next to the cells of the other columns.
    cells = [re.split("[│┃]", line) for line in shown.splitlines() if "│" in line]
    folded = ["".join(row[column].strip() for row in cells) for column in (3, 4)] if cells else [shown]
    assert "".join(folded).count(_URL) == 2


@pytest.mark.parametrize("columns", [60, 80, 99, None])
def test_a_narrow_terminal_and_a_program_receive_lines(columns: int | None) -> None:
    assert _shown(columns).splitlines() == [
        "version: ok",
        "  found: avatar-creator 0.1.0",
        "provider: failed",
        f"  found: {_URL} does not answer",
        f"  fix: set HUGGINGFACE_BASE_URL={_URL}",
    ]


@pytest.mark.parametrize("columns", [100, 120])
def test_a_wide_terminal_shows_a_table_that_fits(columns: int) -> None:
    lines = _shown(columns).splitlines()

    assert max(map(len, lines)) <= columns
    assert any(re.search(r"│ failed │ provider │", line) for line in lines)

"""`make bench`: the table of all measures, each beside its baseline and its goal.

`python -m bench` starts the real service on PostgreSQL and Redis, fills it, drives it from processes of their
own, and prints the table. A row is the median of five pairs: the service, and in the same moments its
baseline. Read the ratios: the milliseconds are valid only for this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench import calls, generations
from bench.goals import GOALS
from bench.lab import Lab
from bench.load import generator
from bench.results import Result, markdown, table

_PAIRS = 5
_WIDTH = 150

_Measure = Callable[[Lab, Sequence[str]], Iterator[Result]]

GROUPS: tuple[tuple[tuple[str, ...], _Measure], ...] = (
    (calls.ROWS, calls.measure),
    (generations.ROWS, generations.measure),
)
"""Rows that share a service, and the function that measures them."""


def measure(rows: Sequence[str], *, pairs: int, full: bool, say: Callable[[str], None]) -> list[Result]:
    """Measure these rows and return the results in the order of the table."""
    results: dict[str, Result] = {}
    lab = Lab(pairs=pairs, full=full)
    try:
        for group, function in GROUPS:
            chosen = [row for row in group if row in rows]
            if not chosen:
                continue
            started = time.monotonic()
            for result in function(lab, chosen):
                results[result.goal.name] = result
                say(f"{result.goal.name} {time.monotonic() - started:.0f} s")
    finally:
        lab.close()
    return [results[goal.name] for goal in GOALS if goal.name in results]


def machine() -> str:
    """Return the machine in words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--full", action="store_true", help="large sizes; takes up to 20 minutes")
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="interleaved pairs of each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def main() -> None:
    """Measure and print the table."""
    arguments = _parser().parse_args()
    names = [goal.name for goal in GOALS]
    rows = arguments.rows or names
    if unknown := [row for row in rows if row not in names]:
        sys.exit(f"there is no row {', '.join(unknown)}; the rows are {', '.join(names)}")
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=_WIDTH)
    progress = Console(stderr=True)
    results = measure(
        rows, pairs=arguments.pairs, full=arguments.full, say=lambda text: progress.print(text, style="dim")
    )
    if arguments.json:
        written = {result.goal.name: result.to_json() for result in results}
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": written}, indent=1) + "\n")
    if arguments.markdown:
        print(markdown(results))
    else:
        console.print(table(results, f"{machine()}; driven by {generator()}"))


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

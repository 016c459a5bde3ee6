"""The table of all measures, each next to its baseline and its goal: `make bench`.

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
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench import calls, footprint, generations, growth, memory, pictures, promises, watchers, web
from bench.goals import GOALS
from bench.lab import Lab, Scale
from bench.load import generator
from bench.plots import draw
from bench.results import Result, markdown, table, worse_than

PROMISES = "promises"
"""Name of the second table for `--rows`."""

RECORDED = Path(__file__).with_name("ratios.json")
"""Ratios of an earlier version, with the machine that measured them."""

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_BEGIN, _END = "<!-- The table: make bench B=--docs writes it. -->", "<!-- The end of the table. -->"

_PAIRS = 5
_RUNS = 3
"""Runs in which a ratio must be worse before `--check` fails."""
_WIDTH = 150

_Measure = Callable[[Lab, Sequence[str]], Iterator[Result]]
_Say = Callable[[str], None]

GROUPS: tuple[tuple[tuple[str, ...], _Measure], ...] = (
    (calls.ROWS, calls.measure),
    (generations.ROWS, generations.measure),
    (pictures.ROWS, pictures.measure),
    (watchers.ROWS, watchers.measure),
    (web.ROWS, web.measure),
    (footprint.ROWS, footprint.measure),
    (growth.ROWS, growth.measure),
)
"""Rows that share a service, and the function that measures them."""


def measure(lab: Lab, rows: Sequence[str], say: _Say) -> list[Result]:
    """Measure these rows and return the results in the order of the table.

    A row that fails has no result, and `say` receives its error. The rows after it start again.
    """
    results: dict[str, Result] = {}
    for group, function in GROUPS:
        remaining = [row for row in group if row in rows]
        while remaining:
            try:
                for result in function(lab, remaining):
                    results[result.goal.name] = result
                    say(result.goal.name)
                break
            except Exception:
                say(traceback.format_exc())
                # The rows come in this order, so the first one without a result has failed.
                remaining = [row for row in remaining if row not in results][1:]
    return [results[goal.name] for goal in GOALS if goal.name in results]


def check(lab: Lab, rows: Sequence[str], say: _Say) -> list[Result]:
    """Return the results of these rows whose ratio is worse than the recorded one in three runs."""
    recorded = json.loads(RECORDED.read_text())
    say(f"recorded on {recorded['machine']}")
    rows = [row for row in rows if row in recorded["ratios"]]
    worse: list[Result] = []
    for number in range(1, _RUNS + 1):
        results = measure(lab, rows, say)
        if missing := _missing(rows, results):
            sys.exit(f"not measured: {', '.join(missing)}")
        worse = worse_than(results, recorded["ratios"])
        rows = [result.goal.name for result in worse]
        if not rows:
            break
        say(f"run {number}: worse are {', '.join(rows)}")
    return worse


def machine() -> str:
    """Return the machine in words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rows", nargs="+", metavar="NAME", help="only these rows, by the names of the table"
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--full",
        dest="scale",
        action="store_const",
        const=Scale.FULL,
        default=Scale.SHORT,
        help="a million avatars; takes up to 20 minutes",
    )
    scale.add_argument(
        "--tiny",
        dest="scale",
        action="store_const",
        const=Scale.TINY,
        help="hardly any data: shows only that the program works",
    )
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="interleaved pairs of each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw each growth curve as a PNG")
    parser.add_argument(
        "--docs", action="store_true", help="write the table and the plots into docs/performance.md"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="measure only the memory after 10,000 and 100,000 calls; fail if it has grown",
    )
    parser.add_argument(
        "--record", action="store_true", help="make the ratios those that --check compares with"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail if a ratio is 20 %% worse than the recorded one in three runs",
    )
    return parser


def main() -> None:
    """Measure and print the table, or check the ratios."""
    arguments = _parser().parse_args()
    names = [*(goal.name for goal in GOALS), PROMISES]
    rows = arguments.rows or names
    if unknown := [row for row in rows if row not in names]:
        sys.exit(f"there is no row {', '.join(unknown)}; the rows are {', '.join(names)}")
    signal.signal(signal.SIGTERM, _stop)
    if arguments.memory:
        memory.main()
    started = time.monotonic()
    progress = Console(stderr=True)

    def say(text: str) -> None:
        progress.print(f"{time.monotonic() - started:4.0f} s  {text}", style="dim", highlight=False)

    with Lab(pairs=arguments.pairs, scale=arguments.scale) as lab:
        if arguments.check:
            worse = check(lab, rows, say)
            Console(width=_WIDTH).print(table(worse, "worse than recorded") if worse else "no ratio is worse")
            sys.exit(1 if worse else 0)
        results = measure(lab, rows, say)
        promised = promises.measure(lab) if PROMISES in rows else None
    _write(arguments, results)
    if arguments.markdown:
        print(markdown(results))
    elif results:
        Console(width=_WIDTH).print(table(results, f"{machine()}; driven by {generator()}"))
    if promised:
        Console(width=_WIDTH).print(promised)
    if missing := _missing(rows, results):
        sys.exit(f"not measured: {', '.join(missing)}")


def _write(arguments: argparse.Namespace, results: Sequence[Result]) -> None:
    if arguments.json:
        written = {result.goal.name: result.to_json() for result in results}
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": written}, indent=1) + "\n")
    if arguments.plots:
        _draw(results, arguments.plots)
    if arguments.docs:
        before, _, rest = PAGE.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        described = f"Measured on {machine()}; driven by {generator()}."
        PAGE.write_text(f"{before}{_BEGIN}\n\n{described}\n\n{markdown(results)}\n\n{_END}{after}")
        _draw(results, PAGE.parent / "images")
    if arguments.record:
        ratios = {result.goal.name: round(result.ratio, 3) for result in results if result.ratio}
        RECORDED.write_text(json.dumps({"machine": machine(), "ratios": ratios}, indent=1) + "\n")


def _draw(results: Sequence[Result], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.curve:
            draw(result, folder / f"growth-{result.goal.name}.png")


def _missing(rows: Sequence[str], results: Sequence[Result]) -> list[str]:
    measured = {PROMISES, *(result.goal.name for result in results)}
    return [row for row in rows if row not in measured]


def _stop(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

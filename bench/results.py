"""Results: medians of interleaved pairs, the table, and the comparison with recorded ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Table

TOLERANCE = 0.2
"""Part of a ratio that it may lose before `bench-check` fails."""

_FULL_PERCENT = 95.0
"""Percentage of busy CPU from which more processes cannot do more."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of the table: a measure, its baseline and its goal."""

    name: str
    """Name for `--rows`."""
    measure: str
    baseline: str
    """Baseline in the same run; empty if the figure stands alone."""
    goal: str
    """Goal for people, with its unit."""
    limit: float
    """Goal as a number: for the ratio, or for the figure if there is no baseline or it has a unit."""
    unit: str = ""
    """Unit of the figure that the goal is for; empty if the goal is for the ratio."""
    more_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure as the data grows."""

    sizes: Sequence[int]
    values: Sequence[float]
    baselines: Sequence[float]
    """The baseline's figure at each size."""
    counted: str
    """Rows that the sizes count, for example `generations due`."""
    unit: str = "ms"


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a row."""

    goal: Goal
    ours: float
    theirs: float = 0.0
    """Baseline in the same unit; 0 without one."""
    ratio: float = 0.0
    """Median of the ratios of all pairs; 0 without a baseline."""
    unit: str = ""
    """Unit of `ours` and `theirs`."""
    note: str = ""
    is_bounded_by_machine: bool = False
    """True if the goal is also reached because all cores were busy."""
    curve: Curve | None = None
    pairs: Sequence[tuple[float, float]] = field(default=())

    @property
    def figure(self) -> float:
        """The number that the goal is for."""
        return self.ours if self.goal.unit else self.ratio

    @property
    def is_met(self) -> bool:
        """True if the goal is reached."""
        if self.is_bounded_by_machine:
            return True
        if self.goal.more_is_better:
            return self.figure >= self.goal.limit
        return self.figure <= self.goal.limit

    def is_worse_than(self, recorded: float) -> bool:
        """Return whether the ratio has lost more than the tolerance of a recorded one."""
        if self.goal.more_is_better:
            return self.ratio < recorded * (1 - TOLERANCE)
        return self.ratio > recorded / (1 - TOLERANCE)

    def to_json(self) -> dict[str, Any]:
        """Return the result as values of JSON."""
        written: dict[str, Any] = {
            "ours": self.ours,
            "theirs": self.theirs,
            "ratio": self.ratio,
            "unit": self.unit,
            "goal": self.goal.goal,
            "is_met": self.is_met,
            "note": self.note,
            "pairs": [list(pair) for pair in self.pairs],
        }
        if self.curve:
            written["curve"] = {
                "sizes": list(self.curve.sizes),
                "values": list(self.curve.values),
                "baselines": list(self.curve.baselines),
            }
        return written


def of_pairs(
    goal: Goal, pairs: Sequence[tuple[float, float]], *, unit: str, note: str = "", curve: Curve | None = None
) -> Result:
    """Return the result of pairs of the service's figure and the baseline's."""
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Result(goal, ours, theirs, ratio, unit, note, curve=curve, pairs=tuple(pairs))


def of_more_processes(goal: Goal, pairs: Sequence[tuple[float, float]], busy: Sequence[float]) -> Result:
    """Return the result of pairs of the speeds of several processes and of one.

    Args:
        goal: The row.
        pairs: Speeds.
        busy: Percentage of the machine's CPU that was busy with several processes.
    """
    percent = statistics.median(busy)
    result = of_pairs(goal, pairs, unit="/s", note=f"{percent:.0f} % of the machine's CPU busy")
    return replace(result, is_bounded_by_machine=percent >= _FULL_PERCENT)


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int
) -> list[tuple[float, float]]:
    """Measure both in turn. Each goes first in every other pair, so that a drift affects both equally."""
    found = []
    for number in range(pairs):
        if number % 2:
            second = theirs()
            found.append((ours(), second))
        else:
            first = ours()
            found.append((first, theirs()))
    return found


_COLUMNS = ("row", "measure", "service", "baseline", "ratio", "goal", "", "note")


def _cells(result: Result) -> tuple[str, ...]:
    goal = result.goal
    return (
        goal.name,
        goal.measure,
        f"{figure(result.ours)} {result.unit}".strip(),
        f"{figure(result.theirs)} ({goal.baseline})" if goal.baseline else "",
        f"{result.ratio:.2f}" if result.ratio else "",
        goal.goal,
        "✓" if result.is_met else "✗",
        result.note,
    )


def figure(value: float) -> str:
    """Return a figure with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(results: Sequence[Result], title: str) -> Table:
    """Return the table for a terminal."""
    made = Table(*_COLUMNS, title=title)
    for result in results:
        made.add_row(*_cells(result))
    return made


def markdown(results: Sequence[Result]) -> str:
    """Return the table as Markdown."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def worse_than(results: Sequence[Result], recorded: Mapping[str, float]) -> list[Result]:
    """Return the results whose ratio has lost more than the tolerance."""
    return [
        result
        for result in results
        if result.ratio and result.goal.name in recorded and result.is_worse_than(recorded[result.goal.name])
    ]

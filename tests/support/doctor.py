"""The report of `avatar-creator doctor`, as a program reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CHECK = re.compile(r"^(\w+): (ok|warning|unknown|failed)\n  found: (.+)\n(?:  fix: (.+)\n)?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the report."""

    result: str
    """`ok`, `warning`, `unknown` or `failed`."""
    found: str
    fix: str
    """Advice; empty if there is none."""

    @property
    def message(self) -> str:
        """Finding and advice as one sentence, as `serve` prints a refused setting."""
        return f"{self.found}: {self.fix}"


def checks_of(report: str) -> dict[str, Check]:
    """Return the checks of a report by name. The report must have nothing else."""
    assert _CHECK.sub("", report) == "", report
    return {name: Check(result, found, fix) for name, result, found, fix in _CHECK.findall(report)}

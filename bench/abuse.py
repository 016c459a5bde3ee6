"""The cost of one user's attack for another user: the table of all attacks.

`python -m bench.abuse RESULTS.json [WORD]` runs each attack, or each whose name has the word, against a
server and a worker on PostgreSQL and Redis. It prints a Markdown table and writes the figures as JSON.
`python -m bench.abuse --compare BEFORE.json AFTER.json` prints the table of two versions. Measure
both on one machine: the milliseconds are valid only there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.abuse.attacks import ATTACKS
from tests.abuse.effect import LETTERS, Figures, measure
from tests.support.postgres import Postgres
from tests.support.redis import Redis

ATTACK_SECONDS = 6.0


def _row(name: str, figures: Figures) -> str:
    generation = "" if figures.generation_seconds is None else f"{figures.generation_seconds:.1f} s"
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in figures.outcomes.items())
    return (
        f"| {name} | {figures.quiet_p50:.1f} | {figures.p50:.1f} / {figures.p99:.0f} ms, "
        f"{figures.failed} of {figures.reads} failed | {generation} "
        f"| {figures.before_mib:.0f} → {figures.peak_mib:.0f} → {figures.after_mib:.0f} | {outcomes} |"
    )


def _compare(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print how another user fares under each attack in two versions."""
    print(
        "| attack | p50 / p99 ms, failed reads: before | after | its picture | server MiB: before | after |"
    )
    print("|---|---|---|---|---|---|")
    for name, figures in after.items():
        rows = [before.get(name), figures]
        reads = [f"{row['p50']:.0f} / {row['p99']:,.0f}, {row['failed']}" if row else "" for row in rows]
        pictures = [_seconds(row["generation_seconds"]) if row else "" for row in rows]
        memory = [f"{row['before_mib']:.0f} → {row['peak_mib']:,.0f}" if row else "" for row in rows]
        print(f"| {name} | {' | '.join(reads)} | {' → '.join(pictures)} | {' | '.join(memory)} |")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def main() -> None:
    """Run the attacks and print the table, or compare two tables."""
    if sys.argv[1] == "--compare":
        _compare(*(json.loads(Path(each).read_text()) for each in sys.argv[2:4]))
        return
    path = Path(sys.argv[1])
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    results = json.loads(path.read_text()) if path.exists() else {}
    print("| attack | quiet p50 ms | another user's reads | its picture | server MiB | attacker |")
    print("|---|---|---|---|---|---|", flush=True)
    postgres, redis = Postgres.start(), Redis.start()
    try:
        for name in (LETTERS, *ATTACKS):
            if word in name:
                figures = measure(name, postgres, redis, seconds=ATTACK_SECONDS)
                results[name] = asdict(figures)
                path.write_text(json.dumps(results, indent=1))
                print(_row(name, figures), flush=True)
    finally:
        redis.close()
        postgres.close()


if __name__ == "__main__":
    main()

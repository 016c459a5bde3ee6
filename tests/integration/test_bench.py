"""`make bench` in its smallest form, so that the program works on the day when someone needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

from tests.support.child_process import run

REPOSITORY = Path(__file__).parents[2]
ROWS = ("get-avatar", "create-project", "claim", "import")


def test_the_benchmark_prints_each_chosen_row_next_to_its_baseline(tmp_path: Path) -> None:
    written = tmp_path / "results.json"

    finished = run(
        [
            *(sys.executable, "-m", "bench", "--tiny", "--pairs", "1", "--markdown"),
            *("--rows", *ROWS, "--json", written, "--plots", tmp_path),
        ],
        timeout=240,
        directory=REPOSITORY,
    )

    assert finished.returncode == 0, finished.stderr
    rows = json.loads(written.read_text())["rows"]
    assert set(rows) == set(ROWS)
    assert all(min(row["ours"], row["theirs"], row["ratio"]) > 0 for row in rows.values())
    printed = [line.split(" | ")[0].strip("| ") for line in finished.stdout.splitlines()]
    assert printed[2:] == sorted(ROWS, key=list(rows).index)
    with Image.open(tmp_path / "growth-claim.png") as plot:
        assert len(plot.getcolors() or ()) > 4


def test_the_benchmark_names_its_rows_if_one_does_not_exist() -> None:
    finished = run([sys.executable, "-m", "bench", "--rows", "speed"], timeout=60, directory=REPOSITORY)

    assert finished.returncode == 1
    assert "there is no row speed; the rows are get-avatar," in finished.stderr

"""The page about performance shows every row of the benchmark, and a small plot of each that grows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from bench.goals import GOALS
from bench.growth import ROWS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "performance.md").read_text()
MAX_BYTES = 60_000


def test_the_table_has_each_row_in_the_order_of_the_benchmark() -> None:
    table = PAGE.partition("\n## The table\n")[2].partition("\n## ")[0]
    header, _, *shown = re.findall(r"^\| (\S+) \|", table, re.MULTILINE)

    assert header == "row"
    assert shown == [goal.name for goal in GOALS]


@pytest.mark.parametrize("row", ROWS)
def test_each_curve_has_a_small_plot_and_a_sentence(row: str) -> None:
    plot = DOCS / "images" / f"growth-{row}.png"

    assert f"(images/{plot.name})\n\n`{row}`: " in PAGE
    assert plot.stat().st_size < MAX_BYTES
    with Image.open(plot) as image:
        assert image.size == (720, 420)

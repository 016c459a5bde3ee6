"""The comparison of `make bench-check`: a ratio may lose a fifth of the recorded one."""

from __future__ import annotations

import pytest

from bench.results import Goal, Result, interleaved, of_pairs, worse_than

MORE = Goal("calls", "calls", "null", "≥ 0.5", 0.5)
LESS = Goal("delay", "delay", "by hand", "≤ 3", 3, more_is_better=False)


@pytest.mark.parametrize(
    ("goal", "ratio", "is_worse"),
    [(MORE, 0.81, False), (MORE, 0.79, True), (LESS, 1.24, False), (LESS, 1.26, True)],
)
def test_a_ratio_is_worse_if_it_has_lost_more_than_a_fifth(goal: Goal, ratio: float, is_worse: bool) -> None:
    result = Result(goal, ours=1, theirs=1, ratio=ratio)

    assert worse_than([result], {goal.name: 1.0}) == ([result] if is_worse else [])


def test_a_row_that_was_not_recorded_is_not_worse() -> None:
    assert worse_than([Result(MORE, ours=1, theirs=1, ratio=0.1)], {"delay": 1.0}) == []


def test_a_result_has_the_median_of_the_pairs_and_of_their_ratios() -> None:
    result = of_pairs(MORE, [(10, 20), (30, 40), (20, 80)], unit="/s")

    assert (result.ours, result.theirs, result.ratio) == (20, 40, 0.5)
    assert result.is_met


def test_each_side_of_a_pair_goes_first_in_turn() -> None:
    order: list[str] = []

    def measured(side: str) -> float:
        order.append(side)
        return float(len(order))

    pairs = interleaved(lambda: measured("service"), lambda: measured("baseline"), 2)

    assert order == ["service", "baseline", "baseline", "service"]
    assert pairs == [(1, 2), (4, 3)]

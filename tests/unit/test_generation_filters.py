"""The filter `--reason` takes the reasons with which a generation can fail, as the contract names them."""

from __future__ import annotations

import re
from pathlib import Path

from avatar_creator_server.cli.generation_filters import FAILURE_REASONS

CONTRACT = Path(__file__).parents[2] / "protos" / "avatar_creator" / "v1" / "error_reason.proto"


def test_the_reasons_are_those_of_failures_in_the_contract() -> None:
    documented = re.findall(r"((?:  //.*\n)+)  ERROR_REASON_(\w+) = \d+;", CONTRACT.read_text())

    assert len(documented) > len(FAILURE_REASONS)
    assert [name for text, name in documented if "the error of a failed" in text] == [*FAILURE_REASONS]

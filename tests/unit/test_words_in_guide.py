"""The table of words in the guide of the Python client."""

from __future__ import annotations

import re
from pathlib import Path

import avatar_creator
from avatar_creator.enums import Word

GUIDE = Path(__file__).parents[2] / "docs" / "client.md"
ROW = re.compile(r"^\| .* \| `(\w+)` \| (`.*`) \|$", re.MULTILINE)


def test_the_guide_lists_the_words_of_every_enum_of_an_argument() -> None:
    found = {name: re.findall(r"`(\w+)`", words) for name, words in ROW.findall(GUIDE.read_text())}
    found.pop("ErrorReason", None)
    only_of_results = {"AttemptOutcome", "ErrorReason", "GenerationStage", "WorkerState"}

    assert found == {
        cls.__name__: [*cls]
        for cls in Word.__subclasses__()
        if cls.__name__ not in only_of_results and hasattr(avatar_creator, cls.__name__)
    }

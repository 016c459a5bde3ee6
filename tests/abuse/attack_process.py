"""An attack in a process of its own, so that it does not compete with the test's interpreter."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.abuse.attacks import BEGUN, Target
from tests.support.child_process import ChildProcess
from tests.support.waiting import wait_until

_START_SECONDS = 60.0
_END_SECONDS = 180.0
"""Maximum time that an attack needs beyond its duration, to prepare itself and for its last calls."""


class AttackError(Exception):
    """The attacker has crashed."""


def run_attack(
    name: str, target: Target, seconds: float, *, when_begun: Callable[[], object] = lambda: None
) -> dict[str, int]:
    """Attack for some seconds, and return how many calls ended with each outcome.

    Args:
        name: Name of the attack.
        target: The service under attack.
        seconds: Duration of the attack.
        when_begun: Is called when the attacker begins.

    Raises:
        AttackError: The attacker crashed; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, output, errors = (Path(folder) / part for part in ("target", "output", "errors"))
        given.write_text(target.to_json())
        command = [sys.executable, "-m", "tests.abuse.attacks", name, str(seconds)]
        with (
            given.open() as stdin,
            output.open("w") as stdout,
            errors.open("w") as stderr,
            ChildProcess(command, stdin=stdin, stdout=stdout, stderr=stderr) as process,
        ):
            wait_until(lambda: BEGUN in output.read_text() or process.poll() is not None, _START_SECONDS)
            when_begun()
            process.wait(seconds + _END_SECONDS)
        if process.returncode:
            raise AttackError(f"{name} ended with {process.returncode}: {errors.read_text()[-2000:]}")
        outcomes: dict[str, int] = json.loads(output.read_text().removeprefix(BEGUN))
    return outcomes

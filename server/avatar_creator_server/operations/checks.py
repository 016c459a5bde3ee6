"""The parts that the checks of `avatar-creator doctor` share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

ANSWER_SECONDS = 10.0
"""Maximum time for the answer of any part of the service."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check."""

    check: str
    """Name of the check, for example `database`."""
    passed: bool
    found: str
    """Finding of the check, for a person."""
    fix: str = ""
    """Advice for the operator; empty if there is none. A check that passed with advice is a warning."""
    is_unknown: bool = False
    """True if the check found no answer. Then it has not passed."""

    @property
    def label(self) -> str:
        """The result in one word: `ok`, `warning`, `unknown` or `failed`."""
        if not self.passed:
            return "unknown" if self.is_unknown else "failed"
        return "warning" if self.fix else "ok"


def unknown(check: str, found: str, fix: str) -> CheckResult:
    """Return the result of a check that found no answer."""
    return CheckResult(check, False, found, fix, is_unknown=True)


async def within_limit(check: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a check.

    Raises:
        TimeoutError: The check took too long.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        return await check()


_ADVICE = re.compile(
    r": (?=(?:add|change|check|choose|copy|create|delete|give|install|look|name|remove|restart|run|set|stop"
    r"|to|unset|use)\b)"
)
"""The colon of a message about a setting, before the words that say what to do."""


NO_ADVICE = "give the setting a value that is allowed, or unset it"
"""Advice for an invalid setting whose message has none."""


def advice_apart(message: str, otherwise: str = NO_ADVICE) -> tuple[str, str]:
    """Return what a message about a setting says is wrong, and what it says to do.

    Args:
        message: The message.
        otherwise: Advice if the message has none.
    """
    if advice := _ADVICE.search(message):
        return message[: advice.start()], message[advice.end() :]
    return message, otherwise

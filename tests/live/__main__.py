"""Runs the live checks: `HUGGINGFACE_API_KEY=hf_… python -m tests.live`, or with REPLICATE_API_TOKEN.

The exit code is 0 if the providers answer as their fakes, 1 if there are differences, and 2 if nothing ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack

import structlog

from avatar_creator_server.settings import SettingsError
from tests.live import huggingface, replicate
from tests.live.checks import Check, Findings
from tests.live.keys import Target, targets
from tests.live.recorder import Recorder, recording
from tests.support.decoders import DECODERS

_MAX_TOTAL_MICROS = 1_000_000
_MICROS = 1_000_000
_FIRST_ERROR = 400
_HUB = "https://huggingface.co"


async def _run(chosen: list[Target]) -> int:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(DECODERS.close)
        plan: list[tuple[Target, Check]] = []
        recorders: list[Recorder] = []
        for target in chosen:
            recorder = await stack.enter_async_context(recording(target.url, target.key))
            recorders.append(recorder)
            if target.provider == "replicate":
                checks = replicate.checks_of(target, recorder)
            else:
                hub = os.environ.get("HUGGINGFACE_HUB_URL") or _HUB
                checks = huggingface.checks_of(target, recorder, hub.rstrip("/"))
            plan += [(target, check) for check in checks]
        total = sum(check.max_price_micros for _, check in plan)
        if total >= _MAX_TOTAL_MICROS:
            print(f"The plan costs up to ${total / _MICROS:.3f}, more than a dollar: nothing was done.")
            return 2
        if not await _is_confirmed(plan, total):
            return 2
        differences = 0
        for target, check in plan:
            differences += await _check(target, check)
        _show_refusals(recorders)
    print(f"\nDifferences from the fakes: {differences or 'none'}")
    return 1 if differences else 0


async def _is_confirmed(plan: list[tuple[Target, Check]], total: int) -> bool:
    print("The plan, with the greatest price of each check:\n")
    for target, check in plan:
        price = f"${check.max_price_micros / _MICROS:.3f}"
        print(f"  {target.provider:12} {check.name:52} {price}  {check.purpose}")
    print(f"\nThe greatest total price is ${total / _MICROS:.3f}. Your account at the provider pays it.")
    if not sys.stdin.isatty():
        print("This is no terminal, so no one can agree to the price: nothing was done.")
        return False
    answer = await asyncio.to_thread(input, "Type yes to spend it: ")
    if answer.strip() != "yes":
        print("Nothing was done.")
        return False
    return True


async def _check(target: Target, check: Check) -> int:
    """Run one check and print its findings; return the number of differences."""
    findings = Findings()
    try:
        await check.run(findings)
    except Exception as error:
        # The other checks still run: the money for the earlier ones is spent.
        findings.expect("the check itself", f"{type(error).__name__}: {error}", "no exception")
    verdict = "differs" if findings.differences else "as the fake"
    print(f"\n{target.provider}, {check.name}: {verdict}")
    for difference in findings.differences:
        print(f"  ! {difference}")
    for note in findings.notes:
        print(f"    {note}")
    return len(findings.differences)


def _show_refusals(recorders: list[Recorder]) -> None:
    """Print the form of each kind of refusal that came, such as 409 and 429."""
    seen = Counter(
        str(exchange)
        for recorder in recorders
        for exchange in recorder.exchanges
        if exchange.status >= _FIRST_ERROR or "ratelimit" in exchange.headers
    )
    if seen:
        print("\nRefusals and rate limits that came:")
    for text, number in seen.items():
        print(f"  {number}x {text}")


def main() -> int:
    """Run the checks of each provider that has a key in the environment."""
    # The findings say what matters.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        chosen = targets()
    except SettingsError as error:
        print(error)
        return 2
    if not chosen:
        print("Set HUGGINGFACE_API_KEY or REPLICATE_API_TOKEN to a key whose account may be charged.")
        return 2
    return asyncio.run(_run(chosen))


if __name__ == "__main__":
    sys.exit(main())

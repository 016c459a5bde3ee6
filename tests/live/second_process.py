"""Fetches the picture of a request by its id, as a worker does that takes a request over.

`python -m tests.live.second_process huggingface fal-ai/flux/requests/…` prints the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

from avatar_creator_tasks.providers.base import ProviderError, Reports
from tests.live.checks import outcome_of, request_for
from tests.live.keys import targets
from tests.live.routes import cheapest_route
from tests.support.decoders import DECODERS


async def _fetch(name: str, request_id: str) -> str:
    target = next(each for each in targets() if each.provider == name)
    provider = target.open()

    async def ignore(_: object) -> None:
        pass

    request = replace(request_for(cheapest_route(name)), resume_request_id=request_id)
    try:
        return outcome_of(await provider.generate(request, Reports(ignore, ignore)))
    except ProviderError as error:
        return outcome_of(error)
    finally:
        await provider.close()
        await DECODERS.close()


if __name__ == "__main__":
    print(json.dumps({"outcome": asyncio.run(_fetch(*sys.argv[1:]))}))

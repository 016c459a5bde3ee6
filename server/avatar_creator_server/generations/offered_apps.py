"""The list of the models that Hugging Face's router offers, as the hub publishes it.

`GET {hub}/api/partners/{provider}/models?status=live` is public and needs no key. Its answer groups the
mappings by task, and each has the provider's name of the app as `providerId` and a `status`:

    {"text-to-image": {
        "black-forest-labs/FLUX.1-dev": {"_id": "…", "providerId": "fal-ai/flux/dev", "status": "live"},
        "tag-filter=base_model:adapter:black-forest-labs/FLUX.1-dev,lora": {
            "_id": "…", "providerId": "fal-ai/flux-lora", "status": "live", "adapterType": "lora",
            "tags": ["base_model:adapter:black-forest-labs/FLUX.1-dev", "lora"]}}}

Source: https://huggingface.co/docs/inference-providers/register-as-a-provider, "List the whole mapping". The
hub's answers about one model give the mappings as an object or as a list (huggingface.js,
packages/inference/src/lib/getInferenceProviderMapping.ts), so lists are read here too.

The router finds the app by the path of a request, and answers 400 `{"error": "Model not supported by provider
fal-ai"}` if no mapping has it. That answer is known from reports of users only.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import httpx

from avatar_creator_server.model_table import FAL
from avatar_creator_server.shared.http import (
    NO_COMPRESSION,
    CompressedAnswerError,
    TooLongAnswerError,
    http_problem,
    open_http_client,
    read_bounded,
)

_SECONDS = 30.0
"""Maximum time for the whole answer."""
_MAX_BYTES = 8 * 1024 * 1024
"""Maximum size of the answer. An entry has about 200 bytes, and a provider about a thousand entries."""
_MAX_APPS = 20_000
_MAX_DEPTH = 3
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", re.ASCII)


class NoMappingError(Exception):
    """The hub did not give a usable list."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        """The problem as the end of a sentence, for example `no answer in time`."""


async def read_offered_apps(hub_url: str, *, seconds: float = _SECONDS) -> frozenset[str]:
    """Return the names of fal's apps that the router offers now.

    The request has no key. It follows no redirect, and the answer is bounded in time and size.

    Raises:
        NoMappingError: The hub did not answer, or not in this form.
        SettingsError: A variable of the environment names a proxy that cannot be used.
    """
    url = f"{hub_url.rstrip('/')}/api/partners/{FAL}/models"
    try:
        async with (
            asyncio.timeout(seconds),
            open_http_client(
                headers={**NO_COMPRESSION, "user-agent": "avatar-creator"},
                follow_redirects=False,
                timeout=None,
            ) as http,
            http.stream("GET", url, params={"status": "live"}) as response,
        ):
            content = await _read_content(response)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise NoMappingError(http_problem(error)) from error
    # Parsing the largest answer takes a tenth of a second.
    return await asyncio.to_thread(_parse, content)


async def _read_content(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise NoMappingError(f"it answers with the status {response.status_code}")
    try:
        return await read_bounded(response, _MAX_BYTES)
    except CompressedAnswerError:
        raise NoMappingError("its answer is compressed, which was not requested") from None
    except TooLongAnswerError as error:
        raise NoMappingError(f"its answer has {error}") from None


def _parse(content: bytes) -> frozenset[str]:
    try:
        mapping = json.loads(content)
    except (ValueError, RecursionError):
        raise NoMappingError("its answer is not JSON") from None
    apps = frozenset(islice(_live_apps(mapping), _MAX_APPS))
    if not apps:
        # A provider without any model would refuse everything, so this is more likely an error of the list.
        raise NoMappingError("its answer has no live model")
    return apps


def _live_apps(node: Any, depth: int = 0) -> Iterator[str]:
    """Yield the apps of all mappings below a task, a model, or the whole answer."""
    if isinstance(node, dict) and "providerId" in node:
        app = node["providerId"]
        if node.get("status", "live") == "live" and isinstance(app, str) and _APP.fullmatch(app):
            yield app
        return
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if depth < _MAX_DEPTH:
        for child in children:
            yield from _live_apps(child, depth + 1)

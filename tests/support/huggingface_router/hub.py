"""The public list of the apps that the router resolves, which the hub serves.

The form is that of https://huggingface.co/docs/inference-providers/register-as-a-provider, "List the whole
mapping": mappings by task and model, and one for all models with the same tags. The hub serves it to
everyone, so this fake refuses a key: the service has no reason to send one to the hub.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.support.hosted_fake.answers import Answer, send, with_fault
from tests.support.hosted_fake.behavior import Fault
from tests.support.hosted_fake.submissions import Submissions
from tests.support.huggingface_router.fal_apps import APPS
from tests.support.huggingface_router.router_plan import RouterPlan

_STAGING_APP = "fal-ai/not-live-yet"


class Hub:
    """Routes of the hub."""

    def __init__(self, plan: RouterPlan, submissions: Submissions) -> None:
        """Create the routes for this plan and these submissions."""
        self._plan = plan
        self._submissions = submissions

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_get("/api/partners/{provider}/models", self._list)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["mapping"] += 1
        fault = self._plan.mapping_fault
        return await send(request, with_fault(self._answer(request), fault, _documented), fault)

    def _answer(self, request: web.Request) -> Answer:
        if "Authorization" in request.headers:
            return Answer.of(400, {"error": "the list is public, and needs no token"})
        if request.match_info["provider"] != "fal-ai":
            return Answer.of(404, {"error": "Provider not found"})
        mapping = _mapping(self._plan.mapped_apps)
        status = request.query.get("status")
        return Answer.of(
            200,
            {
                task: {
                    model: entry
                    for model, entry in entries.items()
                    if status is None or entry["status"] == status
                }
                for task, entries in mapping.items()
            },
        )


def _mapping(apps: frozenset[str] | None) -> dict[str, dict[str, dict[str, Any]]]:
    mapping: dict[str, dict[str, dict[str, Any]]] = {
        "text-to-image": {"example/not-live-yet": _entry(_STAGING_APP, status="staging")},
        "image-to-image": {},
    }
    for app in sorted(APPS if apps is None else apps):
        task = "image-to-image" if "kontext" in app or "edit" in app else "text-to-image"
        if "lora" in app:
            tags = [f"base_model:adapter:{app}", "lora"]
            entry = _entry(app) | {"adapterType": "lora", "tags": tags}
            mapping[task][f"tag-filter={','.join(tags)}"] = entry
        else:
            mapping[task][f"example/{app.replace('/', '-')}"] = _entry(app)
    return mapping


def _entry(app: str, status: str = "live") -> dict[str, Any]:
    return {"_id": "66f0c1a2b3d4e5f601234567", "providerId": app, "status": status}


def _documented(fault: Fault) -> Answer:
    return Answer.of(fault.status or 500, {"error": "Internal Server Error"})

"""The check of `doctor` for the apps that Hugging Face's router offers."""

from __future__ import annotations

import contextlib

import structlog
from peewee import PeeweeException

from avatar_creator_server.core import Core
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.current_routes import MAX_AGE
from avatar_creator_server.generations.offered_apps import NoMappingError, read_offered_apps
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.model_table import FAL
from avatar_creator_server.operations.checks import ANSWER_SECONDS, CheckResult, within_limit
from avatar_creator_server.settings import SettingsError

log = structlog.get_logger()

_NOTHING_STORED = "all apps count as offered"


async def check_apps(core: Core, *, stores: bool) -> CheckResult:
    """Ask the hub which apps of the model the router offers.

    Args:
        core: The parts of the process.
        stores: True to store the answer for all processes, in a database that has its tables.
    """
    hub = core.settings.huggingface_hub_url
    try:
        apps = await read_offered_apps(hub, seconds=ANSWER_SECONDS)
    except (NoMappingError, SettingsError) as error:
        log.warning("check_failed", check="apps", error=repr(error))
        problem = error.problem if isinstance(error, NoMappingError) else str(error)
        stored = await _stored_apps(core) if stores else _NOTHING_STORED
        return CheckResult(
            "apps",
            True,
            f"{hub} does not list the apps that the router offers: {problem}; {stored}",
            "check the network and HUGGINGFACE_HUB_URL",
        )
    # If the database does not answer, its own check says so.
    with contextlib.suppress(AvatarCreatorError, TimeoutError, PeeweeException):
        if stores:
            await within_limit(lambda: core.current_routes.store(apps))
    routes = routes_of(core.settings, apps)
    found = [f"{hub} lists {len(apps):,} apps of {FAL}"]
    for drawn, candidates, chosen in (
        ("text", routes.candidates_from_text, routes.from_text),
        ("references", routes.candidates_from_reference, routes.from_reference),
    ):
        names = dict.fromkeys(route.app_name for route in candidates)
        found += [f"{name} {_offer(name, drawn, candidates[0], chosen, apps)}" for name in names]
    # Only what the settings ask for counts, not the apps that are there in case of need.
    both = (routes.candidates_from_text, routes.candidates_from_reference)
    wanted = [candidates[0] for candidates in both if candidates]
    if all(route.app_name in apps for route in wanted):
        return CheckResult("apps", True, "; ".join(found))
    fix = "wait until the router offers the missing app again, or choose another MODEL or HUGGINGFACE_ROUTE"
    if wanted[0].lora and not routes.from_text.lora:
        fix += "; LORA_REPOSITORY=none ends the warnings about the LoRA"
    return CheckResult("apps", True, "; ".join(found), fix)


def _offer(name: str, drawn: str, wanted: Route, chosen: Route | None, apps: frozenset[str]) -> str:
    """Return whether an app is offered and what that means, as the end of a sentence."""
    if name != wanted.app_name:
        return f"({drawn}) is offered" if name in apps else f"({drawn}) is not offered"
    if name in apps:
        return f"({drawn}) is offered, and draws {_with_lora(wanted)}"
    if chosen is None:
        return f"({drawn}) is not offered, and no other app can draw: such requests are refused"
    if chosen.app_name == name:
        return f"({drawn}) is not offered, and no other app can draw: requests will probably fail"
    return f"({drawn}) is not offered: {chosen.app_name} draws {_with_lora(chosen)} instead"


def _with_lora(route: Route) -> str:
    return f"with the LoRA {route.lora.repository}" if route.lora else "without a LoRA"


async def _stored_apps(core: Core) -> str:
    with contextlib.suppress(AvatarCreatorError, TimeoutError, PeeweeException):
        stored = await within_limit(core.current_routes.stored)
        if stored is not None and stored.age <= MAX_AGE:
            return f"the list of {stored.read_time:%Y-%m-%d %H:%M:%S} UTC counts"
    return _NOTHING_STORED

"""The check of `doctor` for the moderation of generated pictures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.model_table import find_model
from avatar_creator_server.operations.checks import CheckResult, advice_apart
from avatar_creator_server.settings import Settings, SettingsError


async def check_picture_moderation(
    settings: Settings, try_classifier: Callable[[Settings], Awaitable[None]]
) -> CheckResult:
    """Check what checks the generated pictures; the arguments are those of `doctor.run_checks`."""
    name, classifier = "moderation", settings.picture_moderation
    if settings.chosen_provider == "sketch":
        return CheckResult(name, True, "not needed: sketch draws no photographs")
    if not classifier:
        own_model = settings.chosen_provider == "diffusers" or settings.huggingface_route == "endpoint"
        model = find_model(settings.model)
        if own_model and model is not None and model.filter_required:
            return CheckResult(
                name,
                True,
                f"none, but the license of {settings.model} demands a filter, or a review of every picture",
                "set PICTURE_MODERATION, or review the pictures before anyone else sees them",
            )
        return CheckResult(name, True, "none; the filter of the provider applies, if it has one")
    try:
        await try_classifier(settings)
    except SettingsError as error:
        found, fix = advice_apart(str(error))
        if not settings.embedded:
            fix += " (only workers need this folder and these libraries)"
        return CheckResult(name, False, found, fix)
    except UnavailableError as error:
        return CheckResult(
            name,
            False,
            f"{classifier} gives no verdict: {error.message}",
            "check PICTURE_MODERATION and PICTURE_MODERATION_API_KEY, and the service itself; no picture is "
            "stored without a verdict",
        )
    action = {"refuse": "refused", "blur": "blurred", "flag": "flagged"}[settings.picture_moderation_action]
    return CheckResult(
        name,
        True,
        f"{classifier}; pictures with a score from {settings.picture_moderation_threshold:g} are {action}",
    )

"""The moderator of a worker, and the check of `avatar-creator doctor`."""

from __future__ import annotations

import asyncio

from PIL import Image

from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.settings import Settings, is_web_url
from avatar_creator_tasks.picture_moderation.classifier import Classifier, NoVerdictError
from avatar_creator_tasks.picture_moderation.folder import FolderClassifier
from avatar_creator_tasks.picture_moderation.moderator import PictureModerator
from avatar_creator_tasks.picture_moderation.service import ServiceClassifier, ServiceLimits, jpeg_to_send

_TRIAL_SECONDS = 10.0
_TRIAL_PIXELS = 64


def make_moderator(settings: Settings) -> PictureModerator:
    """Create the moderator of a worker.

    Raises:
        SettingsError: The folder is no classifier, or its libraries are not installed.
    """
    return PictureModerator(
        _classifier(settings),
        action=settings.picture_moderation_action,
        threshold=settings.picture_moderation_threshold,
        seconds=settings.picture_moderation_seconds,
    )


async def try_classifier(settings: Settings) -> None:
    """Let the settings' folder of weights, or their service, classify a gray picture.

    Raises:
        SettingsError: The folder cannot be used as a classifier, or its libraries are not installed.
        UnavailableError: The service gives no usable answer.
    """
    if not is_web_url(settings.picture_moderation):
        folder = await asyncio.to_thread(FolderClassifier, settings.picture_moderation)
        try:
            await folder.load()
        finally:
            await folder.close()
        return
    limits = ServiceLimits(answer_seconds=_TRIAL_SECONDS)
    classifier = ServiceClassifier(settings.picture_moderation, settings.picture_moderation_api_key, limits)
    try:
        await classifier.ask(jpeg_to_send(Image.new("RGB", (_TRIAL_PIXELS, _TRIAL_PIXELS), "gray")))
    except NoVerdictError as error:
        raise UnavailableError("MODERATION_UNAVAILABLE", str(error)) from error
    finally:
        await classifier.close()


def _classifier(settings: Settings) -> Classifier | None:
    if not settings.checks_pictures:
        return None
    if is_web_url(settings.picture_moderation):
        return ServiceClassifier(settings.picture_moderation, settings.picture_moderation_api_key)
    return FolderClassifier(settings.picture_moderation)

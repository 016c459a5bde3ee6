"""The check of a finished picture, and what follows from its verdict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from avatar_creator_server.images.records import PictureModeration
from avatar_creator_tasks.picture_moderation.blurring import blurred
from avatar_creator_tasks.picture_moderation.classifier import Classifier, NoVerdictError
from avatar_creator_tasks.providers.base import Portrait, ProviderError

log = structlog.get_logger()

Action = Literal["refuse", "blur", "flag"]


@dataclass(frozen=True, slots=True)
class CheckedPortrait:
    """A picture that the service may store."""

    portrait: Portrait
    """The picture, blurred if the verdict says so, with all warnings."""
    verdict: PictureModeration | None = None
    """The verdict; None if no classifier has checked the picture."""
    classifier: str = ""
    """Name of the classifier; empty if there is no verdict."""


class PictureModerator:
    """Lets the operator's classifier check pictures. Without a classifier, every picture passes."""

    def __init__(
        self,
        classifier: Classifier | None,
        *,
        action: Action = "refuse",
        threshold: float = 0.5,
        seconds: float = 45.0,
    ) -> None:
        """Create the moderator; `load` makes it ready.

        Args:
            classifier: The classifier; None if pictures are not checked.
            action: Refuse flagged pictures, blur them, or store them as they are.
            threshold: Score from which a picture is flagged, above 0 to 1.
            seconds: Maximum time for a verdict.
        """
        self._classifier = classifier
        self._action: Action = action
        self._threshold = threshold
        self._seconds = seconds

    async def load(self) -> None:
        """Load the classifier, before the worker claims anything.

        Raises:
            SettingsError: The classifier cannot be used.
        """
        if self._classifier is not None:
            await self._classifier.load()

    async def check(self, portrait: Portrait, *, fetchable: bool) -> CheckedPortrait:
        """Check a picture that a provider has just drawn, and return the one to store.

        Args:
            portrait: The picture.
            fetchable: True if the provider still has the picture, so that the next attempt can fetch it.

        Raises:
            ProviderError: The picture is flagged and must be refused, or the classifier gives no verdict. The
                caller must not retry the latter if that would pay for another picture.
        """
        if self._classifier is None:
            return CheckedPortrait(portrait)
        try:
            async with asyncio.timeout(self._seconds):
                score = await self._classifier.nsfw_score(portrait.image)
        except TimeoutError:
            raise self._withheld_error(f"no verdict within {self._seconds:g} s", fetchable) from None
        except NoVerdictError as error:
            raise self._withheld_error(str(error), fetchable) from error
        name, flagged = self._classifier.name, score >= self._threshold
        if not flagged:
            return CheckedPortrait(portrait, PictureModeration(False, score, False), name)
        log.warning("picture_flagged", classifier=name, score=round(score, 4), action=self._action)
        if self._action == "refuse":
            raise ProviderError(
                "PROVIDER_NSFW",
                "the service's picture moderation withheld the picture as not safe for work",
                retryable=False,
                charged=True,
            )
        warning = (
            f"the picture moderation flagged the picture as not safe for work, with a score of {score:.2f}"
        )
        if self._action == "blur":
            image = await asyncio.to_thread(blurred, portrait.image)
            portrait, warning = replace(portrait, image=image), f"{warning}; the stored picture is blurred"
        return CheckedPortrait(
            replace(portrait, warnings=(*portrait.warnings, warning)),
            PictureModeration(True, score, self._action == "blur"),
            name,
        )

    async def close(self) -> None:
        """Release the classifier."""
        if self._classifier is not None:
            await self._classifier.close()

    @staticmethod
    def _withheld_error(cause: str, fetchable: bool) -> ProviderError:
        log.warning("picture_withheld", cause=cause)
        return ProviderError(
            "MODERATION_UNAVAILABLE",
            "the service's picture moderation does not answer, so the picture was withheld",
            retryable=True,
            charged=True,
            request_alive=fetchable,
        )

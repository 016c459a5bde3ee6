"""A submission to fal, with the job of its app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.hosted_fake.submissions import Submission
from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.fal_apps import Job


@dataclass(slots=True)
class FalSubmission(Submission):
    """A request for a picture to fal, accepted or not."""

    job: Job | None = None
    refusal: tuple[int, dict[str, str], dict[str, Any]] | None = None
    """Status, headers and body of the result, if the app refuses the input."""

    @property
    def failure(self) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        """Status, headers and body of the result, if the job has failed or was refused."""
        return documented_errors.fal_error(None, "client_cancelled") if self.cancelled else self.refusal

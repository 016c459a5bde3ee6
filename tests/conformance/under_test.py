"""The description of a provider for the conformance suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from avatar_creator_server.generations.routes import Route
from avatar_creator_tasks.providers.base import PortraitRequest, Provider
from avatar_creator_tasks.providers.hosted.limits import Limits
from tests.support.hosted_fake import Behavior, Fault


class Cause(StrEnum):
    """Something that happens at the provider."""

    SLOW = "the picture takes longer than any deadline"
    KEY_REFUSED = "the provider refuses the key"
    NO_CREDIT = "the account has no credit"
    MODEL_UNKNOWN = "the provider does not know the model"
    INPUT_REFUSED = "the provider refuses the input"
    CONTENT_REFUSED = "the content policy refuses the request at once"
    CONTENT_REFUSED_LATER = "the content policy refuses the request while the model works"
    NSFW = "the safety checker withholds the picture"
    OVERLOADED = "the provider asks the service to wait 30 seconds"
    JOB_FAILED = "the model fails on the request"
    SUBMISSION_FAILS = "the provider answers the submission with 500"
    ANSWER_LOST = "the connection ends after the request is accepted and before the answer"
    SUBMISSION_HANGS = "the provider accepts the request and never answers"
    ENDLESS_ANSWER = "the answer to the submission never ends"
    STATUS_FAILS = "the provider answers the questions of one attempt about the request with 500"
    CANCEL_FAILS = "the request is slow, and the provider answers its cancellation with 500"
    RESULT_EXPIRED = "the provider has deleted the picture"
    PICTURE_ENDLESS = "the file of the picture never ends"
    PICTURE_HUGE = "the picture has 72 megapixels"
    PICTURE_BROKEN = "the file of the picture is cut"
    PICTURE_FORBIDDEN = "the picture is at an address of a private network"
    KEY_IN_MESSAGE = "the provider repeats the key in its error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderUnderTest:
    """One route of a provider, and the ways in which its fake causes each case."""

    name: str
    """Name in the report of the tests."""
    route: Route
    """The route, made from settings as in the service."""
    key: str = field(repr=False)
    """The API key; empty if the provider has none."""
    fake: str
    """Fixture of the fake: `router` or `replicate_api`; empty if the provider calls no one."""
    open: Callable[[str, Limits, timedelta], Provider]
    """Creates the provider for the address of the fake, limits and the deadline of a picture."""
    causes: Mapping[Cause, Behavior | Fault] = field(default_factory=dict, repr=False)
    """Behavior of the fake for each cause that the provider can meet."""
    inapplicable: Mapping[Cause, str] = field(default_factory=dict)
    """Reason for each cause that the provider cannot meet."""
    may_charge_failed_jobs: bool = False
    """True if the provider does not say that a failed job costs nothing."""
    picture_is_the_answer: bool = False
    """True if the answer to the submission is the picture, so a request has no id."""
    unknown_id: str = ""
    """A valid id of a request that the provider does not know; empty if its requests have no ids."""
    request: PortraitRequest
    """The usual request."""

    @property
    def has_ids(self) -> bool:
        """True if a request has an id, with which it can be resumed and cancelled."""
        return bool(self.unknown_id)

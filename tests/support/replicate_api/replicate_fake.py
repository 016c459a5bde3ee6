"""The fake of Replicate in its own process, and the methods through which tests steer it."""

from __future__ import annotations

from tests.support.hosted_fake import RunningFake


class ReplicateFake(RunningFake):
    """A running fake of Replicate.

    It accepts all tokens that begin with `r8_`, unless a test says which ones are valid.
    """

    module = "tests.support.replicate_api"

    def pass_deadline(self, prediction_id: str) -> None:
        """Let the time of a prediction's Cancel-After pass now."""
        self._call("POST", "/_control/pass_deadline", {"id": prediction_id})

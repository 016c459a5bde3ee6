"""The fake of Replicate in its own process, and the methods through which tests steer it."""

from __future__ import annotations

from tests.support.huggingface_router import RouterFake


class ReplicateFake(RouterFake):
    """A running fake of Replicate, with the methods of the fake of the router.

    It accepts all tokens that begin with `r8_`, unless a test says which ones are valid.
    """

    _module = "tests.support.replicate_api"

    def pass_deadline(self, prediction_id: str) -> None:
        """Let the time of a prediction's Cancel-After pass now."""
        self._call("POST", "/_control/pass_deadline", {"id": prediction_id})

"""The fake of Replicate in its own process, and the methods through which tests steer it."""

from __future__ import annotations

from tests.support.huggingface_router import RouterFake


class ReplicateFake(RouterFake):
    """A running fake of Replicate, with the methods of the fake of the router.

    It accepts all tokens that begin with `r8_`, unless a test says which ones are valid.
    """

    _module = "tests.support.replicate_api"

"""The fake in its own process, and the methods through which tests steer it."""

from __future__ import annotations

from dataclasses import asdict

from tests.support.hosted_fake import Fault, RunningFake
from tests.support.huggingface_router.router_plan import PutRefusal


class RouterFake(RunningFake):
    """A running fake of the router, of the hub, and of an Inference Endpoint, all at the same address.

    It accepts all tokens that begin with `hf_`, unless a test says which ones are valid.
    """

    module = "tests.support.huggingface_router"

    def refuse_put(self, how: PutRefusal | None) -> None:
        """Let the router refuse PUT, so that no cancellation reaches fal; None forwards PUT."""
        self._call("POST", "/_control/behave", {"put": how})

    def map_apps(self, *apps: str) -> None:
        """Resolve only these apps of fal, and list them at the hub. Before, the router resolves all apps."""
        self._call("POST", "/_control/behave", {"mapped_apps": list(apps)})

    def fail_mapping(self, fault: Fault | None) -> None:
        """Let the hub's list of the mapped apps fail in this way; None ends the failure."""
        self._call("POST", "/_control/behave", {"mapping_fault": asdict(fault) if fault else None})

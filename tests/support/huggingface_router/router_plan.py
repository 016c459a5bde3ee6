"""The behavior of the router and of the hub, in addition to that of submissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from tests.support.hosted_fake.behavior import Fault, Plan

PutRefusal = Literal["html", "json", "405", "401"]
"""The answer of a router that does not forward PUT: a 404 with a page, a 404 with JSON that is not fal's, a
405, or a 401 with a page."""


class RouterPlan(Plan):
    """The behavior of the router, of the hub and of future submissions."""

    settings = Plan.settings | {"put", "mapped_apps", "mapping_fault"}

    def __init__(self) -> None:
        """Create a plan without faults."""
        super().__init__("hf_")

    def clear(self) -> None:
        """Remove all faults and other settings."""
        super().clear()
        self.put: PutRefusal | None = None
        """The answer of the router to PUT; None forwards PUT to fal."""
        self.mapped_apps: frozenset[str] | None = None
        """The only apps of fal that the router resolves; None means that it resolves all apps."""
        self.mapping_fault: Fault | None = None
        """Failure of the hub's list of the mapped apps; None means that the hub gives it."""

    def change(self, body: Mapping[str, Any]) -> None:
        """Apply a body of `/_control/behave`. Settings that are not in the body stay unchanged.

        Raises:
            ValueError, TypeError: The body has an unknown field or value.
        """
        super().change(body)
        if "put" in body:
            if body["put"] not in (None, *get_args(PutRefusal)):
                raise ValueError(f"unknown refusal {body['put']!r}: choose one of {get_args(PutRefusal)}")
            self.put = body["put"]
        if "mapped_apps" in body:
            self.mapped_apps = frozenset(body["mapped_apps"]) if body["mapped_apps"] is not None else None
        if "mapping_fault" in body:
            self.mapping_fault = Fault(**body["mapping_fault"]) if body["mapping_fault"] is not None else None

"""Options of calls, which `with_options` changes for a part of an app."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from avatar_creator.hooks import OnRequest, OnResponse
from avatar_creator.retries import Backoff
from avatar_creator.tokens import require_plain_function


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of every call of a client."""

    timeout: float = 10.0
    """Default seconds for all attempts of a call together."""
    transfer_timeout: float = 60.0
    """Default seconds for all attempts of an upload or a download together."""
    retries: int | None = None
    """Largest number of further attempts of a call; None for as many as its timeout allows."""
    backoff: Backoff = field(default_factory=Backoff)
    """Delays between the attempts."""
    on_request: OnRequest | None = None
    """Function that sees each attempt before it is sent."""
    on_response: OnResponse | None = None
    """Function that sees each attempt after it has ended."""

    def __post_init__(self) -> None:
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"retries must be 0 or more (got {self.retries})")
        for name in ("on_request", "on_response"):
            require_plain_function(getattr(self, name), name, "both clients call it without awaiting it")

    def changed(self, **changes: Any) -> CallOptions:
        """Return the options with those changes that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

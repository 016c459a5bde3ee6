"""Options of calls, which `with_options` changes for a part of an app."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from avatar_creator.arguments import Arguments, described
from avatar_creator.errors import InvalidArgumentError
from avatar_creator.hooks import OnRequest, OnResponse
from avatar_creator.retries import Backoff
from avatar_creator.rpcs import CALL_SECONDS, TRANSFER_SECONDS


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of every call of a client."""

    timeout: float = CALL_SECONDS
    """Default seconds for all attempts of a call together; None becomes the default."""
    transfer_timeout: float = TRANSFER_SECONDS
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
        try:
            with Arguments() as given:
                for name in ("timeout", "transfer_timeout"):
                    seconds = given.seconds(name, getattr(self, name))
                    default = CALL_SECONDS if name == "timeout" else TRANSFER_SECONDS
                    object.__setattr__(self, name, default if seconds is None else seconds)
                given.optional_whole("retries", self.retries, least=0)
                if not isinstance(self.backoff, Backoff):
                    given.refuse("backoff", f"must be a Backoff (got {described(self.backoff)})")
                for name in ("on_request", "on_response"):
                    given.function(name, getattr(self, name))
        except InvalidArgumentError as error:
            raise ValueError(error.message) from None

    def changed(self, **changes: Any) -> CallOptions:
        """Return the options with those changes that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

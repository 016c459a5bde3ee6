"""How the router is reached, and who pays."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Access:
    """What the operator has set."""

    api_key: str = field(repr=False)
    """A token of Hugging Face that may call inference providers; empty for an endpoint open to all."""
    base_url: str = "https://router.huggingface.co"
    endpoint_url: str = ""
    """Of a dedicated Inference Endpoint, for the route `endpoint`."""
    bill_to: str = ""
    """The organization on the hub that pays; empty: the token's owner."""
    deadline: timedelta = timedelta(minutes=10)
    """Longest time for one picture, from its submission, or its being taken up again, to its last pixel."""

    def __post_init__(self) -> None:
        """Refuse what no header can carry, without repeating it: libraries would, in their errors.

        Raises:
            ValueError: the key or the organization has such characters.
        """
        for name, value in (("key", self.api_key), ("organization that pays", self.bill_to)):
            if not all("!" <= character <= "~" for character in value):
                raise ValueError(f"the {name} has characters that no header can carry")

"""Links that open the page with a token, for a service that only this machine reaches."""

from __future__ import annotations

from avatar_creator_server.api.tokens import mint_token
from avatar_creator_server.settings import Settings

LINK_SECONDS = 3_600
"""Time for which the token in a link is valid."""


def signed_in_link(settings: Settings, url: str, user_id: str) -> str:
    """Return a link that opens the page as a user. It contains a token, so it must not be logged.

    Browsers keep the part after `#` to themselves.
    """
    return f"{url}/#token={mint_token(settings, user_id, LINK_SECONDS)}"

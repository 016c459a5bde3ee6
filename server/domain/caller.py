"""Who makes a call."""

from __future__ import annotations

import re
from dataclasses import dataclass

_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|:+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user a verified token names."""

    user_id: str
    """A user id that `is_user_id` accepts."""


def is_user_id(text: str) -> bool:
    """Whether `text` may be a user id. User ids become folder names, so no slash and no leading dot."""
    return _USER_ID.fullmatch(text) is not None

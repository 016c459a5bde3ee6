"""Who makes a call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ALL_USERS = "-"
"""Stands for every user where an operator may name one. No user id begins with it."""

_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|:+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user a verified token names, and in which role they act."""

    user_id: str
    """A user id that `is_user_id` accepts."""
    app_id: str = ""
    """The app the token was issued to; empty if to none."""
    sees_all: bool = False
    """Whether other users' things are found too: for an operator, in the calls that operators may make."""

    def found(self, query: Any, owner: Any) -> Any:
        """Of what a query reads, the rows that this caller may find; `owner` is the column of their user."""
        return query if self.sees_all else query.where(owner == self.user_id)


def is_user_id(text: str) -> bool:
    """Whether `text` may be a user id. User ids become folder names, so no slash and no leading dot."""
    return _USER_ID.fullmatch(text) is not None

"""The caller of an RPC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ALL_USERS = "-"
"""Placeholder for all users, where an operator may name a user. It is not a user id."""

# Entra ID makes ids in base64url, of which one in 32 begins with `-` or `_`.
_USER_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._@|:+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a verified token, with app and role."""

    user_id: str
    """Id of the user, which `is_user_id` accepts."""
    app_id: str = ""
    """Id of the app that the token belongs to; empty if none."""
    sees_all: bool = False
    """True if the caller finds the resources of all users: an operator, in the calls for operators."""

    def found(self, query: Any, owner: Any) -> Any:
        """Restrict a query to the rows that this caller may find.

        Args:
            query: The query.
            owner: The column with the user id.
        """
        return query if self.sees_all else query.where(owner == self.user_id)


def is_user_id(text: str) -> bool:
    """Return whether `text` is a valid user id.

    User ids become names of folders, so a slash and a leading dot are invalid.
    """
    return text != ALL_USERS and _USER_ID.fullmatch(text) is not None


def caller_of_form(sees_all: bool, user_id: Any) -> Caller:
    """Return a caller for building a query that is compiled for all callers of this kind.

    Args:
        sees_all: See `Caller.sees_all`.
        user_id: Place of the user's id, from `compiled_queries.parameter`.
    """
    return Caller(user_id, sees_all=sees_all)

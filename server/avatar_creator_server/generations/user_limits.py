"""Limits of single users: operators set them over the limits of the settings.

`spending.require_within` reads them in the transaction of each new generation, so a change holds at once for
all servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import UserLimits as UserLimitsRow
from avatar_creator_server.generations.spending import Limits, OwnLimits, UsedAmounts, read_use


@dataclass(frozen=True, slots=True)
class UserLimitsRecord:
    """The limits of a user, and what the user has used of them."""

    user_id: str
    own: OwnLimits
    effective: Limits
    used: UsedAmounts
    update_time: datetime | None
    """Time when an operator changed the limits last; None if the user has none of their own."""
    updated_by: str
    """Id of that operator; empty if the user has none of their own."""


class UserLimits:
    """The limits of all users."""

    def __init__(self, database: Database, defaults: Limits) -> None:
        """Take the limits of the settings as the defaults."""
        self._database = database
        self._defaults = defaults

    async def get(self, user_id: str) -> UserLimitsRecord:
        """Return the limits of a user. A user id without data has the defaults."""
        return await self._database.read(self._get, user_id)

    async def set(self, user_id: str, limits: Mapping[str, int], *, operator: str) -> UserLimitsRecord:
        """Set limits of a user, and return all of them.

        Args:
            user_id: The user.
            limits: New limits by name of the field of `OwnLimits`. Others stay as they are.
            operator: Id of the operator.
        """
        return await self._database.write(self._set, user_id, limits, operator)

    async def clear(self, user_id: str) -> UserLimitsRecord:
        """Remove the limits of a user, and return the defaults."""
        return await self._database.write(self._clear, user_id)

    def _get(self, user_id: str) -> UserLimitsRecord:
        row: UserLimitsRow | None = UserLimitsRow.get_or_none(UserLimitsRow.user_id == user_id)
        use = read_use(user_id, self._database.now())
        return UserLimitsRecord(
            user_id,
            use.own,
            use.own.over(self._defaults),
            use.used,
            row.update_time if row else None,
            row.updated_by if row else "",
        )

    def _set(self, user_id: str, limits: Mapping[str, int], operator: str) -> UserLimitsRecord:
        changes = {**limits, "update_time": self._database.now(), "updated_by": operator}
        UserLimitsRow.insert(user_id=user_id, **changes).on_conflict(
            conflict_target=[UserLimitsRow.user_id], update=changes
        ).execute()
        return self._get(user_id)

    def _clear(self, user_id: str) -> UserLimitsRecord:
        UserLimitsRow.delete().where(UserLimitsRow.user_id == user_id).execute()
        return self._get(user_id)

"""The feed behind watches: snapshots, revisions and changes of generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from avatar_creator_server.database.compiled_queries import (
    CompiledQuery,
    by_name,
    compiled,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration, AvatarProject
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.queries import (
    active_ids,
    active_ids_of_user,
    all_generations,
    compiled_generations,
    owner_of,
    read_generations,
)
from avatar_creator_server.generations.queue_positions import QueuePositions
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.projects.service import (
    IS_NOT_DELETED,
    in_no_deleted_project,
    require_project,
)
from avatar_creator_server.shared.caller import Caller, caller_of_form

LATE_COMMITS = timedelta(seconds=30)
"""Maximum delay between the `update_time` of a row and its commit. No transaction may take longer."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The generations of a project or of a user when a watch begins."""

    read_time: datetime
    """Time of the read, by the database's clock."""
    complete_since: datetime
    """Every change committed after the read has a later `update_time` than this."""
    ids: list[str]
    """Generations that have not ended, and those that changed since the requested time, in the order of their
    changes."""
    ended_before: list[tuple[str, int]]
    """Ids and revisions of the generations that ended within `LATE_COMMITS` before the requested time. A
    re-read must skip them."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes in some projects, or of some users, since an earlier read."""

    read_time: datetime
    """Time of the read, by the database's clock."""
    existing_ids: frozenset[str]
    """Ids of the projects or users that still exist. Users always do."""
    revisions: list[tuple[str, str, int]]
    """Id of the project or user, generation id and revision of each changed generation."""


class GenerationFeed:
    """Reads the states that watches report."""

    def __init__(self, database: Database, queue_positions: QueuePositions) -> None:
        self._database = database
        self._queue_positions = queue_positions

    async def batch_get(self, caller: Caller, generation_ids: Sequence[str]) -> list[Generation]:
        """Read generations in the order of their ids.

        Raises:
            NotFoundError: The user lacks one of these generations; names the first.
        """

        def query() -> list[Generation]:
            found = {generation.id: generation for generation in read_generations(caller, generation_ids)}
            for generation_id in generation_ids:
                if generation_id not in found:
                    raise NotFoundError("generation", generation_id)
            return [found[generation_id] for generation_id in generation_ids]

        return await self._queue_positions.with_positions(await self._database.read(query))

    async def ids_of_group(self, caller: Caller, group_id: str) -> list[str]:
        """Return the ids of a group's generations, in the order of their creation.

        Raises:
            NotFoundError: The user has no such group.
        """

        def query() -> list[str]:
            rows = caller.found(
                AvatarGeneration.select(AvatarGeneration.id).where(
                    AvatarGeneration.group_id == group_id,
                    AvatarGeneration.group_id != "",
                    in_no_deleted_project(AvatarGeneration.project, caller),
                ),
                AvatarGeneration.user_id,
            )
            ids = [row.id for row in rows.order_by(AvatarGeneration.id)]
            if not ids:
                raise NotFoundError("group", group_id)
            return ids

        return await self._database.read(query)

    async def snapshot_of_project(
        self, caller: Caller, project_id: str, changed_since: datetime | None
    ) -> Snapshot:
        """Find the unfinished generations of a project, and those that changed at or after `changed_since`.

        There may be so many that no single job should read them whole.

        Raises:
            NotFoundError: The user has no such project.
        """

        def query() -> Snapshot:
            # The caller may read the project, so all its generations.
            require_project(caller, project_id)
            return self._snapshot(
                _changed_in_project(caller.sees_all),
                {"user_id": caller.user_id, "project_id": project_id},
                changed_since,
            )

        return await self._database.read(query)

    async def snapshot_of_user(self, user_id: str, changed_since: datetime | None) -> Snapshot:
        """Find the same generations of a user, in all projects. See `snapshot_of_project`."""
        return await self._database.read(
            lambda: self._snapshot(_changed_of_user(), {"user_id": user_id}, changed_since)
        )

    def _snapshot(
        self, changed: CompiledQuery[Any], ids: Mapping[str, str], changed_since: datetime | None
    ) -> Snapshot:
        now = self._database.now()
        reported_since = now if changed_since is None else _before_late_commits(changed_since)
        complete_since = min(_before_late_commits(now), reported_since)
        snapshot = Snapshot(now, complete_since, [], [])
        for row in changed.rows(**ids, complete_since=complete_since):
            if row.has_ended and row.update_time < reported_since:
                snapshot.ended_before.append((row.id, row.revision))
            else:
                snapshot.ids.append(row.id)
        return snapshot

    async def revisions(self, generation_ids: Sequence[str]) -> dict[str, int]:
        """Read the current revision of each existing generation, for all users."""

        def query() -> dict[str, int]:
            rows = AvatarGeneration.select(AvatarGeneration.id, AvatarGeneration.revision).where(
                AvatarGeneration.id.in_(generation_ids), in_no_deleted_project(AvatarGeneration.project)
            )
            return {row.id: row.revision for row in rows}

        return await self._database.read(query)

    async def existing_projects(self, project_ids: Sequence[str]) -> set[str]:
        """Read which of these projects still exist, for all users."""

        def query() -> set[str]:
            rows = AvatarProject.select(AvatarProject.id).where(
                AvatarProject.id.in_(project_ids), IS_NOT_DELETED
            )
            return {row.id for row in rows}

        return await self._database.read(query)

    async def changes_in_projects(self, project_ids: Sequence[str], since: datetime) -> Changes:
        """Read what has changed in these projects since the earlier read at `since`, for all users."""

        def query() -> Changes:
            now = self._database.now()
            projects = list(
                AvatarProject.select(AvatarProject.id, AvatarProject.user_id).where(
                    AvatarProject.id.in_(project_ids), IS_NOT_DELETED
                )
            )
            changed = AvatarGeneration.select(
                AvatarGeneration.id, AvatarGeneration.project, AvatarGeneration.revision
            ).where(
                # An index has the changes of each user.
                AvatarGeneration.user_id.in_(list({row.user_id for row in projects})),
                AvatarGeneration.project.in_(project_ids),
                AvatarGeneration.update_time >= _before_late_commits(since),
            )
            return Changes(
                now,
                frozenset(row.id for row in projects),
                [(row.project_id, row.id, row.revision) for row in changed] if projects else [],
            )

        return await self._database.read(query)

    async def changes_of_users(self, user_ids: Sequence[str], since: datetime) -> Changes:
        """Read what has changed of these users since the earlier read at `since`."""

        def query() -> Changes:
            now = self._database.now()
            row = AvatarGeneration
            changed = row.select(row.id, row.user_id, row.revision).where(
                row.user_id.in_(user_ids), row.update_time >= _before_late_commits(since)
            )
            return Changes(
                now, frozenset(user_ids), [(each.user_id, each.id, each.revision) for each in changed]
            )

        return await self._database.read(query)

    async def with_positions(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Read what `get_many_unscoped` reads, with queue position and expected time."""
        return await self._queue_positions.with_positions(await self.get_many_unscoped(generation_ids))

    async def get_many_unscoped(self, generation_ids: Sequence[str]) -> list[Generation]:
        """Read the existing ones of these generations, for all users, in the order of their changes."""

        def query() -> list[Generation]:
            ids = padded(generation_ids)
            return _latest(len(ids)).rows(**numbered("id", ids))

        return await self._database.read(query)


@compiled
def _changed_in_project(sees_all: bool) -> CompiledQuery[Any]:
    row, caller = AvatarGeneration, caller_of_form(sees_all, parameter("user_id"))
    return _changed(
        active_ids(caller, parameter("project_id")),
        (row.user_id == owner_of(caller, parameter("project_id"))) & (row.project == parameter("project_id")),
    )


@compiled
def _changed_of_user() -> CompiledQuery[Any]:
    return _changed(
        active_ids_of_user(parameter("user_id")), AvatarGeneration.user_id == parameter("user_id")
    )


def _changed(active: Any, selected: Any) -> CompiledQuery[Any]:
    row = AvatarGeneration
    ended = row.select(row.id).where(
        selected, row.due_time.is_null(), row.update_time >= parameter("complete_since", row.update_time)
    )
    query = (
        row.select(row.id, row.revision, row.update_time, row.due_time.is_null().alias("has_ended"))
        .where(row.id.in_(active.union_all(ended)))
        .order_by(row.update_time, row.id)
    )
    return CompiledQuery(query, by_name(lambda row: row))


@compiled
def _latest(count: int) -> CompiledQuery[Generation]:
    rows = all_generations().where(AvatarGeneration.id.in_(parameters("id", count)))
    query = rows.order_by(AvatarGeneration.update_time, AvatarGeneration.id)
    return compiled_generations(query, by_key=True)


def _before_late_commits(instant: datetime) -> datetime:
    """Return `instant - LATE_COMMITS`, but not less than the smallest datetime."""
    return instant - min(LATE_COMMITS, instant - datetime.min.replace(tzinfo=UTC))

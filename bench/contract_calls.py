"""Calls of every RPC with every filter, order and kind of caller, on a database that `filling` has filled."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from avatar_creator import (
    AgeRange,
    AvatarCreator,
    AvatarOrder,
    Gender,
    GenerationPriority,
    GenerationState,
    ImageVariant,
    NotFoundError,
    SourceType,
    Style,
)
from avatar_creator_server.demo.run import PHOTOGRAPH
from bench.filling import DAYS, LARGEST_USER, RARE_APP, RARE_WORD
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from tests.support.service import Deployment

Call = Callable[["Filled"], object]

ALL_USERS = "-"
_PAGE = 100
_PAGES = 12
"""A list is read to this page, so that a plan that reads and drops earlier pages is seen."""


@dataclass(frozen=True)
class Filled:
    """A filled service, its clients, and ids of rows."""

    deployment: Deployment
    largest: AvatarCreator
    """Client of the user with the most rows."""
    ordinary: AvatarCreator
    """Client of a user with few rows."""
    operator: AvatarCreator
    avatar_id: str
    """The favorite avatar of the largest user."""
    avatar_ids: list[str]
    """A page of avatars of the largest user."""
    project_id: str
    """The largest project of the largest user."""
    ended: Mapping[GenerationState, list[str]]
    """Generations of the largest user that have ended, by state."""
    pending: list[str]
    """Waiting generations of the largest user."""
    large_project: tuple[str, str]
    """Another user, and that user's largest project."""
    new_avatar_ids: list[str]
    """An avatar of the largest user whose picture is in the storage."""

    @classmethod
    def of(
        cls,
        deployment: Deployment,
        largest: AvatarCreator,
        ordinary: AvatarCreator,
        operator: AvatarCreator,
    ) -> Filled:
        """Look the ids up, and upload a picture."""

        def ids(query: str) -> list[str]:
            return [row["id"] for row in deployment.execute(f"{query} LIMIT {_PAGE}", LARGEST_USER)]

        def ended(state: str) -> list[str]:
            return ids(f"SELECT id FROM avatar_generations WHERE user_id = %s AND state = '{state}'")

        project_id = ids("SELECT id FROM avatar_projects WHERE user_id = %s ORDER BY avatar_count DESC")[0]
        [large] = deployment.execute(
            "SELECT user_id, id FROM avatar_projects WHERE user_id != %s ORDER BY avatar_count DESC LIMIT 1",
            LARGEST_USER,
        )
        uploaded = largest.avatars.upload(project_id, PHOTOGRAPH, name="Reference")
        return cls(
            deployment,
            largest,
            ordinary,
            operator,
            avatar_id=ids("SELECT id FROM avatars WHERE user_id = %s ORDER BY usage_count DESC")[0],
            avatar_ids=ids("SELECT id FROM avatars WHERE user_id = %s ORDER BY id DESC"),
            project_id=project_id,
            ended={COMPLETED: ended("completed"), FAILED: ended("failed"), CANCELLED: ended("cancelled")},
            pending=ended("pending"),
            large_project=(large["user_id"], large["id"]),
            new_avatar_ids=[uploaded.id],
        )


def several_pages(items: Iterable[Any]) -> None:
    """Read a list, which has pages of `_PAGE` items, to its page `_PAGES`."""
    for _ in islice(items, _PAGE * _PAGES + 1):
        pass


def _avatars(who: str = "largest", **filters: Any) -> Call:
    return lambda filled: several_pages(getattr(filled, who).avatars.find(page_size=_PAGE, **filters))


def _generations(who: str = "largest", **filters: Any) -> Call:
    return lambda filled: several_pages(getattr(filled, who).generations.list(page_size=_PAGE, **filters))


def _uses(**filters: Any) -> Call:
    return lambda filled: several_pages(
        filled.largest.usage.list(filled.avatar_id, page_size=_PAGE, **filters)
    )


def _create(**options: Any) -> Call:
    return lambda filled: filled.largest.generations.create(filled.project_id, "a portrait", **options)


def _first_state(states: Any) -> None:
    """Read the first state of a watch, and end the watch."""
    with states:
        next(states)


def _watch_project(filled: Filled, since: datetime | None) -> None:
    _first_state(filled.largest.generations.watch_many(project=filled.project_id, changed_since=since))


def _delete_large(filled: Filled) -> None:
    """Delete a project that is too large to be removed at once."""
    owner, project_id = filled.large_project
    with filled.deployment.client(owner) as client:
        client.projects.delete(project_id)


def _delete_small(filled: Filled) -> None:
    project = filled.largest.projects.create("Small")
    avatar = filled.largest.avatars.upload(project.id, PHOTOGRAPH, name="Sarah")
    filled.largest.usage.record(avatar.id, app_id="stage", action="export")
    filled.largest.projects.delete(project.id)


def _delete_avatar(filled: Filled) -> None:
    avatar = filled.largest.avatars.upload(filled.project_id, PHOTOGRAPH, name="Sarah")
    filled.largest.usage.record(avatar.id, app_id="stage", action="export")
    filled.largest.avatars.delete(avatar.id)


def _download(filled: Filled) -> None:
    avatar = filled.largest.avatars.upload(filled.project_id, PHOTOGRAPH, name="Sarah")
    filled.largest.avatars.download(avatar.id, variant=ImageVariant.ORIGINAL)


def _group(filled: Filled) -> None:
    variations = filled.largest.generations.create_variations(filled.project_id, "a portrait", count=3)
    several_pages(filled.largest.generations.list(group_id=variations.id))
    _first_state(filled.largest.generations.watch_many(group_id=variations.id))


def _repeat(filled: Filled) -> None:
    request_id = str(uuid.uuid4())
    for _ in range(2):
        filled.largest.generations.create(filled.project_id, "a portrait", request_id=request_id)
        filled.largest.usage.record(filled.avatar_id, app_id="stage", action="export", request_id=request_id)
        filled.largest.projects.create("Repeated", request_id=request_id)


def _of_no_worker(change: Callable[[str], object]) -> None:
    with suppress(NotFoundError):
        change("no-worker")


_NOW = datetime.now(UTC)
_HALF_A_YEAR_AGO = _NOW - timedelta(days=DAYS / 2)
_WEEK = timedelta(days=7)
_ABSENT_WORD = "zeppelin"

CALLS: dict[str, dict[str, Call]] = {
    "AvatarProjectService.CreateProject": {
        "": lambda filled: filled.largest.projects.create("Spring"),
        "again": _repeat,
    },
    "AvatarProjectService.GetProject": {
        "": lambda filled: filled.largest.projects.get(filled.project_id),
        "with avatars": lambda filled: filled.largest.projects.open(filled.project_id),
        "of another user": lambda filled: filled.operator.projects.open(filled.project_id),
    },
    "AvatarProjectService.ListProjects": {
        "": lambda filled: several_pages(filled.largest.projects.list(page_size=_PAGE)),
        "of all users": lambda filled: several_pages(
            filled.operator.projects.list(page_size=_PAGE, user_id=ALL_USERS)
        ),
        "with the newest avatars": lambda filled: several_pages(
            filled.largest.projects.list(page_size=_PAGE, include_newest_avatars=True)
        ),
    },
    "AvatarProjectService.UpdateProject": {
        "": lambda filled: filled.largest.projects.update(filled.project_id, name="Summer")
    },
    "AvatarProjectService.DeleteProject": {"small": _delete_small, "large": _delete_large},
    "AvatarService.UploadAvatar": {
        "": lambda filled: filled.largest.avatars.upload(filled.project_id, PHOTOGRAPH, name="Sarah")
    },
    "AvatarService.GetAvatar": {
        "": lambda filled: filled.largest.avatars.get(filled.avatar_id),
        "of another user": lambda filled: filled.operator.avatars.get(filled.avatar_id),
    },
    "AvatarService.BatchGetAvatars": {
        "": lambda filled: filled.largest.avatars.batch_get(filled.avatar_ids),
    },
    "AvatarService.ListAvatars": {
        "newest first": _avatars(),
        "last used first": _avatars(order=AvatarOrder.LAST_USED_FIRST),
        "last used first, of a gender": _avatars(order=AvatarOrder.LAST_USED_FIRST, gender=Gender.FEMALE),
        "of a project": lambda filled: _avatars(project=filled.project_id)(filled),
        "of a project, last used first": lambda filled: _avatars(
            project=filled.project_id, order=AvatarOrder.LAST_USED_FIRST
        )(filled),
        "of a project, with a rare word": lambda filled: _avatars(project=filled.project_id, query=RARE_WORD)(
            filled
        ),
        "uploaded": _avatars(source_types=[SourceType.UPLOADED]),
        "from a preset: none": _avatars(source_types=[SourceType.FROM_PRESET]),
        "of a gender": _avatars(gender=Gender.FEMALE),
        "children: none": _avatars(age_range=AgeRange.CHILD),
        "of a style": _avatars(style=Style.FORMAL),
        "of a style: none": _avatars(style=Style.CREATIVE),
        "of an ethnicity": _avatars(ethnicity="Nordic"),
        "of an ethnicity: none": _avatars(ethnicity="Martian"),
        "with a frequent word": _avatars(query="portrait"),
        "with a rare word": _avatars(query=RARE_WORD),
        "with two words": _avatars(query=f"{RARE_WORD} portrait"),
        "with an absent word": _avatars(query=_ABSENT_WORD),
        "with two letters": _avatars(query="qx"),
        "with a rare word, last used first": _avatars(query=RARE_WORD, order=AvatarOrder.LAST_USED_FIRST),
        "of an ordinary user": _avatars("ordinary"),
        "of an ordinary user, last used first": _avatars("ordinary", order=AvatarOrder.LAST_USED_FIRST),
        "of all users": _avatars("operator", user_id=ALL_USERS),
        "of all users, last used first": _avatars(
            "operator", user_id=ALL_USERS, order=AvatarOrder.LAST_USED_FIRST
        ),
        "of all users, with a rare word": _avatars("operator", user_id=ALL_USERS, query=RARE_WORD),
        "of all users, with an absent word": _avatars("operator", user_id=ALL_USERS, query=_ABSENT_WORD),
        "of all users, children: none": _avatars("operator", user_id=ALL_USERS, age_range=AgeRange.CHILD),
    },
    "AvatarService.UpdateAvatar": {
        "": lambda filled: filled.largest.avatars.update(filled.avatar_id, name="Sarah")
    },
    "AvatarService.DeleteAvatar": {"": _delete_avatar},
    "AvatarService.DownloadImage": {"": _download},
    "GenerationService.CreateGeneration": {
        "interactive": _create(priority=GenerationPriority.INTERACTIVE),
        "normal": _create(),
        "bulk": _create(priority=GenerationPriority.BULK),
        "from a reference": lambda filled: _create(reference=filled.new_avatar_ids)(filled),
        "from a preset": lambda filled: _create(preset=next(filled.largest.presets.list()))(filled),
        "variations": _group,
        "with a recipe": lambda filled: filled.largest.generations.reproduce(
            filled.ended[COMPLETED][0], project=filled.project_id
        ),
    },
    "GenerationService.EstimateGeneration": {
        "normal": lambda filled: filled.largest.generations.estimate(filled.project_id, "a portrait"),
        "bulk": lambda filled: filled.largest.generations.estimate(
            filled.project_id, "a portrait", priority=GenerationPriority.BULK
        ),
    },
    "GenerationService.GetGeneration": {
        "completed": lambda filled: filled.largest.generations.get(filled.ended[COMPLETED][0]),
        "pending": lambda filled: filled.largest.generations.get(filled.pending[0]),
        "attempts": lambda filled: filled.largest.generations.attempts(filled.ended[COMPLETED][0]),
        "of another user": lambda filled: filled.operator.generations.get(filled.pending[0]),
    },
    "GenerationService.ListGenerations": {
        "": _generations(),
        "of a project": lambda filled: _generations(project=filled.project_id)(filled),
        "of a project, failed": lambda filled: _generations(project=filled.project_id, states=[FAILED])(
            filled
        ),
        "of a project, active": lambda filled: _generations(
            project=filled.project_id, states=[PENDING, PROCESSING]
        )(filled),
        "pending": _generations(states=[PENDING]),
        "processing": _generations(states=[PROCESSING]),
        "active": _generations(states=[PENDING, PROCESSING]),
        "completed": _generations(states=[COMPLETED]),
        "failed": _generations(states=[FAILED]),
        "cancelled": _generations(states=[CANCELLED]),
        "failed or cancelled": _generations(states=[FAILED, CANCELLED]),
        "failed or pending": _generations(states=[FAILED, PENDING]),
        "created in an old week": _generations(
            create_time_from=_HALF_A_YEAR_AGO, create_time_to=_HALF_A_YEAR_AGO + _WEEK
        ),
        "created in a week before all": _generations(
            create_time_from=_NOW - timedelta(days=2 * DAYS),
            create_time_to=_NOW - timedelta(days=2 * DAYS) + _WEEK,
        ),
        "created before half a year": _generations(create_time_to=_HALF_A_YEAR_AGO),
        "created lately": _generations(create_time_from=_NOW - timedelta(hours=1)),
        "created in an old week, failed": _generations(
            create_time_from=_HALF_A_YEAR_AGO,
            create_time_to=_HALF_A_YEAR_AGO + _WEEK,
            states=[FAILED],
        ),
        "of an ordinary user, pending": _generations("ordinary", states=[PENDING]),
        "of all users": _generations("operator", user_id=ALL_USERS),
        "of all users, pending": _generations("operator", user_id=ALL_USERS, states=[PENDING]),
        "of all users, failed": _generations("operator", user_id=ALL_USERS, states=[FAILED]),
        "of all users, created in an old week": _generations(
            "operator",
            user_id=ALL_USERS,
            create_time_from=_HALF_A_YEAR_AGO,
            create_time_to=_HALF_A_YEAR_AGO + _WEEK,
        ),
        "of all users, oldest first": _generations("operator", user_id=ALL_USERS, order="oldest_first"),
        "of all users, of a reason": _generations(
            "operator", user_id=ALL_USERS, states=["failed"], error_reasons=["PROVIDER_UNAVAILABLE"]
        ),
        "of all users, created in a week before all": _generations(
            "operator",
            user_id=ALL_USERS,
            create_time_from=_NOW - timedelta(days=2 * DAYS),
            create_time_to=_NOW - timedelta(days=2 * DAYS) + _WEEK,
        ),
    },
    "GenerationService.WatchGeneration": {
        "": lambda filled: _first_state(filled.largest.generations.watch(filled.pending[0])),
        "of another user": lambda filled: _first_state(filled.operator.generations.watch(filled.pending[0])),
    },
    "GenerationService.WatchGenerations": {
        "several": lambda filled: _first_state(filled.largest.generations.watch_many(filled.pending)),
        "of a project": lambda filled: _watch_project(filled, None),
        "of a project, for an hour": lambda filled: _watch_project(filled, _NOW - timedelta(hours=1)),
    },
    "GenerationService.CancelGeneration": {
        "": lambda filled: filled.largest.generations.cancel(filled.pending[-1])
    },
    "GenerationService.RetryGeneration": {
        "": lambda filled: filled.largest.generations.retry(filled.ended[FAILED][0])
    },
    "UsageService.RecordUsage": {
        "": lambda filled: filled.largest.usage.record(filled.avatar_id, app_id="stage", action="export")
    },
    "UsageService.ListUsage": {
        "": _uses(),
        "of a frequent app": _uses(app_id="pose-generator"),
        "of a rare app": _uses(app_id=RARE_APP),
        "of an absent app": _uses(app_id="absent"),
        "of an action": _uses(action="preview"),
        "of an absent action": _uses(action="absent"),
        "of a rare app and an action": _uses(app_id=RARE_APP, action="export"),
    },
    "UsageService.SummarizeUsage": {
        "": lambda filled: filled.largest.usage.summarize(filled.avatar_id),
    },
    "UsageService.GetStats": {
        "": lambda filled: filled.largest.usage.stats(),
        "of all users": lambda filled: filled.operator.usage.stats(user_id=ALL_USERS),
    },
    "PresetService.ListPresets": {
        "": lambda filled: several_pages(filled.largest.presets.list()),
        "with words": lambda filled: several_pages(filled.largest.presets.list(query="chef")),
    },
    "PresetService.GetPreset": {
        "": lambda filled: filled.largest.presets.get(next(filled.largest.presets.list()).id)
    },
    "PresetService.ListPersonaExamples": {"": lambda filled: several_pages(filled.largest.personas.list())},
    "PresetService.GetPersonaExample": {
        "": lambda filled: filled.largest.personas.get(next(filled.largest.personas.list()).id)
    },
    "OperationsService.ListWorkers": {"": lambda filled: list(filled.operator.operations.list_workers())},
    "OperationsService.DrainWorker": {
        "": lambda filled: _of_no_worker(filled.operator.operations.drain_worker)
    },
    "OperationsService.ResumeWorker": {
        "": lambda filled: _of_no_worker(filled.operator.operations.resume_worker)
    },
    "OperationsService.GetQueue": {"": lambda filled: filled.operator.operations.get_queue()},
    "OperationsService.PauseQueue": {"": lambda filled: filled.operator.operations.pause_queue()},
    "OperationsService.ResumeQueue": {"": lambda filled: filled.operator.operations.resume_queue()},
    "OperationsService.RetryNow": {
        "": lambda filled: filled.operator.operations.retry_now(filled.pending[0])
    },
    "OperationsService.BulkCancelGenerations": {
        "of a user": lambda filled: filled.operator.operations.bulk_cancel(user_id=LARGEST_USER, max_count=2),
        "dry run": lambda filled: filled.operator.operations.bulk_cancel(user_id=ALL_USERS, dry_run=True),
    },
    "OperationsService.BulkRetryGenerations": {
        "of a user": lambda filled: filled.operator.operations.bulk_retry(user_id=LARGEST_USER, max_count=2),
        "of a reason": lambda filled: filled.operator.operations.bulk_retry(
            user_id=ALL_USERS, error_reasons=["PROVIDER_UNAVAILABLE", "STORAGE_UNAVAILABLE"], dry_run=True
        ),
    },
    "OperationsService.ListUsers": {
        "by queue": lambda filled: several_pages(filled.operator.operations.list_users(order="queue_depth")),
        "by failures": lambda filled: several_pages(filled.operator.operations.list_users(order="failures")),
        "by spending": lambda filled: several_pages(filled.operator.operations.list_users(order="spending")),
    },
    "OperationsService.GetUserLimits": {
        "": lambda filled: filled.operator.operations.get_limits(LARGEST_USER)
    },
    "OperationsService.SetUserLimits": {
        "": lambda filled: filled.operator.operations.set_limits("user-1", per_day=5)
    },
    "OperationsService.ClearUserLimits": {
        "": lambda filled: filled.operator.operations.clear_limits("user-1")
    },
}
"""Calls of each RPC, by what they ask for."""

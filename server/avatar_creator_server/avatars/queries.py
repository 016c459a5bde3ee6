"""The queries that read avatars. All run in a database job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peewee import JOIN, OP, SQL, Expression, NodeList, fn

from avatar_creator_server.avatars.records import Avatar, AvatarFilter
from avatar_creator_server.database import models
from avatar_creator_server.database.compiled_queries import (
    Columns,
    CompiledQuery,
    Row,
    by_name,
    compiled,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.text_search import contained, fold
from avatar_creator_server.images.records import PictureModeration, StoredFile
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.projects.service import in_no_deleted_project, require_project
from avatar_creator_server.shared.caller import Caller, caller_of_form

_FILTERED = ("gender", "age_range", "style", "ethnicity_folded")
"""Columns that a list can compare with a value."""


@dataclass(frozen=True, slots=True)
class _ListForm:
    """The properties of a list that change the text of its query."""

    sees_all: bool
    in_project: bool
    source_types: int
    filtered: tuple[str, ...]
    """The filtered ones of `_FILTERED`."""
    words: int
    last_used_first: bool
    after: str
    """`""` for the first page, `id`, `used` or `unused`: the kind of the avatar before the page."""


def read_avatar(caller: Caller, avatar_id: str) -> Avatar | None:
    """Read an avatar that the caller may see; None if there is none."""
    return _avatar(caller.sees_all).first(user_id=caller.user_id, avatar_id=avatar_id)


def has_avatar(caller: Caller, avatar_id: str) -> bool:
    """Return whether the caller may see an avatar of this id."""
    return bool(_avatar_id(caller.sees_all).rows(user_id=caller.user_id, avatar_id=avatar_id))


def read_avatars(caller: Caller, avatar_ids: Sequence[str]) -> list[Avatar]:
    """Read those of these avatars that the caller may see, in any order."""
    if not avatar_ids:
        return []
    ids = padded(avatar_ids)
    query = _several_avatars(caller.sees_all, len(ids))
    return query.rows(user_id=caller.user_id, **numbered("avatar_id", ids))


@dataclass(frozen=True, slots=True)
class LockedAvatar:
    """An avatar that the current transaction has locked."""

    usage_count: int
    lock_time: datetime
    """Time of the database after it granted the lock."""


def lock_own_avatar(is_postgresql: bool, user_id: str, avatar_id: str) -> LockedAvatar | None:
    """Lock an avatar of a user until the current transaction ends; None if the user has no such avatar."""
    return _locked(is_postgresql).first(user_id=user_id, avatar_id=avatar_id)


def list_avatars(
    caller: Caller, filters: AvatarFilter, limit: int, cursor: Sequence[str] | None
) -> list[Avatar]:
    """Read a page of the caller's avatars.

    Args:
        caller: The caller.
        filters: Filters and sort order.
        limit: Maximum number of avatars.
        cursor: `cursor_of` the avatar before the page; None for the first page.

    Raises:
        NotFoundError: The user has no such project.
    """
    if filters.project_id:
        require_project(caller, filters.project_id)
    equal = {
        "gender": filters.gender,
        "age_range": filters.age_range,
        "style": filters.style,
        # A text that folds to nothing is not an ethnicity, and must not find any avatar.
        "ethnicity_folded": fold(filters.ethnicity) or filters.ethnicity,
    }
    words = [contained(word) for word in filters.query.split()]
    after, before = _place(filters, cursor)
    form = _ListForm(
        sees_all=caller.sees_all,
        in_project=bool(filters.project_id),
        source_types=len(filters.source_types),
        filtered=tuple(column for column in _FILTERED if equal[column]),
        words=len(words),
        last_used_first=filters.last_used_first,
        after=after,
    )
    return _list(form).rows(
        user_id=caller.user_id,
        project_id=filters.project_id,
        limit=limit,
        **equal,
        **before,
        **numbered("source_type", filters.source_types),
        **numbered("word", words),
    )


def cursor_of(filters: AvatarFilter, last: Avatar) -> list[str]:
    """Return the cursor of an avatar in a list."""
    if not filters.last_used_first:
        return [last.id]
    return [last.last_used_time.isoformat() if last.last_used_time else "", last.id]


def _place(filters: AvatarFilter, cursor: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """Return the kind of the avatar before the page, and its values."""
    if cursor is None:
        return "", {}
    last = {"last_id": cursor[-1]}
    if not filters.last_used_first:
        return "id", last
    if not cursor[0]:
        return "unused", last
    return "used", last | {"last_used": datetime.fromisoformat(cursor[0])}


@compiled
def _avatar(sees_all: bool) -> CompiledQuery[Avatar]:
    return _query(_avatars(sees_all).where(models.Avatar.id == parameter("avatar_id")), by_key=True)


@compiled
def _avatar_id(sees_all: bool) -> CompiledQuery[str]:
    avatar, caller = models.Avatar, caller_of_form(sees_all, parameter("user_id"))
    query = avatar.select(avatar.id).where(
        avatar.id == parameter("avatar_id"), in_no_deleted_project(avatar.project, caller)
    )
    query = caller.found(query, avatar.user_id)
    return CompiledQuery(query, by_name(lambda row: str(row.id)), by_key=True)


@compiled
def _locked(is_postgresql: bool) -> CompiledQuery[LockedAvatar]:
    avatar, caller = models.Avatar, caller_of_form(False, parameter("user_id"))
    query = avatar.select(avatar.id, avatar.usage_count).where(
        avatar.id == parameter("avatar_id"),
        avatar.user_id == caller.user_id,
        in_no_deleted_project(avatar.project, caller),
    )
    if not is_postgresql:
        read = by_name(lambda row: LockedAvatar(row.usage_count, datetime.now(UTC)))
        return CompiledQuery(query, read, by_key=True)
    # Outside the locking query, which would read the clock before it waits for the lock.
    locked = query.for_update().cte("locked", materialized=True)
    return CompiledQuery(
        locked.select_from(locked.c.usage_count, fn.clock_timestamp().alias("time")),
        by_name(lambda row: LockedAvatar(row.usage_count, row.time.astimezone(UTC))),
        by_key=True,
    )


@compiled
def _several_avatars(sees_all: bool, count: int) -> CompiledQuery[Avatar]:
    return _query(_avatars(sees_all).where(models.Avatar.id.in_(parameters("avatar_id", count))), by_key=True)


@compiled
def _list(form: _ListForm) -> CompiledQuery[Avatar]:
    avatar = models.Avatar
    query = _avatars(form.sees_all)
    if form.in_project:
        query = query.where(avatar.project == parameter("project_id"))
    if form.source_types:
        query = query.where(avatar.source_type.in_(parameters("source_type", form.source_types)))
    for column in form.filtered:
        query = query.where(getattr(avatar, column) == parameter(column))
    for word in parameters("word", form.words):
        query = query.where(Expression(avatar.search_text, OP.ILIKE, NodeList((word, SQL("ESCAPE '!'")))))
    if form.after:
        query = query.where(_is_after(form.after))
    if form.last_used_first:
        query = query.order_by(avatar.last_used_time.desc(nulls="LAST"), avatar.id.desc())
    else:
        query = query.order_by(avatar.id.desc())
    return _query(query.limit(parameter("limit")))


def _is_after(after: str) -> Any:
    avatar = models.Avatar
    older = avatar.id < parameter("last_id")
    if after == "id":
        return older
    if after == "unused":
        return avatar.last_used_time.is_null() & older
    last_used = parameter("last_used", avatar.last_used_time)
    return (
        (avatar.last_used_time < last_used)
        | ((avatar.last_used_time == last_used) & older)
        | avatar.last_used_time.is_null()
    )


_IMAGE, _THUMBNAIL = models.File.alias("image"), models.File.alias("thumbnail")


def _avatars(sees_all: bool) -> Any:
    """Return the query for all avatars that a caller may see, with their files."""
    caller = caller_of_form(sees_all, parameter("user_id"))
    avatars_of_all_users = (
        models.Avatar.select(models.Avatar, _IMAGE, _THUMBNAIL)
        .join(_IMAGE, on=(models.Avatar.image_file == _IMAGE.id))
        .switch(models.Avatar)
        .join(_THUMBNAIL, JOIN.LEFT_OUTER, on=(models.Avatar.thumbnail_file == _THUMBNAIL.id))
    )
    return caller.found(avatars_of_all_users, models.Avatar.user_id).where(
        in_no_deleted_project(models.Avatar.project, caller)
    )


def _query(query: Any, *, by_key: bool = False) -> CompiledQuery[Avatar]:
    return CompiledQuery(query, _reader, by_key=by_key)


def _reader(columns: Columns) -> Callable[[Row], Avatar]:
    def getter(name: str) -> Callable[[Row], Any]:
        return columns.getter(name, models.Avatar)

    thumbnail, thumbnail_id = columns.reader(StoredFile, _THUMBNAIL), getter("thumbnail_file_id")
    generation_id, personality = getter("generation_id"), getter("persona_personality")
    reference, further_references = getter("reference_avatar_id"), getter("further_reference_avatar_ids")
    verdict = getter("picture_moderation")
    return columns.reader(
        Avatar,
        models.Avatar,
        image=columns.reader(StoredFile, _IMAGE),
        thumbnail=lambda row: thumbnail(row) if thumbnail_id(row) else None,
        persona=columns.reader(
            Persona,
            models.Avatar,
            name=getter("persona_name"),
            age=getter("persona_age"),
            personality=lambda row: tuple(personality(row)),
            background=getter("persona_background"),
        ),
        attributes=columns.reader(Attributes, models.Avatar),
        generation_id=lambda row: generation_id(row) or "",
        reference_avatar_ids=lambda row: (reference(row), *further_references(row)) if reference(row) else (),
        picture_moderation=lambda row: from_json(PictureModeration, verdict(row)) if verdict(row) else None,
    )

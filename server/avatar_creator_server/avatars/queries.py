"""The queries that read avatars. All run in a database job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any

from peewee import JOIN, PostgresqlDatabase, Select, Tuple, fn

from avatar_creator_server.avatars.records import Avatar, AvatarFilter, Picture
from avatar_creator_server.avatars.search import Search, SearchForm, in_query, in_scope
from avatar_creator_server.database import models
from avatar_creator_server.database.compiled_queries import (
    Columns,
    CompiledQuery,
    Row,
    by_name,
    compiled,
    in_no_index,
    numbered,
    padded,
    parameter,
    parameters,
)
from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.database.models.base import database_proxy
from avatar_creator_server.database.records import field_names
from avatar_creator_server.images.records import PictureModeration, StoredFile
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.projects.service import in_no_deleted_project, require_project
from avatar_creator_server.shared.caller import Caller, caller_of_form

NEWEST_AVATARS = 4
"""Number of a project's newest avatars that a list of projects returns."""

_NEARBY = 1000
"""Number of avatars that a list compares with its filters before it asks an index which ones pass."""


class _Part(StrEnum):
    """A part of a list. Each is a range of one index, in the order of the list."""

    NEWEST_FIRST = "newest_first"
    """The whole list, newest first."""
    USED = "used"
    """The avatars with a use, last used first."""
    UNUSED = "unused"
    """The avatars without a use, newest first. They follow the used ones."""


@dataclass(frozen=True, slots=True)
class _ListForm:
    """The properties of a list that change the text of its query."""

    sees_all: bool
    search: SearchForm
    is_postgresql: bool
    part: _Part
    is_first: bool
    """True for the first page of the part."""


def read_avatar(caller: Caller, avatar_id: str) -> Avatar | None:
    """Read an avatar that the caller may see; None if there is none."""
    return _avatar(caller.sees_all).first(user_id=caller.user_id, avatar_id=avatar_id)


def read_picture(avatar_id: str, *, thumbnail: bool) -> Picture | None:
    """Read which file has a picture of an avatar, for someone who has its link; None if there is none."""
    return _picture(thumbnail).first(avatar_id=avatar_id)


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


def read_newest_avatars(caller: Caller, project_ids: Sequence[str]) -> list[Avatar]:
    """Read the `NEWEST_AVATARS` newest avatars of each of these projects, newest first.

    Args:
        caller: The caller. Avatars that they may not see are left out.
        project_ids: Ids of projects.
    """
    if not project_ids:
        return []
    ids = padded(project_ids)
    newest = _newest_avatar_ids(len(ids)).rows(**numbered("project_id", ids))
    found = read_avatars(caller, [avatar_id for row in newest for avatar_id in row if avatar_id])
    return sorted(found, key=lambda avatar: avatar.id, reverse=True)


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
    search = Search.of_filters(filters, "" if caller.sees_all else caller.user_id)
    values = {"user_id": caller.user_id, "project_id": filters.project_id, **search.values()}
    is_postgresql = isinstance(database_proxy.obj, PostgresqlDatabase)
    use_index = search.form.can_use_index(is_postgresql) and _has_many(search.scope, values)
    found: list[Avatar] = []
    for part, before in _parts(filters, cursor):
        form = _ListForm(
            sees_all=caller.sees_all,
            search=search.form,
            is_postgresql=is_postgresql,
            part=part,
            is_first=not before,
        )
        read = _read_few_of_many if use_index else _read_in_order
        found += read(form, limit=limit - len(found), **values, **before)
        if len(found) == limit:
            break
    return found


def _has_many(scope: str, values: dict[str, Any]) -> bool:
    """Return whether there are more than `_NEARBY` avatars to choose from."""
    return not scope or bool(_beyond(scope).rows(**values))


def _read_in_order(form: _ListForm, **values: Any) -> list[Avatar]:
    return _list(form).rows(**values)


def _read_few_of_many(form: _ListForm, *, limit: int, **values: Any) -> list[Avatar]:
    """Read the first of many avatars that pass the filters.

    If many pass, they are soon found in the order of the list. If few pass, an index finds them, and they can
    be sorted.
    """
    # All users' avatars have no index by last use. PostgreSQL would choose it for the list of one user too,
    # whose avatars may come late in it.
    if form.search.scope or form.part is _Part.NEWEST_FIRST:
        nearby = _nearby(form).rows(limit=limit, **values)
        if len(nearby) == limit:
            return nearby
    return _found(form).rows(limit=limit, **values)


def cursor_of(filters: AvatarFilter, last: Avatar) -> list[str]:
    """Return the cursor of an avatar in a list."""
    if not filters.last_used_first:
        return [last.id]
    return [last.last_used_time.isoformat() if last.last_used_time else "", last.id]


def _parts(filters: AvatarFilter, cursor: Sequence[str] | None) -> list[tuple[_Part, dict[str, Any]]]:
    """Return the parts of a list that follow a cursor, each with the values of the avatar before it."""
    before = {} if cursor is None else {"last_id": cursor[-1]}
    if not filters.last_used_first:
        return [(_Part.NEWEST_FIRST, before)]
    if cursor is None:
        return [(_Part.USED, {}), (_Part.UNUSED, {})]
    last_used = cursor[0]
    if not last_used:
        return [(_Part.UNUSED, before)]
    return [
        (_Part.USED, before | {"last_used": datetime.fromisoformat(last_used)}),
        (_Part.UNUSED, {}),
    ]


@compiled
def _avatar(sees_all: bool) -> CompiledQuery[Avatar]:
    return _query(_avatars(sees_all).where(models.Avatar.id == parameter("avatar_id")), by_key=True)


@compiled
def _picture(thumbnail: bool) -> CompiledQuery[Picture]:
    avatar = models.Avatar
    file = _THUMBNAIL if thumbnail else _IMAGE
    column = avatar.thumbnail_file if thumbnail else avatar.image_file
    query = (
        avatar.select(avatar.user_id, avatar.name, *(getattr(file, name) for name in field_names(StoredFile)))
        .join(file, on=(column == file.id))
        .where(avatar.id == parameter("avatar_id"), in_no_deleted_project(avatar.project))
    )

    def reader(columns: Columns) -> Callable[[Row], Picture]:
        return columns.reader(
            Picture,
            avatar,
            avatar_name=columns.getter("name", avatar),
            file=columns.reader(StoredFile, file),
        )

    return CompiledQuery(query, reader, by_key=True)


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
    owner = in_no_index(models.Avatar.user_id)
    query = _avatars(sees_all, owner).where(models.Avatar.id.in_(parameters("avatar_id", count)))
    return _query(query, by_key=True)


@compiled
def _newest_avatar_ids(count: int) -> CompiledQuery[tuple[str | None, ...]]:
    """Return the query for the ids of each project's newest avatars, None for those that it does not have."""
    project, avatar = models.AvatarProject, models.Avatar
    in_project = avatar.select(avatar.id).where(avatar.project == project.id).order_by(avatar.id.desc())
    # Each is one look into the index, which neither database does for a join with the newest few.
    names = [f"newest_{place}" for place in range(NEWEST_AVATARS)]
    newest = [in_project.limit(1).offset(place).alias(name) for place, name in enumerate(names)]
    query = project.select(*newest).where(project.id.in_(parameters("project_id", count)))
    return CompiledQuery(query, by_name(attrgetter(*names)), by_key=True)


@compiled
def _list(form: _ListForm) -> CompiledQuery[Avatar]:
    return _query(_passing(form, *in_scope(form.search.scope, models.Avatar)))


@compiled
def _beyond(scope: str) -> CompiledQuery[str]:
    """Return the query for the avatar after the newest `_NEARBY` ones of a user or a project."""
    avatar = models.Avatar
    query = avatar.select(avatar.id).where(*in_scope(scope, avatar)).order_by(avatar.id.desc())
    return CompiledQuery(query.offset(_NEARBY).limit(1), by_name(lambda row: str(row.id)))


@compiled
def _nearby(form: _ListForm) -> CompiledQuery[Avatar]:
    """Return the query for those that pass of the next avatars, without a look at any later ones."""
    avatar = models.Avatar.alias("next_avatar")
    next_avatars = avatar.select().where(*in_scope(form.search.scope, avatar), *_range(form, avatar))
    nearby = next_avatars.order_by(*_order(form.part, avatar)).limit(_NEARBY).alias("nearby")
    passing = Select([nearby], [nearby.c.id]).where(*form.search.conditions(nearby.c))
    page = passing.order_by(*_order(form.part, nearby.c)).limit(parameter("limit"))
    return _query(
        _with_files()
        .where(in_query(models.Avatar.id, page, form.is_postgresql))
        .order_by(*_order(form.part, models.Avatar))
    )


@compiled
def _found(form: _ListForm) -> CompiledQuery[Avatar]:
    """Return the query for those avatars that pass, which an index finds."""
    return _query(_passing(form, form.search.is_found(models.Avatar.id, form.is_postgresql)))


def _passing(form: _ListForm, *conditions: Any) -> Any:
    avatar = models.Avatar
    passing = _with_files().where(*conditions, *_range(form, avatar), *form.search.conditions(avatar))
    return passing.order_by(*_order(form.part, avatar)).limit(parameter("limit"))


def _range(form: _ListForm, avatar: Any) -> Iterator[Any]:
    """Yield the conditions for the avatars of a part after the cursor, without its scope and its filters."""
    caller = caller_of_form(form.sees_all, parameter("user_id"))
    yield in_no_deleted_project(avatar.project, caller)
    place: Any = parameter("last_id")
    columns: Any = avatar.id
    match form.part:
        case _Part.UNUSED:
            yield avatar.last_used_time.is_null()
        case _Part.USED if form.is_first:
            yield avatar.last_used_time.is_null(False)
        case _Part.USED:
            columns = Tuple(avatar.last_used_time, avatar.id)
            place = Tuple(parameter("last_used", models.Avatar.last_used_time), place)
    if not form.is_first:
        yield columns < place


def _order(part: _Part, avatar: Any) -> list[Any]:
    # The unused ones too: a condition that a column is null does not let PostgreSQL skip it in an order.
    columns = [avatar.id] if part is _Part.NEWEST_FIRST else [avatar.last_used_time, avatar.id]
    return [column.desc() for column in columns]


_IMAGE, _THUMBNAIL = models.File.alias("image"), models.File.alias("thumbnail")

_COLUMNS = [
    *(
        field
        for field in models.Avatar._meta.sorted_fields
        if field.name not in ("image_file", "thumbnail_file", "ethnicity_folded", "search_text")
    ),
    *(getattr(file, name) for file in (_IMAGE, _THUMBNAIL) for name in field_names(StoredFile)),
]
"""The columns of an avatar and of its files, without those that only searches and joins use: the driver takes
longer to read a column than PostgreSQL does."""


def _avatars(sees_all: bool, owner: Any = models.Avatar.user_id) -> Any:
    """Return the query for all avatars that a caller may see, with their files.

    Args:
        sees_all: See `Caller.sees_all`.
        owner: The user id of an avatar.
    """
    caller = caller_of_form(sees_all, parameter("user_id"))
    return caller.found(_with_files(), owner).where(in_no_deleted_project(models.Avatar.project, caller))


def _with_files() -> Any:
    """Return the query for the avatars of all users, with their files."""
    return (
        models.Avatar.select(*_COLUMNS)
        .join(_IMAGE, on=(models.Avatar.image_file == _IMAGE.id))
        .switch(models.Avatar)
        .join(_THUMBNAIL, JOIN.LEFT_OUTER, on=(models.Avatar.thumbnail_file == _THUMBNAIL.id))
    )


def _query(query: Any, *, by_key: bool = False) -> CompiledQuery[Avatar]:
    return CompiledQuery(query, _reader, by_key=by_key)


def _reader(columns: Columns) -> Callable[[Row], Avatar]:
    def getter(name: str) -> Callable[[Row], Any]:
        return columns.getter(name, models.Avatar)

    thumbnail, thumbnail_id = columns.reader(StoredFile, _THUMBNAIL), columns.getter("id", _THUMBNAIL)
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

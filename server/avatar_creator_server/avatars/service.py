"""Upload, reading, update, download and deletion of avatars."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

import structlog
from peewee import PeeweeException

from avatar_creator_server.avatars.queries import (
    LockedAvatar,
    cursor_of,
    has_avatar,
    list_avatars,
    lock_own_avatar,
    read_avatar,
    read_avatars,
    read_newest_avatars,
    read_picture,
)
from avatar_creator_server.avatars.records import Avatar, AvatarFilter, Picture
from avatar_creator_server.database import models
from avatar_creator_server.database.compiled_queries import CompiledInsert, compiled, run_later
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models.states import JobKind, SourceType
from avatar_creator_server.database.records import field_names
from avatar_creator_server.database.text_search import fold
from avatar_creator_server.errors import AvatarCreatorError, FailedPreconditionError, NotFoundError
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.images.records import PictureModeration, StoredFile
from avatar_creator_server.images.spool import SpooledFile
from avatar_creator_server.images.store import Files
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.projects.removal import start_removal
from avatar_creator_server.projects.service import (
    ProjectLock,
    count_avatars,
    in_no_deleted_project,
    lock_project,
    require_project,
)
from avatar_creator_server.shared.background_jobs import enqueue_jobs
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_bus import EventWaiter
from avatar_creator_server.shared.idempotency import RequestKey, get_or_reserve
from avatar_creator_server.shared.paging import Page, Pager
from avatar_creator_server.shared.revisions import require_revision
from avatar_creator_server.shared.turns import Turns
from avatar_creator_server.shared.worker_notifier import WorkerNotifier
from avatar_creator_server.statistics import counters as statistics

log = structlog.get_logger()

THUMBNAIL_WAIT_SECONDS = 2.0
"""Maximum time that an upload waits for its thumbnail."""

_UPLOADS_IN_MEMORY = 4
_IN_MEMORY_WAIT_SECONDS = 60.0
_MAX_DELETED_USES = 500
"""Maximum number of uses that are deleted together with their avatar, in one transaction."""
_THUMBNAIL_RETRY_AFTER_SECONDS = 2.0
_THUMBNAILS_AT_ONCE = 16
"""Thumbnails of a page that are read at the same time: the storage starts a thread for each local file."""

_filter_values = attrgetter(*field_names(AvatarFilter))


@dataclass(frozen=True, slots=True)
class NewAvatar:
    """The values of a new avatar."""

    id: str
    user_id: str
    project_id: str
    name: str
    image_file_id: str
    source_type: str
    persona: Persona
    attributes: Attributes
    thumbnail_file_id: str | None = None
    generation_prompt: str = ""
    seed_used: int | None = None
    generation_id: str | None = None
    reference_avatar_ids: tuple[str, ...] = ()
    picture_moderation: PictureModeration | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """The values of an upload, without the bytes of the picture."""

    project_id: str
    name: str
    persona: Persona
    attributes: Attributes
    content_type: str
    """The declared type of the picture; empty if none."""
    defer_thumbnail: bool
    """True if the caller does not wait for the thumbnail."""


@dataclass(frozen=True, slots=True)
class AvatarChanges:
    """The fields to change of an avatar. The other fields keep their values."""

    name: str | None = None
    persona: Mapping[str, Any] = field(default_factory=dict)
    """New values by field of `Persona`."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """New values by field of `Attributes`."""

    def __bool__(self) -> bool:
        return self.name is not None or bool(self.persona) or bool(self.attributes)


@dataclass(frozen=True, slots=True)
class UnfinishedImage:
    """The picture of an avatar without a thumbnail."""

    user_id: str
    file: StoredFile


def require_avatar(caller: Caller, avatar_id: str) -> None:
    """Refuse an avatar that the caller does not have.

    Raises:
        NotFoundError: The user has no such avatar.
    """
    if not has_avatar(caller, avatar_id):
        raise NotFoundError("avatar", avatar_id)


def lock_avatar(database: Database, caller: Caller, avatar_id: str) -> LockedAvatar:
    """Lock an avatar of the caller against changes and deletion until the current transaction ends.

    Raises:
        NotFoundError: The user has no such avatar.
    """
    locked = lock_own_avatar(database.is_postgresql, caller.user_id, avatar_id)
    if locked is None:
        raise NotFoundError("avatar", avatar_id)
    return locked


def insert_avatar(new: NewAvatar, now: datetime) -> None:
    """Insert an avatar and count it in its project. The current transaction must hold the project's lock."""
    run_later(
        _insert().given(
            id=new.id,
            user_id=new.user_id,
            project_id=new.project_id,
            image_file_id=new.image_file_id,
            thumbnail_file_id=new.thumbnail_file_id,
            source_type=new.source_type,
            **_columns_of_person(new.name, new.persona, new.attributes, new.generation_prompt),
            generation_prompt=new.generation_prompt,
            seed_used=new.seed_used,
            generation_id=new.generation_id,
            **models.reference_columns(new.reference_avatar_ids),
            picture_moderation=asdict(new.picture_moderation) if new.picture_moderation else None,
            create_time=now,
            update_time=now,
        )
    )
    count_avatars(new.project_id, 1)


@compiled
def _insert() -> CompiledInsert:
    return CompiledInsert(models.Avatar)


def _columns_of_person(
    name: str, persona: Persona, attributes: Attributes, generation_prompt: str
) -> dict[str, Any]:
    """Return the columns of the person, and the columns that searches use."""
    return {
        "name": name,
        "persona_name": persona.name,
        "persona_age": persona.age,
        "persona_personality": list(persona.personality),
        "persona_background": persona.background,
        **asdict(attributes),
        "search_text": fold("\n".join((name, persona.name, generation_prompt))),
        "ethnicity_folded": fold(attributes.ethnicity),
    }


class Avatars:
    """Reads and changes avatars. Each call covers the avatars of one user."""

    def __init__(
        self,
        database: Database,
        files: Files,
        notifier: WorkerNotifier,
        thumbnail_waiter: EventWaiter,
        pager: Pager,
        decoders: Decoders,
    ) -> None:
        self._database = database
        self._files = files
        self._notifier = notifier
        self._thumbnail_waiter = thumbnail_waiter
        self._pager = pager
        self._decoders = decoders
        # More than there are decoders by default, because storing a picture takes time too.
        self._in_memory = Turns("uploads", at_once=_UPLOADS_IN_MEMORY, wait_seconds=_IN_MEMORY_WAIT_SECONDS)

    async def upload(self, caller: Caller, key: RequestKey, upload: Upload, received: SpooledFile) -> Avatar:
        """Make an avatar from a picture, or return the one that an earlier call with the same key made.

        Closes the received file as soon as the picture is stored. Then waits up to `THUMBNAIL_WAIT_SECONDS`
        for a worker to make the thumbnail, unless the caller does not.

        Raises:
            InvalidArgumentError: The bytes are not an acceptable picture.
            NotFoundError: The user has no such project.
            UnavailableError: The storage does not accept the file, or the server has too much to decode.
        """
        await self._database.read(require_project, caller, upload.project_id)
        async with self._in_memory.turn(caller.user_id):
            file = await self._store_received(caller.user_id, received, upload.content_type)
        received.close()
        new_avatar_id = models.new_id()
        if upload.defer_thumbnail:
            return await self._add(caller, key, upload, file, new_avatar_id)
        # Wait for the event from before the job exists, so that it cannot be missed.
        async with self._thumbnail_waiter.expect(new_avatar_id) as arrival:
            avatar = await self._add(caller, key, upload, file, new_avatar_id)
            if avatar.id != new_avatar_id:
                return avatar
            await arrival(THUMBNAIL_WAIT_SECONDS)
        return await self._read_thumbnail(caller, avatar)

    async def _add(
        self, caller: Caller, key: RequestKey, upload: Upload, file: StoredFile, new_avatar_id: str
    ) -> Avatar:
        """Insert the avatar of a file, or discard the file and return the avatar of an earlier call."""
        try:
            avatar = await self._database.write(self._insert, caller, key, upload, file, new_avatar_id)
        except BaseException:
            await self._files.discard([file.id])
            raise
        if avatar.id == new_avatar_id:
            await self._notifier.notify_job()
        else:
            await self._files.discard([file.id])
        return avatar

    async def _read_thumbnail(self, caller: Caller, uploaded: Avatar) -> Avatar:
        """Return an uploaded avatar with its thumbnail, or as it was stored if it cannot be read now.

        It never fails, because the upload has done its work: a caller who is refused sends the picture again.
        """
        try:
            return await self.get(caller, uploaded.id)
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("uploaded_avatar_read_failed", error=repr(error))
            return uploaded

    async def _store_received(self, user_id: str, received: SpooledFile, content_type: str) -> StoredFile:
        picture = await self._decoders.accept(user_id, await received.read(), content_type)
        return await self._files.stage(user_id, picture)

    async def get(self, caller: Caller, avatar_id: str) -> Avatar:
        """Read an avatar.

        Raises:
            NotFoundError: The user has no such avatar.
        """
        return await self._database.read(self._get, caller, avatar_id)

    async def batch_get(self, caller: Caller, avatar_ids: Sequence[str]) -> list[Avatar]:
        """Return the avatars that the user has, in the order of the ids, without duplicates."""

        distinct = list(dict.fromkeys(avatar_ids))
        found = {avatar.id: avatar for avatar in await self._database.read(read_avatars, caller, distinct)}
        return [found[avatar_id] for avatar_id in distinct if avatar_id in found]

    async def newest_of(self, caller: Caller, project_ids: Sequence[str]) -> dict[str, list[Avatar]]:
        """Return the `NEWEST_AVATARS` newest avatars of each project, newest first, by project."""
        found: dict[str, list[Avatar]] = {}
        for avatar in await self._database.read(read_newest_avatars, caller, project_ids):
            found.setdefault(avatar.project_id, []).append(avatar)
        return found

    async def list_page(
        self, caller: Caller, filters: AvatarFilter, *, page_size: int, page_token: str
    ) -> Page[Avatar]:
        """Read a page of the user's avatars.

        Raises:
            NotFoundError: The user has no such project.
            InvalidArgumentError: The page token does not belong to this list.
        """
        return await self._pager.read(
            (caller.user_id, caller.sees_all, "avatars", *_filter_values(filters)),
            lambda limit, cursor: list_avatars(caller, filters, limit, cursor),
            lambda last: cursor_of(filters, last),
            page_size=page_size,
            page_token=page_token,
        )

    async def update(
        self,
        caller: Caller,
        key: RequestKey,
        avatar_id: str,
        changes: AvatarChanges,
        *,
        expected_revision: int,
    ) -> Avatar:
        """Change an avatar, unless this call did it before, and return it with the changes.

        Raises:
            NotFoundError: The user has no such avatar.
            AbortedError: The avatar has another revision than `expected_revision`, which is not 0.
        """
        return await self._database.write(self._update, caller, key, avatar_id, changes, expected_revision)

    async def delete(self, caller: Caller, avatar_id: str) -> None:
        """Delete an avatar. A background job removes its files soon after.

        Raises:
            NotFoundError: The user has no such avatar.
        """
        await self._database.write(self._delete, caller, avatar_id)
        await self._notifier.notify_job()

    async def image_without_thumbnail(self, avatar_id: str) -> UnfinishedImage | None:
        """Return the picture of an avatar without a thumbnail; None if it has one or the avatar is gone."""

        def query() -> UnfinishedImage | None:
            avatar = models.Avatar
            row = (
                avatar.select(avatar, models.File)
                .join(models.File, on=(avatar.image_file == models.File.id))
                .where(
                    avatar.id == avatar_id,
                    avatar.thumbnail_file.is_null(),
                    in_no_deleted_project(avatar.project),
                )
                .first()
            )
            return UnfinishedImage(row.user_id, StoredFile.from_row(row.image_file)) if row else None

        return await self._database.read(query)

    async def set_thumbnail(self, avatar_id: str, thumbnail: StoredFile) -> bool:
        """Set the thumbnail of an avatar.

        Returns:
            False if the avatar already has a thumbnail or is gone. The file is then still staged.
        """

        def transition() -> bool:
            avatar = models.Avatar
            updated = (
                avatar.update(thumbnail_file=thumbnail.id)
                .where(avatar.id == avatar_id, avatar.thumbnail_file.is_null())
                .execute()
            )
            if updated:
                self._files.attach(thumbnail.id)
            return bool(updated)

        return await self._database.write(transition)

    async def thumbnails(self, avatars: Sequence[Avatar]) -> list[bytes]:
        """Return the bytes of the thumbnails; empty for an avatar without a thumbnail."""

        turns = asyncio.Semaphore(_THUMBNAILS_AT_ONCE)

        async def read(avatar: Avatar) -> bytes:
            if avatar.thumbnail is None:
                return b""
            try:
                async with turns:
                    return await self._files.read_whole(avatar.thumbnail)
            except NotFoundError:
                # The avatar has just been deleted. One missing file must not fail the whole page.
                return b""

        return await asyncio.gather(*map(read, avatars))

    async def open_image(
        self, caller: Caller, avatar_id: str, *, thumbnail: bool
    ) -> tuple[StoredFile, AsyncGenerator[bytes, None]]:
        """Return the record of a picture file, and its bytes in chunks.

        Raises:
            NotFoundError: The user has no such avatar.
            FailedPreconditionError: No worker has made the thumbnail yet.
        """
        avatar = await self.get(caller, avatar_id)
        file = avatar.thumbnail if thumbnail else avatar.image
        if file is None:
            raise FailedPreconditionError(
                "THUMBNAIL_PENDING",
                "the thumbnail is not ready yet; try again soon",
                retry_after=_THUMBNAIL_RETRY_AFTER_SECONDS,
            )
        return file, self._files.read(file)

    async def find_picture(self, avatar_id: str, *, thumbnail: bool) -> Picture | None:
        """Return which file has a picture of an avatar of any user, for someone who has its link.

        None if the avatar is gone, or has no thumbnail yet.
        """
        return await self._database.read(read_picture, avatar_id, thumbnail=thumbnail)

    def read_file(
        self, file: StoredFile, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Read a file of a picture; see `Files.read`."""
        return self._files.read(file, start, end)

    def _insert(
        self, caller: Caller, key: RequestKey, upload: Upload, file: StoredFile, avatar_id: str
    ) -> Avatar:
        """Insert the avatar and return it, or return the one that an earlier call made."""
        now = self._database.now()
        earlier_id = get_or_reserve(self._database, key, avatar_id)
        if earlier_id is not None:
            return self._get(caller, earlier_id)
        lock_project(self._database, caller.user_id, upload.project_id, ProjectLock.CHANGE)
        insert_avatar(
            NewAvatar(
                id=avatar_id,
                user_id=caller.user_id,
                project_id=upload.project_id,
                name=upload.name,
                image_file_id=file.id,
                source_type=SourceType.UPLOADED,
                persona=upload.persona,
                attributes=upload.attributes,
            ),
            now,
        )
        self._files.attach(file.id)
        enqueue_jobs(JobKind.THUMBNAIL, caller.user_id, [avatar_id], now)
        statistics.count_upload(caller.user_id, now)
        return self._get(caller, avatar_id)

    @staticmethod
    def _get(caller: Caller, avatar_id: str) -> Avatar:
        avatar = read_avatar(caller, avatar_id)
        if avatar is None:
            raise NotFoundError("avatar", avatar_id)
        return avatar

    def _update(
        self, caller: Caller, key: RequestKey, avatar_id: str, changes: AvatarChanges, expected_revision: int
    ) -> Avatar:
        if get_or_reserve(self._database, key, avatar_id) is not None:
            return self._get(caller, avatar_id)
        lock_avatar(self._database, caller, avatar_id)
        avatar = self._get(caller, avatar_id)
        require_revision("avatar", avatar.revision, expected_revision)
        if not changes:
            return avatar
        models.Avatar.update(
            **_columns_of_person(
                avatar.name if changes.name is None else changes.name,
                replace(avatar.persona, **changes.persona),
                replace(avatar.attributes, **changes.attributes),
                avatar.generation_prompt,
            ),
            update_time=self._database.now(),
            revision=models.Avatar.revision + 1,
        ).where(models.Avatar.id == avatar_id).execute()
        return self._get(caller, avatar_id)

    def _delete(self, caller: Caller, avatar_id: str) -> None:
        avatar = self._get(caller, avatar_id)
        lock_project(self._database, caller.user_id, avatar.project_id, ProjectLock.CHANGE)
        lock_avatar(self._database, caller, avatar_id)
        row = models.Avatar.get_by_id(avatar_id)
        count_avatars(avatar.project_id, -1)
        if row.usage_count > _MAX_DELETED_USES:
            # Too many rows for one transaction: move the avatar to a deleted project. Its job removes them.
            removal_id = start_removal(caller.user_id, row.usage_count, self._database.now())
            models.Avatar.update(project=removal_id, generation=None).where(
                models.Avatar.id == avatar_id
            ).execute()
        else:
            models.Avatar.delete().where(models.Avatar.id == avatar_id).execute()
            self._files.release_files_of(caller.user_id, [row])
        statistics.count_gone(caller.user_id, row)

"""Files: every byte in the storage is accounted for by a row, before it is there and until it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, File, new_id
from avatar_creator_server.database.models.states import FileState, JobKind
from avatar_creator_server.errors import NotFoundError, UnavailableError
from avatar_creator_server.images.processing import Picture
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.settings import SettingsError
from avatar_creator_server.shared.background_jobs import enqueue_job

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

log = structlog.get_logger()

DOWNLOAD_CHUNK_BYTES = 256 * 1024
"""Most bytes in one message of a download."""

ORPHAN_AGE = timedelta(hours=1)
"""A file that is still `staged` after this long was abandoned by whoever staged it."""

_S3_RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
"""Few, because somebody waits: the default is ten over three minutes, and a call is refused before that."""

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
_RETRY_AFTER_SECONDS = 5.0


def open_store(upload_path: Path, storage_url: str) -> ObjectStore:
    """The storage: a bucket when `storage_url` (`s3://bucket/prefix`) is given, else a folder.

    Raises:
        SettingsError: the folder cannot be made, or the URL names no bucket.
    """
    if storage_url:
        try:
            return S3Store.from_url(storage_url, retry_config=_S3_RETRIES)
        except BaseError as error:
            raise SettingsError(f"STORAGE_URL {storage_url} names no bucket that can be used") from error
    try:
        upload_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"UPLOAD_PATH must be a folder that can be written to: {error}") from error
    return LocalStore(upload_path.absolute())


class Files:
    """Puts, reads and removes pictures."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def stage(self, user_id: str, picture: Picture) -> StoredFile:
        """Store a picture that nothing uses yet. Who gets it owns or discards it; cancelled, it discards it.

        Raises:
            UnavailableError: the storage does not take it.
        """
        staging = asyncio.create_task(self._stage(user_id, picture))
        try:
            return await asyncio.shield(staging)
        except asyncio.CancelledError:
            # What is being written cannot be stopped, and must have an end before it can be given up.
            try:
                await self.discard([(await staging).id])
            except Exception as error:  # whatever it is: it is cancelled, and as an orphan the file goes too
                log.warning("file_not_discarded", error=repr(error))
            raise

    async def _stage(self, user_id: str, picture: Picture) -> StoredFile:
        file_id = new_id()
        key = f"avatar-creator/{user_id}/{file_id}.{_EXTENSIONS[picture.content_type]}"
        row = await self._database.write(self._insert_staged, file_id, user_id, key, picture)
        try:
            await self._store.put_async(key, picture.data, mode="create")
        except (BaseError, OSError) as error:
            await self.discard([row.id])
            raise _storage_unavailable("the storage does not take files at present", error) from error
        return row

    async def discard(self, file_ids: Iterable[str]) -> None:
        """Give up staged files; they are removed soon, or as orphans if the database is away now."""
        try:
            await self._database.write(self._release_staged, list(file_ids))
        except UnavailableError as error:
            log.warning("files_not_discarded", error=error.message)

    async def read(self, file: StoredFile) -> AsyncIterator[bytes]:
        """The bytes of a file in chunks of at most `DOWNLOAD_CHUNK_BYTES`.

        Raises:
            NotFoundError: it is gone, for example because its avatar was deleted meanwhile.
            UnavailableError: the storage does not give it.
        """
        try:
            answer = await self._store.get_async(file.key)
            async for chunk in answer.stream(min_chunk_size=DOWNLOAD_CHUNK_BYTES):
                whole = memoryview(chunk)
                for start in range(0, len(whole), DOWNLOAD_CHUNK_BYTES):
                    yield bytes(whole[start : start + DOWNLOAD_CHUNK_BYTES])
        except FileNotFoundError as error:
            raise NotFoundError("image", file.id) from error
        except (BaseError, OSError) as error:
            raise _storage_unavailable("the storage does not give this file at present", error) from error

    async def read_whole(self, file: StoredFile) -> bytes:
        """All bytes of a file.

        Raises:
            NotFoundError: it is gone.
            UnavailableError: the storage does not give it.
        """
        return b"".join([chunk async for chunk in self.read(file)])

    async def remove(self, file_id: str) -> None:
        """Remove the bytes of a file that was let go, then its row. Doing it again does no harm.

        Raises:
            UnavailableError: the storage does not remove it.
        """
        row = await self._database.read(self._find_released, file_id)
        if row is None:
            return
        try:
            await self._store.delete_async(row.key)
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as error:
            raise _storage_unavailable("the storage does not remove this file at present", error) from error
        await self._database.write(lambda: File.delete().where(File.id == file_id).execute())

    async def check(self) -> None:
        """Write, read and remove a small file.

        Raises:
            UnavailableError: the storage does not work.
        """
        key = f"avatar-creator/.check-{new_id()}"
        try:
            await self._store.put_async(key, b"check", mode="create")
            try:
                await self._store.get_async(key)
            finally:
                await self._store.delete_async(key)
        except (BaseError, OSError) as error:
            raise _storage_unavailable(str(error).splitlines()[0]) from error

    def own(self, *file_ids: str) -> None:
        """In the current transaction: staged files become part of what is written with them.

        Raises:
            UnavailableError: a file was given up meanwhile; nothing of the transaction may stay.
        """
        owned = (
            File.update(state=FileState.OWNED)
            .where(File.id.in_(file_ids), File.state == FileState.STAGED)
            .execute()
        )
        if owned != len(file_ids):
            raise _storage_unavailable("the upload took so long that its file was given up")

    def release_files_of(self, avatars: Iterable[Avatar]) -> None:
        """In the current transaction: these avatars are gone, and quick work removes their files."""
        file_ids = [
            file_id
            for avatar in avatars
            for file_id in (avatar.image_file_id, avatar.thumbnail_file_id)
            if file_id is not None
        ]
        self._release_files(File.id.in_(file_ids))

    def release_orphans(self) -> None:
        """In the current transaction: give up files that were staged and then forgotten."""
        self._release_files(
            File.state == FileState.STAGED, File.create_time < self._database.now() - ORPHAN_AGE
        )

    def _release_staged(self, file_ids: list[str]) -> None:
        # Only what is still staged: a write whose outcome its caller never learned may have owned it.
        self._release_files(File.state == FileState.STAGED, File.id.in_(file_ids))

    def _release_files(self, *which: Any) -> None:
        """Nothing uses these files any more; quick work removes them."""
        now = self._database.now()
        deleting = File.update(state=FileState.DELETING).where(*which).returning(File.id).execute()
        for row in list(deleting):
            enqueue_job(JobKind.REMOVE_FILE, row.id, now)

    def _insert_staged(self, file_id: str, user_id: str, key: str, picture: Picture) -> StoredFile:
        now = self._database.now()
        return StoredFile.from_row(
            File.create(
                id=file_id,
                user_id=user_id,
                key=key,
                state=FileState.STAGED,
                content_type=picture.content_type,
                size_bytes=len(picture.data),
                sha256=picture.sha256,
                width=picture.width,
                height=picture.height,
                create_time=now,
            )
        )

    @staticmethod
    def _find_released(file_id: str) -> File | None:
        row: File | None = File.get_or_none(File.id == file_id, File.state == FileState.DELETING)
        return row


def _storage_unavailable(message: str, cause: Exception | None = None) -> UnavailableError:
    """What callers are told; the cause, with its addresses and paths, is for the log alone."""
    if cause is not None:
        log.warning("storage_failed", message=message, error=repr(cause))
    return UnavailableError("STORAGE_UNAVAILABLE", message, retry_after=_RETRY_AFTER_SECONDS)

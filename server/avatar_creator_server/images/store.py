"""Stored files. A row records each file from before its bytes are stored until after they are removed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog
from obstore import sign_async
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from avatar_creator_server.database.call_limits import as_background
from avatar_creator_server.database.compiled_queries import CompiledInsert, compiled
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, File, new_id
from avatar_creator_server.database.models.states import FileState, JobKind
from avatar_creator_server.errors import NotFoundError, UnavailableError
from avatar_creator_server.images.file_names import EXTENSIONS
from avatar_creator_server.images.local_files import FOLDER, remove_temporary
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.images.records import StoredFile
from avatar_creator_server.settings import SettingsError, system_reason
from avatar_creator_server.settings.folders import create_folder, require_writable_folder
from avatar_creator_server.shared.background_jobs import delete_jobs, enqueue_jobs

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions
    from obstore.store import ObjectStore, RetryConfig

log = structlog.get_logger()

DOWNLOAD_CHUNK_BYTES = 256 * 1024
"""Maximum number of bytes in one message of a download."""

FILES_PER_JOB = 500
"""Maximum number of files that one background job removes, so that other users' jobs get their turn."""

ORPHAN_AGE = timedelta(hours=1)
"""Age after which a `staged` file counts as abandoned by the call that staged it."""

_S3_RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
"""Few retries, because a caller waits. The default is ten over three minutes, longer than a call may take."""

_REFUSALS = {
    "NoSuchBucket": "the storage has no such bucket: create it, or check the name and AWS_ENDPOINT_URL",
    "InvalidAccessKeyId": "the storage does not know the key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the storage refuses the key: check AWS_SECRET_ACCESS_KEY",
}
"""Codes of answers that stay the same until someone changes the settings, and our words for them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
_REFUSAL = re.compile("|".join(_REFUSALS))
_CACHED = "private, immutable, max-age=7200"
"""Rule for browsers that read a file by a signed address: its bytes never change."""
_REMOVED_AT_ONCE = 16
"""Files that one job removes at the same time."""
_RETRY_AFTER_SECONDS = 5.0


def opener_of_store(upload_path: Path, storage_url: str) -> Callable[[], ObjectStore]:
    """Return a function that opens the storage: the bucket in `storage_url`, or else the folder.

    Only the function creates the folder.

    Args:
        upload_path: The folder.
        storage_url: `s3://bucket/prefix`; empty for the folder.

    Raises:
        SettingsError: The folder is not writable, or the URL does not name a bucket.
    """
    if storage_url:
        try:
            store = S3Store.from_url(storage_url, retry_config=_S3_RETRIES)
        except BaseError as error:
            raise SettingsError(
                "STORAGE_URL is not a usable bucket: set it to s3://bucket/prefix, and check the AWS_… "
                "variables"
            ) from error
        return lambda: store
    try:
        require_writable_folder(upload_path / FOLDER)
    except OSError as error:
        raise _not_writable(upload_path, error) from error

    def open_folder() -> ObjectStore:
        try:
            create_folder(upload_path)
        except OSError as error:
            raise _not_writable(upload_path, error) from error
        return LocalStore(upload_path.absolute())

    return open_folder


def _not_writable(upload_path: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"UPLOAD_PATH must be a folder that the service can write to: {upload_path}: {system_reason(error)}"
    )


class Files:
    """Stores, reads and removes the files of pictures."""

    def __init__(self, database: Database, open_store: Callable[[], ObjectStore]) -> None:
        """Create the store without a folder.

        Args:
            database: The database with the rows of the files.
            open_store: Opens the storage, at its first use.
        """
        self._database = database
        self._open_store = open_store

    async def stage(self, user_id: str, picture: Picture) -> StoredFile:
        """Store a picture that no row uses yet. The caller must attach or discard the file.

        A cancelled call discards the file itself.

        Raises:
            UnavailableError: The storage does not accept the file.
        """
        staging = asyncio.create_task(self._stage(user_id, picture))
        try:
            return await asyncio.shield(staging)
        except asyncio.CancelledError:
            # A write in progress cannot be cancelled: wait for it, then discard the file.
            try:
                await self.discard([(await staging).id])
            except Exception as error:  # of any type: the call is cancelled, and the sweeper finds the orphan
                log.warning("file_discard_failed", error=repr(error))
            raise

    async def _stage(self, user_id: str, picture: Picture) -> StoredFile:
        file_id = new_id()
        key = f"{FOLDER}/{user_id}/{file_id}{EXTENSIONS[picture.content_type]}"
        row = await self._database.write(self._insert_staged, file_id, user_id, key, picture)
        try:
            # Never in parts, or a killed process would leave an unfinished upload in a bucket.
            await self.store.put_async(
                key,
                picture.data,
                attributes=self._attributes(picture),
                mode="create",
                use_multipart=False,
            )
        except (BaseError, OSError) as error:
            await self.discard([row.id])
            raise _storage_unavailable("the storage does not accept files right now", error) from error
        return row

    async def discard(self, file_ids: Iterable[str]) -> None:
        """Release staged files. The sweeper releases them later if the database is unavailable now."""
        try:
            with as_background():  # The call may be over.
                await self._database.write(self._release_staged, list(file_ids))
        except UnavailableError as error:
            log.warning("file_discard_failed", error=error.message)

    async def read(
        self, file: StoredFile, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file, or some of them, in chunks of at most `DOWNLOAD_CHUNK_BYTES`.

        Args:
            file: The file, which has at least one byte.
            start: Place of the first byte.
            end: Place after the last byte; None for the end of the file.

        Raises:
            NotFoundError: The file is gone, for example because its avatar has just been deleted.
            UnavailableError: The storage does not return the file.
        """
        try:
            options: GetOptions = {}
            if start or end is not None:
                options["range"] = (start, file.size_bytes if end is None else end)
            result = await self.store.get_async(file.key, options=options)
            async for chunk in result.stream(min_chunk_size=DOWNLOAD_CHUNK_BYTES):
                whole = memoryview(chunk)
                for place in range(0, len(whole), DOWNLOAD_CHUNK_BYTES):
                    yield bytes(whole[place : place + DOWNLOAD_CHUNK_BYTES])
        except FileNotFoundError as error:
            raise NotFoundError("image", file.id) from error
        except (BaseError, OSError) as error:
            raise _storage_unavailable("the storage does not return this file right now", error) from error

    async def signed_url(self, file: StoredFile, method: Literal["GET", "HEAD"], *, seconds: int) -> str:
        """Return an address of the storage itself at which everyone can read a file; empty for a folder.

        Args:
            file: The file.
            method: The only method that the address accepts.
            seconds: Time for which the address works.

        Raises:
            UnavailableError: The storage's credentials cannot be read right now.
        """
        store = self.store
        if not isinstance(store, S3Store):
            return ""
        try:
            return await sign_async(store, method, file.key, timedelta(seconds=seconds))
        except (BaseError, OSError) as error:
            raise _storage_unavailable("the storage does not sign addresses right now", error) from error

    async def read_whole(self, file: StoredFile) -> bytes:
        """Return all bytes of a file.

        Raises:
            NotFoundError: The file is gone.
            UnavailableError: The storage does not return the file.
        """
        return b"".join([chunk async for chunk in self.read(file)])

    async def remove_released(self, user_id: str) -> bool:
        """Remove the bytes of a user's released files, and then their rows: at most `FILES_PER_JOB` of them.

        Returns:
            True if more released files may remain.

        Raises:
            UnavailableError: The storage does not remove some of the files. The others are removed.
        """
        return len(await self._remove_released(user_id)) == FILES_PER_JOB

    async def _remove_released(self, user_id: str) -> list[str]:
        """Remove released files as `remove_released`, and return their ids."""
        keys = await self._database.read(self._find_released, user_id)
        failures = await self._remove_bytes(list(keys.values()))
        removed = [file_id for file_id, key in keys.items() if key not in failures]
        await self._database.write(lambda: File.delete().where(File.id.in_(removed)).execute())
        if failures:
            raise _storage_unavailable(
                f"the storage does not remove {len(failures)} file(s) right now",
                next(iter(failures.values())),
            )
        return removed

    async def remove_released_with(self, file_id: str) -> bool:
        """Remove the released files of a file's user, as `remove_released`, and the jobs for each of them.

        The previous version wrote a job for each file, so there may be very many.
        """
        row: File | None = await self._database.read(lambda: File.get_or_none(File.id == file_id))
        if row is None:
            return False
        removed = await self._remove_released(row.user_id)
        await self._database.write(delete_jobs, JobKind.REMOVE_FILE, set(removed) - {file_id})
        return len(removed) == FILES_PER_JOB

    async def _remove_bytes(self, keys: Sequence[str]) -> dict[str, Exception]:
        """Remove files from the storage, and return an error for each file that it keeps."""
        if not keys:
            return {}
        try:
            await self.store.delete_async(keys)
        except (BaseError, OSError):
            # It stops at the first failure, also if a file has already gone: go on one by one.
            limit = asyncio.Semaphore(_REMOVED_AT_ONCE)
            results = await asyncio.gather(*(self._remove_one(key, limit) for key in keys))
            return {key: error for key, error in zip(keys, results, strict=True) if error is not None}
        return {}

    async def _remove_one(self, key: str, limit: asyncio.Semaphore) -> Exception | None:
        async with limit:
            try:
                await self.store.delete_async(key)
            except FileNotFoundError:
                pass
            except (BaseError, OSError) as error:
                return error
        return None

    def create_folder(self) -> None:
        """Create the folder of a local storage now, unless it exists.

        Raises:
            SettingsError: It cannot be created.
        """
        _ = self.store

    @cached_property
    def store(self) -> ObjectStore:
        """The storage itself; the first use creates the folder of a local one."""
        return self._open_store()

    def _attributes(self, picture: Picture) -> Attributes | None:
        """Return the headers with which a bucket itself sends a picture. A folder stores none."""
        if self.local_folder is not None:
            return None
        return {"Content-Type": picture.content_type, "Cache-Control": _CACHED}

    @property
    def local_folder(self) -> Path | None:
        """The folder of a storage on the local disk; None for a bucket."""
        return self.store.prefix if isinstance(self.store, LocalStore) else None

    async def remove_temporary(self) -> int:
        """Remove what killed processes were writing to the local disk, and return the number of files.

        A bucket needs none of this: each file is one request, which happens completely or not at all.
        """
        folder = self.local_folder
        if folder is None:
            return 0
        return await asyncio.to_thread(
            remove_temporary, folder, older_than_seconds=ORPHAN_AGE.total_seconds()
        )

    async def require_accepted(self) -> None:
        """Check that the bucket of a storage exists and accepts the keys. Nothing is written.

        A storage that does not answer, or that answers with another error, passes: it may recover.

        Raises:
            SettingsError: There is no such bucket, or the keys are wrong.
        """
        try:
            await self.store.list_with_delimiter_async(f"{FOLDER}/.none/")
        except (BaseError, OSError) as error:
            if refusal := _REFUSAL.search(str(error)):
                raise SettingsError(f"STORAGE_URL: {_REFUSALS[refusal[0]]}") from error

    async def check(self) -> None:
        """Write, read and remove a small file.

        Raises:
            UnavailableError: One of these failed.
        """
        key = f"{FOLDER}/.check-{new_id()}"
        try:
            await self.store.put_async(key, b"check", mode="create")
            try:
                await self.store.get_async(key)
            finally:
                await self.store.delete_async(key)
        except (BaseError, OSError) as error:
            raise _storage_unavailable("a file cannot be written, read and deleted", error) from error

    def attach(self, *file_ids: str) -> None:
        """Mark staged files as used by rows of the current transaction.

        Raises:
            UnavailableError: A file has been released; the transaction must be rolled back.
        """
        attached = (
            File.update(state=FileState.OWNED)
            .where(File.id.in_(file_ids), File.state == FileState.STAGED)
            .execute()
        )
        if attached != len(file_ids):
            raise _storage_unavailable("the file expired before it was used; send the same call again")

    def release_files_of(self, user_id: str, avatars: Iterable[Avatar]) -> None:
        """Release the files of a user's deleted avatars, in the current transaction."""
        file_ids = [
            file_id
            for avatar in avatars
            for file_id in (avatar.image_file_id, avatar.thumbnail_file_id)
            if file_id is not None
        ]
        File.update(state=FileState.DELETING).where(File.id.in_(file_ids)).execute()
        enqueue_jobs(JobKind.REMOVE_FILES, user_id, [user_id], self._database.now())

    def release_orphans(self, limit: int) -> int:
        """Release up to `limit` files that have been staged for too long, in the current transaction.

        Returns:
            The number of released files.
        """
        orphans = (
            File.select(File.id)
            .where(File.state == FileState.STAGED, File.create_time < self._database.now() - ORPHAN_AGE)
            .limit(limit)
        )
        return self._release_staged([row.id for row in orphans])

    def _release_staged(self, file_ids: list[str]) -> int:
        # Only files that are still staged: a write with an unknown outcome may have attached the file.
        released = (
            File.update(state=FileState.DELETING)
            .where(File.state == FileState.STAGED, File.id.in_(file_ids))
            .returning(File.user_id)
            .execute()
        )
        users = [row.user_id for row in released]
        now = self._database.now()
        for user_id in sorted(set(users)):
            enqueue_jobs(JobKind.REMOVE_FILES, user_id, [user_id], now)
        return len(users)

    def _insert_staged(self, file_id: str, user_id: str, key: str, picture: Picture) -> StoredFile:
        row = File(
            id=file_id,
            user_id=user_id,
            key=key,
            state=FileState.STAGED,
            content_type=picture.content_type,
            size_bytes=len(picture.data),
            sha256=picture.sha256,
            width=picture.width,
            height=picture.height,
            create_time=self._database.begin_time(),
        )
        _insert().run(**row.__data__)
        return StoredFile.from_row(row)

    @staticmethod
    def _find_released(user_id: str) -> dict[str, str]:
        """Return the keys of a user's released files, by id."""
        rows = (
            File.select(File.id, File.key)
            .where(File.user_id == user_id, File.state == FileState.DELETING)
            .order_by(File.id)
            .limit(FILES_PER_JOB)
        )
        return {row.id: row.key for row in rows}


@compiled
def _insert() -> CompiledInsert:
    return CompiledInsert(File)


def _storage_unavailable(message: str, cause: Exception | None = None) -> UnavailableError:
    """Make the error for the caller. Only the log has the cause, with its addresses and paths."""
    if cause is not None:
        log.warning("storage_failed", message=message, error=repr(cause))
    return UnavailableError("STORAGE_UNAVAILABLE", message, retry_after=_RETRY_AFTER_SECONDS)

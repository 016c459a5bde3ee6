"""`avatar-creator doctor --files`: compare storage and database in both directions.

It reads both in chunks, so its memory does not depend on their size. The service may run at the same time.

With the address of another database, every file looks like one without a row. So a repair first counts the
files without a row, and removes none if they are many, unless the operator has repeated their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from avatar_creator_server.core import Core
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.migrator import require_current
from avatar_creator_server.database.models import File
from avatar_creator_server.database.models.states import FileState
from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.images.local_files import FOLDER, is_temporary_name, make_private, walk
from avatar_creator_server.operations.start_up import require_existing_database
from avatar_creator_server.settings import Settings, system_reason

log = structlog.get_logger()

_CHUNK = 500
"""Files or rows that are compared at once."""
_ASKED_AT_ONCE = 16
_MAX_SHARE = 10
"""A repair removes one file in so many without the operator's confirmation."""
_MAX_EXAMPLES = 10


@dataclass(slots=True)
class Finding:
    """Differences of one kind."""

    count: int = 0
    size_bytes: int = 0
    """Bytes of the files; 0 for rows without a file."""
    repaired: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few, as keys in the storage."""

    def add(self, key: str, size_bytes: int = 0) -> None:
        """Count one."""
        self.count += 1
        self.size_bytes += size_bytes
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(key)


@dataclass(slots=True)
class FileAudit:
    """The result of a comparison."""

    files: int = 0
    """Number of files in the storage."""
    rows: int = 0
    """Number of rows whose file must be in the storage."""
    recent: int = 0
    """Number of files without a row, or temporary files, that are too young to judge."""
    refusal: str = ""
    """Why a repair has removed no file without a row; empty if it had no reason."""
    without_row: Finding = field(default_factory=Finding)
    temporary: Finding = field(default_factory=Finding)
    """Files that a killed process was writing."""
    without_file: Finding = field(default_factory=Finding)
    wrong_size: Finding = field(default_factory=Finding)
    open_to_others: Finding = field(default_factory=Finding)
    """Local files and folders that other users of the machine can read."""
    not_readable: Finding = field(default_factory=Finding)
    """Local files and folders that this process must not read, so they were not compared."""

    @property
    def findings(self) -> dict[str, Finding]:
        """All findings, by their names for a person."""
        return {
            "files without a row": self.without_row,
            "temporary files": self.temporary,
            "rows without a file": self.without_file,
            "files of a wrong size": self.wrong_size,
            "open to other users": self.open_to_others,
            "not readable": self.not_readable,
        }

    @property
    def is_clean(self) -> bool:
        """True if nothing was found, or all of it was repaired."""
        return all(finding.count == finding.repaired for finding in self.findings.values())


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file in the storage."""

    key: str
    size_bytes: int
    change_time: float

    @property
    def is_temporary(self) -> bool:
        """True if a process is writing the file, or was killed while it wrote."""
        return is_temporary_name(self.key.rpartition("/")[2])


async def audit_files(
    settings: Settings, *, repair: bool, older_than_seconds: float, confirmed: int | None = None
) -> FileAudit:
    """Compare every file with its row, and every row with its file.

    Args:
        settings: The settings of the service.
        repair: Remove files without a row and temporary files, and make local files private. Rows without a
            file stay, because only a backup can bring their files back.
        older_than_seconds: Minimum age of a file without a row and of a temporary file.
        confirmed: Number of files without a row that the operator expects to be removed.

    Raises:
        SettingsError: The settings do not form a service.
        SchemaError: The database lacks a migration.
        UnavailableError: The database or the storage does not answer.
    """
    core = Core.wire(settings)
    try:
        require_existing_database(settings)
        await core.database.ping()
        await asyncio.to_thread(require_current, core.database.peewee)
        auditor = _Auditor(core, repair, time.time() - older_than_seconds)
        try:
            await auditor.compare_files()
            await auditor.compare_permissions()
            await auditor.compare_rows()
            if repair:
                await auditor.remove_files_without_row(confirmed)
        except (BaseError, OSError) as error:
            raise UnavailableError(
                "STORAGE_UNAVAILABLE", "the storage does not answer: check it with `avatar-creator doctor`"
            ) from error
        return auditor.result
    finally:
        await core.close()


class _Auditor:
    def __init__(self, core: Core, repair: bool, changed_before: float) -> None:
        self._database: Database = core.database
        self._store: ObjectStore = core.files.store
        self._folder = core.files.local_folder
        self._repair = repair
        self._changed_before = changed_before
        self.result = FileAudit()

    async def compare_files(self) -> None:
        """Look for a row of each file."""
        async for chunk in self._stored():
            self.result.files += len(chunk)
            for stored in await self._without_row(chunk):
                await self._judge(stored)

    async def compare_permissions(self) -> None:
        """Look for local files and folders that other users of the machine can read."""
        if self._folder is not None:
            await asyncio.to_thread(self._compare_permissions, self._folder)

    async def remove_files_without_row(self, confirmed: int | None) -> None:
        """Remove the files that `compare_files` has counted, unless they may be those of another database.

        Args:
            confirmed: Number of files that the operator expects to be removed.
        """
        finding = self.result.without_row
        if not finding.count and confirmed is None:
            return
        self.result.refusal = _refusal(self.result, confirmed)
        if self.result.refusal:
            return
        async for chunk in self._stored():
            for stored in await self._without_row(chunk):
                if finding.repaired == finding.count:
                    return
                if not stored.is_temporary and stored.change_time <= self._changed_before:
                    finding.repaired += await self._remove(stored.key)

    async def compare_rows(self) -> None:
        """Look for the file of each row that has been attached to an avatar."""
        last_id = ""
        limit = asyncio.Semaphore(_ASKED_AT_ONCE)
        while rows := await self._database.read(_owned_after, last_id):
            self.result.rows += len(rows)
            await asyncio.gather(*(self._compare_row(row, limit) for row in rows))
            last_id = rows[-1].id

    async def _without_row(self, chunk: Sequence[_Stored]) -> list[_Stored]:
        known = await self._database.read(_known_keys, [stored.key for stored in chunk])
        return [stored for stored in chunk if stored.key not in known]

    async def _judge(self, stored: _Stored) -> None:
        if stored.change_time > self._changed_before:
            self.result.recent += 1
        elif not await self._exists(stored.key):
            pass  # A background job has removed the file together with its row.
        elif stored.is_temporary:
            self.result.temporary.add(stored.key, stored.size_bytes)
            if self._repair:
                self.result.temporary.repaired += await self._remove(stored.key)
        else:
            self.result.without_row.add(stored.key, stored.size_bytes)

    async def _compare_row(self, row: File, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                size: int | None = await self._size(row.key)
            except FileNotFoundError:
                size = None
            except PermissionError:
                return  # `compare_permissions` counts its folder.
            if size == row.size_bytes:
                return
            # Read again: the avatar may have been deleted since the row was read.
            if not await self._database.read(_is_owned, row.id):
                return
            if size is None:
                self.result.without_file.add(row.key)
            else:
                self.result.wrong_size.add(row.key, size)

    async def _exists(self, key: str) -> bool:
        try:
            await self._size(key)
        except FileNotFoundError:
            return False
        return True

    async def _size(self, key: str) -> int:
        if self._folder is not None:
            return (await asyncio.to_thread((self._folder / key).stat)).st_size
        return (await self._store.head_async(key))["size"]

    async def _remove(self, key: str) -> bool:
        """Remove a file, and return whether it is gone."""
        try:
            if self._folder is not None:
                (self._folder / key).unlink()
            else:
                await self._store.delete_async(key)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            log.warning("file_not_removed", key=key, reason=system_reason(error))
            return False
        return True

    async def _stored(self) -> AsyncIterator[Sequence[_Stored]]:
        if self._folder is not None:
            # Not by the storage's own listing, which leaves temporary files out.
            entries = self._local_files(self._folder)
            while chunk := await asyncio.to_thread(lambda: list(islice(entries, _CHUNK))):
                yield chunk
            return
        async for listed in self._store.list(prefix=FOLDER, chunk_size=_CHUNK):
            yield [_Stored(each["path"], each["size"], each["last_modified"].timestamp()) for each in listed]

    def _local_files(self, folder: Path) -> Iterator[_Stored]:
        for entry in walk(folder, lambda _path: None):
            if not entry.is_folder:
                yield _Stored(str(entry.path.relative_to(folder)), entry.size_bytes, entry.change_time)

    def _compare_permissions(self, folder: Path) -> None:
        finding = self.result.open_to_others

        def count_not_readable(path: Path) -> None:
            self.result.not_readable.add(str(path.relative_to(folder)))

        for entry in walk(folder, count_not_readable):
            if not entry.is_private:
                finding.add(str(entry.path.relative_to(folder)))
                if self._repair:
                    finding.repaired += make_private([entry.path])


def _refusal(audit: FileAudit, confirmed: int | None) -> str:
    """Return why a repair must remove no file without a row; empty if it may remove them."""
    count = audit.without_row.count
    if confirmed == count:
        return ""
    files = audit.files - audit.temporary.count
    found = f"{count} of {files} files have no row"
    if confirmed is not None:
        return f"no file without a row was removed: {found}, and --remove says {confirmed}"
    if not audit.rows:
        found += ", and the database has no files"
    elif count <= max(1, files // _MAX_SHARE):
        return ""
    return (
        f"no file without a row was removed: {found}, so this may not be the database of these files: check "
        f"DATABASE_URL (DATA_PATH if that is not set); if all {count} files must go, repeat the command with "
        f"--remove {count}"
    )


def _known_keys(keys: Sequence[str]) -> set[str]:
    rows: Any = File.select(File.key).where(File.key.in_(keys))
    return {row.key for row in rows}


def _owned_after(last_id: str) -> list[File]:
    return list(
        File.select(File.id, File.key, File.size_bytes)
        .where(File.state == FileState.OWNED, File.id > last_id)
        .order_by(File.id)
        .limit(_CHUNK)
    )


def _is_owned(file_id: str) -> bool:
    return bool(File.select().where(File.id == file_id, File.state == FileState.OWNED).exists())

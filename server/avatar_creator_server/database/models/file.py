"""The table of stored files: no bytes are put into the storage without a row here first."""

from __future__ import annotations

from peewee import BigIntegerField, IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField
from avatar_creator_server.database.models.states import FileState


class File(BaseModel):
    """One object in the storage.

    `staged` before the bytes are put, `owned` in the transaction that uses it, `deleting` in the
    transaction that lets it go; the row goes when the bytes are gone.
    """

    id = IdField()
    user_id = TextField()
    key = TextField()
    """Where it lies in the storage; fresh each time, never overwritten."""
    state = TextField()
    content_type = TextField()
    size_bytes = BigIntegerField()
    sha256 = TextField()
    width = IntegerField()
    height = IntegerField()
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "files"


File.add_index(File.index(File.key, unique=True, name="files_key"))
File.add_index(File.index(File.create_time, where=(File.state == FileState.STAGED), name="files_unowned"))

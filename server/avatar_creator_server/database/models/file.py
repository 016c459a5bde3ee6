"""The table of stored files. The row of a file is inserted before its bytes are stored."""

from __future__ import annotations

from peewee import BigIntegerField, IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField
from avatar_creator_server.database.models.states import FileState


class File(BaseModel):
    """One file in the storage.

    A file is `staged` before its bytes are stored, `owned` from the transaction that attaches it to another
    row, and `deleting` from the transaction that releases it. The row is deleted after the bytes.
    """

    id = IdField()
    user_id = TextField()
    key = TextField()
    """Path in the storage. Each file has a new one, so no file is overwritten."""
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
File.add_index(
    File.index(File.user_id, File.id, where=(File.state == FileState.DELETING), name="files_deleting")
)
File.add_index(File.index(File.create_time, where=(File.state == FileState.STAGED), name="files_unowned"))

"""The spool: files that are being received end with their turn, also when the process ends."""

from __future__ import annotations

from pathlib import Path

from avatar_creator_server.images.spool import MEMORY_BYTES, Spool


async def test_a_file_gives_back_its_turn_after_the_spool_was_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    ended: list[str] = []
    small = spool.create(lambda: ended.append("small"))
    large = spool.create(lambda: ended.append("large"))
    await small.append(b"1")
    await large.append(bytes(MEMORY_BYTES + 1))

    spool.close()
    for file in (small, large, large):
        file.close()

    assert ended == ["small", "large"]

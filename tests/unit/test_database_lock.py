"""The lock of an embedded service: those who only look do not take each other for a service."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from avatar_creator_server.operations.database_lock import is_locked, locked
from avatar_creator_server.settings import SettingsError


def test_many_who_look_see_no_service_and_keep_none_from_starting(tmp_path: Path) -> None:
    database, ended, looks = tmp_path / "avatar-creator.db", threading.Event(), 0
    assert not is_locked(database)
    with locked(database):
        assert is_locked(database)
        with pytest.raises(SettingsError, match="another service runs on"), locked(database):
            pass

    def keep_looking() -> None:
        while not ended.is_set():
            is_locked(database)

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(is_locked, [database] * 2_000))
        looking = [pool.submit(keep_looking) for _ in range(2)]
        try:
            for _ in range(500):
                with locked(database):
                    looks += is_locked(database)
        finally:
            ended.set()
    assert looks == 500
    assert [each.result() for each in looking] == [None, None]

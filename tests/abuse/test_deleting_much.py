"""One user deletes very much: the call is short, and other users hardly notice the removal."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from avatar_creator import AvatarCreator
from tests import pictures
from tests.support.large_project import fill_project
from tests.support.service import Deployment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

AVATARS = 20_000
CALL_SECONDS = 2.0
THUMBNAIL_SECONDS = 5.0
"""Longest wait for a thumbnail: some batches on a busy machine, where it was minutes before."""
SLOWER = 10.0
"""Maximum ratio of another user's median read to a quiet time."""


class _OtherUser:
    """Reads an avatar and uploads pictures, again and again, on threads of its own."""

    def __init__(self, client: AvatarCreator) -> None:
        self._client = client
        self._project = client.projects.create("Other").id
        self._avatar = client.avatars.upload(self._project, pictures.png(), name="Face").id
        self.reads: list[float] = []
        self.thumbnails: list[float] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Use the service while the context is open."""
        stop = threading.Event()
        self.reads, self.thumbnails = [], []
        threads = [
            threading.Thread(target=self._repeat, args=(stop, work)) for work in (self._read, self._upload)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
            wait_until(lambda: len(self.reads) >= 20 and len(self.thumbnails) >= 5, 60.0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _read(self) -> None:
        started_at = time.monotonic()
        self._client.avatars.get(self._avatar)
        self.reads.append(time.monotonic() - started_at)

    def _upload(self) -> None:
        started_at = time.monotonic()
        avatar = self._client.avatars.upload(self._project, pictures.png(), name="Face")
        wait_until(lambda: not self._client.avatars.get(avatar.id).thumbnail_pending, 60.0)
        self.thumbnails.append(time.monotonic() - started_at)

    @staticmethod
    def _repeat(stop: threading.Event, work: Callable[[], None]) -> None:
        while not stop.is_set():
            work()


def test_another_user_hardly_notices_the_deletion_of_a_large_project(
    deployment: Deployment, user: str
) -> None:
    with deployment.client(user) as client, deployment.client("other") as other:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, AVATARS)
        other_user = _OtherUser(other)
        with other_user.busy():
            pass
        quiet = statistics.median(other_user.reads)

        with other_user.busy():
            started_at = time.monotonic()
            client.projects.delete(project.id)
            assert time.monotonic() - started_at < CALL_SECONDS
            assert client.usage.stats().avatar_count == 0
            wait_until(
                lambda: not deployment.execute("SELECT 1 FROM files WHERE user_id = %s LIMIT 1", user), 120.0
            )

        assert statistics.median(other_user.reads) < SLOWER * max(quiet, 0.005)
        assert max(other_user.thumbnails) < THUMBNAIL_SECONDS

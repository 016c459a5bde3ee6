"""One user deletes very much: the call is short, and other users hardly notice the removal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import pictures
from tests.abuse.witness import LEAST_QUIET_SECONDS, Witness
from tests.support.large_project import fill_project
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

AVATARS = 20_000
CALL_SECONDS = 2.0
THUMBNAIL_SECONDS = 5.0
"""Longest wait for a thumbnail: some batches on a busy machine, where it was minutes before."""


@contextmanager
def uploading(witness: Witness) -> Iterator[list[float]]:
    """Upload pictures while the context is open, at least five; yield the times until their thumbnails."""
    stop = threading.Event()
    seconds: list[float] = []

    def upload() -> None:
        while not stop.is_set():
            started = time.monotonic()
            witness.upload_with_thumbnail(pictures.png())
            seconds.append(time.monotonic() - started)

    with Threads(1) as threads:
        uploads = threads.submit(upload)
        try:
            yield seconds
            wait_until(lambda: len(seconds) >= 5 or uploads.done(), 60.0)
        finally:
            stop.set()
        uploads.result()


def test_another_user_hardly_notices_the_deletion_of_a_large_project(
    deployment: Deployment, user: str
) -> None:
    with deployment.client(user) as client, Witness(deployment) as witness:
        project = client.projects.create("Large")
        fill_project(deployment, project.id, AVATARS)
        with uploading(witness):
            quiet = witness.quiet_median()

        with uploading(witness) as thumbnails, witness.reading() as reads:
            started_at = time.monotonic()
            client.projects.delete(project.id)
            assert time.monotonic() - started_at < CALL_SECONDS
            assert client.usage.stats().avatar_count == 0
            wait_until(
                lambda: not deployment.execute("SELECT 1 FROM files WHERE user_id = %s LIMIT 1", user), 120.0
            )

        reads.assert_hardly_slower(max(quiet, LEAST_QUIET_SECONDS))
        assert max(thumbnails) < THUMBNAIL_SECONDS

"""S3 on loopback: moto's server in its own process."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.guarded_process import GuardedProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_START_SECONDS = 30.0


class ObjectStorage:
    """An S3 server with one empty bucket. It loses its data at a `kill`."""

    bucket = "avatars"

    def __init__(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="avatar-creator-s3-"))
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        port = self.endpoint.rpartition(":")[2]
        self._server = GuardedProcess(
            [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", port],
            log=self._scratch / "log",
            directory=self._scratch,
            scratch=self._scratch,
        )
        with self._server.closed_on_error():
            wait_until(self._make_bucket, _START_SECONDS, lambda: f"no S3:\n{self._server.output()}")

    def settings(self, prefix: str) -> dict[str, str]:
        """Return the environment variables of a service that stores its files here under `prefix`."""
        return {
            "STORAGE_URL": f"s3://{self.bucket}/{prefix}",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def keys(self) -> set[str]:
        """Return the keys of all objects in the bucket."""
        with urllib.request.urlopen(f"{self.endpoint}/{self.bucket}?list-type=2", timeout=10) as answer:
            return set(re.findall(r"<Key>(.*?)</Key>", answer.read().decode()))

    def kill(self) -> None:
        """End it without notice (SIGKILL)."""
        self._server.kill()

    def close(self) -> None:
        """End it and delete its data."""
        self._server.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _make_bucket(self) -> bool:
        if (code := self._server.exit_code()) is not None:
            raise RuntimeError(f"S3 ended with {code}:\n{self._server.output()}")
        request = urllib.request.Request(f"{self.endpoint}/{self.bucket}", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

"""The modules of a server: none that only a worker or a decoding child needs, because they cost memory."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"PIL", "numpy", "torch", "avatar_creator_tasks"}
"""Packages that draw or decode pictures."""


def test_a_server_loads_nothing_that_draws_or_decodes() -> None:
    command = "import json, sys, avatar_creator_server.api.server; print(json.dumps(list(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in json.loads(finished.stdout)}
    assert "avatar_creator_server" in loaded
    assert HEAVY & loaded == set()

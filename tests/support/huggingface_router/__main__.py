"""Runs the fake by hand: `python -m tests.support.huggingface_router --port 0`."""

from __future__ import annotations

from tests.support.hosted_fake.serving import run
from tests.support.huggingface_router.server import application

run(application(), __doc__)

"""Runs the fake by hand: `python -m tests.support.replicate_api --port 0`."""

from __future__ import annotations

import argparse
import asyncio

from tests.support.huggingface_router.server import serve_application
from tests.support.replicate_api.server import application

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
asyncio.run(serve_application(application(), parser.parse_args().port))

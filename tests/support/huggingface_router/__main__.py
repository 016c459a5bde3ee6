"""Runs the fake by hand: `python -m tests.support.huggingface_router --port 0`."""

from __future__ import annotations

import argparse
import asyncio

from tests.support.huggingface_router.server import serve

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
asyncio.run(serve(parser.parse_args().port))

"""Tests of the service and of its clients."""

from __future__ import annotations

import os

# gRPC reads this once, when it is imported. By default it logs each lost connection and each fork on stderr.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Threads of NumPy's library wait in busy loops, and several test processes share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

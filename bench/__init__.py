"""Benchmarks. Each reports ratios within one run, because milliseconds differ between machines."""

from __future__ import annotations

import tests  # noqa: F401 - sets gRPC's log level before a benchmark imports gRPC

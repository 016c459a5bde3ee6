"""Benchmarks. Each reports ratios within one run, because milliseconds differ between machines."""

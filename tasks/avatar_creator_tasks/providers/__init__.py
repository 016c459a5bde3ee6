"""Providers draw portraits: one module each, all of the shape that `provider` describes."""

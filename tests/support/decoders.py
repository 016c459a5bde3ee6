"""Decoders for providers that are tested without a service."""

from __future__ import annotations

from avatar_creator_server.images.decoding.decoders import Decoders

DECODERS = Decoders(at_once=1, memory_mib=256, cpu_seconds=10)
"""One child for all tests of this process. It starts with the first picture."""

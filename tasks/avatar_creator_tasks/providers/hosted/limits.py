"""Limits on the requests to a hosted provider and on the answers that the service accepts."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.images.picture import MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts, retries and sizes of HTTP requests."""

    connect_seconds: float = 10.0
    """Timeout for opening a connection."""
    read_seconds: float = 60.0
    """Timeout for the next byte of an answer."""
    work_seconds: float = 300.0
    """Timeout for the next byte of an answer that is the picture itself, because the model works first."""
    answer_seconds: float = 120.0
    """Timeout for a complete answer. An answer that is the picture itself has until the deadline."""
    cancel_seconds: float = 15.0
    """Timeout for cancelling a request at the provider."""
    stop_seconds: float = 5.0
    """Time for which an attempt waits for the end of a running request that was asked to stop."""
    first_pause_seconds: float = 0.5
    """Pause before the first status request. Each further pause is 1.5 times as long."""
    max_pause_seconds: float = 5.0
    """Maximum pause between two status requests, and the longest Retry-After that a call waits for itself."""
    tries: int = 6
    """Consecutive failures of one request after which the call fails."""
    usual_seconds: float = 15.0
    """Assumed duration of a picture while no measurement exists; used only to estimate progress."""
    redirects: int = 3
    """Maximum redirects while downloading a picture; all other requests follow none."""
    answer_bytes: int = 1024 * 1024
    """Maximum size of an answer that is not a picture."""
    picture_bytes: int = MAX_IMAGE_BYTES
    """Maximum size of a picture's file. The largest requested picture has 6 MiB of uncompressed pixels."""
    picture_pixels: int = 16_000_000
    """Maximum number of pixels of a picture: about eight times the largest requested size."""

"""How long and how often the provider asks, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.images.processing import MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what goes over the wire."""

    connect_seconds: float = 10.0
    """Until a connection stands."""
    read_seconds: float = 60.0
    """Without a byte of an answer."""
    work_seconds: float = 300.0
    """Without a byte of an answer that is the picture itself: the model works meanwhile."""
    answer_seconds: float = 120.0
    """For a whole answer, however steadily it drips. One that is itself drawn has until the deadline."""
    cancel_seconds: float = 15.0
    """For letting the provider drop a request."""
    first_pause_seconds: float = 0.5
    """Before the first question how far a request is; each pause is half as long again."""
    longest_pause_seconds: float = 5.0
    """Between two such questions, and also the longest Retry-After that is waited for on the spot."""
    tries: int = 6
    """How often in a row one question is asked before its failing is believed."""
    usual_seconds: float = 15.0
    """How long a picture takes where nobody knows better; only estimates of progress use it."""
    redirects: int = 3
    """That are followed to a picture. No other request follows any."""
    answer_bytes: int = 1024 * 1024
    """Of an answer that is not a picture."""
    picture_bytes: int = MAX_IMAGE_BYTES
    """Of a picture's file. The largest that is asked for has 6 MiB of pixels before they are compressed."""
    picture_pixels: int = 16_000_000
    """Of a picture: about eight times what is ever asked for."""

"""What a process counts and measures for Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/: seconds, and counters end in `_total`.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("avatar_creator_requests", "Calls that have ended.", ["method", "code"])
REQUEST_SECONDS = Histogram(
    "avatar_creator_request_seconds",
    "How long calls took that are no watches.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WATCHES = Gauge("avatar_creator_watches", "Watches that are open.")
BUS_RECONNECTS = Counter("avatar_creator_bus_reconnects", "How often the event bus lost its connection.")
EVENTS_NOT_PUBLISHED = Counter(
    "avatar_creator_events_not_published", "Events that the bus did not take; watchers hear by re-reading."
)
WAKE_UPS_NOT_SENT = Counter(
    "avatar_creator_wake_ups_not_sent", "Wake-ups that the queue did not take; the sweepers find the work."
)
SWEEPS = Counter("avatar_creator_sweeps", "Passes of the sweeper.", ["outcome"])
BUSY_SLOTS = Gauge("avatar_creator_busy_slots", "Slots of this worker that work.", ["kind"])
ATTEMPTS = Counter(
    "avatar_creator_attempts",
    "Attempts that have ended; those of a lost worker are counted by the one that takes over.",
    ["outcome", "reason"],
)
ATTEMPT_SECONDS = Histogram(
    "avatar_creator_attempt_seconds",
    "How long attempts took from claim to end.",
    ["outcome"],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 300, 600),
)
QUEUE_WAIT_SECONDS = Histogram(
    "avatar_creator_queue_wait_seconds",
    "How long generations waited for their first attempt.",
    ["priority"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400),
)
JOBS = Counter("avatar_creator_quick_work", "Background jobs that are done or failed.", ["kind", "outcome"])

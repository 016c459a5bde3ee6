"""The Prometheus metrics of a process.

Names follow https://prometheus.io/docs/practices/naming/: times are in seconds, and counters end in `_total`.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "avatar_creator_requests", "Calls that have ended, by RPC and status code.", ["method", "code"]
)
WEB_REQUESTS = Counter(
    "avatar_creator_web_requests",
    "Calls over the web port that have ended, by protocol and status code. Other counters have them too.",
    ["protocol", "code"],
)
REQUEST_SECONDS = Histogram(
    "avatar_creator_request_seconds",
    "Latency of calls other than watches, in seconds.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REFUSED_CALLS = Counter(
    "avatar_creator_refused_calls",
    "Calls that were refused because the user or the server had too many, by class and reason.",
    ["class", "reason"],
)
WATCHES = Gauge("avatar_creator_watches", "Open watches.", multiprocess_mode="livesum")
BUS_RECONNECTS = Counter("avatar_creator_bus_reconnects", "Lost connections of the event bus.")
EVENTS_NOT_PUBLISHED = Counter(
    "avatar_creator_events_not_published",
    "Events that the bus did not accept. Watchers find these changes when they next read the database.",
)
EVENTS_NOT_READ = Counter(
    "avatar_creator_events_not_read",
    "Messages on the bus that are not events of this service. Something else publishes on its topics.",
    ["topic"],
)
WAKE_UPS_NOT_SENT = Counter(
    "avatar_creator_wake_ups_not_sent",
    "Wake-ups that the queue did not accept. The sweepers find the work later.",
)
SWEEPS = Counter("avatar_creator_sweeps", "Runs of the sweeper.", ["outcome"])
BUSY_SLOTS = Gauge("avatar_creator_busy_slots", "Busy slots of this worker.", ["kind"])
ATTEMPTS = Counter(
    "avatar_creator_attempts",
    "Attempts that have ended. The worker that takes over counts the attempts of a lost worker.",
    ["outcome", "reason"],
)
ATTEMPT_SECONDS = Histogram(
    "avatar_creator_attempt_seconds",
    "Duration of attempts from claim to end, in seconds.",
    ["outcome"],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 300, 600),
)
QUEUE_WAIT_SECONDS = Histogram(
    "avatar_creator_queue_wait_seconds",
    "Time that generations waited for their first attempt, in seconds.",
    ["priority"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400),
)
JOBS = Counter("avatar_creator_quick_work", "Background jobs that succeeded or failed.", ["kind", "outcome"])

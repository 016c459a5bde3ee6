"""The failures that only Replicate has, and the error that each one must cause.

`tests/conformance` has the failures that all providers share.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.hosted_fake import Behavior, Fault
from tests.unit.replicate_provider.drawing import broken, ended, status

SUBMIT_UNKNOWN = "retryable charged submit_unknown"
ALIVE = "retryable charged request_alive"
EVERY_TRY = -1


@dataclass(frozen=True)
class Case:
    """One failure and the error that it must cause."""

    name: str
    how: Fault | Behavior
    reason: str
    flags: str = ""
    """The flags of the error that are set."""
    wait_seconds: float = 0
    """The value of `retry_after`."""
    queries: int | None = None
    """Number of requests for the prediction; None accepts any number."""


AT_SUBMISSION = [
    Case("token without permission", status(403), "CREDENTIALS"),
    Case("gateway in front of the API", broken("html", status=403), "REJECTED"),
    Case(
        "monthly spend limit",
        status(403, body={"detail": "You've hit your monthly spend limit.", "status": 403}),
        "CREDIT",
    ),
    Case("version removed", status(410), "GONE"),
    Case("input refused", status(422), "REJECTED"),
    Case(
        "content refused at once",
        status(422, body={"detail": "The input or output was flagged as sensitive. (E005)", "status": 422}),
        "CONTENT_REFUSED",
    ),
    Case("throttled, with the delay in the text", status(429), "OVERLOADED", "retryable", 30),
    Case(
        "throttled, with the delay in a field",
        status(429, body={"detail": "Request was throttled.", "status": 429, "retry_after": 5}),
        "OVERLOADED",
        "retryable",
        5,
    ),
    Case(
        "throttled, with a header and a text",
        status(429, retry_after=7),
        "OVERLOADED",
        "retryable",
        7,
    ),
    Case(
        "throttled for an endless time",
        status(429, body={"detail": "throttled", "retry_after": 1e300}),
        "OVERLOADED",
        "retryable",
        3600,
    ),
    Case(
        "throttled for an invalid time",
        status(429, body={"detail": "throttled", "retry_after": "soon"}),
        "OVERLOADED",
        "retryable",
    ),
    Case("502 of a gateway", broken("html", status=502), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("malformed receipt", broken("truncated", accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN),
    Case(
        "receipt without an id",
        status(201, body={"status": "starting"}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
    Case(
        "receipt with a bad id",
        status(201, body={"id": "../../account"}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
    Case(
        "error instead of a receipt",
        status(200, body={"detail": "Oh no"}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
]
WHILE_POLLING = [
    Case("token refused", status(401, "status"), "CREDENTIALS", ALIVE, queries=1),
    Case("no credit", status(402, "status"), "CREDIT", ALIVE, queries=1),
    Case("410 of the API", status(410, "status"), "GONE", "charged", queries=1),
    *(
        Case(
            f"{code} of a proxy",
            status(code, "status", body={"error": "No"}),
            "BAD_ANSWER",
            ALIVE,
            queries=EVERY_TRY,
        )
        for code in (400, 404, 410, 422)
    ),
    Case("no longer known", status(404, "status"), "UNAVAILABLE", "retryable charged", queries=EVERY_TRY),
    Case(
        "404 of a proxy",
        status(404, "status", body="<html>not found"),
        "BAD_ANSWER",
        ALIVE,
        queries=EVERY_TRY,
    ),
    Case("throttled, for 30 s", status(429, "status"), "OVERLOADED", ALIVE, 30, queries=1),
    Case(
        "throttled, for longer than a picture is kept",
        status(429, "status", body={"detail": "throttled", "status": 429, "retry_after": 3600}),
        "OVERLOADED",
        ALIVE,
        900,
        queries=1,
    ),
    Case("502 of a gateway", broken("html", "status"), "UNAVAILABLE", ALIVE, queries=EVERY_TRY),
    Case("connection dropped", broken("drop", "status"), "UNAVAILABLE", ALIVE, queries=EVERY_TRY),
    Case("malformed prediction", broken("truncated", "status"), "BAD_ANSWER", ALIVE, queries=EVERY_TRY),
    Case("endless prediction", broken("endless", "status"), "BAD_ANSWER", ALIVE, queries=EVERY_TRY),
    Case(
        "unknown status",
        status(200, "status", body={"status": "dreaming"}),
        "BAD_ANSWER",
        ALIVE,
        queries=EVERY_TRY,
    ),
]
AT_THE_END = [
    Case("NSFW content", ended("nsfw"), "NSFW", "charged", queries=1),
    Case("all pictures with NSFW content", ended("all_nsfw"), "NSFW", "charged", queries=1),
    Case("flagged as sensitive", ended("sensitive"), "CONTENT_REFUSED", "charged", queries=1),
    Case("out of memory", ended("out_of_memory"), "UNAVAILABLE", "retryable charged", queries=1),
    Case("interrupted", ended("interrupted"), "UNAVAILABLE", "retryable charged", queries=1),
    Case(
        "failed before it started",
        ended(status="failed", output=None, error="no capacity", started_at=None),
        "UNAVAILABLE",
        "retryable",
        queries=1,
    ),
    Case(
        "failed without a text",
        ended(status="failed", output=None, error=None),
        "UNAVAILABLE",
        "retryable charged",
        queries=1,
    ),
    Case("cancelled by another", ended(status="canceled", output=None), "UNAVAILABLE", "retryable charged"),
    Case("aborted", ended(status="aborted", output=None, started_at=None), "UNAVAILABLE", "retryable"),
    Case("picture removed after an hour", ended("removed"), "UNAVAILABLE", "retryable charged", queries=1),
    Case("no output", ended(output=None), "BAD_ANSWER", "retryable charged", queries=1),
    Case("empty output", ended(output=[]), "BAD_ANSWER", "retryable charged", queries=1),
    Case("output of another form", ended(output={"url": "x"}), "BAD_ANSWER", "retryable charged", queries=1),
    Case(
        "picture as a data URI", ended(output="data:image/png;base64,AAAA"), "BAD_ANSWER", "retryable charged"
    ),
    Case("picture in a local file", ended(output=["file:///etc/passwd"]), "BAD_ANSWER", "retryable charged"),
    Case("link refused", Behavior(run_seconds=0, faults=(status(403, "image"),)), "BAD_ANSWER", ALIVE),
]

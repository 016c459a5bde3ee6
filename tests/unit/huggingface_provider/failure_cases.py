"""The failures of the provider, and the error that each one must cause."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_tasks.providers.huggingface import Limits
from tests.support.huggingface_router import Behavior, Fault
from tests.support.provider_recorder import HURRIED, LIMITS, PATIENT
from tests.unit.huggingface_provider.drawing import broken, status

HANGING = ("hang", "stall", "trickle")


@dataclass(frozen=True)
class Case:
    """One failure and the error that it must cause."""

    name: str
    fault: Fault | Behavior
    reason: str
    flags: str = ""
    """The flags of the error that are set: `retryable`, `charged`, `submit_unknown` and `request_alive`."""
    wait: tuple[float, float] = (0, 0)
    """Minimum and maximum of `retry_after`, in seconds."""
    tries: int | None = None
    """Number of requests at the stage of the fault; None accepts any number."""

    @property
    def limits(self) -> Limits:
        """Limits that make the test fast."""
        if not isinstance(self.fault, Fault) or self.fault.how not in HANGING:
            return LIMITS
        return HURRIED if self.fault.stage in ("submit", "cancel") else PATIENT


CONTENT_REFUSALS = {
    text: body
    for text in (
        "The content could not be processed because it contained material flagged by a content checker.",
        "Potential NSFW content was detected in one or more images.",
        "Request was blocked by the safety system",
        "The prompt violates our content policy",
    )
    for body in ({"detail": text}, {"error": text})
}
"""Refusals without a type: fal's text of `content_policy_violation`, diffusers' text of its safety checker,
and others with such words."""
RATE_LIMITS = {
    '"api";r=0;t=55': 55,
    ' "api" ; r=0 ; t=7 ': 7,
    '"resolvers";r=12;t=300, "api";r=0;t=55': 55,
    '"a,b;r=0;t=1";r=0;t=40;q="x;t=2"': 40,
    '"api";t=12;r=0': 12,
    '"api";r=0;t=999999': 3600,
    '"api";r=3;t=55': 30,
    '"api";r=0': 30,
    "0;t=soon;r=0": 30,
    '"api";r=0;t=' + "9" * 5000: 30,
    '"' * 500: 30,
    '"' * 60_000: 30,
    '"api";r=0;t=55;q=' + "x" * 500: 30,
}
"""Values of the header RateLimit next to `Retry-After: 30`, and the delay that the provider asks for."""
SUBMIT_UNKNOWN = "retryable charged submit_unknown"
ALIVE = "retryable charged request_alive"
EVERY_TRY = -1
FORMS_OF_PROXIES: dict[str, dict[str, str] | str] = {
    "JSON": {"error": "Not Found"},
    "another JSON": {"detail": "Not Found"},
    "text": "404 page not found",
    "nothing": "",
}
AT_SUBMISSION = [
    Case("key refused", status(401), "CREDENTIALS"),
    Case("key without permission", status(403), "CREDENTIALS"),
    Case("gateway in front of the provider", broken("html", status=403), "REJECTED"),
    Case("no credit", status(402), "CREDIT"),
    Case(
        "no credit, as text", status(402, body="Pay-as-you go is not enabled for provider fal-ai"), "CREDIT"
    ),
    Case(
        "account locked",
        status(403, body={"detail": "User is locked. Reason: Exhausted balance. Top up your balance"}),
        "CREDIT",
    ),
    Case("no such app", status(404), "GONE"),
    Case("host removed", status(410), "GONE"),
    Case("refused with 400", status(400), "REJECTED"),
    Case("refused with 413", status(413), "REJECTED"),
    Case("refused with 418", status(418), "REJECTED"),
    Case(
        "refused with 422", status(422, body={"detail": [{"loc": ["body", "seed"], "msg": "x"}]}), "REJECTED"
    ),
    Case("content refused with 422", status(422, error_type="content_policy_violation"), "CONTENT_REFUSED"),
    Case("content refused with 400", status(400, error_type="content_policy_violation"), "CONTENT_REFUSED"),
    Case(
        "400 whose retry may succeed",
        status(400, headers={"X-Fal-Retryable": "true"}),
        "UNAVAILABLE",
        "retryable",
    ),
    Case(
        "400 that needs a retry", status(400, headers={"X-Fal-Needs-Retry": "1"}), "UNAVAILABLE", "retryable"
    ),
    Case("request timeout", status(408), "UNAVAILABLE", "retryable"),
    Case("conflict", status(409), "UNAVAILABLE", "retryable"),
    *(
        Case(f"content refused without a type: {text[:40]}", status(422, body=body), "CONTENT_REFUSED")
        for text, body in CONTENT_REFUSALS.items()
    ),
    Case(
        "refused with 422 and a type",
        status(422, body={"detail": [{"loc": ["body"], "msg": "unsafe content type", "type": "one_of"}]}),
        "REJECTED",
    ),
    Case("refused with 422 as text", status(422, body={"detail": "Invalid Content-Type"}), "REJECTED"),
    Case("too many requests", status(429), "OVERLOADED", "retryable"),
    Case("too many requests, for 30 s", status(429, retry_after=30), "OVERLOADED", "retryable", (30, 30)),
    *(
        Case(
            f"too many requests, {limit}",
            status(429, retry_after=30, headers={"RateLimit": limit}),
            "OVERLOADED",
            "retryable",
            (seconds, seconds),
        )
        for limit, seconds in RATE_LIMITS.items()
    ),
    Case(
        "no runner, with a rate limit of another kind",
        status(503, error_type="runner_scheduling_failure", headers={"RateLimit": '"api";r=0;t=55'}),
        "UNAVAILABLE",
        "retryable",
    ),
    Case(
        "too many requests, until a date",
        status(429, retry_after=30, retry_after_as_date=True),
        "OVERLOADED",
        "retryable",
        (25, 31),
    ),
    Case(
        "too many requests, for an endless time",
        status(429, headers={"Retry-After": "9" * 400}),
        "OVERLOADED",
        "retryable",
        (3600, 3600),
    ),
    Case(
        "too many requests, until a date in the past",
        status(429, retry_after=-900, retry_after_as_date=True),
        "OVERLOADED",
        "retryable",
    ),
    Case(
        "too many requests, for an invalid time",
        status(429, headers={"Retry-After": "soon"}),
        "OVERLOADED",
        "retryable",
    ),
    Case("no runner", status(503, error_type="runner_scheduling_failure"), "UNAVAILABLE", "retryable"),
    Case("500", status(500), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("502 of a gateway", broken("html", status=502), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case(
        "503 of a gateway",
        status(503, body="<html>", headers={"X-Fal-Error-Type": ""}),
        "UNAVAILABLE",
        SUBMIT_UNKNOWN,
    ),
    Case("504", status(504), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("599", status(599), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("redirected", status(307, headers={"Location": "https://127.0.0.1/"}), "BAD_ANSWER", "retryable"),
    Case("hang at the first byte", broken("hang"), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("hang after acceptance", broken("hang", accepted=True), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("hang in the middle of the receipt", broken("stall", accepted=True), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("slow receipt", broken("trickle", accepted=True), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("connection dropped before acceptance", broken("drop"), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("connection dropped after acceptance", broken("drop", accepted=True), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("connection reset after acceptance", broken("reset", accepted=True), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case(
        "connection cut in the middle of the receipt",
        broken("cut", accepted=True),
        "UNAVAILABLE",
        SUBMIT_UNKNOWN,
    ),
    Case("malformed receipt", broken("truncated", accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN),
    Case("empty receipt", broken("empty", status=200, accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN),
    Case(
        "HTML instead of a receipt", broken("html", status=200, accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN
    ),
    Case("endless receipt", broken("endless", accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN),
    Case("receipt that is a list", status(200, body=[1], accepted=True), "BAD_ANSWER", SUBMIT_UNKNOWN),
    Case(
        "receipt without an id",
        status(200, body={"status": "IN_QUEUE"}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
    Case(
        "receipt with a bad id",
        status(200, body={"request_id": "../.."}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
    Case(
        "error instead of a receipt",
        status(200, body={"error": "Oh no"}, accepted=True),
        "BAD_ANSWER",
        SUBMIT_UNKNOWN,
    ),
]


def refusals_of_the_router(stage: str) -> list[Case]:
    """Return the refusals of a running request that say nothing about the request itself."""
    unsupported = {"error": "Model not supported by provider fal-ai"}
    foreign = (
        (400, "Bad Request"),
        (405, "Method Not Allowed"),
        (410, {"error": "Gone"}),
        (422, {"detail": "x"}),
    )
    return [
        Case("key refused", status(401, stage), "CREDENTIALS", ALIVE, tries=1),
        Case("key without permission", status(403, stage), "CREDENTIALS", ALIVE, tries=1),
        Case("no credit", status(402, stage), "CREDIT", ALIVE, tries=1),
        Case(
            "account locked",
            status(403, stage, body={"detail": "User is locked. Reason: Exhausted balance."}),
            "CREDIT",
            ALIVE,
            tries=1,
        ),
        Case(
            "model not supported any longer",
            status(400, stage, made_by="proxy", body=unsupported),
            "GONE",
            ALIVE,
            tries=1,
        ),
        *(
            Case(
                f"{code} of a proxy",
                status(code, stage, made_by="proxy", body=body),
                "BAD_ANSWER",
                ALIVE,
                tries=EVERY_TRY,
            )
            for code, body in foreign
        ),
    ]


WHILE_POLLING = [
    *refusals_of_the_router("status"),
    Case(
        "request no longer known", status(404, "status"), "UNAVAILABLE", "retryable charged", tries=EVERY_TRY
    ),
    Case("host removed", status(410, "status"), "GONE", "charged", tries=1),
    Case(
        "gateway's page with 404", broken("html", "status", status=404), "BAD_ANSWER", ALIVE, tries=EVERY_TRY
    ),
    *(
        Case(
            f"404 of a proxy as {form}",
            status(404, "status", made_by="proxy", body=body),
            "BAD_ANSWER",
            ALIVE,
            tries=EVERY_TRY,
        )
        for form, body in FORMS_OF_PROXIES.items()
    ),
    Case("status refused", status(405, "status"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case("500 at every try", status(500, "status"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case(
        "gateway answers every try with 502", broken("html", "status"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY
    ),
    Case("too many requests at every try", status(429, "status"), "OVERLOADED", ALIVE, tries=EVERY_TRY),
    Case(
        "too many requests, for 30 s",
        status(429, "status", retry_after=30),
        "OVERLOADED",
        ALIVE,
        (30, 30),
        tries=1,
    ),
    Case(
        "too many requests, for longer than a result is kept",
        status(429, "status", retry_after=3600),
        "OVERLOADED",
        ALIVE,
        (900, 900),
        tries=1,
    ),
    Case("connection dropped at every try", broken("drop", "status"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case("hang at every try", broken("hang", "status"), "TIMEOUT", ALIVE, tries=EVERY_TRY),
    Case("malformed status", broken("truncated", "status"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case("endless status", broken("endless", "status"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case(
        "unknown status",
        status(200, "status", body={"status": ["?"]}),
        "BAD_ANSWER",
        ALIVE,
        tries=EVERY_TRY,
    ),
]
AT_RESULT = [
    *refusals_of_the_router("result"),
    Case("content refused", status(422, "result"), "CONTENT_REFUSED", "charged", tries=1),
    Case(
        "input refused", status(422, "result", error_type="image_too_small"), "REJECTED", "charged", tries=1
    ),
    Case(
        "input refused, and not charged",
        status(422, "result", error_type="image_too_small", headers={"X-Fal-Billable-Units": "0"}),
        "REJECTED",
        tries=1,
    ),
    Case("not safe for work", Behavior(run_seconds=0, nsfw=True), "NSFW", "charged"),
    Case("failed with 500", status(500, "result"), "UNAVAILABLE", "retryable", tries=EVERY_TRY),
    Case("failed with 503", status(503, "result"), "UNAVAILABLE", "retryable", tries=EVERY_TRY),
    *(
        Case(
            f"failed with {code} without a type",
            status(code, "result", error_type=""),
            "UNAVAILABLE",
            "retryable",
            tries=EVERY_TRY,
        )
        for code in (500, 502, 503, 504)
    ),
    Case(
        "failed without a type, and a retry is useless",
        status(500, "result", error_type="", headers={"X-Fal-Needs-Retry": "0"}),
        "REJECTED",
    ),
    *(
        Case(
            f"proxy answers every try with {code}",
            status(code, "result", made_by="proxy"),
            "UNAVAILABLE",
            ALIVE,
            tries=EVERY_TRY,
        )
        for code in (500, 502, 503, 504)
    ),
    Case("no longer known", status(404, "result"), "UNAVAILABLE", "retryable charged", tries=EVERY_TRY),
    Case("conflict at every try", status(409, "result"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case(
        "content refused without a type",
        status(422, "result", body={"detail": "Potential NSFW content was detected"}),
        "CONTENT_REFUSED",
        "charged",
        tries=1,
    ),
    Case(
        "input refused without a type",
        status(422, "result", body={"detail": "The picture is too small"}),
        "REJECTED",
        "charged",
        tries=1,
    ),
    Case(
        "generation timed out",
        status(504, "result", error_type="generation_timeout"),
        "UNAVAILABLE",
        "retryable",
    ),
    Case(
        "failed, and a retry is useless",
        status(500, "result", error_type="internal_server_error", headers={"X-Fal-Retryable": "false"}),
        "REJECTED",
    ),
    Case(
        "400 whose retry may succeed",
        status(400, "result", error_type="downstream_service_error"),
        "UNAVAILABLE",
        "retryable charged",
    ),
    Case("cancelled at the provider", status(499, "result"), "UNAVAILABLE", "retryable charged", tries=1),
    Case(
        "gateway answers every try with 502", broken("html", "result"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY
    ),
    Case(
        "not finished yet",
        status(400, "result", body={"detail": "Request is still in progress"}),
        "UNAVAILABLE",
        ALIVE,
        tries=EVERY_TRY,
    ),
    Case(
        "gateway's page with 404", broken("html", "result", status=404), "BAD_ANSWER", ALIVE, tries=EVERY_TRY
    ),
    *(
        Case(
            f"404 of a proxy as {form}",
            status(404, "result", made_by="proxy", body=body),
            "BAD_ANSWER",
            ALIVE,
            tries=EVERY_TRY,
        )
        for form, body in FORMS_OF_PROXIES.items()
    ),
    Case("malformed result", broken("truncated", "result"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case("connection dropped at every try", broken("drop", "result"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case(
        "error instead of a result",
        status(200, "result", body={"detail": "Oh no"}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "result without pictures",
        status(200, "result", body={"images": []}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture as a data URI",
        Behavior(run_seconds=0, image_url="data:image/png;base64,AAAA"),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture in a local file",
        Behavior(run_seconds=0, image_url="file:///etc/passwd"),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture behind a login",
        Behavior(run_seconds=0, image_url="http://a:b@127.0.0.1/"),
        "BAD_ANSWER",
        "retryable charged",
    ),
]
AT_PICTURE = [
    Case("link refused", status(403, "image"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case("link needs a key", status(401, "image"), "BAD_ANSWER", ALIVE, tries=EVERY_TRY),
    Case("expired", status(404, "image"), "UNAVAILABLE", "retryable charged", tries=EVERY_TRY),
    Case("500 at every try", status(500, "image"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case("too many requests", status(429, "image", retry_after=7), "OVERLOADED", ALIVE, (7, 7), tries=1),
    Case(
        "too many requests, with a RateLimit of the host",
        status(429, "image", retry_after=7, headers={"RateLimit": '"api";r=0;t=55'}),
        "OVERLOADED",
        ALIVE,
        (7, 7),
        tries=1,
    ),
    Case("connection dropped at every try", broken("drop", "image"), "UNAVAILABLE", ALIVE, tries=EVERY_TRY),
    Case(
        "connection cut in the middle of the picture",
        broken("cut", "image"),
        "UNAVAILABLE",
        ALIVE,
        tries=EVERY_TRY,
    ),
    Case("hang in the middle of the picture", broken("stall", "image"), "TIMEOUT", ALIVE, tries=EVERY_TRY),
    Case(
        "HTML instead of a picture", broken("html", "image", status=200), "BAD_ANSWER", ALIVE, tries=EVERY_TRY
    ),
    Case(
        "truncated picture", broken("truncated", "image"), "BAD_ANSWER", "retryable charged", tries=EVERY_TRY
    ),
    Case(
        "text with a picture's content type",
        status(200, "image", body="hello", headers={"Content-Type": "image/png"}),
        "BAD_ANSWER",
        ALIVE,
        tries=EVERY_TRY,
    ),
    Case("endless picture", broken("endless", "image"), "BAD_ANSWER", "retryable charged", tries=1),
    Case(
        "too many pixels",
        Behavior(run_seconds=0, picture_width=9000, picture_height=8000),
        "BAD_ANSWER",
        "retryable charged",
        tries=1,
    ),
    Case(
        "another size",
        Behavior(run_seconds=0, picture_width=160, picture_height=128),
        "BAD_ANSWER",
        "retryable charged",
        tries=1,
    ),
    Case("redirect loop", status(302, "image", headers={"Location": "0.png"}), "BAD_ANSWER", ALIVE),
    Case(
        "redirect to a local file",
        status(302, "image", headers={"Location": "file:///etc"}),
        "BAD_ANSWER",
        ALIVE,
    ),
]
SINGLE_REQUEST = [
    Case("key refused", status(401), "CREDENTIALS"),
    Case("no credit", status(402), "CREDIT"),
    Case("key without permission", status(403), "CREDENTIALS"),
    Case("no such model", status(404), "GONE"),
    Case("model removed", status(410), "GONE"),
    Case(
        "model not supported",
        status(400, body={"error": "Model not supported by provider hf-inference"}),
        "GONE",
    ),
    Case("refused with 400", status(400, body={"error": ["Error in `inputs`: too long"]}), "REJECTED"),
    Case("too many requests, for 9 s", status(429, retry_after=9), "OVERLOADED", "retryable", (9, 9)),
    Case(
        "too many requests, RateLimit for 55 s",
        status(429, headers={"RateLimit": '"api";r=0;t=55'}),
        "OVERLOADED",
        "retryable",
        (55, 55),
    ),
    Case("content refused", status(422, body={"error": "NSFW content detected"}), "CONTENT_REFUSED"),
    Case("refused with 422", status(422, body={"error": "`width` must be a multiple of 8"}), "REJECTED"),
    Case("model loading", status(503), "OVERLOADED", "retryable", (35, 36)),
    Case(
        "model loading for days",
        status(503, body={"error": "is currently loading", "estimated_time": 1e300}),
        "OVERLOADED",
        "retryable",
        (3600, 3600),
    ),
    Case("endpoint starting", status(503, body="Service Unavailable"), "UNAVAILABLE", "retryable"),
    Case("500", status(500), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("model too busy", status(504), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case("hang at the first byte", broken("hang"), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("hang in the middle of the picture", broken("stall", "result"), "TIMEOUT", SUBMIT_UNKNOWN),
    Case("connection dropped after drawing", broken("drop", "result"), "UNAVAILABLE", SUBMIT_UNKNOWN),
    Case(
        "connection cut in the middle of the picture", broken("cut", "result"), "UNAVAILABLE", SUBMIT_UNKNOWN
    ),
    Case("truncated picture", broken("truncated", "result"), "BAD_ANSWER", "retryable charged"),
    Case(
        "HTML instead of a picture", broken("html", "result", status=200), "BAD_ANSWER", "retryable charged"
    ),
    Case("empty picture", broken("empty", "result"), "BAD_ANSWER", "retryable charged"),
    Case(
        "error instead of a picture",
        status(200, "result", body={"error": "Oh no"}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case("endless picture", broken("endless", "result"), "BAD_ANSWER", "retryable charged"),
    Case("another size", Behavior(run_seconds=0, picture_width=144), "BAD_ANSWER", "retryable charged"),
]

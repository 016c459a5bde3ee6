"""The behavior of the fake: how submissions fare and which answers fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Stage = Literal["submit", "status", "result", "image", "cancel"]
Maker = Literal["fal", "proxy"]
How = Literal[
    "answer", "hang", "stall", "drop", "reset", "cut", "truncated", "html", "empty", "trickle", "endless"
]

_DEFAULT_RUN_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure of one kind of answer."""

    stage: Stage = "submit"
    """The answer that fails: the one to the submission, to a poll of the status, to the request for the
    result or the picture, or to the cancellation. A single request has "submit" (before the model draws) and
    "result" or "image" (after it)."""
    how: How = "answer"
    """The kind of failure:

    - `answer`: an answer with `status`, `body` and `headers`
    - `hang`: no byte until the client disconnects
    - `stall`: half of the answer, then nothing until the client disconnects
    - `drop`: the connection is closed before the first byte
    - `reset`: the same with a TCP reset
    - `cut`: the connection is closed after half of the answer
    - `truncated`: a complete answer with half of the body: malformed JSON or half a picture
    - `html`: a gateway's error page
    - `empty`: no body
    - `trickle`: ten bytes per second
    - `endless`: a body without an end

    All kinds except `hang`, `drop`, `reset`, `html` and `empty` change the regular answer, or the one that
    `status` and `body` define.
    """
    status: int | None = None
    """HTTP status; None keeps the regular one."""
    error_type: str | None = None
    """fal's type of the error, for the body and X-Fal-Error-Type: for example `content_policy_violation` or
    `runner_disconnected`. It defines the status too. An empty text sends `{"detail": text}` without a type,
    as fal's framework does for an app's uncaught errors and GPU errors."""
    made_by: Maker = "fal"
    """The sender of an error after the submission. fal's answers have x-fal-request-id. Those of a router or
    a proxy in front of fal do not: they are JSON, the text in `body`, or the page of `html`."""
    body: Any = None
    """JSON, or a text that is sent unchanged; None sends the body of the real server for that status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that are added to the answer and replace those with the same name."""
    retry_after: int | None = None
    """Value of Retry-After, in seconds."""
    retry_after_as_date: bool = False
    """True sends Retry-After as an HTTP date, `retry_after` seconds after the answer."""
    times: int | None = None
    """Number of answers at this stage that fail for each submission; None means all."""
    accepted: bool = False
    """True lets the job run despite a fault of the stage "submit", so that only the answer fails."""

    def __post_init__(self) -> None:
        """Reject a fault that would have no effect.

        Raises:
            ValueError: The stage or the kind of failure is unknown.
        """
        if self.stage not in get_args(Stage):
            raise ValueError(f"unknown stage {self.stage!r}: choose one of {get_args(Stage)}")
        if self.how not in get_args(How):
            raise ValueError(f"unknown failure {self.how!r}: choose one of {get_args(How)}")
        if self.made_by not in get_args(Maker):
            raise ValueError(f"unknown sender {self.made_by!r}: choose one of {get_args(Maker)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """The course of one submission."""

    queue_seconds: float = 0.0
    """Time in the state IN_QUEUE."""
    queue_position: int = 0
    """Requests ahead when it enters the queue; the number falls to 0 while the queue time passes."""
    run_seconds: float = _DEFAULT_RUN_SECONDS
    """Time in the state IN_PROGRESS."""
    hold: bool = False
    """True keeps it IN_PROGRESS until `/_control/finish` finishes it."""
    ignores_cancel: bool = False
    """True lets the runner complete despite CANCELLATION_REQUESTED; each real app decides that itself."""
    stop_seconds: float = 0.0
    """Time from CANCELLATION_REQUESTED until the runner stops."""
    address_path: str | None = None
    """Path of the app in the addresses of the receipt, instead of its owner and its alias."""
    nsfw: bool = False
    """True makes the safety checker flag the picture. The picture is black unless the checker is off."""
    picture_width: int | None = None
    """Width of the picture in pixels, instead of the requested width. Above 64 megapixels, the picture is a
    PNG of one bit per pixel, with a small file that needs much memory."""
    picture_height: int | None = None
    """Height of the picture in pixels, instead of the requested height."""
    picture_bytes: int | None = None
    """Size of the file, filled with zeros after the end of the picture."""
    image_url: str | None = None
    """Address of the picture in the result, instead of the real address."""
    faults: tuple[Fault, ...] = ()
    """Failures of answers. If a stage has several, the first one with `times` left applies."""

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Behavior:
        """Read a behavior.

        Example: `{"run_seconds": 1, "faults": [{"stage": "status", "status": 503, "times": 2}]}`.

        A single fault may have its fields next to the others: `{"stage": "submit", "status": 429}`.

        Raises:
            ValueError, TypeError: The body has an unknown field or value.
        """
        known = {each.name for each in fields(Behavior)}
        own = {name: value for name, value in body.items() if name in known}
        single = {name: value for name, value in body.items() if name not in known}
        faults = [Fault(**each) for each in own.pop("faults", [])]
        if single:
            faults.append(Fault(**single))
        return Behavior(**own, faults=tuple(faults))

    def to_json(self) -> dict[str, Any]:
        """Return the body that `from_json` reads."""
        return asdict(self)


class Plan:
    """The behavior of future submissions."""

    settings = frozenset({"next", "always", "outage", "tokens"})
    """Names of the settings."""

    def __init__(self, token_prefix: str) -> None:
        """Create a plan without faults.

        Args:
            token_prefix: Beginning of all tokens that are valid if a test has not said which ones are.
        """
        self._token_prefix = token_prefix
        self.clear()

    def clear(self) -> None:
        """Remove all faults and other settings."""
        self._next: deque[Behavior] = deque()
        self._always = Behavior()
        self.outage: Fault | None = None
        """Failure of every request to a provider, at any stage; None means no outage."""
        self.tokens: frozenset[str] | None = None
        """Valid tokens; None means all with the prefix."""

    def change(self, body: Mapping[str, Any]) -> None:
        """Apply a body of `/_control/behave`. Settings that are not in the body stay unchanged.

        Raises:
            ValueError, TypeError: The body has an unknown field or value.
        """
        if unknown := body.keys() - self.settings:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        if "next" in body:
            self._next = deque(Behavior.from_json(each) for each in body["next"])
        if "always" in body:
            self._always = Behavior.from_json(body["always"] or {})
        if "outage" in body:
            self.outage = Fault(**body["outage"]) if body["outage"] is not None else None
        if "tokens" in body:
            self.tokens = frozenset(body["tokens"]) if body["tokens"] is not None else None

    def take(self) -> Behavior:
        """Return the behavior of the submission that has just arrived."""
        return self._next.popleft() if self._next else self._always

    def is_valid_token(self, token: str) -> bool:
        """Return whether the provider accepts this token."""
        return token.startswith(self._token_prefix) if self.tokens is None else token in self.tokens

"""What the fake is told to do instead of its best."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Stage = Literal["submit", "status", "result", "image", "cancel"]
How = Literal[
    "answer", "hang", "stall", "drop", "reset", "cut", "truncated", "html", "empty", "trickle", "endless"
]

_DEFAULT_RUN_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which one kind of answer goes wrong."""

    stage: Stage = "submit"
    """Which answer: to the submission, to a poll of its status, to the request for its result, for its
    picture, or to its cancellation. A single-request provider has "submit" (before it works) and "result"
    or "image" (after it worked)."""
    how: How = "answer"
    """`answer`: with `status`, `body` and `headers`. `hang`: not a byte, until the client goes.
    `stall`: half of the answer and then nothing, until the client goes. `drop`: the connection is closed
    before a byte. `reset`: the same with a TCP reset. `cut`: the connection is closed halfway. `truncated`: a
    complete answer of half the body, so malformed JSON or half a picture. `html`: a gateway's error page.
    `empty`: no body. `trickle`: ten bytes a second. `endless`: a body that does not end. All but `hang`,
    `drop`, `reset`, `html` and `empty` break the answer that would have been given, or the one that `status`
    and `body` say."""
    status: int | None = None
    """HTTP status; by default the one that would have been given."""
    error_type: str | None = None
    """fal's type of the error in the body and in X-Fal-Error-Type, such as `content_policy_violation`
    or `runner_disconnected`; the status follows from it."""
    body: Any = None
    """JSON, or a text that is sent as it is; by default what the real one says with that status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the answer, replacing what has the same name."""
    retry_after: int | None = None
    """Seconds in Retry-After."""
    retry_after_as_date: bool = False
    """Whether Retry-After is an HTTP date instead, `retry_after` seconds from the answer."""
    times: int | None = None
    """How many answers of this stage to this submission go wrong before it recovers; None: all of them."""
    accepted: bool = False
    """With stage "submit": the job is made and runs all the same; only the answer goes wrong."""

    def __post_init__(self) -> None:
        """Refuse what would silently do nothing.

        Raises:
            ValueError: no such stage, or no such way.
        """
        if self.stage not in get_args(Stage):
            raise ValueError(f"no stage {self.stage!r}: {get_args(Stage)}")
        if self.how not in get_args(How):
            raise ValueError(f"no way to fail {self.how!r}: {get_args(How)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """How one submission fares."""

    queue_seconds: float = 0.0
    """How long it is IN_QUEUE."""
    queue_position: int = 0
    """Requests ahead of it when it enters the queue; falls to 0 as the queue time passes."""
    run_seconds: float = _DEFAULT_RUN_SECONDS
    """How long it is IN_PROGRESS."""
    hold: bool = False
    """Whether it stays IN_PROGRESS until it is finished by `/_control/finish`."""
    ignores_cancel: bool = False
    """Whether the runner goes on after CANCELLATION_REQUESTED and completes; the real apps decide that."""
    nsfw: bool = False
    """Whether the safety checker flags the picture; unless it is switched off, the picture is black."""
    picture_width: int | None = None
    """Pixels of the picture, whatever was asked for. Above 64 megapixels it is a PNG of one bit a pixel,
    small in the file and huge in memory."""
    picture_height: int | None = None
    """As `picture_width`."""
    picture_bytes: int | None = None
    """Length of the file, reached with zeros after the picture's end."""
    image_url: str | None = None
    """Said to be where the picture is, instead of where it is."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong; of several for one stage the first that has `times` left."""

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Behavior:
        """Read one from `{"run_seconds": 1, "faults": [{"stage": "status", "status": 503, "times": 2}]}`.

        The fields of a single fault may stand beside the others: `{"stage": "submit", "status": 429}`.

        Raises:
            ValueError, TypeError: it has an unknown field or value.
        """
        known = {each.name for each in fields(Behavior)}
        own = {name: value for name, value in said.items() if name in known}
        single = {name: value for name, value in said.items() if name not in known}
        faults = [Fault(**each) for each in own.pop("faults", [])]
        if single:
            faults.append(Fault(**single))
        return Behavior(**own, faults=tuple(faults))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)


class Plan:
    """What was asked of the fake for the submissions to come."""

    def __init__(self) -> None:
        """Nothing was asked: everything goes well."""
        self.clear()

    def clear(self) -> None:
        """Forget what was asked."""
        self._next: deque[Behavior] = deque()
        self._always = Behavior()
        self.outage: Fault | None = None
        """How every request of a provider fails at present, of whatever stage."""
        self.tokens: frozenset[str] | None = None
        """The right tokens; None: all that begin with `hf_`."""

    def change(self, said: Mapping[str, Any]) -> None:
        """Take over a body of `/_control/behave`; what it does not name stays.

        Raises:
            ValueError, TypeError: it has an unknown field or value.
        """
        if unknown := said.keys() - {"next", "always", "outage", "tokens"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if "next" in said:
            self._next = deque(Behavior.from_json(each) for each in said["next"])
        if "always" in said:
            self._always = Behavior.from_json(said["always"] or {})
        if "outage" in said:
            self.outage = Fault(**said["outage"]) if said["outage"] is not None else None
        if "tokens" in said:
            self.tokens = frozenset(said["tokens"]) if said["tokens"] is not None else None

    def take(self) -> Behavior:
        """How the submission that has just come in fares."""
        return self._next.popleft() if self._next else self._always

    def is_right_token(self, token: str) -> bool:
        """Whether Hugging Face knows this token."""
        return token.startswith("hf_") if self.tokens is None else token in self.tokens

"""Words of the contract as enums: genders, states, priorities and the like.

The value of a member is the word that people type: `Gender.FEMALE.value` is `"female"`. The member is
also equal to that word. A method that takes a member also takes its word; type checkers know the words.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import Any, Literal, Self, TypeAlias


class Word(StrEnum):
    """An enum of the contract. Each member has a word and the number of the contract.

    A number that only a newer service knows is a member too, though not one of `list(Gender)`: the word of
    number 99 is `unknown_99`.
    """

    _number: int

    def __new__(cls, word: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        # The contract numbers the values of an enum from 1, without gaps. A test compares the numbers.
        member._number = len(cls.__members__) + 1
        return member

    @property
    def number(self) -> int:
        """Number of the member in the contract."""
        return self._number

    @classmethod
    def of_number(cls, number: int) -> Self:
        """Return the member with this number of the contract."""
        member = _by_number(cls).get(number)
        return cls._unknown(number) if member is None else member  # type: ignore[return-value]

    @classmethod
    def given(cls, argument: str, value: object) -> Self:
        """Return the member that an argument names: by itself or by its word.

        Blanks and hyphens in a word count as underscores, and its case does not matter.

        Args:
            argument: Name of the argument, for the error.
            value: The member, or its word.

        Raises:
            InvalidArgumentError: It is neither.
        """
        if isinstance(value, cls):
            return value
        # Members of other enums are texts too: an eye color is no hair color.
        if isinstance(value, str) and not isinstance(value, Word):
            with suppress(ValueError):
                return cls(value)
        from difflib import get_close_matches

        from avatar_creator.errors import FieldViolation, InvalidArgumentError

        given = _shown(value) if isinstance(value, str) else type(value).__name__
        if len(cls) > _LISTED_WORDS:
            words = list(map(str, cls))
            near = get_close_matches(given.upper(), words, 3) or words[:3]
            problem = f"must be one of list({cls.__name__}), such as {', '.join(near)} (got {given})"
        else:
            problem = f"must be one of {', '.join(cls)} (got {given})"
        raise InvalidArgumentError(
            f"{argument} {problem}", field_violations=[FieldViolation(argument, problem)]
        )

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        word = value.strip().upper()
        if (member := cls.__members__.get(word.replace("-", "_").replace(" ", "_"))) is not None:
            return member
        number = word.removeprefix(_UNKNOWN)
        if number != word and number.removeprefix("-").isdecimal():
            # A program that has been upgraded since it stored the word may know the number.
            return cls.of_number(int(number))
        return None

    @classmethod
    def _unknown(cls, number: int) -> Self:
        name = f"{_UNKNOWN}{number}"
        member = str.__new__(cls, cls._word(name))
        member._name_ = name
        member._value_ = cls._word(name)
        member._number = number
        return member

    @staticmethod
    def _word(name: str) -> str:
        return name.lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"


_UNKNOWN = "UNKNOWN_"
_SHOWN_CHARACTERS = 30
_LISTED_WORDS = 30
"""Number of words up to which an error lists all words of an enum."""


def _shown(word: str) -> str:
    """Return a wrong word for an error, short and without characters that control a terminal."""
    short = word if len(word) <= _SHOWN_CHARACTERS else f"{word[:_SHOWN_CHARACTERS]}…"
    return "".join(each if each.isprintable() else "�" for each in short)


@cache
def _by_number(cls: Any) -> dict[int, Word]:
    return {member.number: member for member in cls}


class Gender(Word):
    """Gender that the picture shows."""

    FEMALE = "female"
    """Prompt: `female`."""
    MALE = "male"
    """Prompt: `male`."""
    NON_BINARY = "non_binary"
    """Prompt: `non-binary`."""


GenderWord: TypeAlias = Literal["female", "male", "non_binary"]
"""Words of `Gender`."""


class AgeRange(Word):
    """Age range that the picture shows, in years."""

    CHILD = "child"
    """Ages 1 to 12. Prompt: `child (under 13 years old)`."""
    TEENAGER = "teenager"
    """Ages 13 to 17. Prompt: `teenager (13-17 years old)`."""
    YOUNG_ADULT = "young_adult"
    """Ages 18 to 29. Prompt: `young adult (18-29 years old)`."""
    MIDDLE_AGED = "middle_aged"
    """Ages 30 to 50. Prompt: `middle-aged adult (30-50 years old)`."""
    MATURE = "mature"
    """Ages 51 to 65. Prompt: `mature adult (51-65 years old)`."""
    SENIOR = "senior"
    """Ages 66 and over. Prompt: `senior (over 65 years old)`."""


AgeRangeWord: TypeAlias = Literal["child", "teenager", "young_adult", "middle_aged", "mature", "senior"]
"""Words of `AgeRange`."""


class BodyType(Word):
    """Body type."""

    SLIM = "slim"
    """Prompt: `slim build`."""
    AVERAGE = "average"
    """Prompt: `average build`."""
    ATHLETIC = "athletic"
    """Prompt: `athletic build`."""
    MUSCULAR = "muscular"
    """Prompt: `muscular build`."""
    CURVY = "curvy"
    """Prompt: `curvy build`."""
    PLUS_SIZE = "plus_size"
    """Prompt: `plus-size build`."""


BodyTypeWord: TypeAlias = Literal["slim", "average", "athletic", "muscular", "curvy", "plus_size"]
"""Words of `BodyType`."""


class HairStyle(Word):
    """Hair style. In the quoted words, `…` stands for the hair color, so LONG with BLACK gives `long black
    hair`. Without a hair color, the words are used without `…`."""

    BALD = "bald"
    """Prompt: `bald head`; the prompt leaves the hair color out."""
    BUZZ_CUT = "buzz_cut"
    """Prompt: `buzz-cut … hair`."""
    SHORT = "short"
    """Prompt: `short … hair`."""
    SHOULDER_LENGTH = "shoulder_length"
    """Prompt: `shoulder-length … hair`."""
    LONG = "long"
    """Prompt: `long … hair`."""
    WAVY = "wavy"
    """Prompt: `wavy … hair`."""
    CURLY = "curly"
    """Prompt: `curly … hair`."""
    AFRO = "afro"
    """Prompt: `afro … hair`."""
    BRAIDED = "braided"
    """Prompt: `braided … hair`."""
    BUN = "bun"
    """Prompt: `… hair in a bun`."""
    PONYTAIL = "ponytail"
    """Prompt: `… hair in a ponytail`."""


HairStyleWord: TypeAlias = Literal[
    "bald",
    "buzz_cut",
    "short",
    "shoulder_length",
    "long",
    "wavy",
    "curly",
    "afro",
    "braided",
    "bun",
    "ponytail",
]
"""Words of `HairStyle`."""


class HairColor(Word):
    """Hair color. It completes the words of the hair style: `long black hair`. Without a hair style, the
    prompt says `black hair`."""

    BLACK = "black"
    """Prompt: `black`."""
    DARK_BROWN = "dark_brown"
    """Prompt: `dark brown`."""
    BROWN = "brown"
    """Prompt: `brown`."""
    BLONDE = "blonde"
    """Prompt: `blonde`."""
    RED = "red"
    """Prompt: `red`."""
    GRAY = "gray"
    """Prompt: `gray`."""
    WHITE = "white"
    """Prompt: `white`."""


HairColorWord: TypeAlias = Literal["black", "dark_brown", "brown", "blonde", "red", "gray", "white"]
"""Words of `HairColor`."""


class EyeColor(Word):
    """Eye color."""

    BROWN = "brown"
    """Prompt: `brown eyes`."""
    DARK_BROWN = "dark_brown"
    """Prompt: `dark brown eyes`."""
    HAZEL = "hazel"
    """Prompt: `hazel eyes`."""
    AMBER = "amber"
    """Prompt: `amber eyes`."""
    GREEN = "green"
    """Prompt: `green eyes`."""
    BLUE = "blue"
    """Prompt: `blue eyes`."""
    GRAY = "gray"
    """Prompt: `gray eyes`."""


EyeColorWord: TypeAlias = Literal["brown", "dark_brown", "hazel", "amber", "green", "blue", "gray"]
"""Words of `EyeColor`."""


class SkinTone(Word):
    """Skin tone, from light to dark."""

    VERY_LIGHT = "very_light"
    """Prompt: `very light skin`."""
    LIGHT = "light"
    """Prompt: `light skin`."""
    MEDIUM = "medium"
    """Prompt: `medium skin`."""
    OLIVE = "olive"
    """Prompt: `olive skin`."""
    TAN = "tan"
    """Prompt: `tan skin`."""
    BROWN = "brown"
    """Prompt: `brown skin`."""
    DARK = "dark"
    """Prompt: `dark skin`."""


SkinToneWord: TypeAlias = Literal["very_light", "light", "medium", "olive", "tan", "brown", "dark"]
"""Words of `SkinTone`."""


class Style(Word):
    """Clothing style."""

    PROFESSIONAL = "professional"
    """Prompt: `wearing professional attire`."""
    CASUAL = "casual"
    """Prompt: `wearing casual attire`."""
    FORMAL = "formal"
    """Prompt: `wearing formal attire`."""
    TRADITIONAL = "traditional"
    """Prompt: `wearing traditional attire`."""
    SPORTY = "sporty"
    """Prompt: `wearing sporty attire`."""
    CREATIVE = "creative"
    """Prompt: `wearing creative attire`."""
    ELEGANT = "elegant"
    """Prompt: `wearing elegant attire`."""
    STREETWEAR = "streetwear"
    """Prompt: `wearing streetwear attire`."""


StyleWord: TypeAlias = Literal[
    "professional", "casual", "formal", "traditional", "sporty", "creative", "elegant", "streetwear"
]
"""Words of `Style`."""


class Headwear(Word):
    """Head covering."""

    HIJAB = "hijab"
    """Prompt: `wearing a hijab`."""
    HEADSCARF = "headscarf"
    """Prompt: `wearing a headscarf`."""
    PECI = "peci"
    """Black felt cap worn in Indonesia and Malaysia, also called songkok. Prompt: `wearing a peci`."""
    TURBAN = "turban"
    """Prompt: `wearing a turban`."""
    KIPPAH = "kippah"
    """Prompt: `wearing a kippah`."""
    CAP = "cap"
    """Prompt: `wearing a cap`."""
    BEANIE = "beanie"
    """Prompt: `wearing a beanie`."""
    FEDORA = "fedora"
    """Prompt: `wearing a fedora`."""
    SUN_HAT = "sun_hat"
    """Prompt: `wearing a sun hat`."""


HeadwearWord: TypeAlias = Literal[
    "hijab", "headscarf", "peci", "turban", "kippah", "cap", "beanie", "fedora", "sun_hat"
]
"""Words of `Headwear`."""


class SourceType(Word):
    """Origin of an avatar."""

    UPLOADED = "uploaded"
    """Picture that the user uploaded."""
    TEXT_TO_IMAGE = "text_to_image"
    """Generated from a prompt."""
    FROM_PRESET = "from_preset"
    """Generated from a preset."""
    FROM_REFERENCE = "from_reference"
    """Generated from the pictures of other avatars (references)."""


SourceTypeWord: TypeAlias = Literal["uploaded", "text_to_image", "from_preset", "from_reference"]
"""Words of `SourceType`."""


class AvatarOrder(Word):
    """Sort order of a list of avatars."""

    NEWEST_FIRST = "newest_first"
    """Newest creation first."""
    LAST_USED_FIRST = "last_used_first"
    """Latest use first. Avatars that were never used come last, newest first."""


AvatarOrderWord: TypeAlias = Literal["newest_first", "last_used_first"]
"""Words of `AvatarOrder`."""


class ImageVariant(Word):
    """One of the two pictures of an avatar."""

    ORIGINAL = "original"
    """Full-size picture."""
    THUMBNAIL = "thumbnail"
    """Thumbnail of 300x300 pixels."""


ImageVariantWord: TypeAlias = Literal["original", "thumbnail"]
"""Words of `ImageVariant`."""


class GenerationPriority(Word):
    """Priority of a generation in the queue."""

    INTERACTIVE = "interactive"
    """A user looks at the screen and waits for the result."""
    NORMAL = "normal"
    """A user expects the result soon."""
    BULK = "bulk"
    """One of many generations that may take hours."""


GenerationPriorityWord: TypeAlias = Literal["interactive", "normal", "bulk"]
"""Words of `GenerationPriority`."""


class GenerationState(Word):
    """State of a generation."""

    PENDING = "pending"
    """Waiting for a worker, or for the time of the next attempt."""
    PROCESSING = "processing"
    """A worker runs an attempt."""
    COMPLETED = "completed"
    """Ended: the avatar exists."""
    FAILED = "failed"
    """Ended: `Generation.error` has the reason."""
    CANCELLED = "cancelled"
    """Ended: the user cancelled it."""


GenerationStateWord: TypeAlias = Literal["pending", "processing", "completed", "failed", "cancelled"]
"""Words of `GenerationState`."""


class GenerationStage(Word):
    """Current step of a generation."""

    QUEUED = "queued"
    """Waiting in the queue for a worker."""
    CLAIMED = "claimed"
    """A worker has claimed it. Progress: 10 %."""
    DRAWING = "drawing"
    """The provider draws the picture. Progress: 20 to 70 %."""
    SAVING = "saving"
    """The worker saves the picture and the thumbnail. Progress: 70 to 90 %."""
    FINISHING = "finishing"
    """The worker writes the avatar. Progress: 90 %."""
    ENDED = "ended"
    """The generation has ended."""
    WAITING_TO_RETRY = "waiting_to_retry"
    """The last attempt failed; waiting for the next one."""


GenerationStageWord: TypeAlias = Literal[
    "queued", "claimed", "drawing", "saving", "finishing", "ended", "waiting_to_retry"
]
"""Words of `GenerationStage`."""


class AttemptOutcome(Word):
    """Outcome of an attempt, or its current step."""

    RUNNING = "running"
    """Running: the worker has not called the provider yet."""
    SUBMITTING = "submitting"
    """Running: the worker is calling the provider, or the provider draws."""
    SUCCEEDED = "succeeded"
    """Ended: the worker wrote the avatar."""
    RETRYABLE = "retryable"
    """Ended: failed, and a retry may succeed."""
    FATAL = "fatal"
    """Ended: failed, and an automatic retry would not help."""
    WORKER_LOST = "worker_lost"
    """Ended: the worker was lost, and another worker took over."""
    RELEASED = "released"
    """Ended: the worker shut down and returned the generation to the queue."""
    CANCELLED = "cancelled"
    """Ended: the user cancelled the generation."""
    SUBMIT_UNKNOWN = "submit_unknown"
    """Ended: the provider's answer to the submission was lost, so the provider may have charged for it."""


AttemptOutcomeWord: TypeAlias = Literal[
    "running",
    "submitting",
    "succeeded",
    "retryable",
    "fatal",
    "worker_lost",
    "released",
    "cancelled",
    "submit_unknown",
]
"""Words of `AttemptOutcome`."""


class ErrorReason(Word):
    """Reason why a call was refused, or why a generation or an attempt failed."""

    INVALID_FIELD = "INVALID_FIELD"
    """One or more fields of the request break a limit of the contract."""
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"
    """The service did not make this page token, or made it for another user, call, sort order or set of
    filters."""
    UPLOAD_OUT_OF_ORDER = "UPLOAD_OUT_OF_ORDER"
    """The messages of an upload came in the wrong order."""
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    """The picture is larger than 10 MiB."""
    IMAGE_TOO_MANY_PIXELS = "IMAGE_TOO_MANY_PIXELS"
    """The picture has more than 50 million pixels."""
    IMAGE_UNSUPPORTED = "IMAGE_UNSUPPORTED"
    """The bytes are not a JPEG, PNG or WebP picture."""
    IMAGE_CORRUPT = "IMAGE_CORRUPT"
    """The picture is truncated or damaged: the service cannot decode it to its last pixel."""
    IMAGE_ANIMATED = "IMAGE_ANIMATED"
    """The picture is an animation: a WebP or an APNG with more than one frame."""
    IMAGE_TYPE_MISMATCH = "IMAGE_TYPE_MISMATCH"
    """The declared `content_type` is not the type of the bytes."""
    TOKEN_MISSING = "TOKEN_MISSING"
    """The call has no `authorization: Bearer <token>` metadata."""
    TOKEN_INVALID = "TOKEN_INVALID"
    """The service does not accept the token's signature, algorithm, issuer, audience or claims."""
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    """The token's expiry time (`exp`) has passed."""
    APP_MISMATCH = "APP_MISMATCH"
    """The token belongs to one app, and the request names another."""
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    """The resource does not exist, or belongs to another user."""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """A call of the same RPC with a different body used this `request_id` within the last 7 days."""
    GENERATION_FINISHED = "GENERATION_FINISHED"
    """The generation has already completed or failed, so it cannot be cancelled."""
    GENERATION_NOT_RETRYABLE = "GENERATION_NOT_RETRYABLE"
    """The generation cannot be retried, because it is not FAILED or CANCELLED."""
    THUMBNAIL_PENDING = "THUMBNAIL_PENDING"
    """No worker has made the thumbnail yet."""
    GENERATION_LIMIT = "GENERATION_LIMIT"
    """The user has too many unfinished generations, has started too many recently, or has spent too much."""
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    """The service cannot reach its database, or the database has no free connection."""
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    """The file storage cannot be reached, or does not accept a file."""
    SERVER_DRAINING = "SERVER_DRAINING"
    """This server is shutting down and ends its watches."""
    REVISION_MISMATCH = "REVISION_MISMATCH"
    """The project or avatar has another revision than the `expected_revision` of the update: someone has
    changed it since the caller read it."""
    INTERNAL = "INTERNAL"
    """The service has a bug."""
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    """The provider could not be reached, or it failed."""
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    """The provider refused the request in its present form."""
    WORKER_LOST = "WORKER_LOST"
    """A worker was lost during the attempt: killed, cut off, or out of memory."""
    ROLE_REQUIRED = "ROLE_REQUIRED"
    """The call operates the service, or its request names another user in `user_id`. Both need a token with
    `role: ops`."""
    PROMPT_REFUSED = "PROMPT_REFUSED"
    """The request has words from the operator's deny list, or the operator's moderation service flagged
    it."""
    MODERATION_UNAVAILABLE = "MODERATION_UNAVAILABLE"
    """The operator's moderation does not answer."""
    OPTION_NOT_SUPPORTED = "OPTION_NOT_SUPPORTED"
    """`options.strict` is set, and the service's route does not support some fields of the request."""
    NOT_REPRODUCIBLE = "NOT_REPRODUCIBLE"
    """The generation to reproduce has not completed, has no recipe, or was made by another route, model or
    LoRA than the service uses now."""
    PROVIDER_CREDENTIALS = "PROVIDER_CREDENTIALS"
    """The provider refused the service's API key."""
    PROVIDER_CREDIT = "PROVIDER_CREDIT"
    """The service has no credit left at the provider."""
    PROVIDER_CONTENT_REFUSED = "PROVIDER_CONTENT_REFUSED"
    """The provider's content policy refused the prompt or a reference."""
    PROVIDER_NSFW = "PROVIDER_NSFW"
    """The provider drew a picture, and the provider or the operator's picture moderation withheld it as not
    safe for work."""
    PROVIDER_OVERLOADED = "PROVIDER_OVERLOADED"
    """The provider has too many requests from this service, or its model is still loading."""
    PROVIDER_TIMEOUT = "PROVIDER_TIMEOUT"
    """The provider took too long."""
    PROVIDER_BAD_ANSWER = "PROVIDER_BAD_ANSWER"
    """The provider's answer is not what it documents: no JSON, no picture, or a picture that is damaged, far
    too small or too large."""
    PROVIDER_GONE = "PROVIDER_GONE"
    """The provider does not have the model, or no longer serves it."""
    REFERENCE_GONE = "REFERENCE_GONE"
    """A reference avatar was deleted before a request to the provider."""
    IMAGE_TOO_EXPENSIVE = "IMAGE_TOO_EXPENSIVE"
    """The picture has few bytes, but takes too much memory or time to decode."""
    TRANSFER_LIMIT = "TRANSFER_LIMIT"
    """The user has too many uploads or downloads at the same time."""
    OVERLOADED = "OVERLOADED"
    """This server has too much to do for all its users together."""
    TRANSFER_TOO_SLOW = "TRANSFER_TOO_SLOW"
    """An upload was sent, or a download was read, too slowly, or it took too long in all."""
    DATABASE_TOO_SLOW = "DATABASE_TOO_SLOW"
    """The database did not answer in time."""
    DATABASE_LIMIT = "DATABASE_LIMIT"
    """The user's other calls keep the database busy: a user has only a share of it, so that the calls of
    other users go on."""
    CALL_LIMIT = "CALL_LIMIT"
    """The user has too many calls at the same time, of the same class: reads, writes or watches; or a machine
    has too many streams without a token: health watches and reflection."""
    GENERATION_NOT_WAITING = "GENERATION_NOT_WAITING"
    """The generation does not wait for the time of its next attempt, because it has ended."""


class GenerationOrder(Word):
    """Sort order of a list of generations."""

    NEWEST_FIRST = "newest_first"
    """Newest creation first."""
    OLDEST_FIRST = "oldest_first"
    """Oldest creation first."""


GenerationOrderWord: TypeAlias = Literal["newest_first", "oldest_first"]
"""Words of `GenerationOrder`."""


class WorkerState(Word):
    """State of a worker."""

    LIVE = "live"
    """The worker takes generations."""
    DRAINING = "draining"
    """The worker finishes what it runs, and claims no further generations, until an operator resumes it."""
    LOST = "lost"
    """The worker has not renewed its entry for 30 seconds: the worker was killed, is frozen, or cannot reach
    the database."""


WorkerStateWord: TypeAlias = Literal["live", "draining", "lost"]
"""Words of `WorkerState`."""


class UserOrder(Word):
    """Order of a list of users."""

    QUEUE_DEPTH = "queue_depth"
    """Highest `UserActivity.due_count` first."""
    FAILURES = "failures"
    """Highest `UserActivity.failed_count` first."""
    SPENDING = "spending"
    """Highest `UserActivity.price_micros` first."""


UserOrderWord: TypeAlias = Literal["queue_depth", "failures", "spending"]
"""Words of `UserOrder`."""

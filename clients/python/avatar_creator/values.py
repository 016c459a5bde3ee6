"""Values that the methods of the clients return: avatars, projects, generations and the rest.

Values are immutable. They hold no connection, so an app can pickle, copy and cache them, and send them to
other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from avatar_creator.arguments import Arguments
from avatar_creator.conversion import Value, usd
from avatar_creator.enums import (
    AgeRange,
    AgeRangeWord,
    AttemptOutcome,
    BodyType,
    BodyTypeWord,
    ErrorReason,
    EyeColor,
    EyeColorWord,
    Gender,
    GenderWord,
    GenerationPriority,
    GenerationStage,
    GenerationState,
    HairColor,
    HairColorWord,
    HairStyle,
    HairStyleWord,
    Headwear,
    HeadwearWord,
    SkinTone,
    SkinToneWord,
    SourceType,
    Style,
    StyleWord,
    WorkerState,
)

if TYPE_CHECKING:
    from avatar_creator.v1 import (  # noqa: F401 (named in the bases of the values)
        attributes_pb2,
        avatar_pb2,
        avatar_project_pb2,
        avatar_project_service_pb2,
        avatar_service_pb2,
        generation_pb2,
        generation_service_pb2,
        operations_pb2,
        operations_service_pb2,
        persona_pb2,
        preset_pb2,
        usage_pb2,
        usage_service_pb2,
    )


def _set(value: object, **parts: object) -> None:
    for name, part in parts.items():
        object.__setattr__(value, name, part)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Image(Value["avatar_pb2.Image"]):
    """Facts about a stored picture."""

    _shown: ClassVar[tuple[str, ...]] = ("content_type", "width", "height", "size_bytes")

    content_type: str
    """Media type: `image/jpeg`, `image/png` or `image/webp`."""
    size_bytes: int
    """Length in bytes."""
    sha256: str
    """SHA-256 of the stored bytes, as 64 lower-case hexadecimal digits. The service removes the metadata of
    an uploaded file before it stores the file, so this can differ from the hash of the upload."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PictureModeration(Value["avatar_pb2.PictureModeration"]):
    """Verdict of the operator's picture moderation about a generated picture."""

    flagged: bool
    """True if the picture counts as not safe for work, because `score` reached the operator's threshold."""
    score: float
    """Probability that the picture is not safe for work, 0 to 1, by the classifier."""
    blurred: bool
    """True if the service has blurred the stored picture and its thumbnail. Only flagged pictures are
    blurred."""


class PersonaFields(TypedDict, total=False):
    """Fields of a persona as a mapping, for arguments: `persona={"name": "Sarah", "age": 29}`."""

    name: str | None
    age: int | None
    personality: Sequence[str] | None
    background: str | None


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Persona(Value["persona_pb2.Persona"]):
    """Character of the person in the picture: name, age, personality and background."""

    name: str | None
    """Name of the person, at most 120 characters. Example: `Sarah`."""
    age: int | None
    """Age in years, 1 to 120. None means not specified."""
    personality: tuple[str, ...]
    """At most 12 traits, 1 to 60 characters each. Example: `professional`."""
    background: str | None
    """Life story, at most 4,000 characters. The service stores it for the apps and does not put it into the
    prompt."""

    def __init__(
        self,
        *,
        name: str | None = None,
        age: int | None = None,
        personality: Iterable[str] | None = None,
        background: str | None = None,
    ) -> None:
        """Create a persona.

        Raises:
            InvalidArgumentError: A field has another type; the error names all such fields.
        """
        with Arguments() as given:
            _set(
                self,
                name=given.text("name", name) or None,
                age=given.whole("age", age) or None,
                personality=tuple(given.texts("personality", personality)),
                background=given.text("background", background) or None,
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PersonaExample(Value["persona_pb2.PersonaExample"]):
    """A ready-made persona that a generation can start from."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "name", "category")

    id: str
    """Id of the persona example, a UUIDv7 (RFC 9562)."""
    name: str
    """Name in the gallery, 1 to 120 characters."""
    description: str
    """Description of one or two sentences, at most 2,000 characters."""
    category: str
    """Gallery category. Example: `business`."""
    persona: Persona
    """The persona."""
    usage_count: int
    """Number of `CreateGeneration` calls that started from this example. Variations of one call count once.
    Retries do not count."""


class AttributesFields(TypedDict, total=False):
    """Fields of attributes as a mapping, for arguments: `attributes={"gender": "female"}`."""

    gender: Gender | GenderWord | None
    age_range: AgeRange | AgeRangeWord | None
    ethnicity: str | None
    body_type: BodyType | BodyTypeWord | None
    hair_style: HairStyle | HairStyleWord | None
    hair_color: HairColor | HairColorWord | None
    eye_color: EyeColor | EyeColorWord | None
    skin_tone: SkinTone | SkinToneWord | None
    style: Style | StyleWord | None
    headwear: Headwear | HeadwearWord | None


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Attributes(Value["attributes_pb2.Attributes"]):
    """Visible features of the person in the picture. All fields are optional: an absent field adds nothing to
    the prompt."""

    gender: Gender | None
    """Gender that the picture shows."""
    age_range: AgeRange | None
    """Age range that the picture shows. If it is None and the persona has an age, the prompt uses the range
    of that age."""
    ethnicity: str | None
    """Ethnicity in the caller's own words, at most 60 characters. Example: `Indonesian`."""
    body_type: BodyType | None
    """Body type."""
    hair_style: HairStyle | None
    """Hair style."""
    hair_color: HairColor | None
    """Hair color."""
    eye_color: EyeColor | None
    """Eye color."""
    skin_tone: SkinTone | None
    """Skin tone."""
    style: Style | None
    """Clothing style."""
    headwear: Headwear | None
    """Head covering, for example a cap or a hijab."""

    def __init__(
        self,
        *,
        gender: Gender | GenderWord | None = None,
        age_range: AgeRange | AgeRangeWord | None = None,
        ethnicity: str | None = None,
        body_type: BodyType | BodyTypeWord | None = None,
        hair_style: HairStyle | HairStyleWord | None = None,
        hair_color: HairColor | HairColorWord | None = None,
        eye_color: EyeColor | EyeColorWord | None = None,
        skin_tone: SkinTone | SkinToneWord | None = None,
        style: Style | StyleWord | None = None,
        headwear: Headwear | HeadwearWord | None = None,
    ) -> None:
        """Create attributes.

        Raises:
            InvalidArgumentError: A word is not one of its enum; the error names all such fields.
        """
        with Arguments() as given:
            _set(
                self,
                gender=given.optional_word("gender", Gender, gender),
                age_range=given.optional_word("age_range", AgeRange, age_range),
                ethnicity=given.text("ethnicity", ethnicity) or None,
                body_type=given.optional_word("body_type", BodyType, body_type),
                hair_style=given.optional_word("hair_style", HairStyle, hair_style),
                hair_color=given.optional_word("hair_color", HairColor, hair_color),
                eye_color=given.optional_word("eye_color", EyeColor, eye_color),
                skin_tone=given.optional_word("skin_tone", SkinTone, skin_tone),
                style=given.optional_word("style", Style, style),
                headwear=given.optional_word("headwear", Headwear, headwear),
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Avatar(Value["avatar_pb2.Avatar"]):
    """A person that apps can show: a picture, its thumbnail, a persona and attributes."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "name", "source_type")

    id: str
    """Id of the avatar, a UUIDv7 (RFC 9562). The service sets it."""
    user_id: str
    """Id of the owner: the user named by the token that created the avatar."""
    project_id: str
    """Id of the project that the avatar belongs to."""
    name: str
    """Name, 1 to 120 characters, not only whitespace, no control characters."""
    image: Image
    """Facts about the full-size picture. `DownloadImage` returns its bytes."""
    thumbnail: Image | None
    """Facts about the thumbnail, a WebP of 300x300 pixels. None while `thumbnail_pending`. Plain gray if the
    picture costs the worker too much memory or time to decode."""
    thumbnail_pending: bool
    """True until a worker has made the thumbnail."""
    thumbnail_data: bytes | None
    """Bytes of the thumbnail. Set only if the request had `include_thumbnails` (or `include_avatars`)."""
    source_type: SourceType
    """Origin of the avatar: uploaded, or generated in one of several ways."""
    persona: Persona
    """Character of the person: name, age, personality and background."""
    attributes: Attributes
    """Visible features of the person."""
    generation_prompt: str | None
    """Prompt of the caller who generated the avatar. None for uploads."""
    seed_used: int | None
    """Seed of the picture, 0 to 2^32-1. None for uploads."""
    generation_id: str | None
    """Id of the generation that made the avatar. None for uploads."""
    usage_count: int
    """Number of uses that apps have recorded with `RecordUsage`."""
    last_used_time: datetime | None
    """Time of the last recorded use. None if there was none."""
    create_time: datetime
    """Creation time."""
    update_time: datetime
    """Time of the last change of the name, persona or attributes. The thumbnail and recorded uses do not
    change it."""
    reference_avatar_id: str | None
    """Id of the reference: the avatar whose picture this one was made from, or the first of several. None if
    there was none. The id stays when that avatar is deleted. New readers use `reference_avatar_ids`."""
    picture_moderation: PictureModeration | None
    """Verdict about the generated picture. None for uploads, and if no classifier has checked the picture. An
    app that must not show such pictures leaves out avatars with `picture_moderation.flagged`."""
    reference_avatar_ids: tuple[str, ...]
    """Ids of all references, in the order of the request. The first one is `reference_avatar_id`."""
    revision: int
    """Version number of the name, persona and attributes, starting at 1. It rises exactly when `update_time`
    does; see `Project.revision`."""
    image_url: str | None
    """Signed address of the full-size picture, for browsers and others that have no token. Set only if the
    request had `include_links`, and if the operator serves pictures over HTTP. Everyone who has the address
    can read the picture, for one to two hours. The address stays the same for an hour, so that browsers cache
    the picture. With `&download` added, browsers save the picture instead of showing it. Read the avatar
    again for a new address."""
    thumbnail_url: str | None
    """Signed address of the thumbnail; see `image_url`. None while `thumbnail_pending`."""

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import avatar_card

        return avatar_card(self)

    def _repr_png_(self) -> bytes | None:
        from avatar_creator.notebook import png

        return png(self.thumbnail_data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AvatarBatch(Value["avatar_service_pb2.BatchGetAvatarsResponse"]):
    """Avatars that were found by their ids, and the ids that were not."""

    _shown: ClassVar[tuple[str, ...]] = ("avatars", "missing_avatar_ids")

    avatars: tuple[Avatar, ...]
    """Avatars that were found, in the order of the request."""
    missing_avatar_ids: tuple[str, ...]
    """Ids for which the caller has no avatar."""

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import grid

        return grid(self.avatars)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Project(Value["avatar_project_pb2.AvatarProject"]):
    """A folder of avatars. It belongs to one user."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "name", "avatar_count")

    id: str
    """Id of the project, a UUIDv7 (RFC 9562). The service sets it."""
    user_id: str
    """Id of the owner: the user named by the token that created the project."""
    name: str
    """Name, 1 to 120 characters, not only whitespace, no control characters."""
    description: str
    """Description, at most 2,000 characters."""
    avatar_count: int
    """Number of avatars in the project now."""
    cover_avatar_id: str | None
    """Id of the newest avatar in the project, to show as its cover. None while the project has no avatar."""
    create_time: datetime
    """Creation time."""
    update_time: datetime
    """Time of the last change of the name or description."""
    revision: int
    """Version number of the name and description, starting at 1. It rises exactly when `update_time` does. An
    update with it as `expected_revision` cannot overwrite a change that the caller has not seen (AIP-154)."""
    newest_avatars: tuple[Avatar, ...]
    """Newest avatars in the project, at most four, newest first, to show as its cover. Set only if the
    request had `include_newest_avatars`. They have no `thumbnail_data`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OpenedProject(Value["avatar_project_service_pb2.GetProjectResponse"]):
    """A project with its newest avatars."""

    _shown: ClassVar[tuple[str, ...]] = ("project", "avatars")

    project: Project
    """The project as stored."""
    avatars: tuple[Avatar, ...]
    """First page of avatars, newest first. Empty unless the request had `include_avatars`."""
    next_page_token: str | None
    """Page token for the page after `avatars`; see `ListProjectsRequest.page_token`. None if none follow. Use
    it with `ListAvatars`, this `project_id`, no filter and the default order. `page_size` and
    `include_thumbnails` can have any value."""

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import grid

        return grid(self.avatars, title=self.project.name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Preset(Value["preset_pb2.AvatarPreset"]):
    """A ready-made prompt, persona and attributes that a generation can start from."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "name", "category")

    id: str
    """Id of the preset, a UUIDv7 (RFC 9562)."""
    name: str
    """Name in the gallery, 1 to 120 characters."""
    description: str
    """Description of one or two sentences, at most 2,000 characters."""
    category: str
    """Gallery category. Example: `business`."""
    prompt: str
    """Prompt of the preset."""
    persona: Persona
    """Persona of the preset."""
    attributes: Attributes
    """Attributes of the preset."""
    usage_count: int
    """Number of `CreateGeneration` calls that started from this preset. Variations of one call count once.
    Retries do not count."""
    image_data: bytes | None
    """Picture of the preset, a WebP of 300x300 pixels. `GetPreset` always returns it, `ListPresets` only with
    `include_images`."""

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import preset_card

        return preset_card(self)

    def _repr_png_(self) -> bytes | None:
        from avatar_creator.notebook import png

        return png(self.image_data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationOptions(Value["generation_pb2.GenerationOptions"]):
    """Technical options of a generation, besides the content of the picture."""

    width: int | None
    """Width in pixels: 256 to 1,440 in multiples of 16. None means 1,024."""
    height: int | None
    """Height in pixels: 256 to 1,440 in multiples of 16. None means 1,024."""
    seed: int | None
    """Seed of the random numbers, 0 to 2^32-1. None: the service chooses one. The same seed gives the same
    picture, if everything else in the request and the provider are the same."""
    steps: int | None
    """Number of denoising steps, 1 to 50. None means the default of the route's model, for example 28 for
    FLUX.1-dev and 4 for FLUX.2-klein. More steps give finer pictures and take longer. Some models have
    another range, or a number of their own."""
    guidance_scale: float | None
    """Guidance scale, 1 to 20: how closely the model follows the prompt. None means the default of the
    route's model, for example 3.5 for FLUX.1-dev. Some models have another range, or no guidance."""
    negative_prompt: str | None
    """Words for things that the picture should not show, at most 2,000 characters. None: the service's own
    list, on routes where a negative prompt costs nothing extra. Distilled models such as FLUX have no
    negative prompt: the service leaves it out and warns. With FLUX.1-dev, the provider `diffusers` supports
    it by true classifier-free guidance, which takes twice as long."""
    reference_strength: float | None
    """Allowed distance from the reference, above 0 and at most 1. A higher value lets the picture differ
    more. None means 0.6. Valid only with `reference_avatar_id` or `reference_avatar_ids`."""
    strict: bool
    """True if an option that the route does not support is an error. True: the call fails with
    INVALID_ARGUMENT, reason OPTION_NOT_SUPPORTED. False: the service leaves the option out and adds a
    sentence to `Generation.warnings`."""
    omit_recipe: bool
    """True to leave the recipe out of the picture's file. The service's own record keeps the recipe in any
    case. The file keeps one fact in any case: IPTC's digital source type, which says that software made the
    picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationFailure(Value["generation_pb2.GenerationError"]):
    """Reason why a generation or an attempt failed."""

    # `message` of a value is its message of the contract.
    _contract_names: ClassVar[Mapping[str, str]] = {"explanation": "message"}

    reason: ErrorReason
    """Reason, for programs."""
    explanation: str
    """Explanation, for people. It contains no secrets."""

    def __str__(self) -> str:
        """Return the explanation."""
        return self.explanation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Reproduction(Value["generation_pb2.Reproduction"]):
    """Comparison of a picture with the one whose recipe it was made from."""

    identical_pixels: bool
    """True if all pixels are the same."""
    color_difference: float | None
    """Mean color difference of the two pictures, both scaled to 64x64 pixels (CIE 1976, delta E*ab). 0 means
    that they look the same; about 2.3 is a difference that people just notice. None if the other picture no
    longer exists."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Recipe(Value["generation_pb2.Recipe"]):
    """Recipe: the inputs and settings that made a picture. `reproduce_generation_id` runs a recipe again."""

    _shown: ClassVar[tuple[str, ...]] = ("provider", "route", "model", "seed", "width", "height")

    provider: str
    """Provider that drew the picture: `huggingface`, `replicate`, `diffusers` or `sketch`."""
    route: str
    """Route within the provider: `fal-ai`, `fal-ai-reference`, `hf-inference`, `endpoint`, `replicate`,
    `replicate-reference` or `local`."""
    model: str | None
    """Id of the model on the Hugging Face Hub, or its folder; for a model without weights, the maker's name
    in the same form. None for `sketch`."""
    model_revision: str | None
    """Commit or tag of the model; for `sketch`, the version of its drawing. None if the route does not report
    it."""
    lora: str | None
    """Repository of the LoRA (low-rank adaptation: extra weights for the model). None if there was none."""
    lora_weight_file: str | None
    """File of the LoRA in its repository. None: the only file there."""
    lora_revision: str | None
    """Commit or tag of the LoRA. None if it is not pinned."""
    lora_scale: float | None
    """Strength of the LoRA. None if there was none."""
    seed: int
    """Seed, 0 to 2^32-1."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    steps: int | None
    """Number of denoising steps. None if the route has none, or left the number to the model."""
    guidance_scale: float | None
    """Guidance scale. None if the route has none, or left it to the model."""
    enhanced_prompt: str
    """Prompt that the service built from persona, attributes and prompt."""
    provider_prompt: str
    """Prompt as sent to the provider; see `Generation.provider_prompt`. A reproduction sends the same text
    again."""
    negative_prompt: str | None
    """Negative prompt as sent to the provider. None if none was sent."""
    reference_avatar_id: str | None
    """Id of the reference, the avatar whose picture this one started from, or of the first of several. None
    if there was none. New readers use `reference_avatar_ids`."""
    reference_sha256: str | None
    """SHA-256 of the picture file of `reference_avatar_id` at that time, as 64 lower-case hexadecimal digits.
    None if there was no reference, or if it was deleted while the picture was drawn and another worker took
    over. New readers use `reference_sha256s`."""
    reference_strength: float | None
    """Allowed distance from the reference; see `GenerationOptions.reference_strength`. None if there was no
    reference, or if the route has no such option."""
    provider_facts: Mapping[str, str]
    """Facts that the provider reported, such as its request id or the device that it used."""
    pixels_sha256: str
    """SHA-256 of the pixels, as 64 lower-case hexadecimal digits. The hashed bytes are the width, the height,
    and then the RGB bytes row by row. Width and height have 4 bytes each, most significant byte first."""
    software: str
    """Name and version of the service. Example: `avatar-creator 0.2.0`."""
    picture_classifier: str | None
    """Classifier that checked the picture: the name of its folder, or the host of its address. None if none
    has. The file of the picture does not contain it."""
    picture_score: float
    """Score of the classifier, 0 to 1; see `PictureModeration.score`. 0 if no classifier has checked the
    picture."""
    blurred: bool
    """True if the stored picture is blurred, because the classifier flagged it. `pixels_sha256` is of the
    stored picture."""
    speed: str
    """Speed setting with which `diffusers` drew: `exact`, `compiled` or `fast`. Always `exact` for other
    providers."""
    reference_avatar_ids: tuple[str, ...]
    """Ids of all references, in the order in which the model received their pictures."""
    reference_sha256s: tuple[str, ...]
    """SHA-256 of the picture file of each reference, in the order of `reference_avatar_ids`; see
    `reference_sha256`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Generation(Value["generation_pb2.Generation"]):
    """The making of one picture from a prompt, from the request to the finished avatar."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "state", "stage", "progress_percent")

    id: str
    """Id of the generation, a UUIDv7 (RFC 9562). The service sets it."""
    user_id: str
    """Id of the owner: the user named by the token that created the generation."""
    project_id: str
    """Id of the project that the avatar will belong to."""
    revision: int
    """Version number of this state. Every change that a watcher should see raises it by one or more. Of two
    states of a generation, the one with the higher revision is newer."""
    state: GenerationState
    """State: waiting, running or ended."""
    stage: GenerationStage
    """Current step within the state."""
    progress_percent: int
    """Progress, 0 to 100. It is 0 while PENDING, and never goes down while an attempt runs. 10: a worker
    claimed the generation. 20 to 70: the provider draws. 70 to 90: the worker saves the picture and the
    thumbnail. 90: the worker writes the avatar. 100: completed."""
    progress_estimated: bool
    """True if the progress between 20 and 70 is an estimate, because the provider reports no steps."""
    attempt_number: int
    """Number of the current or last attempt, starting at 1. 0 before the first attempt. An attempt is one try
    of a worker to make the picture; see `GenerationAttempt`. Progress can start again with a new attempt."""
    retry_count: int
    """Number of automatic retries used after failed attempts, 0 to 3. The retries wait 10, 100 and 1,000
    seconds, or longer if the provider asks for it. A new attempt after a lost worker or a shutdown uses no
    retry."""
    next_attempt_time: datetime | None
    """Time when the next attempt is due. Set only while PENDING."""
    avatar_name: str
    """Name of the avatar that the generation makes."""
    prompt: str
    """The caller's prompt."""
    persona: Persona
    """Character of the person: name, age, personality and background."""
    attributes: Attributes
    """Visible features of the person."""
    options: GenerationOptions
    """Size, seed and other options of the request."""
    enhanced_prompt: str
    """Prompt that the service built from persona, attributes and prompt: a list of phrases, or sentences if
    the operator chose so."""
    negative_prompt: str
    """Negative prompt: words for things that the picture should not show. They are the caller's own, or else
    the service's list. The service sends it only if the model supports a negative prompt.
    `Recipe.negative_prompt` is the text that was sent."""
    provider: str | None
    """Name of the provider that draws the picture. Example: `sketch`. None until the first attempt calls
    it."""
    provider_prompt: str | None
    """Prompt as sent to the provider. None until the first attempt calls it. It is the enhanced prompt, with
    the words that a LoRA needs in front, or an instruction with the same facts if the model edits a
    reference."""
    seed_used: int
    """Seed in use, 0 to 2^32-1. It is the requested seed, or one that the service chose when it created the
    generation."""
    avatar_id: str | None
    """Id of the new avatar. None until COMPLETED, and None again after that avatar is deleted."""
    error: GenerationFailure | None
    """Reason of the failure. Set if the generation FAILED, or if its last attempt failed and it waits for a
    retry."""
    warnings: tuple[str, ...]
    """Parts of the request that the route does not support, one sentence each, for people. Examples: an
    option that was left out, words of the prompt that the model will not read, a model that the service does
    not know. The next attempt may add more. While the generation is PENDING and no worker is alive, the last
    sentence says so: "no worker has been seen for 93 s; …", or "no worker has been seen since this server
    started; …". The service computes this sentence, in the same responses and messages as `queue_position`.
    It does not store it, and a change of it is no new revision."""
    preset_id: str | None
    """Id of the preset that the generation started from. None if there was none."""
    persona_example_id: str | None
    """Id of the persona example that the generation started from. None if there was none."""
    retry_of: str | None
    """Id of the generation that this one retries. None if there is none."""
    create_time: datetime
    """Creation time."""
    start_time: datetime | None
    """Time when the first attempt began."""
    end_time: datetime | None
    """Time when the generation became COMPLETED, FAILED or CANCELLED."""
    update_time: datetime
    """Time of the last change."""
    queue_position: int | None
    """Position in the queue: number of generations of all users that come before this one. 0 means that it is
    next. Set only while PENDING, in responses and in the first message of a watch. It can change without a
    new revision, so later messages of a watch do not have it. New generations can push it back. While more
    than 100 generations are due, all responses of a server within a second can share one reading of the
    queue, if they are about the same generation. None if the queue cannot be read in time: the response does
    not fail because of that."""
    expected_seconds: int | None
    """Estimated number of seconds until the generation ends, from its queue position and the duration of
    recent ones. Set only while PENDING, in the same responses and messages as `queue_position`. None until a
    generation has completed on the same route with the same provider and model, while no worker is alive, and
    while an operator has paused the queue or a route: `warnings` says so."""
    app_id: str | None
    """Id of the app that the token named when the generation was created. None if it named none. The cost of
    the generation counts for this app."""
    group_id: str | None
    """Variation group: id of the first of the variations that one `CreateGeneration` call created. The first
    variation has its own id here. None if the call created only one generation. `ListGenerations` and
    `WatchGenerations` can select a group."""
    reference_avatar_id: str | None
    """Reference: id of the avatar whose picture the new picture starts from, or the first of several. None if
    there is none. The id stays when that avatar is deleted. New readers use `reference_avatar_ids`."""
    reproduce_of: str | None
    """Id of the generation whose recipe this one runs again. None if there is none. The id stays when that
    generation is deleted."""
    reproduction: Reproduction | None
    """Comparison of the picture with that of `reproduce_of`. None until COMPLETED, and if the recipe of
    `reproduce_of` no longer exists."""
    price_micros: int
    """Cost of all attempts so far, in millionths of a US dollar, by the operator's price list. An attempt
    that the provider possibly charged for counts in full."""
    priority: GenerationPriority
    """Priority in the queue. NORMAL if the request had none."""
    picture_moderation: PictureModeration | None
    """Verdict about the picture. None until COMPLETED, and if no classifier has checked the picture. The
    operator decides what happens to a flagged picture. It can be stored blurred or as it is, with `flagged`
    set here and a sentence in `warnings`. Or the generation FAILED with the reason PROVIDER_NSFW."""
    reference_avatar_ids: tuple[str, ...]
    """Ids of all references, in the order of the request. The first one is `reference_avatar_id`."""

    @property
    def ended(self) -> bool:
        """True if the generation has completed, failed or been cancelled."""
        return self.state in (GenerationState.COMPLETED, GenerationState.FAILED, GenerationState.CANCELLED)

    @property
    def price_usd(self) -> Decimal:
        """`price_micros` in US dollars."""
        return usd(self.price_micros)

    def _repr_html_(self) -> str:
        from avatar_creator.notebook import generation_card

        return generation_card(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationAttempt(Value["generation_pb2.GenerationAttempt"]):
    """Attempt: one try of a worker to make the picture of a generation."""

    _shown: ClassVar[tuple[str, ...]] = ("attempt_number", "outcome", "provider", "route")

    attempt_number: int
    """Number of the attempt, starting at 1."""
    outcome: AttemptOutcome
    """Outcome, or the current step if the attempt still runs."""
    worker: str
    """Name of the worker: its host, process id and a random part."""
    provider: str
    """Provider that the worker called."""
    provider_request_id: str | None
    """The provider's id of the request. None if it gives none."""
    possibly_charged: bool
    """True if the provider may have charged for this attempt."""
    error: GenerationFailure | None
    """Reason of the failure. None if the attempt did not fail."""
    start_time: datetime
    """Time when the attempt began."""
    end_time: datetime | None
    """Time when the attempt ended. None while it runs."""
    route: str
    """Route that the worker used; see `Recipe.route`."""
    price_micros: int
    """Cost in millionths of a US dollar, by the operator's price list. 0 unless `possibly_charged`."""

    @property
    def price_usd(self) -> Decimal:
        """`price_micros` in US dollars."""
        return usd(self.price_micros)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationDetails(Value["generation_service_pb2.GetGenerationResponse"]):
    """A generation with the history of its attempts, and its recipe."""

    generation: Generation
    """The generation as stored."""
    attempts: tuple[GenerationAttempt, ...]
    """Attempts, first to last. At most the last 100."""
    recipe: Recipe | None
    """Recipe of the picture. None until COMPLETED."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Estimate(Value["generation_service_pb2.EstimateGenerationResponse"]):
    """Expected price and time of a generation."""

    _shown: ClassVar[tuple[str, ...]] = ("provider", "route", "price_micros", "expected_seconds")

    provider: str
    """Provider that would draw the picture."""
    route: str
    """Route that the generation would take; see `Recipe.route`."""
    price_micros: int
    """Price of one attempt for each variation, summed, in millionths of a US dollar, by the operator's price
    list."""
    seconds_p50: float | None
    """Median duration of recent generations on this route with its provider and model of today, in seconds
    from claim to end. None if none has completed."""
    seconds_p90: float | None
    """Duration that nine of ten of them did not exceed, in seconds from claim to end. None if none has
    completed."""
    expected_seconds: int | None
    """Estimated number of seconds until all variations would end if they were created now, from the length of
    the queue. None if `seconds_p50` is, while no worker is alive, and while an operator has paused the queue
    or a route: `warnings` says so."""
    warnings: tuple[str, ...]
    """Sentences that `Generation.warnings` would have."""

    @property
    def price_usd(self) -> Decimal:
        """`price_micros` in US dollars."""
        return usd(self.price_micros)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class UsageRecord(Value["usage_pb2.UsageRecord"]):
    """One use of an avatar by an app."""

    _shown: ClassVar[tuple[str, ...]] = ("id", "app_id", "action")

    id: str
    """Id of the record, a UUIDv7 (RFC 9562). The service sets it."""
    avatar_id: str
    """Id of the avatar that the app used."""
    user_id: str
    """Id of the user that the app acted for: the user named by the token."""
    app_id: str
    """Id of the app. Example: `pose-generator`."""
    app_name: str
    """Name of the app, for people. Example: `Pose Generator`."""
    action: str
    """Action of the app. Example: `generate_poses`."""
    reference_id: str | None
    """The app's own id of the result that it made with the avatar. None if there is none."""
    reference_type: str | None
    """Type of the result that `reference_id` identifies. Example: `pose_set`. None if there is none."""
    metadata: Mapping[str, Any]
    """Any other data that the app wants to keep."""
    create_time: datetime
    """Time when the use was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RecordedUsage(Value["usage_service_pb2.RecordUsageResponse"]):
    """A recorded use, and the number of uses of its avatar."""

    _shown: ClassVar[tuple[str, ...]] = ("usage_count", "usage")

    usage: UsageRecord
    """The use as stored."""
    usage_count: int
    """Number of uses of the avatar after this one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ActionCount(Value["usage_pb2.ActionCount"]):
    """Number of times that an app did one action with an avatar."""

    action: str
    """Action of the app. Example: `generate_poses`."""
    usage_count: int
    """Number of recorded uses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AppUsageSummary(Value["usage_pb2.AppUsageSummary"]):
    """Sum of the uses of one avatar by one app."""

    _shown: ClassVar[tuple[str, ...]] = ("app_id", "usage_count", "action_count")

    app_id: str
    """Id of the app."""
    app_name: str
    """Name of the app, as it was last given. The app's id if no name was ever given."""
    usage_count: int
    """Number of recorded uses."""
    first_used_time: datetime
    """Time of the first recorded use."""
    last_used_time: datetime
    """Time of the last recorded use."""
    actions: tuple[ActionCount, ...]
    """Number of uses by action, highest first. At most the 100 most frequent actions."""
    action_count: int
    """Number of different actions. More than 100 if `actions` leaves some out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationStateCount(Value["usage_service_pb2.GenerationStateCount"]):
    """Number of generations in one state."""

    state: GenerationState
    """State of the generations."""
    generation_count: int
    """Number of generations in this state."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DailySpend(Value["usage_service_pb2.DailySpend"]):
    """Cost of the generations of one app on one day."""

    day: date
    """UTC day. Example: `2026-11-22`."""
    app_id: str | None
    """Id of the app that the token named when the generations were created. None if it named none."""
    price_micros: int
    """Cost in millionths of a US dollar, by the operator's price list at that time."""
    attempt_count: int
    """Number of attempts that cost something."""

    @property
    def price_usd(self) -> Decimal:
        """`price_micros` in US dollars."""
        return usd(self.price_micros)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Stats(Value["usage_service_pb2.GetStatsResponse"]):
    """Statistics of a user."""

    _shown: ClassVar[tuple[str, ...]] = ("avatar_count", "usage_count", "recent_upload_count")

    avatar_count: int
    """Number of avatars."""
    recent_upload_count: int
    """Number of these avatars that were uploaded in the last 7 days: the current UTC day and the six days
    before it."""
    usage_count: int
    """Number of uses that all apps recorded for the avatars that exist now."""
    average_usage_per_avatar: float
    """`usage_count` divided by `avatar_count`. 0 if there are no avatars."""
    generations: tuple[GenerationStateCount, ...]
    """Number of generations by state. Every state is listed once."""
    spending: tuple[DailySpend, ...]
    """Cost of the generations by day and app, newest day first. The list covers the current UTC day and the
    29 days before it. It leaves out days without an attempt that cost anything. A response has at most 5,000
    entries, or fewer; see `ListProjectsRequest.page_size`. All other fields are the same on every page."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunningAttempt(Value["operations_pb2.RunningAttempt"]):
    """An attempt that a worker runs now."""

    _shown: ClassVar[tuple[str, ...]] = ("generation_id", "stage", "progress_percent")

    generation_id: str
    """Id of the generation."""
    user_id: str
    """Id of the user of the generation."""
    attempt_number: int
    """Number of the attempt, starting at 1."""
    stage: GenerationStage
    """Current step."""
    progress_percent: int
    """Progress in percent, 0 to 100."""
    route: str | None
    """Route that draws; see `Recipe.route`. None until the worker calls the provider."""
    start_time: datetime
    """Time when the attempt began."""
    priority: GenerationPriority
    """Priority of the generation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Worker(Value["operations_pb2.Worker"]):
    """Worker: one process that draws."""

    _shown: ClassVar[tuple[str, ...]] = ("name", "state", "slots")

    name: str
    """Name: host, process id and a random part, as in `GenerationAttempt.worker`. A restarted worker has
    a new name."""
    version: str
    """Version of the service that the worker runs."""
    host: str
    """Host on which the worker runs."""
    provider: str
    """Provider that the worker draws with; see `Recipe.provider`."""
    slots: int
    """Number of generations that the worker runs at once."""
    state: WorkerState
    """State."""
    start_time: datetime
    """Time when the worker started."""
    last_seen_time: datetime
    """Time at which the worker last renewed its entry. A worker does so every 10 seconds."""
    drain_time: datetime | None
    """Time at which an operator drained the worker. None if none did."""
    running: tuple[RunningAttempt, ...]
    """Attempts that the worker runs now, first to last. A lost worker has them until another worker takes
    over."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class QueueDepth(Value["operations_pb2.QueueDepth"]):
    """Number of pending generations of one priority."""

    priority: GenerationPriority
    """Priority."""
    due_count: int
    """Number of generations that a worker can start now."""
    waiting_to_retry_count: int
    """Number of generations that wait for the time of their retry."""
    oldest_due_time: datetime | None
    """Time at which the generation that has waited longest became due. None if none is due."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class QueueRoute(Value["operations_pb2.QueueRoute"]):
    """A way to draw that the service has."""

    _shown: ClassVar[tuple[str, ...]] = ("name", "provider", "model")

    name: str
    """Name; see `Recipe.route`."""
    provider: str
    """Provider; see `Recipe.provider`."""
    model: str | None
    """Model; see `Recipe.model`."""
    draws_from_reference: bool
    """True if the generations with a reference take this route."""
    draws_from_text: bool
    """True if the generations without a reference take this route."""
    outage_start_time: datetime | None
    """Time since which the provider refuses the service on this route: no worker sends it a request. None
    without an outage. The next two fields are about the outage too."""
    outage_reason: ErrorReason | None
    """Reason of the last refusal."""
    outage_retry_time: datetime | None
    """Time from which one attempt may use the route again. If it succeeds, the outage has ended."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class QueuePause(Value["operations_pb2.QueuePause"]):
    """A pause: no worker claims generations until an operator resumes the queue."""

    route: str | None
    """Name of the paused route. None: the whole queue."""
    pause_time: datetime
    """Time of the pause."""
    paused_by: str
    """Id of the operator who paused it."""
    note: str | None
    """The operator's note for users, at most 200 characters. None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FailureCount(Value["operations_pb2.FailureCount"]):
    """Number of generations that failed for one reason."""

    reason: ErrorReason
    """Reason."""
    generation_count: int
    """Number of generations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Queue(Value["operations_pb2.Queue"]):
    """Queue: what waits for workers, what runs, and what operators have paused."""

    _shown: ClassVar[tuple[str, ...]] = ("running_count", "abandoned_count", "pauses")

    depths: tuple[QueueDepth, ...]
    """Numbers of pending generations, one entry for each priority, most urgent first."""
    running_count: int
    """Number of generations that workers run now."""
    abandoned_count: int
    """Number of generations whose worker is lost, and which no other worker has taken over yet."""
    routes: tuple[QueueRoute, ...]
    """Routes of this service."""
    pauses: tuple[QueuePause, ...]
    """Pauses that operators have made. A pause of the whole queue comes first."""
    recent_failures: tuple[FailureCount, ...]
    """Generations that failed in the last hour, by reason, most frequent first. A generation that was created
    more than a day ago does not count."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BulkFailure(Value["operations_pb2.BulkFailure"]):
    """Generation that a bulk call could not change."""

    generation_id: str
    """Id of the generation."""
    error: GenerationFailure
    """Reason and explanation, as in the error of a call for this generation alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BulkCancellation(Value["operations_service_pb2.BulkCancelGenerationsResponse"]):
    """Result of a bulk cancellation."""

    _shown: ClassVar[tuple[str, ...]] = ("generation_count", "has_more")

    generation_count: int
    """Number of generations that the call has cancelled, or would cancel with `dry_run`."""
    generation_ids: tuple[str, ...]
    """Ids of the first 100 of them, oldest first."""
    has_more: bool
    """True if more generations than `max_count` match."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BulkRetry(Value["operations_service_pb2.BulkRetryGenerationsResponse"]):
    """Result of a bulk retry."""

    _shown: ClassVar[tuple[str, ...]] = ("generation_count", "failure_count", "has_more")

    generation_count: int
    """Number of generations that the call has retried, or would retry with `dry_run`."""
    generation_ids: tuple[str, ...]
    """Ids of the first 100 of them, oldest first."""
    retry_ids: tuple[str, ...]
    """Ids of the new generations, in the order of `generation_ids`. Empty with `dry_run`."""
    has_more: bool
    """True if more generations than `max_count` match."""
    failure_count: int
    """Number of generations that could not be retried, for example because their user is over a limit."""
    failures: tuple[BulkFailure, ...]
    """The first 20 of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class UserActivity(Value["operations_pb2.UserActivity"]):
    """Activity of a user."""

    _shown: ClassVar[tuple[str, ...]] = ("user_id", "due_count", "failed_count", "price_micros")

    user_id: str
    """Id of the user."""
    due_count: int
    """Number of pending generations that a worker can start now."""
    pending_count: int
    """Number of PENDING generations, including those that wait for the time of their retry."""
    processing_count: int
    """Number of PROCESSING generations."""
    failed_count: int
    """Number of generations that were created in the period and FAILED."""
    price_micros: int
    """Cost of the attempts that ended in the period, in whole UTC days, in millionths of a US dollar."""

    @property
    def price_usd(self) -> Decimal:
        """`price_micros` in US dollars."""
        return usd(self.price_micros)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GenerationLimits(Value["operations_pb2.GenerationLimits"]):
    """Limits on what one user may generate."""

    concurrent: int | None
    """Number of generations that wait or run. 0 means no limit."""
    per_minute: int | None
    """Number of generations started within a minute. 0 means no limit."""
    per_day: int | None
    """Number of generations started within 24 hours. 0 means no limit."""
    spend_per_day_micros: int | None
    """Price of the generations started within 24 hours, in millionths of a US dollar. 0 means no limit."""

    @property
    def spend_per_day_usd(self) -> Decimal | None:
        """`spend_per_day_micros` in US dollars."""
        return None if self.spend_per_day_micros is None else usd(self.spend_per_day_micros)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class UserLimits(Value["operations_pb2.UserLimits"]):
    """Limits of a user, and what the user has used of them."""

    _shown: ClassVar[tuple[str, ...]] = ("user_id", "effective")

    user_id: str
    """Id of the user."""
    own: GenerationLimits
    """Limits that an operator has set for this user. A field that is None has the value of the service's
    settings."""
    effective: GenerationLimits
    """Limits in effect. No field is None."""
    used: GenerationLimits
    """Amounts that the user has used. No field is None."""
    update_time: datetime | None
    """Time of the last change by an operator. None if the user has no limits of their own."""
    updated_by: str | None
    """Id of the operator who made the last change. None if the user has no limits of their own."""

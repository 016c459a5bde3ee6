"""fal's apps: their input, its validation, and their pictures.

Sources of fields and defaults: `libs/client/src/types/endpoints.ts` of https://github.com/fal-ai/fal-js, of
2026-08-02. Sources of ranges: https://fal.ai/models/{app}/llms.txt. The apps use FastAPI and answer with
pydantic's errors, see https://fal.ai/docs/documentation/model-apis/errors. They ignore unknown fields without
an error. This module does so too, and records them in `Job.unknown_inputs`, because an option that an app
ignores is an error of the caller.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from tests.support.hosted_fake.behavior import Behavior
from tests.support.hosted_fake.pictures import PictureFile, black, draw
from tests.support.huggingface_router import documented_errors

_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_MAX_SIDE = 14142
_FLUX_2_MIN_SIDE = 512
_FLUX_2_MAX_SIDE = 2048
_MEGAPIXEL = 1024 * 1024
_KONTEXT_PIXELS = 1024 * 1024
_KONTEXT_STEP = 16
_SEEDS = 2**32

Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]
ResolutionMode = Literal[
    "auto", "match_input", "1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"
]
Side = Annotated[int, Field(gt=0, le=_MAX_SIDE)]


class _ImageSize(BaseModel):
    width: Side = 512
    height: Side = 512


class _LoraWeight(BaseModel):
    path: str
    scale: Annotated[float, Field(ge=0, le=4)] = 1.0


class _Input(BaseModel, ABC):
    model_config = ConfigDict(extra="ignore")

    prompt: str
    seed: int | None = None
    enable_safety_checker: bool = True
    output_format: Literal["jpeg", "png"] = "jpeg"
    sync_mode: bool = False
    bills_references: ClassVar[Literal["", "as one megapixel", "by size"]] = ""
    """The way in which the app bills references, in addition to the picture."""

    @property
    def number_of_pictures(self) -> int:
        """Number of pictures to draw."""
        return 1

    @property
    def references(self) -> list[tuple[list[Any], str]]:
        """Places and URLs of the references."""
        return []

    @abstractmethod
    def size(self, references: Sequence[bytes]) -> tuple[int, int]:
        """Return width and height of the picture in pixels."""


class _SeveralPictures(_Input):
    num_images: Annotated[int, Field(ge=1, le=4)] = 1

    @property
    def number_of_pictures(self) -> int:
        return self.num_images


class _Sized(_Input):
    image_size: _ImageSize | Preset = "landscape_4_3"

    def size(self, references: Sequence[bytes]) -> tuple[int, int]:
        if isinstance(self.image_size, _ImageSize):
            return self.image_size.width, self.image_size.height
        return _PRESETS[self.image_size]


class _SizedLikeReference(_Input):
    image_size: _ImageSize | Preset | Literal["auto"] | None = None

    def size(self, references: Sequence[bytes]) -> tuple[int, int]:
        if isinstance(self.image_size, _ImageSize):
            return self.image_size.width, self.image_size.height
        if self.image_size in (None, "auto"):
            with Image.open(io.BytesIO(references[-1])) as picture:
                return picture.size
        return _PRESETS[self.image_size]


class _OneReference(_Input):
    image_url: str

    @property
    def references(self) -> list[tuple[list[Any], str]]:
        return [(["image_url"], self.image_url)]


class _References(_Input):
    image_urls: Annotated[list[str], Field(min_length=1)]

    @property
    def references(self) -> list[tuple[list[Any], str]]:
        return [(["image_urls", number], url) for number, url in enumerate(self.image_urls)]


class _Loras(_Input):
    loras: Annotated[list[_LoraWeight], Field(max_length=3)] = []


class _Accelerated(_Input):
    acceleration: Literal["none", "regular", "high"] = "regular"


class _FluxDev(_SeveralPictures, _Sized, _Accelerated):
    acceleration: Literal["none", "regular", "high"] = "none"
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 3.5


class _FluxSchnell(_FluxDev):
    num_inference_steps: Annotated[int, Field(ge=1, le=12)] = 4


class _FluxKrea(_FluxDev):
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 4.5


class _FluxLora(_SeveralPictures, _Sized, _Loras):
    acceleration: Literal["none", "regular"] = "none"
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=0, le=35)] = 3.5
    loras: list[_LoraWeight] = []


class _Kontext(_SeveralPictures, _OneReference):
    acceleration: Literal["none", "regular", "high"] = "none"
    num_inference_steps: Annotated[int, Field(ge=10, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 2.5
    resolution_mode: ResolutionMode = "match_input"

    def size(self, references: Sequence[bytes]) -> tuple[int, int]:
        if self.resolution_mode in ("match_input", "auto"):
            with Image.open(io.BytesIO(references[0])) as picture:
                width, height = picture.size
        else:
            width, height = (int(side) for side in self.resolution_mode.split(":"))
        scale = (_KONTEXT_PIXELS / (width * height)) ** 0.5
        return _rounded(width * scale), _rounded(height * scale)


class _KontextLora(_Kontext):
    num_inference_steps: Annotated[int, Field(ge=10, le=50)] = 30
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    loras: list[_LoraWeight] = []


class _KontextLoraText(_SeveralPictures, _Sized, _Loras):
    acceleration: Literal["none", "regular", "high"] = "none"
    num_inference_steps: Annotated[int, Field(ge=10, le=50)] = 30
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    loras: list[_LoraWeight] = []
    output_format: Literal["jpeg", "png"] = "png"


class _Png(_SeveralPictures):
    output_format: Literal["jpeg", "png", "webp"] = "png"  # type: ignore[assignment]


class _Flux2Options(_Png, _Accelerated):
    image_size: Any = None
    num_inference_steps: Annotated[int, Field(ge=4, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    enable_prompt_expansion: bool = False

    @field_validator("image_size")
    @classmethod
    def _within_limits(cls, size: Any) -> Any:
        """Refuse other sides than 512 to 2048 pixels."""
        if isinstance(size, _ImageSize):
            for side in (size.width, size.height):
                if not _FLUX_2_MIN_SIDE <= side <= _FLUX_2_MAX_SIDE:
                    raise ValueError("image_size must be between 512 and 2048 pixels")
        return size


class _Flux2(_Flux2Options, _Sized):
    image_size: _ImageSize | Preset = "landscape_4_3"


class _Flux2Lora(_Flux2, _Loras):
    pass


class _Flux2Edit(_Flux2Options, _SizedLikeReference, _References):
    image_size: _ImageSize | Preset | Literal["auto"] | None = None
    bills_references = "as one megapixel"

    @property
    def references(self) -> list[tuple[list[Any], str]]:
        """The first four: "if more are provided, only the first 4 will be used"."""
        return super().references[:4]


class _Flux2LoraEdit(_Flux2Edit, _Loras):
    @property
    def references(self) -> list[tuple[list[Any], str]]:
        """The first three."""
        return super().references[:3]


class _Klein(_Png, _Sized):
    num_inference_steps: Annotated[int, Field(ge=4, le=8)] = 4


class _KleinLora(_Klein, _Loras):
    pass


class _KleinEdit(_Png, _SizedLikeReference, _References):
    num_inference_steps: Annotated[int, Field(ge=4, le=8)] = 4
    image_urls: Annotated[list[str], Field(min_length=1, max_length=4)]
    bills_references = "as one megapixel"


class _Flux2Pro(_Sized):
    safety_tolerance: Literal["1", "2", "3", "4", "5"] = "2"


class _Flux2ProEdit(_SizedLikeReference, _References):
    safety_tolerance: Literal["1", "2", "3", "4", "5"] = "2"
    image_size: _ImageSize | Preset | Literal["auto"] | None = "auto"
    bills_references = "by size"


class _Flux2Flex(_Flux2Pro):
    num_inference_steps: Annotated[int, Field(ge=2, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1.5, le=10)] = 3.5


class _Flux2FlexEdit(_Flux2ProEdit):
    num_inference_steps: Annotated[int, Field(ge=2, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1.5, le=10)] = 3.5


class _ZImageTurbo(_Png, _Sized, _Accelerated):
    num_inference_steps: Annotated[int, Field(ge=1, le=8)] = 8
    enable_prompt_expansion: bool = False


class _ZImageTurboLora(_ZImageTurbo, _Loras):
    pass


class _Krea2(_SeveralPictures, _Sized):
    acceleration: Literal["none", "regular"] = "none"
    image_size: _ImageSize | Preset = "square_hd"
    enable_prompt_expansion: bool = False
    output_format: Literal["jpeg", "png"] = "png"


class _Krea2Lora(_Krea2, _Loras):
    pass


class _Qwen(_SeveralPictures, _Accelerated):
    negative_prompt: str = " "
    num_inference_steps: Annotated[int, Field(ge=2, le=50)] = 30
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    output_format: Literal["jpeg", "png"] = "png"


class _QwenImage(_Qwen, _Sized):
    acceleration: Literal["none", "regular", "high"] = "none"
    loras: Annotated[list[_LoraWeight], Field(max_length=3)] = []


class _QwenImageEdit(_Qwen, _SizedLikeReference, _OneReference):
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 4.0


class _QwenImageEdit2511(_Qwen, _SizedLikeReference, _References):
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 4.5


class _QwenImageEdit2511Lora(_QwenImageEdit2511, _Loras):
    pass


APPS: Mapping[str, type[_Input]] = {
    "fal-ai/flux/dev": _FluxDev,
    "fal-ai/flux/schnell": _FluxSchnell,
    "fal-ai/flux/krea": _FluxKrea,
    "fal-ai/flux-lora": _FluxLora,
    "fal-ai/flux-krea-lora": _FluxLora,
    "fal-ai/flux-kontext/dev": _Kontext,
    "fal-ai/flux-kontext-lora": _KontextLora,
    "fal-ai/flux-kontext-lora/text-to-image": _KontextLoraText,
    "fal-ai/flux-2": _Flux2,
    "fal-ai/flux-2/lora": _Flux2Lora,
    "fal-ai/flux-2/edit": _Flux2Edit,
    "fal-ai/flux-2/lora/edit": _Flux2LoraEdit,
    "fal-ai/flux-2/klein/4b": _Klein,
    "fal-ai/flux-2/klein/4b/lora": _KleinLora,
    "fal-ai/flux-2/klein/4b/edit": _KleinEdit,
    "fal-ai/flux-2/klein/9b": _Klein,
    "fal-ai/flux-2/klein/9b/lora": _KleinLora,
    "fal-ai/flux-2/klein/9b/edit": _KleinEdit,
    "fal-ai/flux-2-pro": _Flux2Pro,
    "fal-ai/flux-2-pro/edit": _Flux2ProEdit,
    "fal-ai/flux-2-flex": _Flux2Flex,
    "fal-ai/flux-2-flex/edit": _Flux2FlexEdit,
    "fal-ai/z-image/turbo": _ZImageTurbo,
    "fal-ai/z-image/turbo/lora": _ZImageTurboLora,
    "fal-ai/krea-2/turbo": _Krea2,
    "fal-ai/krea-2/turbo/lora": _Krea2Lora,
    "fal-ai/qwen-image": _QwenImage,
    "fal-ai/qwen-image-edit": _QwenImageEdit,
    "fal-ai/qwen-image-edit-2511": _QwenImageEdit2511,
    "fal-ai/qwen-image-edit-2511/lora": _QwenImageEdit2511Lora,
}

_WITHOUT_FILTER_RESULT = ("fal-ai/flux-2-pro", "fal-ai/flux-2-flex")
"""Apps whose result does not say whether the filter has flagged a picture."""


class InvalidInput(Exception):
    """An app refuses its input; `detail` contains the reasons."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Job:
    """An app's job, whose input is valid."""

    app: str
    input: _Input
    references: tuple[bytes, ...]
    seed: int
    width: int
    height: int
    nsfw: bool
    unknown_inputs: tuple[str, ...]
    """Names of the given inputs that the app ignores because it does not know them."""

    @property
    def content_type(self) -> str:
        """Content type of the pictures."""
        return f"image/{self.input.output_format}"

    @property
    def says_nsfw(self) -> bool:
        """True if the result says whether the filter has flagged a picture."""
        return not self.app.startswith(_WITHOUT_FILTER_RESULT)

    @property
    def billable_units(self) -> int:
        """Started megapixels of the pictures and of the billed references."""
        pictures = self.input.number_of_pictures * _megapixels(self.width, self.height)
        match self.input.bills_references:
            case "as one megapixel":
                return pictures + len(self.references)
            case "by size":
                return pictures + sum(_megapixels(*_size_of(file)) for file in self.references)
        return pictures

    def picture(self, number: int) -> PictureFile:
        """Draw the picture with this number, from 0."""
        as_png = self.input.output_format == "png"
        if self.nsfw and self.input.enable_safety_checker:
            return black(self.width, self.height, as_png=as_png)
        presentation = {
            *("image_url", "image_urls", "output_format", "sync_mode", "num_images", "enable_safety_checker")
        }
        inputs = {
            "app": self.app,
            **self.input.model_dump(exclude=presentation),
            "seed": self.seed + number,
        }
        return draw(inputs, self.width, self.height, as_png=as_png, references=self.references)


def prepare(app: str, content: bytes, behavior: Behavior) -> Job:
    """Check an app's input and return the job.

    Raises:
        InvalidInput: The app refuses the input.
    """
    model = APPS[app]
    try:
        checked = TypeAdapter(model).validate_json(content)
    except ValidationError as error:
        raise InvalidInput([_as_fal_error(each) for each in error.errors()]) from error
    references = tuple(_reference(["body", *place], url) for place, url in checked.references)
    width, height = checked.size(references)
    return Job(
        app=app,
        input=checked,
        references=references,
        seed=random.randrange(_SEEDS) if checked.seed is None else checked.seed,
        width=behavior.picture_width or width,
        height=behavior.picture_height or height,
        nsfw=behavior.nsfw,
        unknown_inputs=tuple(sorted(set(json.loads(content)) - set(model.model_fields))),
    )


def _reference(location: list[Any], url: str) -> bytes:
    """Return the picture in a data URI. The fake downloads no other URLs.

    Raises:
        InvalidInput: The URL contains no picture.
    """
    head, comma, encoded = url.partition(",")
    if not comma or not head.startswith("data:"):
        raise InvalidInput(
            [documented_errors.model_error(location, "File download error", "file_download_error", input=url)]
        )
    try:
        content = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            [documented_errors.model_error(location, "Image load error", "image_load_error", input=url[:64])]
        ) from error
    return content


def _size_of(file: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(file)) as picture:
        return picture.size


def _megapixels(width: int, height: int) -> int:
    return math.ceil(width * height / _MEGAPIXEL)


def _as_fal_error(error: Mapping[str, Any]) -> dict[str, Any]:
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "literal_error":
        kind = "one_of"
        context = {
            "expected": [each.strip("'") for each in context["expected"].replace(" or ", ", ").split(", ")]
        }
    more: dict[str, Any] = {"input": error["input"]} if kind != "json_invalid" else {}
    if context and kind != "json_invalid":
        more["ctx"] = context
    return documented_errors.model_error(["body", *error["loc"]], error["msg"], kind, **more)


def _rounded(side: float) -> int:
    return max(_KONTEXT_STEP, round(side / _KONTEXT_STEP) * _KONTEXT_STEP)

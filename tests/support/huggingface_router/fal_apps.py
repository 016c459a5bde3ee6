"""fal's apps: their input, its validation, and their pictures.

Sources of fields, ranges and defaults: https://fal.ai/models/fal-ai/flux-lora/llms.txt,
https://fal.ai/models/fal-ai/flux-kontext-lora/llms.txt, https://fal.ai/models/fal-ai/flux-kontext/dev/api and
https://fal.ai/models/fal-ai/flux/dev/api; for the others, https://fal.ai/models/{app}/llms.txt. The apps use
FastAPI and answer with pydantic's errors, see https://fal.ai/docs/documentation/model-apis/errors. They
ignore unknown fields, and so does this module.
"""

from __future__ import annotations

import base64
import binascii
import io
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.behavior import Behavior
from tests.support.huggingface_router.pictures import PictureFile, black, draw

_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_MAX_SIDE = 14142
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
    num_images: Annotated[int, Field(ge=1, le=4)] = 1
    enable_safety_checker: bool = True
    output_format: Literal["jpeg", "png"] = "jpeg"
    sync_mode: bool = False

    @abstractmethod
    def size(self, reference: bytes) -> tuple[int, int]:
        """Return width and height of the picture in pixels."""


class _TextInput(_Input):
    acceleration: Literal["none", "regular", "high"] = "none"
    image_size: _ImageSize | Preset = "landscape_4_3"
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28

    def size(self, reference: bytes) -> tuple[int, int]:
        if isinstance(self.image_size, _ImageSize):
            return self.image_size.width, self.image_size.height
        return _PRESETS[self.image_size]


class _FluxDevInput(_TextInput):
    guidance_scale: Annotated[float, Field(ge=1, le=20)] = 3.5


class _FluxLoraInput(_TextInput):
    guidance_scale: Annotated[float, Field(ge=0, le=35)] = 3.5
    loras: list[_LoraWeight] = []


class _SchnellInput(_TextInput):
    num_inference_steps: Annotated[int, Field(ge=1, le=12)] = 4


class _KleinInput(_TextInput):
    num_inference_steps: Annotated[int, Field(ge=4, le=8)] = 4


class _ZImageInput(_TextInput):
    num_inference_steps: Annotated[int, Field(ge=1, le=8)] = 8


class _QwenInput(_TextInput):
    num_inference_steps: Annotated[int, Field(ge=2, le=50)] = 30
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    negative_prompt: str = " "
    loras: list[_LoraWeight] = []


class _KontextInput(_Input):
    acceleration: Literal["none", "regular", "high"] = "none"
    image_url: str
    num_inference_steps: Annotated[int, Field(ge=10, le=50)] = 28
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 2.5
    resolution_mode: ResolutionMode = "match_input"

    def size(self, reference: bytes) -> tuple[int, int]:
        if self.resolution_mode in ("match_input", "auto"):
            with Image.open(io.BytesIO(reference)) as picture:
                width, height = picture.size
        else:
            width, height = (int(side) for side in self.resolution_mode.split(":"))
        scale = (_KONTEXT_PIXELS / (width * height)) ** 0.5
        return _rounded(width * scale), _rounded(height * scale)


class _KontextLoraInput(_KontextInput):
    num_inference_steps: Annotated[int, Field(ge=10, le=50)] = 30
    loras: list[_LoraWeight] = []


APPS: Mapping[str, type[_Input]] = {
    "fal-ai/flux/dev": _FluxDevInput,
    "fal-ai/flux-lora": _FluxLoraInput,
    "fal-ai/flux/schnell": _SchnellInput,
    "fal-ai/flux-2/klein/4b": _KleinInput,
    "fal-ai/z-image/turbo": _ZImageInput,
    "fal-ai/qwen-image": _QwenInput,
    "fal-ai/flux-kontext/dev": _KontextInput,
    "fal-ai/flux-kontext-lora": _KontextLoraInput,
}


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
    reference: bytes
    seed: int
    width: int
    height: int
    nsfw: bool

    @property
    def content_type(self) -> str:
        """Content type of the pictures."""
        return f"image/{self.input.output_format}"

    def picture(self, number: int) -> PictureFile:
        """Draw the picture with this number, from 0."""
        as_png = self.input.output_format == "png"
        if self.nsfw and self.input.enable_safety_checker:
            return black(self.width, self.height, as_png=as_png)
        presentation = {"image_url", "output_format", "sync_mode", "num_images", "enable_safety_checker"}
        inputs = {
            "app": self.app,
            **self.input.model_dump(exclude=presentation),
            "seed": self.seed + number,
        }
        return draw(inputs, self.width, self.height, as_png=as_png, reference=self.reference)


def prepare(app: str, content: bytes, behavior: Behavior) -> Job:
    """Check an app's input and return the job.

    Raises:
        InvalidInput: The app refuses the input.
    """
    try:
        checked = TypeAdapter(APPS[app]).validate_json(content)
    except ValidationError as error:
        raise InvalidInput([_as_fal_error(each) for each in error.errors()]) from error
    reference = _reference(checked.image_url) if isinstance(checked, _KontextInput) else b""
    width, height = checked.size(reference)
    return Job(
        app=app,
        input=checked,
        reference=reference,
        seed=random.randrange(_SEEDS) if checked.seed is None else checked.seed,
        width=behavior.picture_width or width,
        height=behavior.picture_height or height,
        nsfw=behavior.nsfw,
    )


def _reference(url: str) -> bytes:
    """Return the picture in a data URI. The fake downloads no other URLs.

    Raises:
        InvalidInput: The URL contains no picture.
    """
    location = ["body", "image_url"]
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

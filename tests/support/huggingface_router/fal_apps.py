"""What fal's apps take, check and make.

Fields, ranges and defaults from https://fal.ai/models/fal-ai/flux-lora/llms.txt,
https://fal.ai/models/fal-ai/flux-kontext-lora/llms.txt, https://fal.ai/models/fal-ai/flux-kontext/dev/api and
https://fal.ai/models/fal-ai/flux/dev/api. The apps are FastAPI and answer pydantic's errors, as
https://fal.ai/docs/documentation/model-apis/errors shows them. Fields they do not know they ignore, and so do
we.
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
from tests.support.huggingface_router.behaviour import Behavior
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
        """Pixels of the picture."""


class _TextInput(_Input):
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


class _KontextInput(_Input):
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
    "fal-ai/flux-kontext/dev": _KontextInput,
    "fal-ai/flux-kontext-lora": _KontextLoraInput,
}


class InvalidInput(Exception):
    """An app refuses its input; `detail` says why."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Made:
    """A job of an app."""

    app: str
    input: _Input
    reference: bytes
    seed: int
    width: int
    height: int
    nsfw: bool

    @property
    def content_type(self) -> str:
        """Of its pictures."""
        return f"image/{self.input.output_format}"

    def picture(self, number: int) -> PictureFile:
        """Its picture of this number, from 0."""
        as_png = self.input.output_format == "png"
        if self.nsfw and self.input.enable_safety_checker:
            return black(self.width, self.height, as_png=as_png)
        presentation = {"image_url", "output_format", "sync_mode", "num_images", "enable_safety_checker"}
        asked = {
            "app": self.app,
            **self.input.model_dump(exclude=presentation),
            "seed": self.seed + number,
        }
        return draw(asked, self.width, self.height, as_png=as_png, reference=self.reference)


def prepare(app: str, content: bytes, behaviour: Behavior) -> Made:
    """Check an app's input.

    Raises:
        InvalidInput: the app refuses it.
    """
    try:
        checked = TypeAdapter(APPS[app]).validate_json(content)
    except ValidationError as error:
        raise InvalidInput([_as_fal_says(each) for each in error.errors()]) from error
    reference = _reference(checked.image_url) if isinstance(checked, _KontextInput) else b""
    width, height = checked.size(reference)
    return Made(
        app=app,
        input=checked,
        reference=reference,
        seed=random.randrange(_SEEDS) if checked.seed is None else checked.seed,
        width=behaviour.picture_width or width,
        height=behaviour.picture_height or height,
        nsfw=behaviour.nsfw,
    )


def _reference(url: str) -> bytes:
    """The picture that a data URI is. Other URLs nobody can download here.

    Raises:
        InvalidInput: it is none.
    """
    place = ["body", "image_url"]
    head, comma, encoded = url.partition(",")
    if not comma or not head.startswith("data:"):
        raise InvalidInput(
            [documented_errors.model_error(place, "File download error", "file_download_error", input=url)]
        )
    try:
        content = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            [documented_errors.model_error(place, "Image load error", "image_load_error", input=url[:64])]
        ) from error
    return content


def _as_fal_says(error: Mapping[str, Any]) -> dict[str, Any]:
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

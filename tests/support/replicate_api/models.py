"""Replicate's models: their input, its validation, and their pictures.

Sources of the schemas:

- FLUX.1 dev, schnell, Krea dev and dev-lora, and their sizes by aspect ratio: github.com/replicate/cog-flux,
  predict.py
- FLUX.1 Kontext dev, FLUX.2 dev, pro and klein 4B: the pages `…/versions/{id}/api` of black-forest-labs on
  replicate.com; FLUX.2 flex: copies of its page; klein 9B: taken for klein 4B
- Qwen-Image, Qwen-Image-Edit and Z-Image-Turbo: schemas and examples in public code that calls them

The real API may ignore an unknown input. This fake refuses it, so that no misspelled input goes unnoticed.
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

from tests.support.hosted_fake.behavior import Behavior
from tests.support.hosted_fake.pictures import PictureFile, draw

_SEEDS = 2**32
_MEGAPIXEL = 1024 * 1024
_MAX_DATA_URI_BYTES = 1_000_000
_FLUX_1_SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_QWEN_SIZES = {
    "1:1": (1328, 1328),
    "16:9": (1664, 928),
    "9:16": (928, 1664),
    "4:3": (1472, 1140),
    "3:4": (1140, 1472),
    "3:2": (1584, 1056),
    "2:3": (1056, 1584),
}

_Flux1Ratio = Literal["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]
_Flux2Ratio = Literal["match_input_image", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3"]
_QwenRatio = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]
Format = Literal["webp", "jpg", "png"]
Quality = Annotated[int, Field(ge=0, le=100)]


class InvalidInput(Exception):
    """A model refuses its input; `errors` has the type, field and description of each reason."""

    def __init__(self, errors: list[tuple[str, str, str]]) -> None:
        super().__init__(errors)
        self.errors = errors


class _Input(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str
    seed: int | None = None
    output_format: Format = "webp"
    output_quality: Quality = 80

    @abstractmethod
    def size(self, references: list[bytes]) -> tuple[int, int]:
        """Return width and height of the picture in pixels."""

    def references(self) -> list[str]:
        """Return the data URIs of the references."""
        return []


class _Checked(_Input):
    disable_safety_checker: bool = False
    go_fast: bool = True


class _Flux1(_Checked):
    aspect_ratio: _Flux1Ratio = "1:1"
    num_outputs: Annotated[int, Field(ge=1, le=4)] = 1
    megapixels: Literal["1", "0.25"] = "1"

    def size(self, references: list[bytes]) -> tuple[int, int]:
        width, height = _FLUX_1_SIZES[self.aspect_ratio]
        return (width // 2, height // 2) if self.megapixels == "0.25" else (width, height)


class _Schnell(_Flux1):
    num_inference_steps: Annotated[int, Field(ge=1, le=4)] = 4


class _Dev(_Flux1):
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 28
    guidance: Annotated[float, Field(ge=0, le=10)] = 3


class _DevLora(_Dev):
    lora_weights: str | None = None
    lora_scale: Annotated[float, Field(ge=-1, le=3)] = 1.0


class _Kontext(_Checked):
    input_image: str
    aspect_ratio: _Flux1Ratio | Literal["match_input_image"] = "match_input_image"
    num_inference_steps: Annotated[int, Field(ge=4, le=50)] = 28
    guidance: Annotated[float, Field(ge=0, le=10)] = 2.5

    def references(self) -> list[str]:
        return [self.input_image]

    def size(self, references: list[bytes]) -> tuple[int, int]:
        return _like(references, self.aspect_ratio, _MEGAPIXEL, 16)


class _Flux2(_Input):
    input_images: list[str] = []
    aspect_ratio: _Flux2Ratio | Literal["custom"] = "1:1"

    def references(self) -> list[str]:
        return self.input_images

    def size(self, references: list[bytes]) -> tuple[int, int]:
        width, height = getattr(self, "width", None), getattr(self, "height", None)
        if self.aspect_ratio == "custom" and width is not None and height is not None:
            return round(width / 32) * 32, round(height / 32) * 32
        return _like(references, self.aspect_ratio, _MEGAPIXEL, 32)


class _Flux2Dev(_Flux2):
    input_images: Annotated[list[str], Field(max_length=4)] = []
    width: Annotated[int, Field(ge=256, le=1440)] | None = None
    height: Annotated[int, Field(ge=256, le=1440)] | None = None
    disable_safety_checker: bool = False
    go_fast: bool = True


class _Flux2Hosted(_Flux2):
    width: Annotated[int, Field(ge=256, le=2048)] | None = None
    height: Annotated[int, Field(ge=256, le=2048)] | None = None
    resolution: Literal["match_input_image", "0.5 MP", "1 MP", "2 MP", "4 MP"] = "1 MP"
    safety_tolerance: Annotated[int, Field(ge=1, le=5)] = 2


class _Flux2Pro(_Flux2Hosted):
    input_images: Annotated[list[str], Field(max_length=8)] = []


class _Flux2Flex(_Flux2Hosted):
    input_images: Annotated[list[str], Field(max_length=10)] = []
    steps: Annotated[int, Field(ge=1, le=50)] = 30
    guidance: Annotated[float, Field(ge=1.5, le=10)] = 4.5
    prompt_upsampling: bool = True


class _Klein(_Input):
    images: Annotated[list[str], Field(max_length=5)] = []
    aspect_ratio: _Flux2Ratio = "1:1"
    output_megapixels: Literal["0.25", "0.5", "1", "2", "4"] = "1"
    go_fast: bool = False
    disable_safety_checker: bool = False

    def references(self) -> list[str]:
        return self.images

    def size(self, references: list[bytes]) -> tuple[int, int]:
        return _like(references, self.aspect_ratio, float(self.output_megapixels) * _MEGAPIXEL, 16)


class _Qwen(_Checked):
    negative_prompt: str = " "
    aspect_ratio: _QwenRatio = "16:9"
    image_size: Literal["optimize_for_quality", "optimize_for_speed"] = "optimize_for_quality"
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 30
    guidance: Annotated[float, Field(ge=0, le=10)] = 3
    enhance_prompt: bool = False
    lora_weights: str | None = None
    lora_scale: float = 1

    def size(self, references: list[bytes]) -> tuple[int, int]:
        return _QWEN_SIZES[self.aspect_ratio]


class _QwenEdit(_Checked):
    image: str
    aspect_ratio: _QwenRatio | Literal["match_input_image"] = "match_input_image"

    def references(self) -> list[str]:
        return [self.image]

    def size(self, references: list[bytes]) -> tuple[int, int]:
        return _like(references, self.aspect_ratio, _MEGAPIXEL, 16)


class _ZImage(_Input):
    width: Annotated[int, Field(ge=64, le=2048)] = 1024
    height: Annotated[int, Field(ge=64, le=2048)] = 1024
    num_inference_steps: Annotated[int, Field(ge=1, le=50)] = 8
    guidance_scale: Annotated[float, Field(ge=0, le=20)] = 0
    go_fast: bool = False

    def size(self, references: list[bytes]) -> tuple[int, int]:
        return self.width // 16 * 16, self.height // 16 * 16


MODELS: Mapping[str, type[_Input]] = {
    "black-forest-labs/flux-dev": _Dev,
    "black-forest-labs/flux-krea-dev": _Dev,
    "black-forest-labs/flux-schnell": _Schnell,
    "black-forest-labs/flux-dev-lora": _DevLora,
    "black-forest-labs/flux-kontext-dev": _Kontext,
    "black-forest-labs/flux-2-dev": _Flux2Dev,
    "black-forest-labs/flux-2-pro": _Flux2Pro,
    "black-forest-labs/flux-2-flex": _Flux2Flex,
    "black-forest-labs/flux-2-klein-4b": _Klein,
    "black-forest-labs/flux-2-klein-9b": _Klein,
    "qwen/qwen-image": _Qwen,
    "qwen/qwen-image-edit": _QwenEdit,
    "prunaai/z-image-turbo": _ZImage,
}
LISTS_OUTPUT = frozenset(
    {
        "black-forest-labs/flux-dev",
        "black-forest-labs/flux-krea-dev",
        "black-forest-labs/flux-schnell",
        "black-forest-labs/flux-dev-lora",
        "black-forest-labs/flux-2-klein-4b",
        "black-forest-labs/flux-2-klein-9b",
        "qwen/qwen-image",
        "qwen/qwen-image-edit",
    }
)
"""Models whose output is a list of addresses; the others return a single one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A prediction whose input is valid."""

    model: str
    input: _Input
    references: tuple[bytes, ...]
    seed: int
    width: int
    height: int

    def picture(self) -> PictureFile:
        """Draw the picture."""
        presentation = {"output_format", "output_quality", "num_outputs", "disable_safety_checker"}
        files = {"input_image", "input_images", "images", "image"}
        inputs = {
            "model": self.model,
            **self.input.model_dump(exclude=presentation | files),
            "seed": self.seed,
        }
        as_png = self.input.output_format == "png"
        return draw(inputs, self.width, self.height, as_png=as_png, references=self.references)


def prepare(model: str, content: Any, behavior: Behavior) -> Job:
    """Check a model's input and return the job.

    Raises:
        InvalidInput: The model refuses the input.
    """
    try:
        checked = TypeAdapter(MODELS[model]).validate_python(content)
    except ValidationError as error:
        raise InvalidInput([_as_error(each) for each in error.errors()]) from error
    references = [_picture_in(uri) for uri in checked.references()]
    width, height = checked.size(references)
    return Job(
        model=model,
        input=checked,
        references=tuple(references),
        seed=random.randrange(_SEEDS) if checked.seed is None else checked.seed,
        width=behavior.picture_width or width,
        height=behavior.picture_height or height,
    )


def _like(references: list[bytes], ratio: str, pixels: float, multiple: int) -> tuple[int, int]:
    if ratio in ("match_input_image", "custom"):
        if not references:
            raise InvalidInput([("required", "input", "an input image is required for this aspect ratio")])
        with Image.open(io.BytesIO(references[0])) as picture:
            width, height = picture.size
    else:
        width, height = map(int, ratio.split(":"))
    scale = (pixels / (width * height)) ** 0.5
    return (
        max(multiple, round(width * scale / multiple) * multiple),
        max(multiple, round(height * scale / multiple) * multiple),
    )


def _picture_in(uri: str) -> bytes:
    """Return the picture in a data URI. The fake downloads no other addresses."""
    head, comma, encoded = uri.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise InvalidInput([("format", "input", "Does not match format 'uri'")])
    try:
        content = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput([("format", "input", "is not a picture")]) from error
    if len(content) > _MAX_DATA_URI_BYTES:
        raise InvalidInput([("format", "input", "the data URI is too large")])
    return content


def _as_error(error: Mapping[str, Any]) -> tuple[str, str, str]:
    field = ".".join(["input", *(str(part) for part in error["loc"])])
    return str(error["type"]), field, str(error["msg"])

"""The processors of FLUX.2-dev and Qwen-Image-Edit without torchvision.

The real processors also handle videos, and import torchvision for that. It needs a CUDA build of torch, of
several gigabytes. `replace_processors` puts these classes in the place of the real ones. They do the same to
texts and pictures.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

_IMAGE_TOKEN = "<|image_pad|>"


class PixtralProcessor(ProcessorMixin):  # type: ignore[misc]  # its library has no types
    """Turns conversations into the tokens of Mistral 3, without pictures."""

    __module__ = "transformers.models.pixtral.processing_pixtral"  # of the real one, for the model's index

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> PixtralProcessor:
        """Load the processor from its folder."""
        return cls(AutoTokenizer.from_pretrained(folder))

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Save the processor to a folder."""
        self.tokenizer.save_pretrained(folder)

    def apply_chat_template(self, conversations: Any, **options: Any) -> Any:
        """Return the conversations as text, or as tokens."""
        return self.tokenizer.apply_chat_template(conversations, **options)


class Qwen2VLProcessor(ProcessorMixin):  # type: ignore[misc]  # its library has no types
    """Turns pictures and a text into the inputs of Qwen2.5-VL, with one token for each merged patch."""

    __module__ = "transformers.models.qwen2_vl.processing_qwen2_vl"

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    @classmethod
    def of(cls, tokenizer: Any) -> Qwen2VLProcessor:
        """Return the processor with this tokenizer and small pictures, which a CPU encodes fast."""
        return cls(Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=4 * 28 * 28), tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> Qwen2VLProcessor:
        """Load the processor from its folder."""
        return cls(Qwen2VLImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Save the processor to a folder."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def __call__(
        self, *, text: list[str], images: Image.Image | list[Image.Image], padding: bool, return_tensors: str
    ) -> BatchFeature:
        """Return the inputs for the only text, which shows each picture once."""
        [only] = text
        shown = images if isinstance(images, list) else [images]
        pictures = self.image_processor(images=shown, return_tensors=return_tensors)
        merged = self.image_processor.merge_size**2
        first, *parts = only.split(_IMAGE_TOKEN)
        for part, grid in zip(parts, pictures["image_grid_thw"], strict=True):
            first += _IMAGE_TOKEN * (int(grid.prod()) // merged) + part
        tokens = self.tokenizer([first], padding=padding, return_tensors=return_tensors)
        return BatchFeature({**tokens, **pictures})


def replace_processors() -> None:
    """Let transformers have these processors, unless torchvision is installed."""
    # The first import of a part of transformers replaces the module, so it is imported only now.
    import transformers

    if find_spec("torchvision") is None:
        transformers.PixtralProcessor = PixtralProcessor
        transformers.Qwen2VLProcessor = Qwen2VLProcessor

"""Families of pipelines: the way in which each takes a request, and the words of a prompt that it reads.

The signatures and defaults are those of the pipelines in diffusers 0.42.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal

from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from PIL import Image, ImageOps

from avatar_creator_server.model_table import Guidance, Model
from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.diffusers.failures import rejected

TRUE_CFG_SCALE = 2.0
"""Strength of the real guidance that a negative prompt needs on FLUX.1; values above 1 turn it on.

The value is low because it adds to the guidance that is already distilled into the model.
"""

_NO_NEGATIVE_PROMPT = " "
"""Negative prompt with which Qwen-Image draws when there is none: https://huggingface.co/Qwen/Qwen-Image."""
_LEAST_SIDE, _MAX_RATIO = 64, 8
"""Limits of FLUX.2 for a reference (`Flux2ImageProcessor.check_image_input` in diffusers)."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text in the form in which a text encoder reads it."""

    tokenizer: Any
    text: str
    """The text with its template."""
    max_tokens: int
    """Number of tokens that the model reads, with those of the template."""
    end_tokens: int
    """Number of tokens after the text that are kept when it is cut."""


_Reader = Callable[[Any, str, int], _Reading]
"""Returns the reading of a text by a pipeline that reads this number of tokens."""


def _t5(pipeline: Any, text: str, max_tokens: int) -> _Reading:
    # The other text encoder always reads 77 tokens, and only for the general look of the picture.
    return _Reading(pipeline.tokenizer_2, text, max_tokens, 1)


def _clip(pipeline: Any, text: str, _: int) -> _Reading:
    return _Reading(pipeline.tokenizer, text, pipeline.tokenizer.model_max_length, 1)


def _flux_2(pipeline: Any, text: str, max_tokens: int) -> _Reading:
    [conversation] = format_input([text], system_message=pipeline.system_message)
    rendered = pipeline.tokenizer.apply_chat_template(conversation, tokenize=False)
    return _Reading(pipeline.tokenizer.tokenizer, rendered, max_tokens, 0)


def _chat(*, thinking: bool) -> _Reader:
    def read(pipeline: Any, text: str, max_tokens: int) -> _Reading:
        rendered = pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,
        )
        return _Reading(pipeline.tokenizer, rendered, max_tokens, 0)

    return read


def _qwen_image(pipeline: Any, text: str, max_tokens: int) -> _Reading:
    rendered = pipeline.prompt_template_encode.format(text)
    return _Reading(pipeline.tokenizer, rendered, max_tokens + pipeline.prompt_template_encode_start_idx, 0)


def _krea_2(pipeline: Any, text: str, max_tokens: int) -> _Reading:
    # The pipeline cuts the text before it adds the end of the template, and keeps places for that end.
    cut = pipeline.prompt_template_encode_start_idx - pipeline.prompt_template_encode_num_suffix_tokens
    return _Reading(pipeline.tokenizer, pipeline.prompt_template_encode_prefix + text, max_tokens + cut, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Pipelines that take a request in the same way."""

    reference_pipeline: str = ""
    """Class of diffusers that draws from a reference with noise on it; empty if none does."""
    pictures: Literal["none", "one", "list"] = "none"
    """The references that the pipeline itself takes."""
    needs_reference: bool = False
    """True if the pipeline cannot draw from text alone."""
    guidance: str = "guidance_scale"
    """Argument for the guidance scale."""
    guidance_off: float = 1.0
    """Largest guidance scale with which the pipeline does not read the negative prompt."""
    added_guidance: bool = False
    """True if a negative prompt needs real guidance in addition, `true_cfg_scale`."""
    constant_negative_prompt: str = ""
    """Negative prompt without which the pipeline has no guidance; empty if it does not need one."""
    sized_by_area: bool = False
    """True if the pipeline scales the size to an area, which is a megapixel if it is not given."""
    reader: _Reader | None = None
    """The reader of its prompts; None if the pipeline does not cut them, or its way to is unknown."""

    def arguments(self, pipeline: Any, model: Model | None, request: PortraitRequest) -> dict[str, Any]:
        """Return the arguments with which the pipeline draws the request, without seed and callbacks.

        What the request and the table leave open has the pipeline's own default.

        Args:
            pipeline: The pipeline that is called: that of the model, or of its `reference_pipeline`.
            model: The model in the table; None if the table does not have it.
            request: The portrait to draw.

        Raises:
            ProviderError: PROVIDER_REJECTED if the pipeline cannot draw the request.
        """
        parameters = inspect.signature(pipeline.__call__).parameters
        arguments: dict[str, Any] = {
            "prompt": request.prompt,
            "width": request.width,
            "height": request.height,
        }
        if request.steps is not None:
            arguments["num_inference_steps"] = request.steps
        if model is not None and "max_sequence_length" in parameters:
            arguments["max_sequence_length"] = model.prompt_tokens
        if self.sized_by_area:
            arguments["max_area"] = request.width * request.height
        if model is not None and model.guidance is Guidance.NONE:
            arguments["guidance_scale"] = 0.0
        elif request.guidance_scale is not None and self.guidance in parameters:
            arguments[self.guidance] = request.guidance_scale
        arguments |= self._negative_prompt(parameters, model, request)
        arguments |= self._references(parameters, request)
        return arguments

    def ignores_negative_prompt(self, request: PortraitRequest) -> bool:
        """Return whether the request's guidance is too low for its negative prompt to have an effect."""
        if not request.negative_prompt or self.added_guidance or request.guidance_scale is None:
            return False
        return request.guidance_scale <= self.guidance_off

    def unread_words(self, pipeline: Any, model: Model | None, request: PortraitRequest) -> Iterator[str]:
        """Yield a sentence for each prompt that is longer than the model reads."""
        if self.reader is None:
            return
        parameter = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
        max_tokens = model.prompt_tokens if model is not None else parameter.default if parameter else 0
        texts = {"the prompt": request.prompt, "the negative prompt": request.negative_prompt}
        for name, text in texts.items():
            reading = self.reader(pipeline, text, max_tokens)
            if text.strip() and reading.tokenizer.is_fast:
                yield from _unread(name, text.strip(), reading)

    def _negative_prompt(
        self, parameters: Any, model: Model | None, request: PortraitRequest
    ) -> dict[str, Any]:
        if self.constant_negative_prompt:
            if request.guidance_scale is not None and request.guidance_scale <= self.guidance_off:
                return {}
            return {"negative_prompt": request.negative_prompt or self.constant_negative_prompt}
        if not request.negative_prompt:
            return {}
        known = model is None or model.true_guidance or model.guidance is Guidance.CLASSIFIER_FREE
        if not known or "negative_prompt" not in parameters:
            raise rejected("the model has no negative prompt: create a generation without one")
        added = {"true_cfg_scale": TRUE_CFG_SCALE} if self.added_guidance else {}
        return {"negative_prompt": request.negative_prompt, **added}

    def _references(self, parameters: Any, request: PortraitRequest) -> dict[str, Any]:
        if not request.references:
            if self.needs_reference:
                raise rejected("the model only edits a picture: choose a reference avatar")
            return {}
        first = request.references[0]
        if self.pictures == "list":
            return {"image": [_accepted(reference.image) for reference in request.references]}
        if len(request.references) > 1 or "image" not in parameters:
            taken = "only one reference" if "image" in parameters else "no reference"
            raise rejected(f"the model takes {taken}: create a generation with fewer")
        if self.pictures == "one":
            return {"image": first.image}
        steps = request.steps or parameters["num_inference_steps"].default
        size = (request.width, request.height)
        return {
            "image": ImageOps.fit(first.image, size, Image.Resampling.LANCZOS),
            # The strength is the part of the steps that is drawn, and at least one step must be drawn.
            "strength": max(first.strength, 1 / steps),
        }


_FAMILIES = {
    "FluxPipeline": Family(reference_pipeline="FluxImg2ImgPipeline", added_guidance=True, reader=_t5),
    "FluxKontextPipeline": Family(pictures="one", added_guidance=True, sized_by_area=True, reader=_t5),
    "Flux2Pipeline": Family(pictures="list", reader=_flux_2),
    "Flux2KleinPipeline": Family(pictures="list", reader=_chat(thinking=False)),
    "ZImagePipeline": Family(reader=_chat(thinking=True)),
    # Its scale is the others' less one: https://huggingface.co/docs/diffusers/en/api/pipelines/krea2.
    "Krea2Pipeline": Family(guidance_off=0.0, reader=_krea_2),
    "QwenImagePipeline": Family(
        guidance="true_cfg_scale", constant_negative_prompt=_NO_NEGATIVE_PROMPT, reader=_qwen_image
    ),
    "QwenImageEditPipeline": Family(
        pictures="one",
        needs_reference=True,
        guidance="true_cfg_scale",
        constant_negative_prompt=_NO_NEGATIVE_PROMPT,
    ),
    "QwenImageEditPlusPipeline": Family(
        pictures="list",
        needs_reference=True,
        guidance="true_cfg_scale",
        constant_negative_prompt=_NO_NEGATIVE_PROMPT,
    ),
    "StableDiffusionXLPipeline": Family(reference_pipeline="StableDiffusionXLImg2ImgPipeline", reader=_clip),
}
_OTHER = Family()


def family_of(pipeline: Any) -> Family:
    """Return the family of a pipeline. An unknown pipeline gets only the arguments that its call takes."""
    return _FAMILIES.get(type(pipeline).__name__, _OTHER)


def _accepted(reference: Image.Image) -> Image.Image:
    """Return the reference with the least side and the proportions that FLUX.2 accepts."""
    width, height = (min(side, _MAX_RATIO * min(reference.size)) for side in reference.size)
    factor = max(1.0, _LEAST_SIDE / min(width, height))
    size = (round(width * factor), round(height * factor))
    return reference if size == reference.size else ImageOps.fit(reference, size, Image.Resampling.LANCZOS)


def _unread(name: str, text: str, reading: _Reading) -> Iterator[str]:
    rendered = reading.text
    start = rendered.find(text)
    if start < 0:
        return
    end = start + len(text)
    # The template has the special tokens already.
    special = reading.end_tokens > 0
    encoded = reading.tokenizer(rendered, add_special_tokens=special, return_offsets_mapping=True)
    places = encoded["offset_mapping"]
    in_text = [at for at, (first, last) in enumerate(places) if start <= first < end and last > first]
    before = in_text[0] if not special else 0
    tokens = len(places) if special else len(in_text)
    readable = max(reading.max_tokens - before, 0)
    if tokens <= readable:
        return
    cut = max(places[before + readable - reading.end_tokens][0], start)
    words = shorten(rendered[cut:end], 60, placeholder=" …")
    yield (
        f"{name} has {tokens} tokens and the model reads {readable}: the last {tokens - readable} were "
        f"ignored, starting at “{words}”"
    )

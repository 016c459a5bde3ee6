"""The table of models: what each honors, what it costs, and by which routes it can be had.

`docs/models.md` is generated from this table. A model that is not in the table runs with its pipeline's own
defaults and a warning.

Sources, read in August to November 2026:

- fal's apps, their inputs and defaults: `libs/client/src/types/endpoints.ts` of fal-ai/fal-js of 2026-08-02
- ranges and prices of fal's apps: `https://fal.ai/models/{app}/llms.txt`
- Replicate's models and inputs: the sources that `providers/replicate/schemas.py` of the worker names
- Replicate's prices, none of which is confirmed: public code that calls Replicate, and repeats the prices of
  `https://replicate.com/{model}`
- defaults of local pipelines, licenses and sizes: the model cards on `https://huggingface.co/{id}`, and the
  signatures of the pipelines in diffusers 0.42. The sizes are the parameters of all parts times two bytes.
- references and prompt lengths of FLUX.2: https://docs.bfl.ai/flux_2/flux2_overview
- license of Krea 2: https://huggingface.co/krea/Krea-2-Turbo/blob/main/LICENSE.pdf, sections 2.3 and 4.2
- models of Hugging Face's own inference: the task page `text-to-image` of huggingface/hub-docs, which names
  one model as an example. The list of all is not public text.
- seconds: estimates from the number of parameters and steps, and from our measurements of FLUX.1-dev
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

FAL = "fal-ai"
"""The provider of most apps, by its name at Hugging Face's router; also the name of the route to it."""

PIXELS_OF_A_MEGAPIXEL = 1024 * 1024
"""Providers bill started megapixels (https://fal.ai/models/fal-ai/flux-lora) without a definition. Users
report that a picture of 1,024 by 1,024 is billed as one megapixel (veniceai/api-docs#241)."""


class References(StrEnum):
    """The way in which a model draws from reference pictures."""

    NONE = "none"
    NOISED = "noised"
    """The picture starts from the reference with noise on it (image-to-image): it has a strength."""
    EDITED = "edited"
    """The model edits the reference by an instruction."""
    COMBINED = "combined"
    """The model reads several references and keeps the person."""


class Guidance(StrEnum):
    """The kind of guidance that a model has."""

    NONE = "none"
    """No guidance at all: the model was distilled to draw without."""
    DISTILLED = "distilled"
    """A number that the model reads. A negative prompt is an error there, or has no effect."""
    CLASSIFIER_FREE = "classifier-free"
    """Two predictions for each step, so that a negative prompt works at no extra cost."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The values of a numeric option that a model or an app takes."""

    default: float
    minimum: float
    maximum: float

    def clamp(self, value: float) -> float:
        """Return the nearest value that the model takes."""
        return min(max(value, self.minimum), self.maximum)


@dataclass(frozen=True, slots=True)
class Prices:
    """The price of a picture in millionths of a US dollar, by its parts."""

    per_megapixel: int = 0
    """Price of each started megapixel of the picture."""
    first_megapixel: int = 0
    """Additional price of the first megapixel."""
    per_picture: int = 0
    """Additional price of each picture."""
    per_reference_megapixel: int = 0
    """Price of each megapixel of each reference."""
    reference_megapixels: int = 0
    """Megapixels that count for a reference of any size; 0 if its started megapixels count."""

    def price(self, width: int, height: int, references: int) -> int:
        """Return the price of a picture of this size with this number of references of the same size."""
        megapixels = math.ceil(width * height / PIXELS_OF_A_MEGAPIXEL)
        of_references = references * (self.reference_megapixels or megapixels)
        return (
            megapixels * self.per_megapixel
            + of_references * self.per_reference_megapixel
            + self.first_megapixel
            + self.per_picture
        )


NO_PRICES = Prices()
"""Prices of a route that costs nothing, or whose prices are not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A model as one provider hosts it."""

    name: str
    """The provider's name of it, for example `fal-ai/flux/dev` or `black-forest-labs/flux-dev`."""
    inputs: Mapping[str, str]
    """The app's name for each input that it takes, by our name of the input.

    Our names are `size`, `steps`, `guidance_scale`, `negative_prompt`, `seed`, `reference` (one picture),
    `references` (a list), `reference_strength`, `lora`, `acceleration` and `safety_checker`.
    """
    prices: Prices
    """Price of a picture, as the provider publishes it."""
    price_date: str
    """Date of the price, as `YYYY-MM`."""
    price_confirmed: bool = True
    """False if only users of the provider report the price."""
    steps: Setting | None = None
    """The steps that the app takes; None if they are those of the model."""
    guidance_scale: Setting | None = None
    """The guidance scales that the app takes; None if they are those of the model."""
    max_references: int = 0
    min_side: int = 0
    """Minimum width and height of a picture in pixels; 0 if the app draws all sizes of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """The apps of one provider for a model."""

    text: App | None = None
    """App that draws from text alone; None if there is none."""
    text_lora: App | None = None
    """App that also takes a LoRA; None if there is none."""
    reference: App | None = None
    """App that draws from references."""
    reference_lora: App | None = None
    """App that draws from references with a LoRA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The service's knowledge of one model."""

    id: str
    """Id on the Hugging Face Hub; for a model without weights, the maker's name of it in the same form."""
    steps: Setting | None
    """Denoising steps; None if they cannot be chosen."""
    guidance: Guidance
    guidance_scale: Setting | None
    """Guidance scale; None if the model has none, or it cannot be chosen."""
    true_guidance: bool = False
    """True if the local pipeline can add real guidance for a negative prompt, in twice the time."""
    prompt_tokens: int
    """Number of tokens that the model reads."""
    prose: bool
    """True if its makers ask for prompts in sentences."""
    lora: bool
    """True if a LoRA can be loaded, locally or at a provider."""
    references: References
    """The way in which the model draws from references on the worker's own card."""
    max_references: int
    reference_models: tuple[str, ...] = ()
    """Ids of the models that draw from references instead, the best first; empty if it is this one."""
    needs_reference: bool = False
    """True if the model only edits pictures, and cannot draw from text alone."""
    license: str
    """Name of the license."""
    commercial: bool
    """True if the license allows commercial use of the weights without a contract."""
    commercial_condition: str = ""
    """Condition under which the license allows commercial use although `commercial` is False."""
    filter_required: bool = False
    """True if the license demands a filter or a review of pictures, and a disclosure that AI made them.

    Sources: section 2(e) of the FLUX Non-Commercial License and of the FLUX.1 [dev] Non-Commercial License
    v1.1.1, "Risks" of the model card of FLUX.2-dev, and sections 2.3 and 4.2 of Krea 2's license.
    """
    weights_gib: float = 0.0
    """Size of all weights in 16 bits, in GiB; 0 if there are no weights to download."""
    largest_part_gib: float = 0.0
    """Size of the largest part of the model in 16 bits, in GiB: the transformer or the text encoder."""
    seconds: float = 0.0
    """Usual seconds for one megapixel on one H100 with the default steps; 0 if unknown."""
    hosted: Mapping[str, Hosted] = field(default_factory=dict)
    """Apps by provider: `fal-ai` and `replicate`."""
    hf_inference: bool = False
    """True if Hugging Face's own inference has it."""

    @property
    def name(self) -> str:
        """Last part of the id."""
        return self.id.rpartition("/")[2]

    def is_drawn_by(self, provider: str) -> bool:
        """Return whether a provider draws with this model from text alone."""
        return provider in self.hosted and self.hosted[provider].text is not None

    @property
    def is_local(self) -> bool:
        """True if the weights can be downloaded."""
        return self.weights_gib > 0


_FLUX_1_LICENSE = "FLUX.1 [dev] Non-Commercial"
_FLUX_2_LICENSE = "FLUX Non-Commercial"
_SERVICE = "only as a service"
_APACHE = "Apache-2.0"

_FAL = {
    "size": "image_size",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "seed": "seed",
    "safety_checker": "enable_safety_checker",
}
_FAL_ACCELERATED = {**_FAL, "acceleration": "acceleration"}
_FAL_LORA = {**_FAL_ACCELERATED, "lora": "loras"}
_FAL_KLEIN = {key: value for key, value in _FAL.items() if key != "guidance_scale"}
_FAL_PRO = {"size": "image_size", "seed": "seed", "safety_checker": "enable_safety_checker"}
_FAL_KONTEXT = {
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "seed": "seed",
    "safety_checker": "enable_safety_checker",
    "reference": "image_url",
    "acceleration": "acceleration",
}
_FAL_QWEN = {**_FAL_ACCELERATED, "negative_prompt": "negative_prompt"}


def _with(inputs: Mapping[str, str], **more: str) -> Mapping[str, str]:
    return {**inputs, **more}


# A megapixel costs this much, and a picture always has about one.
_KONTEXT_APPS = {
    "reference": App(
        name="fal-ai/flux-kontext/dev",
        inputs=_FAL_KONTEXT,
        prices=Prices(per_picture=25_000),
        price_date="2026-08",
        steps=Setting(28, 10, 50),
        guidance_scale=Setting(2.5, 1, 20),
        max_references=1,
    ),
    "reference_lora": App(
        name="fal-ai/flux-kontext-lora",
        inputs=_with(_FAL_KONTEXT, lora="loras"),
        prices=Prices(per_picture=35_000),
        price_date="2026-08",
        steps=Setting(30, 10, 50),
        max_references=1,
    ),
}

_REPLICATE_SEEDED = {
    "seed": "seed",
    "acceleration": "go_fast",
    "safety_checker": "disable_safety_checker",
}
_REPLICATE_FLUX_1 = {
    **_REPLICATE_SEEDED,
    "steps": "num_inference_steps",
    "guidance_scale": "guidance",
}

_REPLICATE: Mapping[str, Hosted] = {
    "black-forest-labs/FLUX.1-dev": Hosted(
        text=App(
            name="black-forest-labs/flux-dev",
            inputs=_REPLICATE_FLUX_1,
            prices=Prices(per_picture=25_000),
            price_date="2026-10",
            price_confirmed=False,
            guidance_scale=Setting(3.5, 0, 10),
        ),
        text_lora=App(
            name="black-forest-labs/flux-dev-lora",
            inputs=_with(_REPLICATE_FLUX_1, lora="lora_weights"),
            prices=Prices(per_picture=32_000),
            price_date="2026-10",
            price_confirmed=False,
            guidance_scale=Setting(3.5, 0, 10),
        ),
    ),
    "black-forest-labs/FLUX.1-schnell": Hosted(
        text=App(
            name="black-forest-labs/flux-schnell",
            inputs=_with(_REPLICATE_SEEDED, steps="num_inference_steps"),
            prices=Prices(per_picture=3_000),
            price_date="2026-10",
            price_confirmed=False,
            steps=Setting(4, 1, 4),
        ),
    ),
    "black-forest-labs/FLUX.1-Krea-dev": Hosted(
        text=App(
            name="black-forest-labs/flux-krea-dev",
            inputs=_REPLICATE_FLUX_1,
            prices=Prices(per_picture=25_000),
            price_date="2026-10",
            price_confirmed=False,
            guidance_scale=Setting(4.5, 0, 10),
        ),
    ),
    "black-forest-labs/FLUX.1-Kontext-dev": Hosted(
        reference=App(
            name="black-forest-labs/flux-kontext-dev",
            inputs=_with(_REPLICATE_FLUX_1, reference="input_image"),
            prices=Prices(per_picture=25_000),
            price_date="2026-10",
            price_confirmed=False,
            steps=Setting(28, 4, 50),
            guidance_scale=Setting(2.5, 0, 10),
            max_references=1,
        ),
    ),
    "black-forest-labs/FLUX.2-dev": Hosted(
        text=App(
            name="black-forest-labs/flux-2-dev",
            inputs=_REPLICATE_SEEDED,
            prices=Prices(per_megapixel=14_000),
            price_date="2026-10",
            price_confirmed=False,
        ),
        reference=App(
            name="black-forest-labs/flux-2-dev",
            inputs=_with(_REPLICATE_SEEDED, references="input_images"),
            prices=Prices(per_megapixel=14_000, per_reference_megapixel=14_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=4,
        ),
    ),
    "black-forest-labs/FLUX.2-klein-4B": Hosted(
        text=App(
            name="black-forest-labs/flux-2-klein-4b",
            inputs=_REPLICATE_SEEDED,
            prices=Prices(per_megapixel=1_000),
            price_date="2026-10",
            price_confirmed=False,
        ),
        reference=App(
            name="black-forest-labs/flux-2-klein-4b",
            inputs=_with(_REPLICATE_SEEDED, references="images"),
            prices=Prices(per_megapixel=1_000, per_reference_megapixel=1_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=4,
        ),
    ),
    "black-forest-labs/FLUX.2-klein-9B": Hosted(
        text=App(
            name="black-forest-labs/flux-2-klein-9b",
            inputs=_REPLICATE_SEEDED,
            prices=Prices(per_megapixel=15_000),
            price_date="2026-10",
            price_confirmed=False,
        ),
        reference=App(
            name="black-forest-labs/flux-2-klein-9b",
            inputs=_with(_REPLICATE_SEEDED, references="images"),
            prices=Prices(per_megapixel=15_000, per_reference_megapixel=2_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=4,
        ),
    ),
    "black-forest-labs/FLUX.2-pro": Hosted(
        text=App(
            name="black-forest-labs/flux-2-pro",
            inputs={"seed": "seed"},
            prices=Prices(per_megapixel=15_000, per_picture=15_000),
            price_date="2026-10",
            price_confirmed=False,
        ),
        reference=App(
            name="black-forest-labs/flux-2-pro",
            inputs={"seed": "seed", "references": "input_images"},
            prices=Prices(per_megapixel=15_000, per_picture=15_000, per_reference_megapixel=15_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=8,
        ),
    ),
    "black-forest-labs/FLUX.2-flex": Hosted(
        text=App(
            name="black-forest-labs/flux-2-flex",
            inputs={"seed": "seed", "steps": "steps", "guidance_scale": "guidance"},
            prices=Prices(per_megapixel=60_000),
            price_date="2026-10",
            price_confirmed=False,
        ),
        reference=App(
            name="black-forest-labs/flux-2-flex",
            inputs={
                "seed": "seed",
                "steps": "steps",
                "guidance_scale": "guidance",
                "references": "input_images",
            },
            prices=Prices(per_megapixel=60_000, per_reference_megapixel=60_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=8,
        ),
    ),
    "Tongyi-MAI/Z-Image-Turbo": Hosted(
        text=App(
            name="prunaai/z-image-turbo",
            inputs={"seed": "seed", "acceleration": "go_fast", "steps": "num_inference_steps"},
            prices=Prices(per_megapixel=8_000),
            price_date="2026-10",
            price_confirmed=False,
            steps=Setting(8, 1, 50),
        ),
    ),
    "Qwen/Qwen-Image": Hosted(
        text=App(
            name="qwen/qwen-image",
            # Its LoRA must be the address of a file, and not a repository, so the service offers none.
            inputs=_with(_REPLICATE_FLUX_1, negative_prompt="negative_prompt"),
            prices=Prices(per_picture=25_000),
            price_date="2026-10",
            price_confirmed=False,
            steps=Setting(30, 1, 50),
            guidance_scale=Setting(4.0, 1, 10),
        ),
    ),
    "Qwen/Qwen-Image-Edit": Hosted(
        reference=App(
            name="qwen/qwen-image-edit",
            inputs=_with(_REPLICATE_SEEDED, reference="image"),
            prices=Prices(per_picture=30_000),
            price_date="2026-10",
            price_confirmed=False,
            max_references=1,
        ),
    ),
}
"""Replicate's models by the id of the model. Its names of inputs are the keys of a prediction's `input`."""

MODELS: tuple[Model, ...] = (
    Model(
        id="black-forest-labs/FLUX.1-dev",
        steps=Setting(28, 1, 50),
        guidance=Guidance.DISTILLED,
        guidance_scale=Setting(3.5, 0, 20),
        true_guidance=True,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.NOISED,
        max_references=1,
        reference_models=("black-forest-labs/FLUX.1-Kontext-dev",),
        license=_FLUX_1_LICENSE,
        commercial=False,
        filter_required=True,
        weights_gib=31.4,
        largest_part_gib=22.2,
        seconds=4.0,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.1-dev"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux/dev",
                    inputs=_FAL_ACCELERATED,
                    prices=Prices(per_megapixel=25_000),
                    price_date="2026-08",
                    guidance_scale=Setting(3.5, 1, 20),
                ),
                text_lora=App(
                    name="fal-ai/flux-lora",
                    inputs=_FAL_LORA,
                    prices=Prices(per_megapixel=35_000),
                    price_date="2026-08",
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.1-schnell",
        steps=Setting(4, 1, 12),
        guidance=Guidance.NONE,
        guidance_scale=None,
        prompt_tokens=256,
        prose=True,
        lora=True,
        references=References.NOISED,
        max_references=1,
        license=_APACHE,
        commercial=True,
        weights_gib=31.4,
        largest_part_gib=22.2,
        seconds=0.7,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.1-schnell"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux/schnell",
                    inputs=_with(_FAL_KLEIN, acceleration="acceleration"),
                    prices=Prices(per_megapixel=3_000),
                    price_date="2026-08",
                    steps=Setting(4, 1, 12),
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.1-Krea-dev",
        steps=Setting(28, 1, 50),
        guidance=Guidance.DISTILLED,
        guidance_scale=Setting(4.5, 0, 20),
        true_guidance=True,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.NOISED,
        max_references=1,
        license=_FLUX_1_LICENSE,
        commercial=False,
        filter_required=True,
        weights_gib=31.4,
        largest_part_gib=22.2,
        seconds=4.0,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.1-Krea-dev"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux/krea",
                    inputs=_FAL_ACCELERATED,
                    prices=Prices(per_megapixel=25_000),
                    price_date="2026-08",
                    guidance_scale=Setting(4.5, 1, 20),
                ),
                text_lora=App(
                    name="fal-ai/flux-krea-lora",
                    inputs=_FAL_LORA,
                    prices=Prices(per_megapixel=35_000),
                    price_date="2026-08",
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.1-Kontext-dev",
        steps=Setting(28, 1, 50),
        guidance=Guidance.DISTILLED,
        guidance_scale=Setting(2.5, 0, 20),
        true_guidance=True,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.EDITED,
        max_references=1,
        license=_FLUX_1_LICENSE,
        commercial=False,
        filter_required=True,
        weights_gib=31.4,
        largest_part_gib=22.2,
        seconds=7.0,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.1-Kontext-dev"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-kontext-lora/text-to-image",
                    inputs=_FAL_LORA,
                    prices=Prices(per_megapixel=35_000),
                    price_date="2026-08",
                    steps=Setting(30, 10, 50),
                ),
                reference=_KONTEXT_APPS["reference"],
                reference_lora=_KONTEXT_APPS["reference_lora"],
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.2-dev",
        steps=Setting(28, 1, 50),
        guidance=Guidance.DISTILLED,
        guidance_scale=Setting(4.0, 0, 20),
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.COMBINED,
        max_references=6,
        license=_FLUX_2_LICENSE,
        commercial=False,
        filter_required=True,
        weights_gib=104.7,
        largest_part_gib=60.0,
        seconds=10.0,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.2-dev"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-2",
                    inputs=_FAL_ACCELERATED,
                    prices=Prices(per_megapixel=12_000),
                    price_date="2026-08",
                    min_side=512,
                    steps=Setting(28, 4, 50),
                    guidance_scale=Setting(2.5, 0, 20),
                ),
                text_lora=App(
                    name="fal-ai/flux-2/lora",
                    inputs=_FAL_LORA,
                    prices=Prices(per_megapixel=21_000),
                    price_date="2026-08",
                    min_side=512,
                    steps=Setting(28, 4, 50),
                    guidance_scale=Setting(2.5, 0, 20),
                ),
                reference=App(
                    name="fal-ai/flux-2/edit",
                    inputs=_with(_FAL_ACCELERATED, references="image_urls"),
                    prices=Prices(
                        per_megapixel=12_000, per_reference_megapixel=12_000, reference_megapixels=1
                    ),
                    price_date="2026-08",
                    min_side=512,
                    steps=Setting(28, 4, 50),
                    guidance_scale=Setting(2.5, 0, 20),
                    max_references=4,
                ),
                reference_lora=App(
                    name="fal-ai/flux-2/lora/edit",
                    inputs=_with(_FAL_LORA, references="image_urls"),
                    prices=Prices(
                        per_megapixel=21_000, per_reference_megapixel=21_000, reference_megapixels=1
                    ),
                    price_date="2026-08",
                    min_side=512,
                    steps=Setting(28, 4, 50),
                    guidance_scale=Setting(2.5, 0, 20),
                    max_references=3,
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.2-klein-4B",
        steps=Setting(4, 1, 8),
        guidance=Guidance.NONE,
        guidance_scale=None,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.COMBINED,
        max_references=4,
        license=_APACHE,
        commercial=True,
        weights_gib=14.9,
        largest_part_gib=7.5,
        seconds=0.6,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.2-klein-4B"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-2/klein/4b",
                    inputs=_FAL_KLEIN,
                    prices=Prices(per_megapixel=5_000),
                    price_date="2026-08",
                    steps=Setting(4, 4, 8),
                ),
                text_lora=App(
                    name="fal-ai/flux-2/klein/4b/lora",
                    inputs=_with(_FAL_KLEIN, lora="loras"),
                    prices=Prices(per_megapixel=15_000),
                    price_date="2026-03",
                    price_confirmed=False,
                    steps=Setting(4, 4, 8),
                ),
                reference=App(
                    name="fal-ai/flux-2/klein/4b/edit",
                    inputs=_with(_FAL_KLEIN, references="image_urls"),
                    prices=Prices(
                        per_megapixel=10_000, per_reference_megapixel=10_000, reference_megapixels=1
                    ),
                    price_date="2026-08",
                    steps=Setting(4, 4, 8),
                    max_references=4,
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.2-klein-9B",
        steps=Setting(4, 1, 8),
        guidance=Guidance.NONE,
        guidance_scale=None,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.COMBINED,
        max_references=4,
        license=_FLUX_2_LICENSE,
        commercial=False,
        filter_required=True,
        weights_gib=32.3,
        largest_part_gib=16.9,
        seconds=1.0,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.2-klein-9B"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-2/klein/9b",
                    inputs=_FAL_KLEIN,
                    prices=Prices(per_megapixel=6_000),
                    price_date="2026-08",
                    steps=Setting(4, 4, 8),
                ),
                text_lora=App(
                    name="fal-ai/flux-2/klein/9b/lora",
                    inputs=_with(_FAL_KLEIN, lora="loras"),
                    prices=Prices(per_megapixel=15_000),
                    price_date="2026-03",
                    price_confirmed=False,
                    steps=Setting(4, 4, 8),
                ),
                reference=App(
                    name="fal-ai/flux-2/klein/9b/edit",
                    inputs=_with(_FAL_KLEIN, references="image_urls"),
                    prices=Prices(
                        per_megapixel=11_000, per_reference_megapixel=11_000, reference_megapixels=1
                    ),
                    price_date="2026-08",
                    steps=Setting(4, 4, 8),
                    max_references=4,
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.2-pro",
        steps=None,
        guidance=Guidance.DISTILLED,
        guidance_scale=None,
        prompt_tokens=32_000,
        prose=True,
        lora=False,
        references=References.COMBINED,
        max_references=8,
        license=_SERVICE,
        commercial=True,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.2-pro"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-2-pro",
                    inputs=_FAL_PRO,
                    prices=Prices(per_megapixel=15_000, first_megapixel=15_000),
                    price_date="2026-08",
                ),
                reference=App(
                    name="fal-ai/flux-2-pro/edit",
                    inputs=_with(_FAL_PRO, references="image_urls"),
                    prices=Prices(
                        per_megapixel=15_000, first_megapixel=15_000, per_reference_megapixel=15_000
                    ),
                    price_date="2026-08",
                    max_references=8,
                ),
            ),
        },
    ),
    Model(
        id="black-forest-labs/FLUX.2-flex",
        steps=Setting(28, 1, 50),
        guidance=Guidance.DISTILLED,
        guidance_scale=Setting(3.5, 1.5, 10),
        prompt_tokens=32_000,
        prose=True,
        lora=False,
        references=References.COMBINED,
        max_references=8,
        license=_SERVICE,
        commercial=True,
        hosted={
            "replicate": _REPLICATE["black-forest-labs/FLUX.2-flex"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/flux-2-flex",
                    inputs=_FAL,
                    prices=Prices(per_megapixel=50_000),
                    price_date="2026-08",
                    steps=Setting(28, 2, 50),
                ),
                reference=App(
                    name="fal-ai/flux-2-flex/edit",
                    inputs=_with(_FAL, references="image_urls"),
                    prices=Prices(per_megapixel=50_000, per_reference_megapixel=50_000),
                    price_date="2026-08",
                    steps=Setting(28, 2, 50),
                    max_references=8,
                ),
            ),
        },
    ),
    Model(
        id="Tongyi-MAI/Z-Image-Turbo",
        steps=Setting(9, 1, 20),
        guidance=Guidance.NONE,
        guidance_scale=None,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.NONE,
        max_references=0,
        license=_APACHE,
        commercial=True,
        weights_gib=19.1,
        largest_part_gib=11.5,
        seconds=1.0,
        hosted={
            "replicate": _REPLICATE["Tongyi-MAI/Z-Image-Turbo"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/z-image/turbo",
                    inputs=_with(_FAL_KLEIN, acceleration="acceleration"),
                    prices=Prices(per_megapixel=5_000),
                    price_date="2026-08",
                    steps=Setting(8, 1, 8),
                ),
                text_lora=App(
                    name="fal-ai/z-image/turbo/lora",
                    inputs=_with(_FAL_KLEIN, lora="loras", acceleration="acceleration"),
                    prices=Prices(per_megapixel=8_500),
                    price_date="2026-08",
                    steps=Setting(8, 1, 8),
                ),
            ),
        },
    ),
    Model(
        id="krea/Krea-2-Turbo",
        steps=Setting(8, 1, 20),
        guidance=Guidance.NONE,
        guidance_scale=None,
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.NONE,
        max_references=0,
        license="Krea 2 Community",
        commercial=False,
        commercial_condition="with a revenue under $1 million a year",
        filter_required=True,
        weights_gib=32.5,
        largest_part_gib=24.0,
        seconds=2.0,
        hosted={
            FAL: Hosted(
                text=App(
                    name="fal-ai/krea-2/turbo",
                    inputs=_with(_FAL_PRO, acceleration="acceleration"),
                    prices=Prices(per_megapixel=8_000),
                    price_date="2026-08",
                ),
                text_lora=App(
                    name="fal-ai/krea-2/turbo/lora",
                    inputs=_with(_FAL_PRO, acceleration="acceleration", lora="loras"),
                    prices=Prices(per_megapixel=10_000),
                    price_date="2026-08",
                ),
            ),
        },
    ),
    Model(
        id="Qwen/Qwen-Image",
        steps=Setting(50, 1, 50),
        guidance=Guidance.CLASSIFIER_FREE,
        guidance_scale=Setting(4.0, 1, 20),
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.NONE,
        max_references=0,
        reference_models=("Qwen/Qwen-Image-Edit-2511", "Qwen/Qwen-Image-Edit"),
        license=_APACHE,
        commercial=True,
        weights_gib=53.7,
        largest_part_gib=38.1,
        seconds=20.0,
        hosted={
            "replicate": _REPLICATE["Qwen/Qwen-Image"],
            FAL: Hosted(
                text=App(
                    name="fal-ai/qwen-image",
                    inputs=_with(_FAL_QWEN, lora="loras"),
                    prices=Prices(per_megapixel=20_000),
                    price_date="2026-08",
                    steps=Setting(30, 2, 50),
                    guidance_scale=Setting(2.5, 0, 20),
                ),
            ),
        },
    ),
    Model(
        id="Qwen/Qwen-Image-Edit",
        steps=Setting(50, 1, 50),
        guidance=Guidance.CLASSIFIER_FREE,
        guidance_scale=Setting(4.0, 1, 20),
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.EDITED,
        max_references=1,
        needs_reference=True,
        license=_APACHE,
        commercial=True,
        weights_gib=53.7,
        largest_part_gib=38.1,
        seconds=30.0,
        hosted={
            "replicate": _REPLICATE["Qwen/Qwen-Image-Edit"],
            FAL: Hosted(
                reference=App(
                    name="fal-ai/qwen-image-edit",
                    inputs=_with(_FAL_QWEN, reference="image_url"),
                    prices=Prices(per_megapixel=30_000),
                    price_date="2026-08",
                    steps=Setting(30, 2, 50),
                    guidance_scale=Setting(4.0, 0, 20),
                    max_references=1,
                ),
            ),
        },
    ),
    Model(
        id="Qwen/Qwen-Image-Edit-2511",
        steps=Setting(40, 1, 50),
        guidance=Guidance.CLASSIFIER_FREE,
        guidance_scale=Setting(4.0, 1, 20),
        prompt_tokens=512,
        prose=True,
        lora=True,
        references=References.COMBINED,
        max_references=3,
        needs_reference=True,
        license=_APACHE,
        commercial=True,
        weights_gib=53.7,
        largest_part_gib=38.1,
        seconds=30.0,
        hosted={
            FAL: Hosted(
                reference=App(
                    name="fal-ai/qwen-image-edit-2511",
                    inputs=_with(_FAL_QWEN, references="image_urls"),
                    prices=Prices(per_megapixel=30_000),
                    price_date="2026-08",
                    steps=Setting(28, 1, 50),
                    guidance_scale=Setting(4.5, 1, 20),
                    max_references=3,
                ),
                reference_lora=App(
                    name="fal-ai/qwen-image-edit-2511/lora",
                    inputs=_with(_FAL_QWEN, references="image_urls", lora="loras"),
                    prices=Prices(per_megapixel=35_000),
                    price_date="2026-08",
                    steps=Setting(28, 1, 50),
                    guidance_scale=Setting(4.5, 1, 20),
                    max_references=3,
                ),
            ),
        },
    ),
    Model(
        id="stabilityai/stable-diffusion-xl-base-1.0",
        steps=Setting(50, 1, 50),
        guidance=Guidance.CLASSIFIER_FREE,
        guidance_scale=Setting(5.0, 1, 20),
        prompt_tokens=77,
        prose=False,
        lora=True,
        references=References.NOISED,
        max_references=1,
        license="CreativeML Open RAIL++-M",
        commercial=True,
        weights_gib=6.5,
        largest_part_gib=4.8,
        seconds=4.0,
        hf_inference=True,
    ),
)
"""All models that the service knows, in the order of the documentation."""

COMMERCIAL_MODEL = "black-forest-labs/FLUX.2-klein-4B"
"""Model to use if the license of another one does not allow commercial use."""

_BY_ID = {model.id.casefold(): model for model in MODELS}


def find_model(model: str) -> Model | None:
    """Return the model of an id on the hub, or of a folder that has the same name; None if it is unknown."""
    return _BY_ID.get(model.casefold()) or next(_named_like(model), None)


def _named_like(model: str) -> Iterator[Model]:
    """Yield the models whose name is the last part of a path, as in `/models/FLUX.1-dev`."""
    name = model.rstrip("/").rpartition("/")[2].casefold()
    yield from (known for known in MODELS if known.id.rpartition("/")[2].casefold() == name)

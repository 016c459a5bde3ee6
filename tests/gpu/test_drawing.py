"""The provider `diffusers`, with a tiny FLUX model on the CPU."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image, ImageChops, ImageStat

from avatar_creator_server.generations.routes import OPTIONS, Lora, Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference, Reports
from avatar_creator_tasks.providers.diffusers.families import TRUE_CFG_SCALE
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

SIZE = 64
STEPS = 5
REQUEST = PortraitRequest(
    route=Route("diffusers", "local", "tiny", "", None, OPTIONS),
    prompt="confident business woman",
    attributes=Attributes(),
    seed=1,
    width=SIZE,
    height=SIZE,
    steps=STEPS,
    guidance_scale=3.5,
)


@pytest.fixture
async def provider(model: Path) -> AsyncIterator[DiffusersProvider]:
    """Return a provider without a LoRA."""
    diffusers = DiffusersProvider(ModelSettings(str(model)))
    yield diffusers
    await diffusers.close()


async def ignored(_: object) -> None:
    """Ignore a report."""


def reporting(progress: Callable[[float], Awaitable[None]]) -> Reports:
    return Reports(submitted=ignored, progress=progress)


async def draw(provider: DiffusersProvider, **changes: Any) -> Portrait:
    """Draw the usual request with some fields changed."""
    return await provider.generate(replace(REQUEST, **changes), reporting(ignored))


async def draw_with(settings: ModelSettings, **changes: Any) -> Portrait:
    """Draw with a new provider."""
    provider = DiffusersProvider(settings)
    try:
        return await draw(provider, **changes)
    finally:
        await provider.close()


async def draw_directly(provider: DiffusersProvider, **arguments: Any) -> Image.Image:
    """Draw the usual request with diffusers alone and the provider's model."""
    pipeline = (await provider.load()).pipeline
    image: Image.Image = pipeline(
        prompt=REQUEST.prompt,
        width=SIZE,
        height=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=REQUEST.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(REQUEST.seed),
        **arguments,
    ).images[0]
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the average difference between the pixel values of two pictures, 0 to 255."""
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()


async def test_each_step_is_reported_before_the_next_begins(provider: DiffusersProvider) -> None:
    events: list[str | float] = []

    async def progress(part: float) -> None:
        # A step that does not wait for the report would start during this time.
        await asyncio.sleep(0.05)
        events.append(round(part, 3))

    transformer = (await provider.load()).pipeline.transformer
    transformer.register_forward_pre_hook(lambda *_: events.append("step"))
    portrait = await provider.generate(REQUEST, reporting(progress))

    assert events == ["step", 0.2, "step", 0.4, "step", 0.6, "step", 0.8, "step", 1.0]
    assert (portrait.image.mode, portrait.image.size) == ("RGB", (SIZE, SIZE))
    assert portrait.warnings == ()


async def test_the_facts_contain_the_causes_of_the_pixels(provider: DiffusersProvider) -> None:
    facts = dict((await draw(provider)).facts)
    assert float(facts.pop("seconds_per_step")) > 0
    assert facts.pop("torch") == torch.__version__
    assert facts.pop("diffusers")
    assert facts == {
        "device": "cpu",
        "dtype": "float32",
        "pipeline": "FluxPipeline",
        "quantization": "none",
    }


async def test_the_same_seed_gives_the_same_pixels_as_the_pipeline_alone(
    provider: DiffusersProvider, model: Path
) -> None:
    first = await draw(provider)
    assert same(first.image, (await draw(provider)).image)
    assert same(first.image, (await draw_with(ModelSettings(str(model)))).image)
    assert same(first.image, await draw_directly(provider))


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"prompt": "weathered fisherman"}, {"steps": STEPS + 1}, {"guidance_scale": 7.0}],
    ids=lambda changes: next(iter(changes)),
)
async def test_each_option_changes_the_pixels(provider: DiffusersProvider, changes: dict[str, Any]) -> None:
    assert not same((await draw(provider)).image, (await draw(provider, **changes)).image)


async def test_the_model_is_loaded_once(provider: DiffusersProvider) -> None:
    loaded = await provider.load()
    await draw(provider)
    assert await provider.load() is loaded


@pytest.mark.parametrize("weight_file", ["lora.safetensors", ""], ids=["named", "the only file"])
async def test_a_lora_changes_the_pixels_as_strongly_as_its_scale_says(
    model: Path, lora_folder: Path, weight_file: str
) -> None:
    without = (await draw_with(ModelSettings(str(model)))).image

    async def difference_at(scale: float) -> float:
        lora = Lora(str(lora_folder), weight_file, "", scale, "")
        return difference(without, (await draw_with(ModelSettings(str(model), lora=lora))).image)

    assert await difference_at(0.0) == 0
    assert 0 < await difference_at(1.0) < await difference_at(3.0)


async def test_a_negative_prompt_acts_through_true_guidance_alone(provider: DiffusersProvider) -> None:
    plain = await draw(provider)
    text = "cartoon"
    assert same(plain.image, await draw_directly(provider, negative_prompt=text))
    assert "true_cfg_scale" not in plain.facts

    guided = await draw(provider, negative_prompt=text)

    assert not same(plain.image, guided.image)
    assert same(
        guided.image, await draw_directly(provider, negative_prompt=text, true_cfg_scale=TRUE_CFG_SCALE)
    )
    assert guided.facts["true_cfg_scale"] == str(TRUE_CFG_SCALE)
    assert not same(guided.image, (await draw(provider, negative_prompt="mannequin")).image)


def gradient(width: int = SIZE, height: int = SIZE) -> Image.Image:
    """Return a picture with a gradient."""
    across = Image.linear_gradient("L").resize((width, height))
    return Image.merge(
        "RGB", (across, across.transpose(Image.Transpose.ROTATE_180), across.point(lambda _: 128))
    )


async def encode_and_decode(provider: DiffusersProvider, image: Image.Image) -> Image.Image:
    """Pass the picture through the model's autoencoder. Its random weights change the picture completely."""
    pipeline = (await provider.load()).pipeline
    with torch.no_grad():
        latents = pipeline.vae.encode(pipeline.image_processor.preprocess(image)).latent_dist.mode()
        decoded: Image.Image = pipeline.image_processor.postprocess(pipeline.vae.decode(latents).sample)[0]
    return decoded


async def test_a_lower_strength_keeps_the_portrait_closer_to_the_reference(
    provider: DiffusersProvider,
) -> None:
    decoded = await encode_and_decode(provider, gradient())

    async def distance(strength: float) -> float:
        return difference(
            decoded, (await draw(provider, steps=20, references=(Reference(gradient(), strength),))).image
        )

    near, middle, far = [await distance(strength) for strength in (0.05, 0.3, 1.0)]
    assert near < middle < far
    assert near < far / 2


@pytest.mark.parametrize(
    ("strength", "parts"),
    [(1.0, [0.2, 0.4, 0.6, 0.8, 1.0]), (0.4, [0.5, 1.0]), (0.01, [1.0]), (0.0, [1.0])],
)
async def test_progress_with_a_reference_counts_only_the_drawn_steps(
    provider: DiffusersProvider, strength: float, parts: list[float]
) -> None:
    reported: list[float] = []

    async def progress(part: float) -> None:
        reported.append(round(part, 3))

    request = replace(REQUEST, references=(Reference(gradient(), strength),))
    await provider.generate(request, reporting(progress))
    assert reported == parts


async def test_a_reference_with_other_proportions_is_cropped_and_not_stretched(
    provider: DiffusersProvider,
) -> None:
    wide = Image.new("RGB", (3 * SIZE, SIZE), "red")
    wide.paste(gradient(), (SIZE, 0))
    one = await draw(provider, references=(Reference(wide, 0.5),))
    other = await draw(provider, references=(Reference(gradient(), 0.5),))
    assert same(one.image, other.image)


async def test_two_drawings_never_run_at_the_same_time(provider: DiffusersProvider) -> None:
    order: list[str] = []

    def recording(name: str) -> Reports:
        async def progress(_: float) -> None:
            order.append(name)
            # Lets the other drawing continue, if it can.
            await asyncio.sleep(0.01)

        return reporting(progress)

    first, second = await asyncio.gather(
        provider.generate(REQUEST, recording("first")),
        provider.generate(replace(REQUEST, seed=2), recording("second")),
    )
    assert order == ["first"] * STEPS + ["second"] * STEPS
    assert not same(first.image, second.image)


async def test_a_cancelled_drawing_stops_between_two_steps(provider: DiffusersProvider) -> None:
    transformer = (await provider.load()).pipeline.transformer
    passes = 0
    reported: list[float] = []

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    async def progress(part: float) -> None:
        reported.append(round(part, 3))
        if len(reported) == 2:
            drawing.cancel()

    counting = transformer.register_forward_hook(count)
    drawing = asyncio.create_task(provider.generate(replace(REQUEST, steps=50), reporting(progress)))
    with pytest.raises(asyncio.CancelledError):
        await drawing

    # The next drawing waits until the cancelled one has released the model.
    passes_of_the_next: list[int] = []

    async def progress_of_the_next(_: float) -> None:
        passes_of_the_next.append(passes)

    next_one = await provider.generate(REQUEST, reporting(progress_of_the_next))
    counting.remove()
    assert reported == [0.02, 0.04]
    # At most the current step was still drawn, and then the steps of the next drawing.
    assert passes_of_the_next[0] <= 4
    assert passes == passes_of_the_next[0] + STEPS - 1
    assert same(next_one.image, (await draw(provider)).image)


async def test_a_drawing_that_is_cancelled_while_it_waits_never_starts(provider: DiffusersProvider) -> None:
    reported: list[str] = []

    async def progress_of_first(_: float) -> None:
        reported.append("first")
        waiting.cancel()

    async def progress_of_second(_: float) -> None:
        reported.append("second")

    first = asyncio.create_task(provider.generate(REQUEST, reporting(progress_of_first)))
    waiting = asyncio.create_task(provider.generate(REQUEST, reporting(progress_of_second)))
    await asyncio.wait({first, waiting})
    await draw(provider)
    assert waiting.cancelled()
    assert reported == ["first"] * STEPS


async def test_an_exception_in_a_report_ends_the_drawing_and_reaches_the_caller(
    provider: DiffusersProvider,
) -> None:
    lost = RuntimeError("the lease was lost")
    reported: list[float] = []

    async def progress(part: float) -> None:
        reported.append(part)
        raise lost

    with pytest.raises(RuntimeError) as caught:
        await provider.generate(REQUEST, reporting(progress))
    assert caught.value is lost
    assert len(reported) == 1


def text_of(tokens: int) -> str:
    """Return a text with this number of tokens: two per word of one letter, and one for the end."""
    words = ["a"] * ((tokens - 1) // 2)
    if tokens % 2 == 0:
        words[-1] = "ab"
    return " ".join(words)


async def test_a_warning_names_the_exact_words_that_the_model_does_not_read(
    provider: DiffusersProvider,
) -> None:
    assert (await draw(provider, prompt=text_of(512))).warnings == ()

    cut = await draw(provider, prompt=f"{text_of(511)} hats", negative_prompt=text_of(601))

    assert cut.warnings == (
        "the prompt has 516 tokens and the model reads 512: the last 4 were ignored, starting at “hats”",
        "the negative prompt has 601 tokens and the model reads 512: the last 89 were ignored, starting "
        "at “a a a a a a a a a a a a a a a a a a a a a a a a a a a a a …”",
    )


async def failing_draw(settings: ModelSettings, **changes: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await draw_with(settings, **changes)
    return caught.value


async def test_a_folder_without_a_model_is_a_permanent_failure(tmp_path: Path) -> None:
    error = await failing_draw(ModelSettings(str(tmp_path)))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"the model {tmp_path} could not be loaded" in error.message


async def test_a_folder_without_a_lora_is_a_permanent_failure(model: Path, tmp_path: Path) -> None:
    error = await failing_draw(ModelSettings(str(model), lora=Lora(str(tmp_path), "", "", 1.0, "")))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"the LoRA {tmp_path} could not be loaded" in error.message


async def test_an_unreachable_hub_is_retryable(model: Path) -> None:
    lora = Lora("missing/lora", "lora.safetensors", "", 1.0, "")
    for settings in (
        ModelSettings("missing/model"),
        ModelSettings("missing/model", model_revision="v1"),
        ModelSettings(str(model), lora=lora),
    ):
        error = await failing_draw(settings)
        assert (error.reason, error.retryable) == ("PROVIDER_UNAVAILABLE", True)
        assert "the hub could not be reached" in error.message


async def test_a_missing_device_is_retryable(model: Path) -> None:
    error = await failing_draw(ModelSettings(str(model), device="cuda:99"))
    assert (error.reason, error.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert "cuda:99" in error.message


async def test_the_drawing_after_a_failed_load_loads_the_model_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    provider = DiffusersProvider(ModelSettings(str(folder)))
    with pytest.raises(ProviderError):
        await draw(provider)
    folder.symlink_to(model)
    assert (await draw(provider)).image.size == (SIZE, SIZE)
    await provider.close()


async def test_an_out_of_memory_error_names_helpful_settings_and_the_next_drawing_works(
    provider: DiffusersProvider,
) -> None:
    before = await draw(provider)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**23, hard))
    try:
        with pytest.raises(ProviderError) as caught:
            await draw(provider, width=1024, height=1024, steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    error = caught.value
    assert (error.reason, error.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert error.message.startswith("out of memory drawing 1024x1024 pixels")
    assert "MODEL_OFFLOAD" in error.message
    assert "MODEL_QUANTIZATION" in error.message
    assert same(before.image, (await draw(provider)).image)


async def test_model_offload_draws_the_same_picture(model: Path) -> None:
    kept = ModelSettings(str(model))
    offloaded = replace(kept, offload="model")
    assert difference((await draw_with(kept)).image, (await draw_with(offloaded)).image) < 1
    reference = Reference(gradient(), 0.5)
    one = await draw_with(kept, references=(reference,))
    other = await draw_with(offloaded, references=(reference,))
    assert difference(one.image, other.image) < 1


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
async def test_quantization_needs_a_gpu(model: Path, bits: Any) -> None:
    error = await failing_draw(ModelSettings(str(model), quantization=bits, device="cpu"))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"MODEL_QUANTIZATION={bits}" in error.message


async def test_closing_ends_the_thread(model: Path) -> None:
    provider = DiffusersProvider(ModelSettings(str(model)))
    await draw(provider)
    assert any(thread.name.startswith("model") for thread in threading.enumerate())
    await provider.close()
    assert not any(thread.name.startswith("model") for thread in threading.enumerate())

"""The provider `diffusers` itself, with a tiny FLUX on the CPU."""

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
from avatar_creator_tasks.providers.diffusers.flux import TRUE_CFG_SCALE, quantization_of
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider, FluxSettings

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
)


@pytest.fixture
async def provider(model: Path) -> AsyncIterator[DiffusersProvider]:
    """The provider without a LoRA."""
    made = DiffusersProvider(FluxSettings(str(model)))
    yield made
    await made.close()


async def ignored(_: object) -> None:
    """A report nobody reads."""


def reporting(progress: Callable[[float], Awaitable[None]]) -> Reports:
    return Reports(submitted=ignored, progress=progress)


async def draw(provider: DiffusersProvider, **changes: Any) -> Portrait:
    """A portrait of the usual request with some fields changed."""
    return await provider.generate(replace(REQUEST, **changes), reporting(ignored))


async def draw_with(settings: FluxSettings, **changes: Any) -> Portrait:
    """A portrait by a provider of its own."""
    provider = DiffusersProvider(settings)
    try:
        return await draw(provider, **changes)
    finally:
        await provider.close()


async def bare(provider: DiffusersProvider, **arguments: Any) -> Image.Image:
    """What diffusers alone makes of the usual request, with the provider's model."""
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
    """How far apart the values of two pictures are on average, 0 to 255."""
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()


async def test_each_step_is_reported_before_the_next_begins(provider: DiffusersProvider) -> None:
    events: list[str | float] = []

    async def progress(part: float) -> None:
        # Long enough for a step that did not wait to begin.
        await asyncio.sleep(0.05)
        events.append(round(part, 3))

    transformer = (await provider.load()).pipeline.transformer
    transformer.register_forward_pre_hook(lambda *_: events.append("step"))
    portrait = await provider.generate(REQUEST, reporting(progress))

    assert events == ["step", 0.2, "step", 0.4, "step", 0.6, "step", 0.8, "step", 1.0]
    assert (portrait.image.mode, portrait.image.size) == ("RGB", (SIZE, SIZE))
    assert portrait.warnings == ()


async def test_the_facts_name_what_the_pixels_depend_on(provider: DiffusersProvider) -> None:
    facts = dict((await draw(provider)).facts)
    assert float(facts.pop("seconds_per_step")) > 0
    assert facts.pop("torch") == torch.__version__
    assert facts.pop("diffusers")
    assert facts == {"device": "cpu", "dtype": "float32", "quantization": "none"}


async def test_same_seed_same_pixels_and_they_are_those_of_the_pipeline(
    provider: DiffusersProvider, model: Path
) -> None:
    first = await draw(provider)
    assert same(first.image, (await draw(provider)).image)
    assert same(first.image, (await draw_with(FluxSettings(str(model)))).image)
    assert same(first.image, await bare(provider))


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"prompt": "weathered fisherman"}, {"steps": STEPS + 1}, {"guidance_scale": 7.0}],
    ids=lambda changes: next(iter(changes)),
)
async def test_what_is_asked_for_shows_in_the_pixels(
    provider: DiffusersProvider, changes: dict[str, Any]
) -> None:
    assert not same((await draw(provider)).image, (await draw(provider, **changes)).image)


async def test_the_model_is_loaded_once(provider: DiffusersProvider) -> None:
    loaded = await provider.load()
    await draw(provider)
    assert await provider.load() is loaded


@pytest.mark.parametrize("weight_file", ["lora.safetensors", ""], ids=["named", "the only file"])
async def test_a_lora_changes_the_pixels_as_strongly_as_its_scale_says(
    model: Path, lora_folder: Path, weight_file: str
) -> None:
    without = (await draw_with(FluxSettings(str(model)))).image

    async def difference_at(scale: float) -> float:
        lora = Lora(str(lora_folder), weight_file, "", scale, "")
        return difference(without, (await draw_with(FluxSettings(str(model), lora=lora))).image)

    assert await difference_at(0.0) == 0
    assert 0 < await difference_at(1.0) < await difference_at(3.0)


async def test_a_negative_prompt_acts_through_true_guidance_alone(provider: DiffusersProvider) -> None:
    plain = await draw(provider)
    wish = "cartoon"
    assert same(plain.image, await bare(provider, negative_prompt=wish))
    assert "true_cfg_scale" not in plain.facts

    guided = await draw(provider, negative_prompt=wish)

    assert not same(plain.image, guided.image)
    assert same(guided.image, await bare(provider, negative_prompt=wish, true_cfg_scale=TRUE_CFG_SCALE))
    assert guided.facts["true_cfg_scale"] == str(TRUE_CFG_SCALE)
    assert not same(guided.image, (await draw(provider, negative_prompt="mannequin")).image)


def gradient(width: int = SIZE, height: int = SIZE) -> Image.Image:
    """A picture with something in it."""
    across = Image.linear_gradient("L").resize((width, height))
    return Image.merge(
        "RGB", (across, across.transpose(Image.Transpose.ROTATE_180), across.point(lambda _: 128))
    )


async def as_the_model_sees_it(provider: DiffusersProvider, image: Image.Image) -> Image.Image:
    """The picture after the model's autoencoder, which with random weights changes it beyond recognition."""
    pipeline = (await provider.load()).pipeline
    with torch.no_grad():
        latents = pipeline.vae.encode(pipeline.image_processor.preprocess(image)).latent_dist.mode()
        seen: Image.Image = pipeline.image_processor.postprocess(pipeline.vae.decode(latents).sample)[0]
    return seen


async def test_the_weaker_a_reference_may_be_changed_the_nearer_the_portrait_stays(
    provider: DiffusersProvider,
) -> None:
    seen = await as_the_model_sees_it(provider, gradient())

    async def distance(strength: float) -> float:
        return difference(
            seen, (await draw(provider, steps=20, reference=Reference(gradient(), strength))).image
        )

    near, middle, far = [await distance(strength) for strength in (0.05, 0.3, 1.0)]
    assert near < middle < far
    assert near < far / 2


@pytest.mark.parametrize(
    ("strength", "parts"),
    [(1.0, [0.2, 0.4, 0.6, 0.8, 1.0]), (0.4, [0.5, 1.0]), (0.01, [1.0]), (0.0, [1.0])],
)
async def test_progress_from_a_reference_counts_the_steps_that_are_drawn(
    provider: DiffusersProvider, strength: float, parts: list[float]
) -> None:
    told: list[float] = []

    async def progress(part: float) -> None:
        told.append(round(part, 3))

    request = replace(REQUEST, reference=Reference(gradient(), strength))
    await provider.generate(request, reporting(progress))
    assert told == parts


async def test_a_reference_of_another_shape_is_cropped_and_not_stretched(provider: DiffusersProvider) -> None:
    wide = Image.new("RGB", (3 * SIZE, SIZE), "red")
    wide.paste(gradient(), (SIZE, 0))
    one = await draw(provider, reference=Reference(wide, 0.5))
    other = await draw(provider, reference=Reference(gradient(), 0.5))
    assert same(one.image, other.image)


async def test_two_drawings_never_run_at_once(provider: DiffusersProvider) -> None:
    order: list[str] = []

    def noting(name: str) -> Reports:
        async def progress(_: float) -> None:
            order.append(name)
            # Lets the other go on, if it can.
            await asyncio.sleep(0.01)

        return reporting(progress)

    first, second = await asyncio.gather(
        provider.generate(REQUEST, noting("first")),
        provider.generate(replace(REQUEST, seed=2), noting("second")),
    )
    assert order == ["first"] * STEPS + ["second"] * STEPS
    assert not same(first.image, second.image)


async def test_a_cancelled_drawing_stops_between_two_steps(provider: DiffusersProvider) -> None:
    transformer = (await provider.load()).pipeline.transformer
    passes = 0
    told: list[float] = []

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    async def progress(part: float) -> None:
        told.append(round(part, 3))
        if len(told) == 2:
            drawing.cancel()

    counting = transformer.register_forward_hook(count)
    drawing = asyncio.create_task(provider.generate(replace(REQUEST, steps=50), reporting(progress)))
    with pytest.raises(asyncio.CancelledError):
        await drawing

    # The next drawing waits until the cancelled one has let go of the model.
    passes_of_the_next: list[int] = []

    async def progress_of_the_next(_: float) -> None:
        passes_of_the_next.append(passes)

    next_one = await provider.generate(REQUEST, reporting(progress_of_the_next))
    counting.remove()
    assert told == [0.02, 0.04]
    # At most the step that had begun was still drawn, and then those of the next drawing.
    assert passes_of_the_next[0] <= 4
    assert passes == passes_of_the_next[0] + STEPS - 1
    assert same(next_one.image, (await draw(provider)).image)


async def test_one_that_is_cancelled_while_it_waits_is_never_drawn(provider: DiffusersProvider) -> None:
    told: list[str] = []

    async def progress_of_first(_: float) -> None:
        told.append("first")
        waiting.cancel()

    async def progress_of_second(_: float) -> None:
        told.append("second")

    first = asyncio.create_task(provider.generate(REQUEST, reporting(progress_of_first)))
    waiting = asyncio.create_task(provider.generate(REQUEST, reporting(progress_of_second)))
    await asyncio.wait({first, waiting})
    await draw(provider)
    assert waiting.cancelled()
    assert told == ["first"] * STEPS


async def test_what_a_report_raises_ends_the_drawing_and_reaches_the_caller(
    provider: DiffusersProvider,
) -> None:
    lost = RuntimeError("the lease was lost")
    told: list[float] = []

    async def progress(part: float) -> None:
        told.append(part)
        raise lost

    with pytest.raises(RuntimeError) as caught:
        await provider.generate(REQUEST, reporting(progress))
    assert caught.value is lost
    assert len(told) == 1


def text_of(tokens: int) -> str:
    """A text of that many tokens: a word of a letter has two, and the end is one."""
    words = ["a"] * ((tokens - 1) // 2)
    if tokens % 2 == 0:
        words[-1] = "ab"
    return " ".join(words)


async def test_words_the_model_does_not_read_are_told_to_the_token(provider: DiffusersProvider) -> None:
    assert (await draw(provider, prompt=text_of(512))).warnings == ()

    cut = await draw(provider, prompt=f"{text_of(511)} hats", negative_prompt=text_of(601))

    assert cut.warnings == (
        "the prompt has 516 tokens and the model reads 512: the last 4 were left out, from “hats” on",
        "the negative prompt has 601 tokens and the model reads 512: the last 89 were left out, from "
        "“a a a a a a a a a a a a a a a a a a a a a a a a a a a a a …” on",
    )


async def refusal(settings: FluxSettings, **changes: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await draw_with(settings, **changes)
    return caught.value


async def test_a_folder_that_is_no_model_is_gone_for_good(tmp_path: Path) -> None:
    error = await refusal(FluxSettings(str(tmp_path)))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"the model {tmp_path} could not be loaded" in error.message


async def test_a_folder_that_is_no_lora_is_gone_for_good(model: Path, tmp_path: Path) -> None:
    error = await refusal(FluxSettings(str(model), lora=Lora(str(tmp_path), "", "", 1.0, "")))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"the LoRA {tmp_path} could not be loaded" in error.message


async def test_a_hub_out_of_reach_is_tried_again(model: Path) -> None:
    lora = Lora("nobody/nothing", "lora.safetensors", "", 1.0, "")
    for settings in (
        FluxSettings("nobody/nothing"),
        FluxSettings("nobody/nothing", model_revision="v1"),
        FluxSettings(str(model), lora=lora),
    ):
        error = await refusal(settings)
        assert (error.reason, error.retryable) == ("PROVIDER_UNAVAILABLE", True)
        assert "the hub could not be reached" in error.message


async def test_a_device_that_is_not_there_may_be_on_another_worker(model: Path) -> None:
    error = await refusal(FluxSettings(str(model), device="cuda:99"))
    assert (error.reason, error.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert "cuda:99" in error.message


async def test_after_a_failed_load_the_next_drawing_loads_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    provider = DiffusersProvider(FluxSettings(str(folder)))
    with pytest.raises(ProviderError):
        await draw(provider)
    folder.symlink_to(model)
    assert (await draw(provider)).image.size == (SIZE, SIZE)
    await provider.close()


async def test_out_of_memory_says_which_settings_help_and_the_next_drawing_works(
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


async def test_parts_that_rest_in_main_memory_draw_the_same(model: Path) -> None:
    kept = FluxSettings(str(model))
    resting = replace(kept, offload="model")
    assert difference((await draw_with(kept)).image, (await draw_with(resting)).image) < 1
    reference = Reference(gradient(), 0.5)
    one = await draw_with(kept, reference=reference)
    other = await draw_with(resting, reference=reference)
    assert difference(one.image, other.image) < 1


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
async def test_weights_in_fewer_bits_need_a_card(model: Path, bits: Any) -> None:
    error = await refusal(FluxSettings(str(model), quantization=bits, device="cpu"))
    assert (error.reason, error.retryable) == ("PROVIDER_GONE", False)
    assert f"MODEL_QUANTIZATION={bits}" in error.message
    assert quantization_of(bits).components_to_quantize == ["transformer", "text_encoder_2"]


async def test_closing_ends_the_thread(model: Path) -> None:
    provider = DiffusersProvider(FluxSettings(str(model)))
    await draw(provider)
    assert any(thread.name.startswith("flux") for thread in threading.enumerate())
    await provider.close()
    assert not any(thread.name.startswith("flux") for thread in threading.enumerate())

"""The provider `sketch`, and its drawing from a reference."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

import avatar_creator_server.demo
from avatar_creator_server.generations.recipes.comparison import color_difference, pixels_sha256
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import PortraitRequest, ProviderError, Reference, Reports
from avatar_creator_tasks.providers.sketch.art import Details, draw_portrait, restyle
from avatar_creator_tasks.providers.sketch.art.look import resolve
from avatar_creator_tasks.providers.sketch.provider import SketchProvider

REQUEST = PortraitRequest(
    route=Route("sketch", "local", "", "", None, frozenset({"reference", "reference_strength"})),
    prompt="a friendly face",
    attributes=Attributes(gender="female"),
    seed=5,
    width=256,
    height=256,
)


def ignore(done: int, total: int) -> None:
    """Ignore a report."""


@cache
def photograph() -> Image.Image:
    """Return an astronaut in front of a gray background, 256 by 256 pixels."""
    with Image.open(Path(avatar_creator_server.demo.__file__).with_name("astronaut.jpg")) as image:
        return image.convert("RGB").resize((256, 256))


def restyled(picture: Image.Image | None = None, **options: Any) -> Image.Image:
    """Restyle the photograph or another picture, with strength 1 unless the options change it."""
    options = {"strength": 1.0, "seed": 5, "width": 256, "height": 256, "on_step": ignore, **options}
    return restyle(picture or photograph(), **options)


@cache
def restyled_once(strength: float = 1.0, seed: int = 5) -> tuple[Image.Image, list[tuple[int, int]]]:
    """Restyle the photograph once for all tests, and return the picture and the reports of the steps."""
    steps: list[tuple[int, int]] = []
    picture = restyled(strength=strength, seed=seed, on_step=lambda *step: steps.append(step))
    return picture, steps


def flatness(image: Image.Image) -> float:
    """Return the share of pixels that equal their right neighbor."""
    left, right = image.crop((0, 0, 255, 256)), image.crop((1, 0, 256, 256))
    difference = ImageChops.difference(left, right)
    strongest = ImageChops.lighter(
        ImageChops.lighter(difference.getchannel("R"), difference.getchannel("G")), difference.getchannel("B")
    )
    return strongest.histogram()[0] / (255 * 256)


def test_the_same_picture_strength_seed_and_size_give_the_same_pixels() -> None:
    assert pixels_sha256(restyled(strength=0.6)) == pixels_sha256(restyled_once(0.6)[0])


def test_another_seed_changes_the_background_and_not_the_middle() -> None:
    pictures = [restyled_once(seed=seed)[0] for seed in range(4, 7)]
    assert len({pixels_sha256(picture) for picture in pictures}) == 3
    middles = [picture.crop((112, 112, 144, 144)) for picture in pictures]
    assert len({pixels_sha256(middle) for middle in middles}) == 1


def test_strength_zero_keeps_the_picture() -> None:
    assert ImageChops.difference(restyled(strength=0.0), photograph()).getbbox() is None


def test_a_higher_strength_changes_the_picture_more_within_limits() -> None:
    differences = [color_difference(restyled_once(strength)[0], photograph()) for strength in (0.2, 0.6, 1.0)]
    assert 0 < differences[0] < differences[1] < differences[2] < 15


def test_the_drawing_has_flat_shapes() -> None:
    assert flatness(photograph()) < 0.15
    assert flatness(restyled_once()[0]) > 0.4


@pytest.mark.parametrize("size", [(256, 1440), (1440, 256), (272, 256)])
def test_the_picture_is_fitted_to_any_size(size: tuple[int, int]) -> None:
    result = restyled(width=size[0], height=size[1])
    assert (result.size, result.mode) == (size, "RGB")


@pytest.mark.parametrize(
    "picture", [Image.new("RGB", (1, 1), "teal"), Image.new("RGB", (3, 700), "white")], ids=["dot", "stripe"]
)
def test_a_picture_of_one_color_can_be_restyled(picture: Image.Image) -> None:
    assert restyled(picture).size == (256, 256)


def test_each_step_is_reported_once_up_to_the_total() -> None:
    _, steps = restyled_once()
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]
    assert len(steps) > 3


def test_an_exception_in_a_report_ends_the_drawing() -> None:
    def refuse(done: int, total: int) -> None:
        raise InterruptedError(done)

    with pytest.raises(InterruptedError, match="1"):
        restyled(on_step=refuse)


# The provider


class RecordedReports:
    """The reports of a provider."""

    def __init__(self, hold_at: int = 0) -> None:
        """Record reports, and block the one with the number `hold_at` until `go_on` is set."""
        self.progress: list[float] = []
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self._hold_at = hold_at

    def reports(self) -> Reports:
        """Return the callbacks for the provider."""
        return Reports(submitted=self._submitted, progress=self._progress)

    async def _submitted(self, request_id: str) -> None:
        raise AssertionError(request_id)

    async def _progress(self, part: float) -> None:
        self.progress.append(part)
        if len(self.progress) == self._hold_at:
            self.held.set()
            await self.go_on.wait()


async def test_with_a_reference_the_provider_restyles_it() -> None:
    recorded = RecordedReports()
    request = replace(REQUEST, references=(Reference(photograph(), strength=0.6),))
    portrait = await SketchProvider().generate(request, recorded.reports())
    assert pixels_sha256(portrait.image) == pixels_sha256(restyled_once(0.6)[0])
    assert recorded.progress == sorted(recorded.progress)
    assert recorded.progress[-1] == 1


async def test_without_a_reference_the_provider_draws_the_attributes() -> None:
    recorded = RecordedReports()
    portrait = await SketchProvider().generate(REQUEST, recorded.reports())
    drawn = draw_portrait(REQUEST.attributes, seed=5, width=256, height=256, on_step=ignore)
    assert pixels_sha256(portrait.image) == pixels_sha256(drawn)
    assert recorded.progress[-1] == 1


async def test_without_a_reference_the_provider_draws_words_of_the_callers_prompt() -> None:
    request = replace(
        REQUEST, prompt="a man, professional photo", caller_prompt="perempuan berhijab, kacamata"
    )
    portrait = await SketchProvider().generate(request, RecordedReports().reports())
    drawn = draw_portrait(
        replace(REQUEST.attributes, headwear="hijab"),
        Details(adult=True, glasses=True),
        seed=5,
        width=256,
        height=256,
        on_step=ignore,
    )
    assert pixels_sha256(portrait.image) == pixels_sha256(drawn)


@pytest.mark.parametrize("seed", range(40))
def test_details_are_drawn_with_every_seed(seed: int) -> None:
    man = resolve(
        Attributes(gender="male"), seed, Details(adult=True, glasses=False, earrings=True, beard="")
    )
    assert (man.adult, man.glasses, man.earrings, man.beard) == (True, "", True, "")
    bearded = resolve(Attributes(), seed, Details(glasses=True, beard="full"))
    assert (bool(bearded.glasses), bearded.beard) == (True, "full")
    assert resolve(Attributes(), seed, Details(beard="full")).skin == resolve(Attributes(), seed).skin


async def test_a_cancelled_generation_stops_after_the_current_step() -> None:
    recorded = RecordedReports(hold_at=2)
    request = replace(REQUEST, references=(Reference(photograph(), strength=0.6),))
    drawing = asyncio.create_task(SketchProvider().generate(request, recorded.reports()))
    await recorded.held.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    recorded.go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # Waits for the drawing thread.
    assert len(recorded.progress) == 2


async def test_the_request_of_another_provider_cannot_be_cancelled() -> None:
    provider = SketchProvider()
    with pytest.raises(ProviderError):
        await provider.cancel("of another provider")
    await provider.close()
    await provider.generate(REQUEST, RecordedReports().reports())

"""Overhead of the provider `diffusers` over the library diffusers, on this machine's GPU.

`python -m bench.gpu` creates a FLUX.1-dev with random weights (25 GB on disk and in GPU memory). It takes as
long to draw as the trained model. The pipeline of diffusers alone and the provider draw with it alternately;
the provider reports its progress after each step. Read the ratio, which must stay below 1.02: the seconds are
valid only for this machine. With `--speed`, the ratio shows what MODEL_SPEED saves. The benchmark needs the
extra `gpu`. With `--tiny` it needs no GPU, and only shows that the benchmark works.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from avatar_creator_server.generations.routes import OPTIONS, Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import PortraitRequest, Reports
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

STARTS = 2
REPORT_SECONDS = 0.005
"""Time that a worker needs to write the progress of a step to its database."""
_GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Drawing:
    """Measurements of one picture, or of one start."""

    seconds: float
    seconds_per_step: float
    peak_memory_gib: float
    """Maximum GPU memory in use; 0 without a GPU."""
    pixels: bytes


class Device:
    """The device that draws, and its memory."""

    def __init__(self, device: str) -> None:
        """Use the device with this torch name, for example `cuda`."""
        import torch

        self._cuda = torch.cuda if device.startswith("cuda") else None
        self.name = torch.cuda.get_device_name(device) if self._cuda else device

    def reset_peak(self) -> None:
        """Start a new measurement of the peak memory."""
        gc.collect()
        if self._cuda:
            self._cuda.empty_cache()
            self._cuda.reset_peak_memory_stats()

    def peak_memory_gib(self) -> float:
        """Return the maximum memory in use since `reset_peak`."""
        return float(self._cuda.max_memory_allocated()) / _GIBIBYTE if self._cuda else 0.0


def draw_alone(pipeline: Any, request: PortraitRequest, device: Device) -> Drawing:
    """Draw with the pipeline, called as in its documentation."""
    import torch

    ends: list[float] = []

    def step_done(_pipeline: object, _step: int, _time: object, _tensors: object) -> dict[str, Any]:
        ends.append(time.perf_counter())
        return {}

    device.reset_peak()
    started = time.perf_counter()
    image = pipeline(
        prompt=request.prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        callback_on_step_end=step_done,
    ).images[0]
    seconds = time.perf_counter() - started
    per_step = (ends[-1] - ends[0]) / (len(ends) - 1)
    return Drawing(seconds, per_step, device.peak_memory_gib(), image.tobytes())


async def draw_by_provider(provider: DiffusersProvider, request: PortraitRequest, device: Device) -> Drawing:
    """Draw with the provider, and report each step as a worker does."""
    ends: list[float] = []

    async def progress(_: float) -> None:
        ends.append(time.perf_counter())
        await asyncio.sleep(REPORT_SECONDS)

    async def submitted(_: str) -> None:
        """Ignore the request's id, which this provider does not have."""

    device.reset_peak()
    started = time.perf_counter()
    portrait = await provider.generate(request, Reports(submitted, progress))
    seconds = time.perf_counter() - started
    per_step = (ends[-1] - ends[0]) / (len(ends) - 1)
    return Drawing(seconds, per_step, device.peak_memory_gib(), portrait.image.tobytes())


async def measure_starts(settings: ModelSettings, device: Device) -> tuple[list[Drawing], list[Drawing]]:
    """Load the model with the pipeline alone and with the provider alternately; measure time and memory."""
    import torch
    from diffusers import FluxPipeline

    dtype = torch.float32 if settings.device == "cpu" else torch.bfloat16
    alone, by_provider = [], []
    for _ in range(STARTS):
        device.reset_peak()
        started = time.perf_counter()
        pipeline = FluxPipeline.from_pretrained(settings.model, dtype=dtype).to(settings.device)
        alone.append(Drawing(time.perf_counter() - started, 0.0, device.peak_memory_gib(), b""))
        del pipeline
        device.reset_peak()
        started = time.perf_counter()
        provider = DiffusersProvider(settings)
        await provider.load()
        by_provider.append(Drawing(time.perf_counter() - started, 0.0, device.peak_memory_gib(), b""))
        await provider.close()
    return alone, by_provider


async def measure(
    settings: ModelSettings, request: PortraitRequest, rounds: int, device: Device
) -> tuple[list[Drawing], list[Drawing]]:
    """Draw with the pipeline alone and with the provider alternately, after a warm-up of both."""
    provider = DiffusersProvider(settings)
    exact = provider if settings.speed == "exact" else DiffusersProvider(replace(settings, speed="exact"))
    await provider.load()
    pipeline = (await exact.load()).pipeline
    alone, by_provider = [], []
    for number in range(rounds + 1):
        # Each goes first in every other round, so that any drift affects both equally.
        for turn in ("alone", "provider") if number % 2 else ("provider", "alone"):
            if turn == "alone":
                alone.append(await asyncio.to_thread(draw_alone, pipeline, request, device))
            else:
                by_provider.append(await draw_by_provider(provider, request, device))
    await provider.close()
    await exact.close()
    return alone[1:], by_provider[1:]


def row(
    name: str, ways: tuple[list[Drawing], list[Drawing]], measured: Callable[[Drawing], float], digits: int
) -> tuple[str, ...]:
    """Return a row of the table: both medians, and the median of the ratios of all rounds."""
    alone, by_provider = ([measured(drawing) for drawing in way] for way in ways)
    if not all(alone):
        return (name, "", "", "")
    ratio = statistics.median(ours / bare for bare, ours in zip(alone, by_provider, strict=True))
    medians = [f"{statistics.median(values):.{digits}f}" for values in (alone, by_provider)]
    return (name, *medians, f"{ratio:.3f}")


async def run(arguments: argparse.Namespace, folder: Path) -> Table:
    """Create the model, measure everything and return the table."""
    import torch

    from tests.support.random_flux import FLUX_1_DEV, TINY, save_random_flux

    if arguments.tiny:
        settings = ModelSettings(str(folder), device="cpu", speed=arguments.speed)
        save_random_flux(folder, TINY)
    else:
        settings = ModelSettings(str(folder), device="cuda", speed=arguments.speed)
        save_random_flux(folder, FLUX_1_DEV, device="cuda", dtype=torch.bfloat16)
    device = Device(settings.device)
    request = PortraitRequest(
        route=Route("diffusers", "local", "random", "", None, OPTIONS),
        prompt="professional photo studio portrait of a woman",
        attributes=Attributes(),
        seed=1,
        width=arguments.side,
        height=arguments.side,
        steps=arguments.steps,
        guidance_scale=3.5,
    )
    starts = await measure_starts(settings, device)
    drawings = await measure(settings, request, arguments.rounds, device)
    same = all(bare.pixels == ours.pixels for bare, ours in zip(*drawings, strict=True))
    table = Table(
        "medians",
        "diffusers alone",
        "provider",
        "ratio",
        title=f"{device.name}, {request.width}x{request.height} pixels, {request.steps} steps",
        caption=f"torch {torch.__version__}; the pixels are {'identical' if same else 'NOT identical'}",
    )
    table.add_row(*row("seconds per step", drawings, lambda one: one.seconds_per_step, 3))
    table.add_row(*row("seconds per picture", drawings, lambda one: one.seconds, 3))
    table.add_row(*row("GiB at peak", drawings, lambda one: one.peak_memory_gib, 1))
    table.add_row(*row("seconds to start", starts, lambda one: one.seconds, 1))
    table.add_row(*row("GiB to start", starts, lambda one: one.peak_memory_gib, 1))
    return table


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU")
    parser.add_argument(
        "--speed",
        choices=("exact", "compiled", "fast"),
        default="exact",
        help="MODEL_SPEED of the provider; the pipeline alone is exact, and then needs its own memory",
    )
    parser.add_argument("--side", type=int, default=1024, help="width and height in pixels")
    parser.add_argument("--steps", type=int, default=28, help="denoising steps, at least 2")
    parser.add_argument("--rounds", type=int, default=5, help="measured pictures of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = asyncio.run(run(arguments, Path(folder) / "FLUX.1-dev"))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

"""The check of the model by `doctor`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.model_table import COMMERCIAL_MODEL, find_model
from avatar_creator_server.operations.model_check import describe_license, describe_memory, needed_gib
from avatar_creator_server.settings import Settings


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file with the memory of each card in MiB, which `nvidia-smi` of this test prints."""
    output = tmp_path / "cards"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat {output}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return output


def license_of(**settings: str) -> tuple[str, str]:
    return describe_license(list(routes_of(Settings(**settings)).named().values()))  # type: ignore[arg-type]


def test_the_default_model_is_not_for_commerce_and_another_is_named() -> None:
    found, advice = license_of(provider="huggingface")

    assert "FLUX.1-dev: license FLUX.1 [dev] Non-Commercial" in found
    assert "FLUX.1-Kontext-dev: license" in found
    assert "LoRA strangerzonehf/Flux-Super-Realism-LoRA: its license is not known here" in found
    assert f"set MODEL={COMMERCIAL_MODEL} and LORA_REPOSITORY=none" in advice
    assert "filter" not in advice, "the check of the moderation says it"


def test_a_model_for_commerce_has_no_advice() -> None:
    assert license_of(provider="huggingface", model=COMMERCIAL_MODEL) == (
        "FLUX.2-klein-4B: license Apache-2.0",
        "",
    )


def test_a_condition_of_commercial_use_is_named() -> None:
    _, advice = license_of(provider="huggingface", model="krea/Krea-2-Turbo")

    assert "Krea-2-Turbo (allowed with a revenue under $1 million a year)" in advice


def test_the_license_of_an_unknown_model_must_be_read() -> None:
    assert license_of(provider="diffusers", model="/models/mine") == (
        "/models/mine: not in the service's table of models, so read its license",
        "",
    )


def test_a_model_that_fits_the_card_is_fine(cards: Path) -> None:
    cards.write_text("81559\n")

    found, advice = asyncio.run(describe_memory(Settings(provider="diffusers")))

    assert found == (
        "31.4 GiB of weights in 16 bits; with these settings about 34 GiB, which should fit the card's "
        "80 GiB (an estimate)"
    )
    assert advice == ""


def test_a_model_that_does_not_fit_has_advice(cards: Path) -> None:
    cards.write_text("81559\n16376\n")

    found, advice = asyncio.run(describe_memory(Settings(provider="diffusers", model_device="cuda:1")))
    smaller, no_advice = asyncio.run(
        describe_memory(Settings(provider="diffusers", model_device="cuda:1", model_quantization="4bit"))
    )

    assert "probably does not fit the card's 16 GiB" in found
    assert "MODEL_OFFLOAD=model" in advice
    assert "should fit" in smaller
    assert no_advice == ""


@pytest.mark.parametrize("device", ["", "cpu", "cuda:7"])
def test_without_such_a_card_only_the_size_is_said(cards: Path, device: str) -> None:
    cards.write_text("81559\n" if device else "")

    found, advice = asyncio.run(describe_memory(Settings(provider="diffusers", model_device=device)))

    assert found.startswith("31.4 GiB of weights")
    assert "no NVIDIA card" in found
    assert advice == ""


def test_a_machine_without_a_driver_only_has_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found, _ = asyncio.run(describe_memory(Settings(provider="diffusers")))

    assert "no NVIDIA card" in found


def test_offloading_and_quantization_need_less_memory() -> None:
    model = find_model("Qwen/Qwen-Image")
    assert model is not None

    whole, eight, four, parts, layers = (
        needed_gib(model, Settings(provider="diffusers", **settings))  # type: ignore[arg-type]
        for settings in (
            {},
            {"model_quantization": "8bit"},
            {"model_quantization": "4bit"},
            {"model_offload": "model"},
            {"model_offload": "sequential"},
        )
    )

    assert whole > parts > eight > four > layers

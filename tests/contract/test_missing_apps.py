"""Generations and `doctor` while Hugging Face's router does not offer an app of the model."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from avatar_creator import AvatarCreator, ErrorReason, FailedPreconditionError, InvalidArgumentError
from tests import pictures
from tests.contract.conftest import RunWithSettings
from tests.support.command_line import FinishedCommand
from tests.support.doctor import checks_of
from tests.support.generations import COMPLETED, FAILED, SMALLEST
from tests.support.huggingface_router import Fault, RouterFake
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.service import CLOSED_ADDRESS, Deployment
from tests.support.waiting import wait_until

KEY = "hf_test_missing"
LORA = "strangerzonehf/Flux-Super-Realism-LoRA"
FLUX_LORA, FLUX = "fal-ai/flux-lora", "fal-ai/flux/dev"
KONTEXT, KONTEXT_LORA = "fal-ai/flux-kontext/dev", "fal-ai/flux-kontext-lora"
ALL = frozenset({FLUX_LORA, FLUX, KONTEXT, KONTEXT_LORA})

FALLBACK = (
    "Hugging Face's router does not offer fal-ai/flux-lora, which draws with the LoRA of the service: "
    "fal-ai/flux/dev draws the picture without it"
)
NOTHING = (
    "Hugging Face's router does not offer fal-ai/flux-lora, or any app in place of it: the provider will "
    "probably refuse the request"
)
OF_KONTEXT = (
    "the route fal-ai-reference of huggingface draws with black-forest-labs/FLUX.1-Kontext-dev, and the LoRA "
    "of the service is for black-forest-labs/FLUX.1-dev: the picture is drawn without it"
)
IN_PLACE = (
    "Hugging Face's router does not offer fal-ai/flux-kontext/dev, so fal-ai/flux-kontext-lora draws the "
    "picture"
)
REFUSED = (
    "reference_avatar_id: Hugging Face's router does not offer fal-ai/flux-kontext/dev, which draws from a "
    "reference"
)


@dataclass(frozen=True)
class Case:
    """Apps that are missing, and what the service makes of requests."""

    missing: frozenset[str]
    text: tuple[str, str, int]
    """App, LoRA and price of a picture from text."""
    text_warnings: tuple[str, ...]
    reference: tuple[str, int] | None
    """App and price of a picture from a reference; None if such requests are refused."""
    reference_warnings: tuple[str, ...] = (OF_KONTEXT,)
    doctor: tuple[str, ...] = ()
    """Parts of the row of `doctor`."""

    @property
    def offered(self) -> frozenset[str]:
        return ALL - self.missing


WITH_LORA = (FLUX_LORA, LORA, 35_000)
WITH_KONTEXT = (KONTEXT, 25_000)
TEXT_DRAWS = f"{FLUX_LORA} (text) is offered, and draws with the LoRA {LORA}"
REFERENCE_DRAWS = f"{KONTEXT} (references) is offered, and draws without a LoRA"

CASES = {
    "none": Case(
        frozenset(),
        WITH_LORA,
        (),
        WITH_KONTEXT,
        doctor=(
            "lists 4 apps of fal-ai",
            TEXT_DRAWS,
            f"{FLUX} (text) is offered",
            REFERENCE_DRAWS,
            f"{KONTEXT_LORA} (references) is offered",
        ),
    ),
    FLUX_LORA: Case(
        frozenset({FLUX_LORA}),
        (FLUX, "", 25_000),
        (FALLBACK,),
        WITH_KONTEXT,
        doctor=(
            f"{FLUX_LORA} (text) is not offered: {FLUX} draws without a LoRA instead",
            REFERENCE_DRAWS,
            "LORA_REPOSITORY=none ends the warnings about the LoRA",
        ),
    ),
    FLUX: Case(
        frozenset({FLUX}),
        WITH_LORA,
        (),
        WITH_KONTEXT,
        doctor=(TEXT_DRAWS, f"{FLUX} (text) is not offered", REFERENCE_DRAWS),
    ),
    KONTEXT: Case(
        frozenset({KONTEXT}),
        WITH_LORA,
        (),
        (KONTEXT_LORA, 35_000),
        (OF_KONTEXT, IN_PLACE),
        doctor=(
            TEXT_DRAWS,
            f"{KONTEXT} (references) is not offered: {KONTEXT_LORA} draws without a LoRA instead",
        ),
    ),
    KONTEXT_LORA: Case(
        frozenset({KONTEXT_LORA}),
        WITH_LORA,
        (),
        WITH_KONTEXT,
        doctor=(TEXT_DRAWS, REFERENCE_DRAWS, f"{KONTEXT_LORA} (references) is not offered"),
    ),
    "both for references": Case(
        frozenset({KONTEXT, KONTEXT_LORA}),
        WITH_LORA,
        (),
        None,
        doctor=(
            TEXT_DRAWS,
            f"{KONTEXT} (references) is not offered, and no other app can draw: such requests are refused",
        ),
    ),
    "both for text": Case(
        frozenset({FLUX, FLUX_LORA}),
        WITH_LORA,
        (NOTHING,),
        WITH_KONTEXT,
        doctor=(
            f"{FLUX_LORA} (text) is not offered, and no other app can draw: requests will probably fail",
            REFERENCE_DRAWS,
        ),
    ),
}


def hosted(router: RouterFake) -> dict[str, str]:
    """Return the settings of a service whose router and hub are the fake."""
    urls = {"HUGGINGFACE_BASE_URL": router.url, "HUGGINGFACE_HUB_URL": router.url}
    return {"HUGGINGFACE_API_KEY": KEY, **urls}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_is_offered_draws_and_everything_else_is_said_before(
    embedded: Deployment, router: RouterFake, user: str, case: Case
) -> None:
    router.map_apps(*case.offered)
    embedded.settings |= hosted(router)
    async with InProcessService.serving(embedded) as service, service.working():
        await asyncio.to_thread(draw_both, embedded, router, user, case)


@pytest.mark.parametrize("case", [CASES[FLUX_LORA], CASES[KONTEXT]], ids=[FLUX_LORA, KONTEXT])
def test_a_server_knows_the_list_that_a_worker_has_read(
    distributed: Deployment, router: RouterFake, user: str, case: Case
) -> None:
    router.map_apps(*case.offered)
    distributed.settings |= hosted(router)
    distributed.start_worker()
    wait_until(lambda: distributed.rows("model_mappings"))
    distributed.start_server()

    draw_both(distributed, router, user, case)


def draw_both(deployment: Deployment, router: RouterFake, user: str, case: Case) -> None:
    """Draw a picture from text and one from a reference, once a worker has read the list."""
    wait_until(lambda: deployment.rows("model_mappings"))
    with deployment.client(user) as client:
        project = client.projects.create("Missing apps")
        face = client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")

        app, lora, price = case.text
        draw_from_text(client, router, project.id, app, lora, price, case)
        draw_from_reference(client, router, project.id, face.id, case)


def draw_from_text(
    client: AvatarCreator, router: RouterFake, project_id: str, app: str, lora: str, price: int, case: Case
) -> None:
    """Estimate, draw and look at a picture from text."""
    small: dict[str, Any] = {"width": SMALLEST, "height": SMALLEST}
    estimate = client.generations.estimate(project_id, "a woman", **small)
    created = client.generations.create(project_id, "a woman", **small)
    *_, drawn = client.generations.watch(created.id, timeout=30.0)
    submission = router.submissions()[-1]

    assert estimate.price_micros == price
    for warnings in (estimate.warnings, created.generation.warnings, drawn.warnings):
        assert tuple(warnings) == case.text_warnings
    assert submission["model"] == app
    if app in case.missing:
        # The list may be wrong, so the provider has the last word. A refusal costs nothing.
        assert (drawn.state, drawn.price_micros) == (FAILED, 0)
        assert present(drawn.error).reason == ErrorReason.PROVIDER_GONE
        assert "Model not supported by provider fal-ai" in present(drawn.error).explanation
        return
    assert (drawn.state, drawn.price_micros) == (COMPLETED, price)
    recipe = client.generations.recipe(drawn.id)
    assert recipe is not None
    assert (recipe.model, recipe.lora or "") == ("black-forest-labs/FLUX.1-dev", lora)
    assert [each["path"] for each in submission["body"].get("loras", [])] == [lora] * bool(lora)
    assert present(drawn.provider_prompt).startswith("Super Realism, ") == bool(lora)
    if case.text_warnings:
        with pytest.raises(InvalidArgumentError) as refusal:
            client.generations.create(project_id, "a woman", strict=True, **small)
        assert refusal.value.reason == "OPTION_NOT_SUPPORTED"
        assert [violation.field for violation in refusal.value.field_violations] == ["strict"]
        assert FALLBACK in str(refusal.value)
    else:
        accepted = client.generations.create(project_id, "a woman", strict=True, **small)
        with suppress(FailedPreconditionError):  # the worker was faster
            client.generations.cancel(accepted.id)


def draw_from_reference(
    client: AvatarCreator, router: RouterFake, project_id: str, face_id: str, case: Case
) -> None:
    """Estimate, draw and look at a picture from a reference."""
    # The size that Kontext draws, so that there is no warning about it.
    given: dict[str, Any] = {"width": 1024, "height": 1024, "reference": face_id}
    if case.reference is None:
        for call in (client.generations.estimate, client.generations.create):
            with pytest.raises(InvalidArgumentError) as refusal:
                call(project_id, "older", **given)
            assert refusal.value.reason == "OPTION_NOT_SUPPORTED"
            assert REFUSED in str(refusal.value)
        return
    app, price = case.reference
    estimate = client.generations.estimate(project_id, "older", **given)
    created = client.generations.create(project_id, "older", **given)
    *_, drawn = client.generations.watch(created.id, timeout=30.0)
    recipe = client.generations.recipe(drawn.id)

    assert estimate.price_micros == drawn.price_micros == price
    for warnings in (estimate.warnings, created.generation.warnings, drawn.warnings):
        assert tuple(warnings) == case.reference_warnings
    assert drawn.state == COMPLETED
    assert router.submissions()[-1]["model"] == app
    assert "loras" not in router.submissions()[-1]["body"]
    assert recipe is not None
    assert (recipe.model, recipe.lora) == ("black-forest-labs/FLUX.1-Kontext-dev", None)


# doctor


def row_of_apps(finished: FinishedCommand) -> tuple[str, str]:
    """Return the result of doctor's check of the apps, and its text."""
    check = checks_of(finished.stdout)["apps"]
    return check.result, check.message


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_doctor_says_which_apps_are_offered_and_what_draws_instead(
    run: RunWithSettings, router: RouterFake, case: Case
) -> None:
    router.map_apps(*case.offered)

    finished = run("doctor", **hosted(router))

    mark, text = row_of_apps(finished)
    assert [part for part in case.doctor if part not in text] == []
    assert mark == ("warning" if case.missing & {FLUX_LORA, KONTEXT} else "ok")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault(status=200, body="<html></html>"), "its answer is not JSON"),
        (Fault(status=429), "it answers with the status 429"),
        (None, "no connection to its address"),
    ],
    ids=["no JSON", "refused", "away"],
)
def test_doctor_warns_if_the_hub_gives_no_list(
    run: RunWithSettings, router: RouterFake, fault: Fault | None, problem: str
) -> None:
    router.fail_mapping(fault)
    away = {} if fault else {"HUGGINGFACE_HUB_URL": f"http://{CLOSED_ADDRESS}"}

    finished = run("doctor", **{**hosted(router), **away})

    mark, text = row_of_apps(finished)
    assert mark == "warning"
    assert f"does not list the apps that the router offers: {problem}; all apps count as offered" in text
    assert "check the network and HUGGINGFACE_HUB_URL" in text


def test_doctor_gives_its_list_to_the_service(embedded: Deployment, router: RouterFake, user: str) -> None:
    router.fail_mapping(Fault(how="drop"))
    embedded.settings |= hosted(router)
    embedded.start()
    embedded.servers[0].wait_for_output("model_mapping_refused")
    router.fail_mapping(None)
    router.map_apps(FLUX, KONTEXT)

    assert embedded.run_command("doctor").returncode == 0

    # The server looks for the list at its first call.
    with embedded.client(user) as client:
        project = client.projects.create("Doctor")
        estimate = client.generations.estimate(project.id, "a woman", width=SMALLEST, height=SMALLEST)
    assert list(estimate.warnings) == [FALLBACK]
    router.fail_mapping(Fault(how="drop"))
    assert "the list of 20" in row_of_apps(embedded.run_command("doctor"))[1]


def test_doctor_has_no_check_of_apps_without_them(run: RunWithSettings, router: RouterFake) -> None:
    for settings in ({}, {**hosted(router), "HUGGINGFACE_ROUTE": "hf-inference"}):
        assert "apps" not in checks_of(run("doctor", **settings).stdout)
    assert router.counters()["mapping"] == 0

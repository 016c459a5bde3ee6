"""The provider `huggingface` in the complete service, with the fake of the router."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator import (
    AttemptOutcome,
    Attributes,
    AvatarCreator,
    ErrorReason,
    Gender,
    Generation,
    GenerationStage,
    Persona,
    Style,
)
from tests.support.generations import CANCELLED, COMPLETED, FAILED, SMALLEST
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.shared_services import deployed
from tests.support.waiting import wait_until

KEY = "hf_test_b6c1f0d2a97e"
LORA = "strangerzonehf/Flux-Super-Realism-LoRA"
PRICE = 35_000

SUCCEEDED = AttemptOutcome.SUCCEEDED
WORKER_LOST = AttemptOutcome.WORKER_LOST
FATAL = AttemptOutcome.FATAL

Hosted = Callable[..., Deployment]


@pytest.fixture(scope="module")
def embedded_service(request: pytest.FixtureRequest, router_process: RouterFake) -> Iterator[Deployment]:
    """The embedded service of most tests of this file, which draws through the fake."""
    settings = settings_of(router_process, HUGGINGFACE_BILL_TO="lumiku")
    with deployed(request, "embedded", **settings) as deployment:
        deployment.start()
        yield deployment


@pytest.fixture
def service(embedded_service: Deployment) -> Iterator[Deployment]:
    """The same, with closed circuits. After the test, it is checked for the API key as in `hosted`."""
    embedded_service.execute("DELETE FROM route_circuits")
    yield embedded_service
    require_secret_key(embedded_service)


@pytest.fixture
def hosted(embedded: Deployment, router: RouterFake) -> Iterator[Hosted]:
    """Return a function that starts an embedded service that draws through the fake.

    After the test, no output, database row or file of the service may contain the API key.
    """

    def start_service(**settings: str) -> Deployment:
        embedded.settings |= settings_of(router, **settings)
        embedded.start()
        return embedded

    yield start_service
    require_secret_key(embedded)


def settings_of(router: RouterFake, **settings: str) -> dict[str, str]:
    """Return the settings of a service that draws through the fake."""
    return {"HUGGINGFACE_API_KEY": KEY, "HUGGINGFACE_BASE_URL": router.url, **settings}


def require_secret_key(deployment: Deployment) -> None:
    """Check that no output, database row or file of a service contains the API key."""
    leaks = [
        str(output)[max(str(output).find(KEY) - 3000, 0) :][:3200]
        for output in outputs_of(deployment)
        if KEY in str(output)
    ]
    assert leaks == []
    assert not [path for path in deployment.files() if KEY.encode() in path.read_bytes()]


def outputs_of(deployment: Deployment) -> list[Any]:
    """Return the outputs of all processes and the rows of the database."""
    tables = (
        "avatar_generations",
        "generation_attempts",
        "generation_recipes",
        "avatars",
        "quick_work",
        "route_circuits",
    )
    outputs = [process.output() for process in (*deployment.servers, *deployment.workers)]
    return [*outputs, *map(deployment.rows, tables)]


def start(client: AvatarCreator, project_id: str, **options: Any) -> Generation:
    """Start a generation of a small picture."""
    return client.generations.create(
        project_id, "a woman", width=SMALLEST, height=SMALLEST, **options
    ).generation


def wait_for_end(client: AvatarCreator, generation_id: str) -> Generation:
    """Wait for the last state of a generation."""
    *_, last = client.generations.watch(generation_id, timeout=30.0)
    return last


def health_of(deployment: Deployment, name: str) -> str:
    """Return the status of a health check."""
    with grpc.insecure_channel(deployment.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5.0)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def test_a_portrait_is_drawn_through_the_queue_of_the_embedded_service(
    service: Deployment, router: RouterFake, user: str
) -> None:
    require_portrait_with_the_lora(service, router, user)


def test_a_portrait_is_drawn_through_the_queue_of_a_worker(
    distributed: Deployment, router: RouterFake, user: str
) -> None:
    distributed.settings |= settings_of(router, HUGGINGFACE_BILL_TO="lumiku")
    distributed.start()
    require_portrait_with_the_lora(distributed, router, user)
    require_secret_key(distributed)


def require_portrait_with_the_lora(deployment: Deployment, router: RouterFake, user: str) -> None:
    """Draw a portrait, and check the request to the provider and all that the service says about it."""
    with deployment.client(user) as client:
        project = client.projects.create("Hosted")
        generation = client.generations.create(
            project.id,
            "confident business woman",
            persona=Persona(name="Sarah", age=32, personality=["professional"]),
            attributes=Attributes(gender=Gender.FEMALE, ethnicity="asian", style=Style.PROFESSIONAL),
            width=768,
            height=1024,
            seed=7,
        )
        states = list(client.generations.watch(generation.id, timeout=30.0))
        last = states[-1]
        [attempt] = client.generations.attempts(generation.id)
        recipe = client.generations.recipe(generation.id)
        picture = client.avatars.get(present(last.avatar_id))
    [submission] = router.submissions()

    assert submission["path"] == "/fal-ai/fal-ai/flux-lora"
    assert submission["query"] == "_subdomain=queue"
    assert {name: value for name, value in submission["body"].items() if name != "prompt"} == {
        "image_size": {"width": 768, "height": 1024},
        "num_inference_steps": 28,
        "guidance_scale": 3.5,
        "seed": 7,
        "output_format": "png",
        "enable_safety_checker": True,
        "acceleration": "none",
        "loras": [{"path": LORA, "scale": 1.0}],
    }
    assert submission["body"]["prompt"] == last.provider_prompt == f"Super Realism, {last.enhanced_prompt}"
    headers = {name.lower(): value for name, value in submission["headers"]}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-hf-bill-to"] == "lumiku"
    assert headers["x-fal-no-retry"] == "1"
    assert all(
        "authorization" not in {name.lower() for name, _ in sent} for sent in submission["image_headers"]
    )

    assert last.state == COMPLETED
    assert (picture.image.width, picture.image.height, picture.image.content_type) == (768, 1024, "image/png")
    assert any(state.progress_estimated for state in states if 20 <= state.progress_percent < 70)
    assert (attempt.provider, attempt.route, attempt.outcome) == ("huggingface", "fal-ai", SUCCEEDED)
    assert present(attempt.provider_request_id).endswith(submission["request_id"])
    assert attempt.possibly_charged
    assert attempt.price_micros == last.price_micros == PRICE
    assert recipe is not None
    assert (recipe.model, recipe.lora, recipe.lora_scale) == ("black-forest-labs/FLUX.1-dev", LORA, 1.0)
    assert (recipe.seed, recipe.steps, recipe.guidance_scale) == (7, 28, 3.5)
    assert recipe.negative_prompt is None
    assert list(last.warnings) == []


def test_a_route_without_a_queue_draws_and_warns_that_it_ignores_the_lora(
    hosted: Hosted, router: RouterFake, user: str
) -> None:
    deployment = hosted(HUGGINGFACE_ROUTE="hf-inference")
    with deployment.client(user) as client:
        generation = start(client, client.projects.create("Hosted").id)
        last = wait_for_end(client, generation.id)

    assert last.state == COMPLETED
    assert last.provider_prompt == last.enhanced_prompt
    assert ["LoRA" in warning for warning in last.warnings] == [True]
    [submission] = router.submissions()
    assert submission["path"] == "/hf-inference/models/black-forest-labs/FLUX.1-dev"


def test_a_dedicated_endpoint_receives_a_negative_prompt_or_the_default_one(
    hosted: Hosted, router: RouterFake, user: str
) -> None:
    deployment = hosted(
        HUGGINGFACE_ROUTE="endpoint",
        HUGGINGFACE_ENDPOINT_URL=router.url,
        MODEL="stabilityai/stable-diffusion-xl-base-1.0",
        LORA_REPOSITORY="none",
    )
    with deployment.client(user) as client:
        project = client.projects.create("Hosted")
        last = wait_for_end(client, start(client, project.id).id)
        own = wait_for_end(client, start(client, project.id, negative_prompt="hats").id)

    for warnings in (last.warnings, own.warnings):
        assert ["the model reads 77" in warning for warning in warnings] == [True]
    first, second = router.submissions()
    assert first["body"]["parameters"]["negative_prompt"] == last.negative_prompt != ""
    assert second["body"]["parameters"]["negative_prompt"] == "hats"


@pytest.mark.parametrize("by", ["cancelling", "deleting the project"])
def test_an_unneeded_request_is_cancelled_at_the_provider(
    service: Deployment, router: RouterFake, by: str, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    with service.client(user) as client:
        project = client.projects.create("Cancelled")
        generation = start(client, project.id)
        router.wait_until_polled()
        if by == "cancelling":
            assert client.generations.cancel(generation.id).state == CANCELLED
        else:
            client.projects.delete(project.id)
        wait_until(lambda: router.counters()["cancelled"] == 1, 20.0)
        wait_until(lambda: not service.rows("quick_work"), 20.0)
    assert router.count == 1


def test_a_request_that_is_cancelled_during_its_submission_is_cancelled_at_the_provider(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    with service.client(user) as client:
        project = client.projects.create("Cancelled")
        router.suspend()
        try:
            generation = start(client, project.id)
            attempts = partial(
                service.execute,
                "SELECT outcome FROM generation_attempts WHERE generation_id = %s",
                generation.id,
            )
            wait_until(lambda: [row["outcome"] for row in attempts()] == ["submitting"], 20.0)
            stopped = partial(service.servers[0].events, "drawing_stopped")
            before = len(stopped())
            client.generations.cancel(generation.id)
            wait_until(lambda: len(stopped()) > before, 20.0)
        finally:
            router.resume()
        wait_until(lambda: router.counters()["cancelled"] == 1, 20.0)
    assert router.count == 1


def test_a_refused_key_opens_the_circuit_and_a_good_one_closes_it(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.know_tokens("hf_another")
    with service.client(user) as client:
        project = client.projects.create("Refused")
        for _ in range(3):
            refused = wait_for_end(client, start(client, project.id).id)
            assert refused.state == FAILED
            assert present(refused.error).reason == ErrorReason.PROVIDER_CREDENTIALS
            assert refused.attempt_number == 1
            assert refused.price_micros == 0
        assert router.count == 1
        assert "allows the next request at" in present(refused.error).explanation

        wait_until(lambda: health_of(service, "provider") == "NOT_SERVING", 10.0)
        assert health_of(service, "") == "SERVING"
        doctor = service.run_command("doctor")
        assert doctor.returncode == 1
        assert "PROVIDER_CREDENTIALS" in doctor.stdout

        # Half-open: one attempt may use the route. While the key is still refused, all others may not.
        make_circuits_half_open(service)
        for _ in range(2):
            assert wait_for_end(client, start(client, project.id).id).state == FAILED
        assert router.count == 2

        router.know_tokens(KEY)
        make_circuits_half_open(service)
        for _ in range(2):
            assert wait_for_end(client, start(client, project.id).id).state == COMPLETED
        assert router.count == 4
        wait_until(lambda: health_of(service, "provider") == "SERVING", 10.0)
        assert service.run_command("doctor").returncode == 0


def make_circuits_half_open(deployment: Deployment) -> None:
    """End the delay of every open circuit."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    deployment.execute("UPDATE route_circuits SET probe_time = %s", past)


def test_a_generation_with_a_reference_uses_the_route_that_supports_it(
    service: Deployment, router: RouterFake, user: str
) -> None:
    with service.client(user) as client:
        project = client.projects.create("Reference")
        first = wait_for_end(client, start(client, project.id).id)
        second = wait_for_end(
            client, start(client, project.id, reference=first.avatar_id, reference_strength=0.3).id
        )
        recipe = client.generations.recipe(second.id)
        avatar = client.avatars.get(present(second.avatar_id))

    assert second.state == COMPLETED
    assert avatar.reference_avatar_id == first.avatar_id
    assert recipe is not None
    assert (recipe.route, recipe.model) == ("fal-ai-reference", "black-forest-labs/FLUX.1-Kontext-dev")
    assert "strength" in second.warnings[0], second.warnings
    assert router.submissions()[1]["body"]["image_url"].startswith("data:image/")


def test_a_reproduction_has_the_same_pixels(service: Deployment, router: RouterFake, user: str) -> None:
    with service.client(user) as client:
        project = client.projects.create("Again")
        first = wait_for_end(client, start(client, project.id, steps=20).id)
        again = wait_for_end(client, client.generations.reproduce(first.id, project=project.id).id)

    assert present(again.reproduction).identical_pixels
    assert present(again.reproduction).color_difference == 0
    one, other = router.submissions()
    assert one["body"] == other["body"]


def test_a_watch_shows_the_progress_of_drawing(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(Behavior(hold=True))
    with service.client(user) as client:
        generation = start(client, client.projects.create("Slow").id)
        for state in client.generations.watch(generation.id, timeout=30.0):
            if state.stage == GenerationStage.DRAWING and state.progress_percent > 20:
                assert state.progress_estimated
                router.finish()
        assert state.state == COMPLETED

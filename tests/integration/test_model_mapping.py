"""The list of offered apps in the complete service: who reads it, and what the choice of an app means."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from avatar_creator import ErrorReason, FailedPreconditionError, Generation, Recipe
from avatar_creator_server.database.connection import Database
from avatar_creator_server.generations.current_routes import CurrentRoutes
from avatar_creator_server.generations.offered_apps import NoMappingError, read_offered_apps
from avatar_creator_server.settings import DEFAULT_MODEL, Settings
from avatar_creator_tasks.mapping_reader import MappingReader
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.generations import COMPLETED, FAILED, SMALLEST, row_of
from tests.support.huggingface_router import Fault, RouterFake
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio
from tests.support.waiting import wait_until

KEY = "hf_test_mapping"
LORA = "strangerzonehf/Flux-Super-Realism-LoRA"
FLUX_LORA, FLUX, KONTEXT = "fal-ai/flux-lora", "fal-ai/flux/dev", "fal-ai/flux-kontext/dev"
LORA_PRICE, PRICE = 35_000, 25_000
CHANGED = "the settings of the workers no longer have"
NO_LORA_APP = "Hugging Face's router does not offer fal-ai/flux-lora"

LOST = ProviderError(
    "PROVIDER_UNAVAILABLE", "the connection was lost", retryable=True, charged=True, request_alive=True
)
REJECTED = ProviderError("PROVIDER_REJECTED", "the prompt was refused", retryable=False)


@pytest.fixture
def hosted(databases: Deployment, router: RouterFake) -> Deployment:
    """The same, with a key. Its router and its hub are the fake."""
    databases.settings |= {
        "HUGGINGFACE_API_KEY": KEY,
        "HUGGINGFACE_BASE_URL": router.url,
        "HUGGINGFACE_HUB_URL": router.url,
    }
    return databases


def stored_apps(deployment: Deployment) -> list[str] | None:
    """Return the apps of the stored list; None if there is none."""
    return next((_json(row["apps"]) for row in deployment.rows("model_mappings")), None)


def choice_of(deployment: Deployment, generation_id: str) -> tuple[str, str] | None:
    """Return the app and the LoRA that are written on a generation; None if there are none."""
    choice = _json(row_of(deployment, generation_id)["route_choice"])
    return choice and (choice["app"], choice["lora"])


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


# Who reads the list


def test_a_worker_stores_the_list_when_it_is_ready(hosted: Deployment, router: RouterFake) -> None:
    router.map_apps(FLUX, KONTEXT)

    if hosted.is_embedded:
        hosted.start_server()
    else:
        hosted.start_worker()

    wait_until(lambda: stored_apps(hosted) == [KONTEXT, FLUX])
    [row] = hosted.rows("model_mappings")
    assert (row["provider"], datetime.now(UTC) - row["read_time"] < timedelta(minutes=1)) == ("fal-ai", True)


@asynccontextmanager
async def two_processes(
    deployment: Deployment, **changes: str
) -> AsyncIterator[tuple[CurrentRoutes, CurrentRoutes]]:
    """Create the routes of two processes, with these settings changed."""
    path = deployment.data_path / "avatar-creator.db"
    database = Database(deployment.settings.get("DATABASE_URL", f"sqlite:///{path}"))
    settings = Settings(
        provider="huggingface",
        huggingface_route="fal-ai",
        model=DEFAULT_MODEL,
        lora_repository="",
        **changes,  # type: ignore[arg-type]
    )
    try:
        yield CurrentRoutes(database, settings), CurrentRoutes(database, settings)
    finally:
        await database.close()


@asynccontextmanager
async def readers(deployment: Deployment, hub_url: str) -> AsyncIterator[tuple[MappingReader, MappingReader]]:
    """Create the readers of two workers."""
    async with two_processes(deployment) as (one, other):
        yield MappingReader(one, hub_url), MappingReader(other, hub_url)


async def test_one_worker_an_hour_reads_the_list_for_all(hosted: Deployment, router: RouterFake) -> None:
    async with readers(hosted, router.url) as (one, other):
        assert await one.read_if_due() == 3600
        for reader in (other, one):
            assert 3500 < await reader.read_if_due() <= 3600
        assert router.counters()["mapping"] == 1

        router.map_apps(FLUX)
        age_list(hosted, timedelta(hours=1, seconds=1))
        assert await other.read_if_due() == 3600
        assert stored_apps(hosted) == [FLUX]
        assert router.counters()["mapping"] == 2


async def test_the_list_of_another_hub_does_not_count(databases: Deployment) -> None:
    async with two_processes(databases) as (one, _):
        await one.store(frozenset({FLUX}))
    async with two_processes(databases, huggingface_hub_url="https://hub.invalid") as (other, _):
        assert await other.stored() is None
        assert (await other.current()).from_text.app_name == FLUX_LORA


def age_list(deployment: Deployment, age: timedelta) -> None:
    """Make the stored list as old as this."""
    deployment.execute("UPDATE model_mappings SET read_time = %s", datetime.now(UTC) - age)


async def test_a_hub_that_gives_no_list_leaves_the_stored_one(hosted: Deployment, router: RouterFake) -> None:
    router.map_apps(FLUX)
    async with readers(hosted, router.url) as (reader, _):
        await reader.read_if_due()
        age_list(hosted, timedelta(days=2))
        router.fail_mapping(Fault(how="html"))

        with pytest.raises(NoMappingError, match="it answers with the status 502"):
            await reader.read_if_due()

    assert stored_apps(hosted) == [FLUX]
    [row] = hosted.rows("model_mappings")
    assert datetime.now(UTC) - row["read_time"] > timedelta(days=1)


async def test_a_process_does_not_look_at_the_stored_list_for_each_call(databases: Deployment) -> None:
    async with two_processes(databases) as (one, other):
        await one.store(frozenset({FLUX}))
        await one.current()
        assert (await other.current()).from_text.app_name == FLUX
        databases.execute("DELETE FROM model_mappings")

        for routes in (one, other):
            assert (await routes.current()).from_text.app_name == FLUX
    async with two_processes(databases) as (later, _):
        assert (await later.current()).from_text.app_name == FLUX_LORA


async def test_a_service_is_ready_and_draws_while_the_hub_does_not_answer(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    router.fail_mapping(Fault(how="hang"))

    with capture_logs() as logs:
        drawn = await draw_through_the_fake(hosted, user)

    assert router.counters()["mapping"] == 1
    assert drawn.state == COMPLETED
    assert not [entry for entry in logs if entry["event"].startswith("model_mapping_")]
    assert stored_apps(hosted) is None
    assert [each["model"] for each in router.submissions()] == [FLUX_LORA]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault(how="html"), "it answers with the status 502"),
        (Fault(status=200, body="Service Unavailable"), "its answer is not JSON"),
        (Fault(status=200, body={"text-to-image": {}}), "its answer has no live model"),
    ],
    ids=["an error", "no JSON", "an empty list"],
)
async def test_an_answer_without_a_list_is_refused(router: RouterFake, fault: Fault, problem: str) -> None:
    router.fail_mapping(fault)

    with pytest.raises(NoMappingError) as refused:
        await read_offered_apps(router.url)

    assert refused.value.problem == problem


async def test_without_a_list_all_apps_count_as_offered(
    embedded: Deployment, router: RouterFake, user: str
) -> None:
    router.fail_mapping(Fault(how="drop"))
    urls = {"HUGGINGFACE_BASE_URL": router.url, "HUGGINGFACE_HUB_URL": router.url}

    with capture_logs() as logs:
        drawn = await draw_through_the_fake(embedded, user, HUGGINGFACE_API_KEY=KEY, **urls)

    assert [entry["problem"] for entry in logs if entry["event"] == "model_mapping_refused"] == [
        "the hub does not list the apps that the router offers: the connection broke"
    ]
    assert (drawn.state, list(drawn.warnings)) == (COMPLETED, [])
    assert [each["model"] for each in router.submissions()] == [FLUX_LORA]


async def draw_through_the_fake(deployment: Deployment, user: str, **settings: str) -> Generation:
    """Let a service with these settings draw a picture with its own provider, and return the generation."""
    serving_it = InProcessService.serving(deployment, **settings)
    async with serving_it as service, service.client(user) as client, service.working():
        studio = Studio(service, client, (await client.projects.create("Hub")).id)
        return await studio.wait_for_end((await studio.create_generation()).id)


@pytest.mark.parametrize("settings", [{}, {"HUGGINGFACE_API_KEY": KEY, "HUGGINGFACE_ROUTE": "hf-inference"}])
async def test_a_service_without_fals_apps_does_not_ask_the_hub(
    embedded: Deployment, router: RouterFake, user: str, settings: dict[str, str]
) -> None:
    urls = {"HUGGINGFACE_BASE_URL": router.url, "HUGGINGFACE_HUB_URL": router.url}

    drawn = await draw_through_the_fake(embedded, user, **urls, **settings)

    assert drawn.state == COMPLETED
    assert router.counters()["mapping"] == 0


# The written choice


@asynccontextmanager
async def serving(
    deployment: Deployment, user: str, *apps: str, age: timedelta = timedelta(0), **settings: str
) -> AsyncIterator[Studio]:
    """Start a server without a worker on a database with this list, and connect a user.

    Args:
        deployment: The service.
        user: The user.
        apps: The apps of the stored list; there is no list without them.
        age: The age of the list.
        settings: Additional settings.
    """
    deployment.execute("DELETE FROM model_mappings")
    if apps:
        deployment.execute(
            "INSERT INTO model_mappings (provider, hub_url, apps, read_time) VALUES ('fal-ai', %s, %s, %s)",
            deployment.settings["HUGGINGFACE_HUB_URL"],
            json.dumps(apps),
            datetime.now(UTC) - age,
        )
    service_of = InProcessService.serving(deployment, **{"HUGGINGFACE_API_KEY": KEY, **settings})
    async with service_of as service, service.client(user) as client:
        yield Studio(service, client, (await client.projects.create("Mapped")).id)


async def draw(studio: Studio, generation: Generation) -> tuple[Generation, tuple[str, str]]:
    """Let a worker draw a generation; return its end, and the app and the LoRA of the request."""
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        drawing = await provider.next_drawing()
        drawing.succeed()
        route = drawing.request.route
        return await studio.wait_for_end(generation.id), (
            route.app_name,
            route.lora.repository if route.lora else "",
        )


@pytest.mark.parametrize(
    ("before", "later", "drawn_by", "price", "warned"),
    [
        ((FLUX, KONTEXT), (FLUX, FLUX_LORA), (FLUX, ""), PRICE, True),
        ((FLUX, FLUX_LORA), (FLUX, KONTEXT), (FLUX_LORA, LORA), LORA_PRICE, False),
        ((), (FLUX, KONTEXT), (FLUX_LORA, LORA), LORA_PRICE, False),
    ],
    ids=["the app comes back", "the app goes away", "the list comes"],
)
async def test_a_generation_is_drawn_by_the_app_that_was_chosen_for_it(
    databases: Deployment,
    user: str,
    before: tuple[str, ...],
    later: tuple[str, ...],
    drawn_by: tuple[str, str],
    price: int,
    warned: bool,
) -> None:
    async with serving(databases, user, *before) as studio:
        estimate = await studio.client.generations.estimate(
            studio.project_id, "a portrait", width=SMALLEST, height=SMALLEST
        )
        created = await studio.create_generation()
        assert choice_of(databases, created.id) == drawn_by
    async with serving(databases, user, *later) as studio:
        drawn, used = await draw(studio, created)
        [attempt] = await studio.attempts(created.id)
        recipe = await studio.client.generations.recipe(created.id)

    assert drawn.state == COMPLETED
    assert used == drawn_by == choice_of(databases, created.id)
    assert estimate.price_micros == attempt.price_micros == drawn.price_micros == price
    assert recipe is not None
    assert (recipe.model, recipe.lora or "") == (DEFAULT_MODEL, drawn_by[1])
    assert any(NO_LORA_APP in warning for warning in estimate.warnings) == warned
    assert [NO_LORA_APP in warning for warning in drawn.warnings] == [True] * warned


async def test_a_list_that_is_older_than_a_week_counts_for_nothing(databases: Deployment, user: str) -> None:
    async with serving(databases, user, FLUX, age=timedelta(days=6, hours=23)) as studio:
        assert choice_of(databases, (await studio.create_generation()).id) == (FLUX, "")
    async with serving(databases, user, FLUX, age=timedelta(days=7, minutes=1)) as studio:
        assert choice_of(databases, (await studio.create_generation()).id) == (FLUX_LORA, LORA)


async def test_a_worker_with_other_settings_chooses_again_and_says_so(
    databases: Deployment, user: str
) -> None:
    async with serving(databases, user) as studio:
        created = await studio.create_generation()
    async with serving(databases, user, LORA_REPOSITORY="none") as studio:
        drawn, used = await draw(studio, created)
        recipe = await studio.client.generations.recipe(created.id)

    assert drawn.state == COMPLETED
    assert used == (FLUX, "") == choice_of(databases, created.id)
    assert drawn.price_micros == PRICE
    assert recipe is not None
    assert recipe.lora is None
    assert list(drawn.warnings) == [
        f"{CHANGED} fal-ai/flux-lora with the LoRA {LORA}, as they were when the generation was accepted: "
        "fal-ai/flux/dev draws the picture"
    ]


async def test_a_strict_generation_is_not_drawn_without_what_it_asked_for(
    databases: Deployment, user: str
) -> None:
    async with serving(databases, user) as studio:
        created = await studio.create_generation(strict=True)
    async with (
        serving(databases, user, FLUX, LORA_SCALE="0.5") as studio,
        studio.service.working(ScriptedProvider()),
    ):
        failed = await studio.wait_for_end(created.id)

    assert (failed.state, failed.price_micros) == (FAILED, 0)
    assert present(failed.error).reason == ErrorReason.OPTION_NOT_SUPPORTED
    assert NO_LORA_APP in present(failed.error).explanation


async def test_a_request_of_another_app_is_cancelled_and_the_next_one_resumed(
    databases: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(databases, user) as studio, studio.service.working(provider):
        created = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.submitted("first")
        drawing.fail(LOST)
        await studio.wait_for_backoff(created.id, 1)
    async with serving(databases, user, LORA_REPOSITORY="none") as studio, studio.service.working(provider):
        await studio.retry_now(created.id, attempt=1)
        drawing = await provider.next_drawing()
        assert drawing.request.resume_request_id == ""
        drawing.submitted("second")
        drawing.fail(LOST)
        await studio.wait_for_backoff(created.id, 2)
        await studio.retry_now(created.id, attempt=2)
        drawing = await provider.next_drawing()
        assert drawing.request.resume_request_id == "second", "the choice is written, so nothing has changed"
        drawing.succeed()
        drawn = await studio.wait_for_end(created.id)
        await studio.eventually(lambda: provider.cancelled == ["first"])

    assert drawn.state == COMPLETED
    assert [CHANGED in warning for warning in drawn.warnings] == [True]


async def test_a_generation_without_a_choice_gets_one(databases: Deployment, user: str) -> None:
    async with serving(databases, user) as studio:
        created = await studio.create_generation()
        # As a server of the previous version leaves it.
        databases.execute("UPDATE avatar_generations SET route_choice = NULL")
    async with serving(databases, user, FLUX) as studio:
        drawn, used = await draw(studio, created)

    assert used == (FLUX, "") == choice_of(databases, created.id)
    assert [NO_LORA_APP in warning for warning in drawn.warnings] == [True]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_request_of_the_previous_version_is_resumed_with_the_app_that_draws_it(
    databases: Deployment, user: str, strict: bool
) -> None:
    provider = ScriptedProvider()
    async with serving(databases, user) as studio, studio.service.working(provider):
        created = await studio.create_generation(strict=strict)
        await lose_connection(studio, provider, created)
        # As a server and a worker of the previous version leave them.
        databases.execute("UPDATE avatar_generations SET route_choice = NULL")
        databases.execute("UPDATE generation_attempts SET route_choice = NULL")
    async with serving(databases, user, FLUX) as studio, studio.service.working(provider):
        drawn, recipe = await fetch(studio, provider, created)

    assert (drawn.state, drawn.price_micros, list(drawn.warnings)) == (COMPLETED, LORA_PRICE, [])
    assert recipe.lora == LORA
    assert choice_of(databases, created.id) == (FLUX_LORA, LORA)
    assert provider.cancelled == []


async def test_a_request_of_a_worker_that_ignored_the_choice_is_resumed_with_the_app_that_draws_it(
    databases: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(databases, user, FLUX) as studio:
        created = await studio.create_generation()
        assert choice_of(databases, created.id) == (FLUX, "")
        async with studio.service.working(provider):
            await lose_connection(studio, provider, created)
            databases.execute("UPDATE generation_attempts SET route_choice = NULL")
            await studio.retry_now(created.id, attempt=1)
            # The second worker loses the connection too: the first attempt still says who submitted.
            (await provider.next_drawing()).fail(LOST)
            await studio.wait_for_backoff(created.id, 2)
            drawn, recipe = await fetch(studio, provider, created, attempt=2)

    assert (drawn.state, recipe.lora) == (COMPLETED, LORA)
    assert drawn.warnings[-1] == (
        f"a worker of an earlier version ordered the picture from {FLUX_LORA}, which draws it in place of "
        f"{FLUX}"
    )
    assert choice_of(databases, created.id) == (FLUX_LORA, LORA)
    assert provider.cancelled == []


async def lose_connection(studio: Studio, provider: ScriptedProvider, created: Generation) -> None:
    """Let the first attempt lose the connection to a request that is still running."""
    drawing = await provider.next_drawing()
    drawing.submitted("first")
    drawing.fail(LOST)
    await studio.wait_for_backoff(created.id, 1)


async def fetch(
    studio: Studio, provider: ScriptedProvider, created: Generation, *, attempt: int = 1
) -> tuple[Generation, Recipe]:
    """Let the attempt after this one fetch the picture of the running request; return its end and recipe."""
    await studio.retry_now(created.id, attempt=attempt)
    drawing = await provider.next_drawing()
    route = drawing.request.route
    assert (drawing.request.resume_request_id, route.app_name) == ("first", FLUX_LORA)
    drawing.succeed()
    drawn = await studio.wait_for_end(created.id)
    recipe = await studio.client.generations.recipe(created.id)
    assert recipe is not None
    return drawn, recipe


async def test_a_retry_chooses_again_by_the_list_of_that_moment(databases: Deployment, user: str) -> None:
    provider = ScriptedProvider()
    async with serving(databases, user) as studio, studio.service.working(provider):
        created = await studio.create_generation()
        (await provider.next_drawing()).fail(REJECTED)
        assert (await studio.wait_for_end(created.id)).state == FAILED
    async with serving(databases, user, FLUX) as studio:
        retried = (await studio.client.generations.retry(created.id)).generation

    assert choice_of(databases, created.id) == (FLUX_LORA, LORA)
    assert choice_of(databases, retried.id) == (FLUX, "")
    assert [NO_LORA_APP in warning for warning in retried.warnings[:1]] == [True]


async def test_a_picture_without_the_lora_is_not_reproduced_with_it(databases: Deployment, user: str) -> None:
    async with serving(databases, user, FLUX) as studio:
        created = await studio.create_generation()
        await draw(studio, created)
        again = await studio.client.generations.reproduce(created.id, project=studio.project_id)
        assert choice_of(databases, again.id) == (FLUX, "")
    async with serving(databases, user, FLUX, FLUX_LORA) as studio:
        with pytest.raises(FailedPreconditionError) as refusal:
            await studio.client.generations.reproduce(created.id, project=studio.project_id)

    assert refusal.value.reason == "NOT_REPRODUCIBLE"
    assert refusal.value.metadata["difference"] == "lora"

"""The commands that make pictures by all there is to wish for, estimate them, and make them again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as rpc_details
from PIL import Image

from avatar_creator import (
    AvatarCreator,
    DailySpend,
    ErrorReason,
    EstimateGenerationResponse,
    Generation,
    GenerationStage,
    GenerationState,
    GetStatsResponse,
    Recipe,
    Reproduction,
    SourceType,
)
from avatar_creator.v1.generation_service_pb2 import (
    CreateGenerationResponse,
    GetGenerationResponse,
    WatchGenerationsResponse,
)
from avatar_creator_server.cli.format import dollars
from tests import pictures
from tests.client.scripted_server import Failure, ScriptedServer
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from tests.support.person import SMALL, Person

UNKNOWN = "01920000-0000-7000-8000-000000000000"
"""Nobody's id."""
LAST_SEED = str(2**32 - 1)
OF_P1 = ("--project", "p1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A service of which the test says all that it answers, also what `sketch` never does."""
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def visitor(server: ScriptedServer, tmp_path: Path) -> Person:
    """Somebody who uses `server` from the command line."""
    return Person(server.target, "a-token", tmp_path)


def facts(sheet: str) -> dict[str, str]:
    """What a sheet says, by the names in it."""
    return dict(re.split("  +", line.rstrip(), maxsplit=1) for line in sheet.splitlines())


def state(number: int, state: GenerationState.ValueType, **fields: Any) -> Generation:
    """A state of the variation with this number."""
    stage = (
        GenerationStage.GENERATION_STAGE_DRAWING
        if state == PROCESSING
        else GenerationStage.GENERATION_STAGE_ENDED
    )
    return Generation(
        **{
            "id": f"g{number}",
            "group_id": "g1",
            "state": state,
            "stage": stage,
            "seed_used": 6 + number,
            "provider": "huggingface",
            "avatar_name": "Ratna",
            "avatar_id": f"a{number}",
            "revision": 2,
            **fields,
        }
    )


def error(reason: ErrorReason.ValueType, message: str) -> dict[str, Any]:
    return {"reason": reason, "message": message}


def watched(*states: Generation) -> list[WatchGenerationsResponse]:
    return [WatchGenerationsResponse(generation=state) for state in states]


# Options


def test_what_cannot_be_honoured_is_told_and_refused_if_wished(
    person: Person, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    options = ("--steps", "40", "--guidance", "4.5", "--negative", "glasses", *SMALL)
    wishes = ("a portrait", "--project", project.id, *options)

    refused = person.refused("generate", *wishes, "--strict")
    assert list(shared_client.generations.list(project.id)) == []
    outcome = person.run("generate", *wishes)
    (generation,) = shared_client.generations.list(project.id)

    assert refused.startswith("OPTION_NOT_HONOURED: ")
    for field in ("prompt: ", "options.negative_prompt: ", "options.steps: ", "options.guidance_scale: "):
        assert field in refused
    assert (outcome.returncode, len(generation.warnings)) == (0, 4)
    assert outcome.stderr.splitlines() == [f"note: {warning}" for warning in generation.warnings]
    kept = generation.options
    assert (kept.steps, kept.guidance_scale, kept.negative_prompt) == (40, 4.5, "glasses")


def test_a_recipe_is_kept_out_of_the_file_if_wished(person: Person, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--seed", "7", *SMALL)

    assert person.run(*command, "--to", "with.png").returncode == 0
    assert person.run(*command, "--no-recipe", "--to", "without.png").returncode == 0

    with Image.open(person.folder / "with.png") as kept, Image.open(person.folder / "without.png") as bare:
        assert [bool(picture.text) for picture in (kept, bare)] == [True, False]  # type: ignore[attr-defined]
        assert kept.tobytes() == bare.tobytes()


def test_a_picture_is_made_from_that_of_an_avatar(person: Person, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")
    sarah = shared_client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")
    command = ("generate", "as a painting", "--project", project.id, *SMALL)

    made = person.run(*command, "--reference", sarah.id, "--strength", "0.3", "--watch")
    assert made.returncode == 0, made.stderr
    (avatar,) = shared_client.avatars.list(source_types=[SourceType.SOURCE_TYPE_FROM_REFERENCE])

    assert avatar.reference_avatar_id == sarah.id
    assert facts(person.reads("avatars", "show", avatar.id))["reference"] == sarah.id
    assert UNKNOWN in person.refused(*command, "--reference", UNKNOWN)
    assert "reference_avatar_id" in person.refused(*command, "--strength", "0.3")


# Variations


def test_variations_are_followed_together_and_saved_by_number(
    person: Person, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--variations", "3", *SMALL)
    (person.folder / "face-2.png").touch()
    to = ("--to", "face.png", "--seed", LAST_SEED)

    assert "face-2.png exists already" in person.refused(*command, *to)
    told = person.run(*command, *to, "--force")
    started = person.json(*command, "--name", "Ratna")

    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert [re.findall(r"with seed (\d+)\.", line) for line in lines[::2]] == [[LAST_SEED], ["0"], ["1"]]
    assert lines[1::2] == [f"Saved the 256x256 picture to face-{number}.png." for number in (1, 2, 3)]
    drawn = set()
    for number in (1, 2, 3):
        with Image.open(person.folder / f"face-{number}.png") as picture:
            drawn.add(picture.tobytes())
    assert len(drawn) == 3
    group = started[0]["group_id"]
    ids = [generation["id"] for generation in started]
    assert (group, len(ids)) == (ids[0], 3)
    assert {generation.id for generation in shared_client.generations.list(group_id=group)} == set(ids)


def test_each_variation_has_a_line_with_its_progress(server: ScriptedServer, visitor: Person) -> None:
    first, second = (
        state(number, PENDING, avatar_id="", warnings=["it has no negative prompt"]) for number in (1, 2)
    )
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=[second])])
    server.script(
        "WatchGenerations",
        watched(
            state(1, PROCESSING, progress_percent=40),
            state(2, COMPLETED, progress_percent=100, price_micros=35_000, warnings=["words were cut"]),
            state(1, COMPLETED, revision=3, progress_percent=100),
        ),
    )

    shown = visitor.sees("generate", "x", *OF_P1, "--variations", "2", "--watch", columns=110)

    assert re.search(r"^seed 7 completed .* 100 %", shown, re.MULTILINE), shown
    assert re.search(r"^seed 8 completed .* 100 %", shown, re.MULTILINE), shown
    assert "Made Ratna (a1), drawn by huggingface with seed 7.\n" in shown
    assert "Made Ratna (a2), drawn by huggingface with seed 8 for $0.035.\n" in shown
    for warning in ("it has no negative prompt", "words were cut"):
        assert shown.count(f"note: {warning}") == 1
    request = server.received("CreateGeneration")[0].request
    assert (request.variation_count, request.prompt) == (2, "x")


def test_variations_that_were_not_made_are_told_after_those_that_were(
    server: ScriptedServer, visitor: Person
) -> None:
    withheld = error(ErrorReason.ERROR_REASON_PROVIDER_NSFW, "the picture was withheld")
    started = [state(number, PENDING) for number in (1, 2, 3)]
    server.script(
        "CreateGeneration", [CreateGenerationResponse(generation=started[0], variations=started[1:])]
    )
    server.script(
        "WatchGenerations",
        watched(state(1, FAILED, error=withheld), state(2, COMPLETED), state(3, CANCELLED)),
    )

    outcome = visitor.run("generate", "x", *OF_P1, "--variations", "3", "--watch")

    assert outcome.returncode == 1
    assert outcome.stdout == "Made Ratna (a2), drawn by huggingface with seed 8.\n"
    assert outcome.stderr == (
        "error: 2 of 3 were not made: seed 7: PROVIDER_NSFW: the picture was withheld; "
        "seed 9: CANCELLED: generation g3 was cancelled\n"
    )


def test_variations_that_nobody_follows_are_told_one_a_line(server: ScriptedServer, visitor: Person) -> None:
    first, second = (state(number, PENDING, queue_position=number) for number in (1, 2))
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=[second])])

    told = visitor.reads("generate", "x", *OF_P1, "--variations", "2")

    assert told.splitlines() == [
        "Started generation g1: pending, 1 before it.",
        "Started generation g2: pending, 2 before it.",
    ]


def test_a_script_reads_each_state_of_each_variation(server: ScriptedServer, visitor: Person) -> None:
    first, second = (state(number, PENDING, warnings=["words were cut"]) for number in (1, 2))
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=[second])])
    server.script(
        "WatchGenerations",
        watched(state(2, COMPLETED), state(1, PROCESSING), state(1, COMPLETED, revision=3)),
    )

    outcome = visitor.run("generate", "x", *OF_P1, "--variations", "2", "--watch", "--json")

    assert (outcome.returncode, outcome.stderr) == (0, "")
    states = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [(each["id"], each["revision"]) for each in states] == [("g2", "2"), ("g1", "2"), ("g1", "3")]


def test_a_limit_is_told_with_when_there_is_room_again(server: ScriptedServer, visitor: Person) -> None:
    spent = "they would cost $20.01, $20 allowed spend per day"
    details = (
        rpc_details.ErrorInfo(reason="GENERATION_LIMIT", metadata={"limit": "spend_per_day"}),
        rpc_details.QuotaFailure(
            violations=[rpc_details.QuotaFailure.Violation(subject="spend_per_day", description=spent)]
        ),
        rpc_details.RetryInfo(retry_delay=Duration(seconds=90)),
    )
    over = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, details, "over the limit")
    server.script("CreateGeneration", [over])

    told = visitor.refused("generate", "x", *OF_P1)

    assert told == f"GENERATION_LIMIT: over the limit; spend_per_day: {spent}; try again in 90 s"


# Estimates


def test_an_estimate_creates_nothing(person: Person, shared_client: AvatarCreator) -> None:
    command = ("generate", "a portrait", "--estimate", "--variations", "3")

    assert "projects create" in person.refused(*command)
    assert list(shared_client.projects.list()) == []
    project = shared_client.projects.create("Spring")
    outcome = person.run(*command)
    document = person.json(*command, "--project", project.id)

    assert outcome.returncode == 0
    told = facts(outcome.stdout)
    assert (told["price"], told["provider"], told["route"]) == ("$0.00", "sketch", "local")
    assert (document["price_micros"], document["provider"]) == ("0", "sketch")
    assert outcome.stderr.splitlines() == [
        f"note: in your newest project, Spring ({project.id})",
        *(f"note: {warning}" for warning in document["warnings"]),
    ]
    assert document["warnings"]
    assert list(shared_client.generations.list()) == []
    assert person.run(*command, "--watch").returncode == 2
    assert person.run(*command, "--to", "face.png").returncode == 2


def test_an_estimate_has_price_and_times(server: ScriptedServer, visitor: Person) -> None:
    estimated = EstimateGenerationResponse(
        provider="huggingface",
        route="fal-ai",
        price_micros=105_000,
        seconds_p50=11.96,
        seconds_p90=20.1,
        expected_seconds=42,
        warnings=["the negative prompt was left out"],
    )
    server.script("EstimateGeneration", [estimated])

    outcome = visitor.run("generate", "x", *OF_P1, "--estimate", "--variations", "3", "--negative", "hats")

    assert facts(outcome.stdout) == {
        "price": "$0.105",
        "provider": "huggingface",
        "route": "fal-ai",
        "one takes": "half within 12.0 s, nine in ten within 20.1 s",
        "all would end": "in about 42 s",
    }
    assert outcome.stderr == "note: the negative prompt was left out\n"
    asked = server.received("EstimateGeneration")[0].request.generation
    assert (asked.variation_count, asked.options.negative_prompt) == (3, "hats")


@pytest.mark.parametrize(
    ("micros", "expected"),
    [(0, "$0.00"), (35_000, "$0.035"), (1_500_000, "$1.50"), (1, "$0.000001"), (1_234_000_000, "$1,234.00")],
)
def test_an_amount_has_cents_and_whatever_is_less(micros: int, expected: str) -> None:
    assert dollars(micros) == expected


# Recipes


def test_a_picture_is_made_again_by_its_recipe(person: Person, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--seed", "7", *SMALL, "--to", "one.png")
    assert person.run(*command).returncode == 0
    (original,) = shared_client.generations.list()

    told = facts(person.reads("recipe", original.id))
    document = person.json("recipe", original.id)
    again = person.run("reproduce", original.id, "--name", "Twin", "--to", "two.png")
    twin = next(shared_client.generations.list())

    assert (told["provider"], told["seed"], told["size"]) == ("sketch", "7", "256x256")
    assert (document["seed"], told["pixels SHA-256"]) == (7, document["pixels_sha256"])
    assert again.stdout.splitlines() == [
        f"Made Twin ({twin.avatar_id}), drawn by sketch with seed 7.",
        "It is the original, pixel for pixel.",
        "Saved the 256x256 picture to two.png.",
    ]
    assert (twin.project_id, twin.reproduce_of) == (project.id, original.id)
    with Image.open(person.folder / "one.png") as one, Image.open(person.folder / "two.png") as two:
        assert one.tobytes() == two.tobytes()

    other = shared_client.projects.create("Autumn")
    started = person.json("reproduce", original.id, "--project", other.id)
    assert (started["project_id"], started["reproduce_of"]) == (other.id, original.id)
    assert started["avatar_name"] == original.avatar_name
    for wrong in (("recipe",), ("reproduce",), ("reproduce", "--project", project.id)):
        assert UNKNOWN in person.refused(*wrong, UNKNOWN)


def test_a_recipe_is_a_fact_a_line(server: ScriptedServer, visitor: Person) -> None:
    recipe = Recipe(
        provider="huggingface",
        route="fal-ai",
        model="black-forest-labs/FLUX.1-dev",
        lora="strangerzonehf/Flux-Super-Realism-LoRA",
        lora_scale=1.0,
        seed=0,
        width=512,
        height=768,
        steps=28,
        guidance_scale=3.5,
        enhanced_prompt="Ratna, 39 years old",
        provider_prompt="Super Realism, Ratna, 39 years old",
        provider_facts={"request_id": "764cabcf"},
        pixels_sha256="c0ffee",
        software="avatar-creator 0.1.0",
    )
    server.script("GetGeneration", [GetGenerationResponse(recipe=recipe)])

    assert facts(visitor.reads("recipe", "g1")) == {
        "provider": "huggingface",
        "route": "fal-ai",
        "model": "black-forest-labs/FLUX.1-dev",
        "LoRA": "strangerzonehf/Flux-Super-Realism-LoRA",
        "LoRA scale": "1",
        "seed": "0",
        "size": "512x768",
        "steps": "28",
        "guidance": "3.5",
        "prompt": "Ratna, 39 years old",
        "sent as": "Super Realism, Ratna, 39 years old",
        "request id": "764cabcf",
        "pixels SHA-256": "c0ffee",
        "software": "avatar-creator 0.1.0",
    }


@pytest.mark.parametrize(
    ("stands", "why"),
    [
        (PENDING, "it is pending, not completed"),
        (FAILED, "it is failed, not completed"),
        (COMPLETED, "it was made before recipes were kept"),
    ],
    ids=["pending", "failed", "completed"],
)
def test_a_recipe_that_is_not_there_is_said_to_be_missing(
    stands: GenerationState.ValueType, why: str, server: ScriptedServer, visitor: Person
) -> None:
    answer = GetGenerationResponse(generation=state(1, stands))
    server.script("GetGeneration", [answer], [answer])

    assert visitor.refused("recipe", "g1") == f"generation g1 has no recipe: {why}"


@pytest.mark.parametrize(
    ("reproduction", "sentence"),
    [
        (Reproduction(identical_pixels=True, colour_difference=0.0), "It is the original, pixel for pixel."),
        (
            Reproduction(colour_difference=1.837),
            "It differs from the original by a mean colour difference of 1.84; about 2.3 is just noticeable.",
        ),
        (
            Reproduction(),
            "It is not the original pixel for pixel; by how much it differs cannot be said, "
            "for that is gone.",
        ),
        (None, "It cannot be compared with the original, whose recipe is gone."),
    ],
    ids=["identical", "different", "original gone", "recipe gone"],
)
def test_a_reproduction_is_compared_with_the_original(
    reproduction: Reproduction | None, sentence: str, server: ScriptedServer, visitor: Person
) -> None:
    server.script("CreateGeneration", [CreateGenerationResponse(generation=state(1, PENDING))])
    made = state(1, COMPLETED, reproduce_of="g0", reproduction=reproduction)
    server.script("WatchGenerations", watched(made))

    told = visitor.reads("reproduce", "g0", *OF_P1, "--watch")

    assert told.splitlines() == ["Made Ratna (a1), drawn by huggingface with seed 7.", sentence]
    assert server.received("CreateGeneration")[0].request.reproduce_generation_id == "g0"


# Spending


def test_spending_is_told_by_day_and_app(server: ScriptedServer, visitor: Person) -> None:
    spending = [
        DailySpend(day="2026-11-22", app_id="pose-generator", price_micros=70_000, attempt_count=2),
        DailySpend(day="2026-11-21", price_micros=1_500_000, attempt_count=43),
    ]
    stats = GetStatsResponse(avatar_count=2, spending=spending)
    server.script("GetStats", [stats], [stats])

    figures, by_day = visitor.reads("stats").split("\n\n")
    document = visitor.json("stats")

    assert ["spent in the last 30 days", "$1.57"] in [
        re.split("  +", line.strip()) for line in figures.splitlines()
    ]
    assert [re.split("  +", line.strip()) for line in by_day.splitlines()] == [
        ["day", "app", "attempts", "price"],
        ["2026-11-22", "pose-generator", "2", "$0.07"],
        ["2026-11-21", "no app", "43", "$1.50"],
    ]
    assert [spend["price_micros"] for spend in document["spending"]] == ["70000", "1500000"]

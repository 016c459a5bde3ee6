"""The commands `generate`, `recipe`, `reproduce` and `stats`: every option, and every kind of answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2 as rpc_details
from google.type.date_pb2 import Date
from PIL import Image

from avatar_creator import AvatarCreator, GenerationState
from avatar_creator.v1.avatar_pb2 import Avatar, PictureModeration
from avatar_creator.v1.avatar_service_pb2 import GetAvatarResponse, ListAvatarsResponse, UploadAvatarResponse
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import (
    Generation,
    GenerationStage,
    Recipe,
    Reproduction,
)
from avatar_creator.v1.generation_service_pb2 import (
    CreateGenerationResponse,
    EstimateGenerationResponse,
    GetGenerationResponse,
    WatchGenerationsResponse,
)
from avatar_creator.v1.usage_service_pb2 import DailySpend, GetStatsResponse
from avatar_creator_server.cli.format import dollars
from tests import pictures
from tests.client.scripted_server import Failure, ScriptedServer
from tests.support.command_line import SMALL, CommandLine
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING

UNKNOWN_ID = "01920000-0000-7000-8000-000000000000"
"""An id of nothing."""
LAST_SEED = str(2**32 - 1)
OF_P1 = ("--project", "p1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server whose answers the test scripts, including answers that `sketch` never gives."""
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def scripted(server: ScriptedServer, tmp_path: Path) -> CommandLine:
    """Commands against `server`."""
    return CommandLine(server.target, "a-token", tmp_path)


def facts(sheet: str) -> dict[str, str]:
    """Return the values of a printed fact sheet by their names."""
    return dict(re.split("  +", line.rstrip(), maxsplit=1) for line in sheet.splitlines())


def state(number: int, state: GenerationState, **fields: Any) -> Generation:
    """Return a state of the variation with this number."""
    stage = (
        GenerationStage.GENERATION_STAGE_DRAWING
        if state == PROCESSING
        else GenerationStage.GENERATION_STAGE_ENDED
    )
    return Generation(
        **{
            "id": f"g{number}",
            "group_id": "g1",
            "state": state.number,
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


def test_unsupported_options_are_noted_or_with_strict_refused(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    options = ("--steps", "40", "--guidance", "4.5", "--negative", "glasses", *SMALL)
    arguments = ("a portrait", "--project", project.id, *options)

    message = command_line.error("generate", *arguments, "--strict")
    assert list(shared_client.generations.list(project.id)) == []
    finished = command_line.run("generate", *arguments)
    (generation,) = shared_client.generations.list(project.id)

    assert message.startswith("OPTION_NOT_SUPPORTED: ")
    for field in ("prompt: ", "negative_prompt: ", "steps: ", "guidance_scale: "):
        assert field in message
    assert (finished.returncode, len(generation.warnings)) == (0, 4)
    assert finished.stderr.splitlines() == [f"note: {warning}" for warning in generation.warnings]
    stored = generation.options
    assert (stored.steps, stored.guidance_scale, stored.negative_prompt) == (40, 4.5, "glasses")


def test_no_recipe_keeps_the_recipe_out_of_the_file(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--seed", "7", *SMALL)

    assert command_line.run(*command, "--to", "with.png").returncode == 0
    assert command_line.run(*command, "--no-recipe", "--to", "without.png").returncode == 0

    with (
        Image.open(command_line.directory / "with.png") as complete,
        Image.open(command_line.directory / "without.png") as bare,
    ):
        assert "parameters" in complete.text  # type: ignore[attr-defined]
        # The mark of the source stays.
        assert list(bare.text) == ["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
        assert "a portrait" not in bare.text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
        assert complete.tobytes() == bare.tobytes()


def test_a_picture_can_start_from_an_avatar(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")
    sarah = shared_client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")
    command = ("generate", "as a painting", "--project", project.id, *SMALL)

    finished = command_line.run(*command, "--reference", sarah.id, "--strength", "0.3", "--watch")
    assert finished.returncode == 0, finished.stderr
    (avatar,) = shared_client.avatars.find(source_types="from_reference")

    assert avatar.reference_avatar_id == sarah.id
    assert facts(command_line.output("avatars", "show", avatar.id))["reference"] == sarah.id
    assert UNKNOWN_ID in command_line.error(*command, "--reference", UNKNOWN_ID)
    two = command_line.error(*command, "--reference", sarah.id, "--reference", avatar.id)
    assert "takes at most 1 reference (got 2)" in " ".join(two.split())
    estimate = command_line.error(*command, "--reference", sarah.id, "--reference", avatar.id, "--estimate")
    assert estimate == (
        "OPTION_NOT_SUPPORTED: reference: the route local of sketch takes at most 1 "
        "reference (got 2): give fewer"
    )
    for strength in ("0", "-1", "1.5", "nan"):
        refused = command_line.run(*command, "--reference", sarah.id, f"--strength={strength}")
        assert refused.returncode == 2
        assert "must be above 0 and at most 1" in " ".join(refused.stderr.split())
    alone = command_line.run(*command, "--strength", "0.3")
    assert (alone.returncode, "it needs a --reference" in alone.stderr) == (2, True)


# Variations


def test_variations_are_watched_together_and_saved_by_number(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--variations", "3", *SMALL)
    (command_line.directory / "face-2.png").touch()
    to = ("--to", "face.png", "--seed", LAST_SEED)

    assert "face-2.png already exists" in command_line.error(*command, *to)
    finished = command_line.run(*command, *to, "--force")
    started = command_line.json(*command, "--name", "Ratna")

    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert [re.findall(r"with seed (\d+)\.", line) for line in lines[::2]] == [[LAST_SEED], ["0"], ["1"]]
    assert lines[1::2] == [f"Saved the 256x256 picture to face-{number}.png." for number in (1, 2, 3)]
    drawn = set()
    for number in (1, 2, 3):
        with Image.open(command_line.directory / f"face-{number}.png") as picture:
            drawn.add(picture.tobytes())
    assert len(drawn) == 3
    group = started[0]["group_id"]
    ids = [generation["id"] for generation in started]
    assert (group, len(ids)) == (ids[0], 3)
    assert {generation.id for generation in shared_client.generations.list(group_id=group)} == set(ids)


def test_a_terminal_shows_the_progress_of_each_variation(
    server: ScriptedServer, scripted: CommandLine
) -> None:
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

    shown = scripted.terminal_output("generate", "x", *OF_P1, "--variations", "2", "--watch", columns=110)

    assert re.search(r"^seed 7 completed .* 100 %", shown, re.MULTILINE), shown
    assert re.search(r"^seed 8 completed .* 100 %", shown, re.MULTILINE), shown
    assert "Created avatar Ratna (a1), drawn by huggingface with seed 7.\n" in shown
    assert "Created avatar Ratna (a2), drawn by huggingface with seed 8 for $0.035.\n" in shown
    for warning in ("it has no negative prompt", "words were cut"):
        assert shown.count(f"note: {warning}") == 1
    request = server.received("CreateGeneration")[0].request
    assert (request.variation_count, request.prompt) == (2, "x")


def _waits(number: int, attempt: int, revision: int) -> Generation:
    """Return a state that waits for its next attempt."""
    due = Timestamp(seconds=int(time.time()) + 95)
    refused = error(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, "no GPU is free")
    return state(
        number,
        PENDING,
        attempt_number=attempt,
        revision=revision,
        queue_position=0,
        next_attempt_time=due,
        error=refused,
    )


def test_a_failed_attempt_is_shown_once_with_the_time_of_the_next_one(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    for first, *states in (
        (state(1, PENDING), _waits(1, 1, 2), _waits(1, 1, 3), _waits(1, 2, 4)),
        # A terminal shows the newest of the states that arrive together.
        (_waits(1, 2, 1),),
    ):
        server.script("CreateGeneration", [CreateGenerationResponse(generation=first)])
        server.script("WatchGenerations", watched(*states, state(1, COMPLETED, revision=5)))

    finished = scripted.run("generate", "x", *OF_P1, "--watch")
    shown = scripted.terminal_output("generate", "x", *OF_P1, "--watch", columns=150)

    notes = re.findall(r"note: (attempt . failed: .*; next attempt in) (\d+) s\n", finished.stderr)
    assert [sentence for sentence, _ in notes] == [
        f"attempt {number} failed: no GPU is free; next attempt in" for number in (1, 2)
    ]
    assert all(80 <= int(seconds) <= 96 for _, seconds in notes)
    assert "attempt 2 failed: no GPU is free; next attempt in" in shown
    assert "next in the queue" not in shown


def test_the_verdict_about_a_picture_is_printed_after_its_seed(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    verdicts = (
        {"flagged": True, "score": 0.987, "blurred": True},
        {"flagged": True, "score": 0.5},
        {"score": 0.25},
    )
    started = [state(number, PENDING) for number in (1, 2, 3)]
    server.script(
        "CreateGeneration", [CreateGenerationResponse(generation=started[0], variations=started[1:])]
    )
    ended = [
        state(number, COMPLETED, picture_moderation=verdict)
        for number, verdict in enumerate(verdicts, start=1)
    ]
    server.script("WatchGenerations", watched(*ended))

    finished = scripted.run("generate", "x", *OF_P1, "--variations", "3", "--watch")

    assert finished.stdout.splitlines() == [
        "Created avatar Ratna (a1), drawn by huggingface with seed 7 (flagged 0.99, blurred).",
        "Created avatar Ratna (a2), drawn by huggingface with seed 8 (flagged 0.50).",
        "Created avatar Ratna (a3), drawn by huggingface with seed 9.",
    ]


def test_failed_variations_are_reported_after_the_created_ones(
    server: ScriptedServer, scripted: CommandLine
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

    finished = scripted.run("generate", "x", *OF_P1, "--variations", "3", "--watch")

    assert finished.returncode == 1
    assert finished.stdout == "Created avatar Ratna (a2), drawn by huggingface with seed 8.\n"
    assert finished.stderr == (
        "error: 2 of 3 variations were not created: seed 7: PROVIDER_NSFW: the picture was withheld; "
        "seed 9: CANCELLED: generation g3 was cancelled\n"
    )


def test_variations_without_watch_are_printed_one_on_each_line(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    first, second = (state(number, PENDING, queue_position=number) for number in (1, 2))
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=[second])])

    text = scripted.output("generate", "x", *OF_P1, "--variations", "2")

    assert text.splitlines() == [
        "Started generation g1: pending, 1 ahead in the queue.",
        "Started generation g2: pending, 2 ahead in the queue.",
    ]


def test_json_has_each_state_of_each_variation(server: ScriptedServer, scripted: CommandLine) -> None:
    first, second = (state(number, PENDING, warnings=["words were cut"]) for number in (1, 2))
    server.script("CreateGeneration", [CreateGenerationResponse(generation=first, variations=[second])])
    server.script(
        "WatchGenerations",
        watched(state(2, COMPLETED), state(1, PROCESSING), state(1, COMPLETED, revision=3)),
    )

    finished = scripted.run("generate", "x", *OF_P1, "--variations", "2", "--watch", "--json")

    assert (finished.returncode, finished.stderr) == (0, "")
    states = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [(each["id"], each["revision"]) for each in states] == [("g2", 2), ("g1", 2), ("g1", 3)]


def test_an_exceeded_limit_is_printed_with_the_time_to_retry(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    spent = "the limit of spending within 24 hours is $20, and this call would make it $20.01"
    details = (
        rpc_details.ErrorInfo(reason="GENERATION_LIMIT", metadata={"limit": "spend_per_day"}),
        rpc_details.QuotaFailure(
            violations=[rpc_details.QuotaFailure.Violation(subject="spend_per_day", description=spent)]
        ),
        rpc_details.RetryInfo(retry_delay=Duration(seconds=90)),
    )
    over = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, details, "over the limit")
    server.script("CreateGeneration", [over])

    message = scripted.error("generate", "x", *OF_P1)

    assert message == f"GENERATION_LIMIT: over the limit; spend_per_day: {spent}; try again in 90 s"


# Estimates


def test_an_estimate_creates_nothing(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    command = ("generate", "a portrait", "--estimate", "--variations", "3")

    assert "projects create" in command_line.error(*command)
    assert list(shared_client.projects.list()) == []
    project = shared_client.projects.create("Spring")
    finished = command_line.run(*command)
    document = command_line.json(*command, "--project", project.id)

    assert finished.returncode == 0
    sheet = facts(finished.stdout)
    assert (sheet["price"], sheet["provider"], sheet["route"]) == ("$0.00", "sketch", "local")
    assert (document["price_micros"], document["provider"]) == (0, "sketch")
    assert finished.stderr.splitlines() == [
        f"note: using your newest project, Spring ({project.id})",
        *(f"note: {warning}" for warning in document["warnings"]),
    ]
    assert document["warnings"]
    assert list(shared_client.generations.list()) == []
    assert command_line.run(*command, "--watch").returncode == 2
    assert command_line.run(*command, "--to", "face.png").returncode == 2


def test_an_estimate_has_price_and_times(server: ScriptedServer, scripted: CommandLine) -> None:
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

    finished = scripted.run("generate", "x", *OF_P1, "--estimate", "--variations", "3", "--negative", "hats")

    assert facts(finished.stdout) == {
        "price": "$0.105",
        "provider": "huggingface",
        "route": "fal-ai",
        "time for one": "50 % within 12.0 s, 90 % within 20.1 s",
        "all completed": "in about 42 s",
    }
    assert finished.stderr == "note: the negative prompt was left out\n"
    request = server.received("EstimateGeneration")[0].request.generation
    assert (request.variation_count, request.options.negative_prompt) == (3, "hats")


@pytest.mark.parametrize(
    ("micros", "expected"),
    [(0, "$0.00"), (35_000, "$0.035"), (1_500_000, "$1.50"), (1, "$0.000001"), (1_234_000_000, "$1,234.00")],
)
def test_an_amount_has_cents_and_fractions_of_cents(micros: int, expected: str) -> None:
    assert dollars(micros) == expected


# Recipes


def test_a_recipe_can_be_shown_and_reproduced(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--seed", "7", *SMALL, "--to", "one.png")
    assert command_line.run(*command).returncode == 0
    (original,) = shared_client.generations.list()

    sheet = facts(command_line.output("recipe", original.id))
    document = command_line.json("recipe", original.id)
    again = command_line.run("reproduce", original.id, "--name", "Twin", "--to", "two.png")
    twin = next(shared_client.generations.list())

    assert (sheet["provider"], sheet["seed"], sheet["size"]) == ("sketch", "7", "256x256")
    assert (document["seed"], sheet["pixels SHA-256"]) == (7, document["pixels_sha256"])
    assert again.stdout.splitlines() == [
        f"Created avatar Twin ({twin.avatar_id}), drawn by sketch with seed 7.",
        "The picture is identical to the original, pixel for pixel.",
        "Saved the 256x256 picture to two.png.",
    ]
    assert (twin.project_id, twin.reproduce_of) == (project.id, original.id)
    with (
        Image.open(command_line.directory / "one.png") as one,
        Image.open(command_line.directory / "two.png") as two,
    ):
        assert one.tobytes() == two.tobytes()

    other = shared_client.projects.create("Autumn")
    started = command_line.json("reproduce", original.id, "--project", other.id)
    assert (started["project_id"], started["reproduce_of"]) == (other.id, original.id)
    assert started["avatar_name"] == original.avatar_name
    for wrong in (("recipe",), ("reproduce",), ("reproduce", "--project", project.id)):
        assert UNKNOWN_ID in command_line.error(*wrong, UNKNOWN_ID)


def test_several_references_are_sent_in_their_order(server: ScriptedServer, scripted: CommandLine) -> None:
    started = CreateGenerationResponse(generation=state(1, PENDING))
    server.script("CreateGeneration", [started])

    first, second = (f"01a204c5-0000-7000-8000-00000000000{digit}" for digit in "21")

    scripted.output("generate", "calm", *OF_P1, "--reference", first, "--reference", second)

    [call] = server.received("CreateGeneration")
    assert list(call.request.reference_avatar_ids) == [first, second]
    assert call.request.reference_avatar_id == ""


def test_a_file_as_a_reference_is_uploaded(
    server: ScriptedServer, scripted: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "sarah.png"
    path.write_bytes(b"picture")
    server.script("UploadAvatar", *[[UploadAvatarResponse(avatar=Avatar(id="a1"))]] * 2)
    server.script("CreateGeneration", [CreateGenerationResponse(generation=state(1, PENDING))])

    scripted.output("generate", "calm", *OF_P1, "--reference", str(path))

    [call], [upload] = server.received("CreateGeneration"), server.received("UploadAvatar")
    assert (upload.requests[0].metadata.name, upload.requests[0].metadata.project_id) == ("sarah", "p1")
    assert list(call.request.reference_avatar_ids) == ["a1"]
    missing = scripted.error("generate", "calm", *OF_P1, "--reference", "no such face.png")
    assert missing == "no such face.png: No such file or directory"


def test_several_references_are_numbered_in_a_fact_sheet(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    recipe = Recipe(reference_avatar_ids=["a2", "a1"], reference_sha256s=["beef", "cafe"])
    server.script("GetGeneration", [GetGenerationResponse(recipe=recipe)])

    shown = facts(scripted.output("recipe", "g1"))

    assert (shown["reference 1"], shown["reference 2"]) == ("a2", "a1")
    assert (shown["reference 1 SHA-256"], shown["reference 2 SHA-256"]) == ("beef", "cafe")


def test_a_recipe_in_a_narrow_terminal_or_a_pipe_is_complete(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    sha256 = "".join(f"{number:02x}" for number in range(32))
    recipe = Recipe(seed=7, pixels_sha256=sha256, provider_facts={"seed": "8", "request_id": sha256})
    for _ in range(2):
        server.script("GetGeneration", [GetGenerationResponse(recipe=recipe)])

    narrow = scripted.terminal_output("recipe", "g1", columns=60)
    piped = scripted.output("recipe", "g1")

    assert "…" not in narrow
    assert "".join(narrow.split()).count(sha256) == 2
    assert [line for line in piped.splitlines() if line != line.rstrip()] == []
    assert (facts(piped)["seed"], facts(piped)["seed reported by the provider"]) == ("7", "8")


def test_a_recipe_is_printed_as_a_fact_sheet(server: ScriptedServer, scripted: CommandLine) -> None:
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

    assert facts(scripted.output("recipe", "g1")) == {
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
        "prompt sent": "Super Realism, Ratna, 39 years old",
        "request id": "764cabcf",
        "pixels SHA-256": "c0ffee",
        "software": "avatar-creator 0.1.0",
    }


@pytest.mark.parametrize(
    ("current_state", "cause"),
    [
        (PENDING, "its state is pending, not completed"),
        (FAILED, "its state is failed, not completed"),
        (COMPLETED, "it was created before recipes were stored"),
    ],
    ids=["pending", "failed", "completed"],
)
def test_a_missing_recipe_is_an_error_with_its_cause(
    current_state: GenerationState, cause: str, server: ScriptedServer, scripted: CommandLine
) -> None:
    answer = GetGenerationResponse(generation=state(1, current_state))
    server.script("GetGeneration", [answer], [answer])

    assert scripted.error("recipe", "g1") == f"generation g1 has no recipe: {cause}"


@pytest.mark.parametrize(
    ("reproduction", "sentence"),
    [
        (
            Reproduction(identical_pixels=True, color_difference=0.0),
            "The picture is identical to the original, pixel for pixel.",
        ),
        (
            Reproduction(color_difference=1.837),
            "The picture differs from the original by a mean color difference of 1.84; "
            "about 2.3 is just noticeable.",
        ),
        (
            Reproduction(),
            "The picture differs from the original; how much is unknown: the original no longer exists.",
        ),
        (None, "The picture cannot be compared with the original: the original's recipe no longer exists."),
    ],
    ids=["identical", "different", "original deleted", "recipe deleted"],
)
def test_a_reproduction_is_compared_with_the_original(
    reproduction: Reproduction | None, sentence: str, server: ScriptedServer, scripted: CommandLine
) -> None:
    server.script("CreateGeneration", [CreateGenerationResponse(generation=state(1, PENDING))])
    completed = state(1, COMPLETED, reproduce_of="g0", reproduction=reproduction)
    server.script("WatchGenerations", watched(completed))

    text = scripted.output("reproduce", "g0", *OF_P1, "--watch")

    assert text.splitlines() == ["Created avatar Ratna (a1), drawn by huggingface with seed 7.", sentence]
    assert server.received("CreateGeneration")[0].request.reproduce_generation_id == "g0"


# Spending


def test_spending_is_printed_by_day_and_app(server: ScriptedServer, scripted: CommandLine) -> None:
    spending = [
        DailySpend(
            day=Date(year=2026, month=11, day=22),
            app_id="pose-generator",
            price_micros=70_000,
            attempt_count=2,
        ),
        DailySpend(day=Date(year=2026, month=11, day=21), price_micros=1_500_000, attempt_count=43),
    ]
    stats = GetStatsResponse(avatar_count=2, spending=spending)
    server.script("GetStats", [stats], [stats])

    figures, by_day = scripted.output("stats").split("\n\n")
    document = scripted.json("stats")

    assert ["spent in the last 30 days", "$1.57"] in [
        re.split("  +", line.strip()) for line in figures.splitlines()
    ]
    assert [re.split("  +", line.strip()) for line in by_day.splitlines()] == [
        ["day", "app", "attempts", "price"],
        ["2026-11-22", "pose-generator", "2", "$0.07"],
        ["2026-11-21", "no app", "43", "$1.50"],
    ]
    assert [spend["price_micros"] for spend in document["spending"]] == [70_000, 1_500_000]


# Verdicts about pictures


def test_avatars_with_flagged_pictures_have_a_column_of_their_own(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    passed = Avatar(id="a1", name="Ratna", picture_moderation=PictureModeration(score=0.1))
    flagged = Avatar(
        id="a2", name="Sarah", picture_moderation=PictureModeration(flagged=True, score=0.987, blurred=True)
    )
    uploaded = Avatar(id="a3", name="Zoë")
    server.script("ListAvatars", [ListAvatarsResponse(avatars=[passed, uploaded])])
    without = scripted.output("avatars", "list").splitlines()
    server.script("ListAvatars", [ListAvatarsResponse(avatars=[passed, flagged, uploaded])])
    listed = scripted.output("avatars", "list").splitlines()

    assert "moderation" not in without[0]
    assert listed[0].split()[-1] == "moderation"
    assert [line.split("  ")[-1].strip() for line in listed[1:] if "flagged" in line] == [
        "flagged 0.99, blurred"
    ]
    assert [line.split()[0] for line in listed[1:]] == ["a1", "a2", "a3"]

    for avatar, verdict in ((passed, "passed"), (flagged, "flagged 0.99, blurred"), (uploaded, None)):
        server.script("GetAvatar", [GetAvatarResponse(avatar=avatar)])
        assert facts(scripted.output("avatars", "show", avatar.id)).get("moderation") == verdict


def test_a_recipe_names_the_classifier_and_the_blur(server: ScriptedServer, scripted: CommandLine) -> None:
    recipe = Recipe(provider="diffusers", picture_classifier="nsfw", picture_score=0.98765, blurred=True)
    server.script("GetGeneration", [GetGenerationResponse(recipe=recipe)])

    sheet = facts(scripted.output("recipe", "g1"))

    names = ("picture classifier", "picture score", "picture blurred")
    assert [sheet[name] for name in names] == ["nsfw", "0.9877", "yes"]


def test_a_recipe_names_the_speed_unless_the_model_drew_exactly(
    server: ScriptedServer, scripted: CommandLine
) -> None:
    for speed, shown in (("fast", "fast"), ("exact", None)):
        recipe = Recipe(provider="diffusers", speed=speed)
        server.script("GetGeneration", [GetGenerationResponse(recipe=recipe)])
        assert facts(scripted.output("recipe", "g1")).get("speed") == shown

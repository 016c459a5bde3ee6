"""The commands that people and scripts use a service with, run as they run them."""

from __future__ import annotations

import json
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from avatar_creator import Avatar, AvatarCreator, NotFoundError
from avatar_creator_server.cli.output_paths import default_file_name
from tests import pictures
from tests.integration.test_tls import Certificate
from tests.support.generations import LARGEST, row_of
from tests.support.person import SMALL, Person, refusal
from tests.support.ports import free_port
from tests.support.service import Deployment, ServiceProcess, run_command
from tests.support.waiting import wait_until

NOWHERE = "127.0.0.1:1"
"""Nobody listens on port 1."""
UNKNOWN = "01920000-0000-7000-8000-000000000000"
"""Nobody's id."""
MARKUP = "[red]x[/]"


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A picture to upload, large enough to go in several messages."""
    path = tmp_path / "Sarah.jpg"
    path.write_bytes(pictures.padded_jpeg(400_000))
    return path


def uploaded(client: AvatarCreator, name: str = "Sarah") -> Avatar:
    """An avatar in a project of its own."""
    return client.avatars.upload(client.projects.create("Spring").id, pictures.jpeg(), name=name)


def with_thumbnail(client: AvatarCreator, avatar_id: str) -> Avatar:
    """The avatar once its thumbnail is made."""

    def made() -> Avatar | None:
        avatar = client.avatars.get(avatar_id)
        return None if avatar.thumbnail_pending else avatar

    return wait_until(made)


def local(moment: Any) -> str:
    """A protobuf timestamp as a table shows it to a person in Jakarta, as ours are."""
    jakarta = timezone(timedelta(hours=7))
    return str(moment.ToDatetime(tzinfo=UTC).astimezone(jakarta).strftime("%Y-%m-%d %H:%M:%S"))


# The whole job


def test_a_script_does_the_whole_job_by_json(
    person: Person, shared_client: AvatarCreator, photograph: Path
) -> None:
    project = person.json("projects", "create", "Spring campaign", "--description", "For March")
    assert (project["name"], project["description"]) == ("Spring campaign", "For March")
    assert project["avatar_count"] == 0
    assert person.json("projects", "list") == [project]

    face = person.json("avatars", "upload", str(photograph), "--project", project["id"])
    assert (face["name"], face["source_type"]) == ("Sarah", "SOURCE_TYPE_UPLOADED")

    watched = person.run(
        "generate",
        "confident business woman",
        *("--project", project["id"], "--name", "Portrait", "--seed", "7", *SMALL, "--watch", "--json"),
    )
    assert (watched.returncode, watched.stderr) == (0, "")
    states = [json.loads(line) for line in watched.stdout.splitlines()]
    revisions = [int(state["revision"]) for state in states]
    assert revisions == sorted(set(revisions))
    assert {state["id"] for state in states} == {states[0]["id"]}
    made = states[-1]
    assert (made["state"], made["progress_percent"]) == ("GENERATION_STATE_COMPLETED", 100)
    assert (made["avatar_name"], made["seed_used"], made["options"]["width"]) == ("Portrait", 7, 256)

    listed = person.json("avatars", "list", "--project", project["id"])
    assert [avatar["id"] for avatar in listed] == [made["avatar_id"], face["id"]]
    found = person.json("avatars", "list", "--query", "business", "--limit", "1")
    assert [avatar["id"] for avatar in found] == [made["avatar_id"]]
    portrait = person.json("avatars", "show", made["avatar_id"])
    assert portrait["generation_prompt"] == "confident business woman"

    saved = person.json("avatars", "download", made["avatar_id"])
    assert saved == {"path": "Portrait.png", "image": portrait["image"]}
    with Image.open(person.folder / "Portrait.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))

    for action in ("generate_poses", "generate_poses", "export"):
        shared_client.usage.record(face["id"], app_id="pose-generator", action=action, reference_id=action)
    usage = person.json("usage", face["id"])
    assert list(usage) == ["apps"]
    assert [(app["app_id"], app["usage_count"]) for app in usage["apps"]] == [("pose-generator", "3")]
    usage = person.json("usage", face["id"], "--history", "2")
    assert [use["action"] for use in usage["usages"]] == ["export", "generate_poses"]

    stats = person.json("stats")
    assert (stats["avatar_count"], stats["usage_count"], stats["average_usage_per_avatar"]) == ("2", "3", 1.5)
    presets = person.json("presets")
    assert len(presets) >= 20
    business = person.json("presets", "--category", "business", "--query", "batik")
    assert business == [preset for preset in presets if preset["name"] == "Batik entrepreneur"]
    personas = person.json("personas", "--category", "education")
    assert {persona["category"] for persona in personas} == {"education"}


# For people


def test_a_person_reads_tables_with_complete_ids(
    person: Person, shared_client: AvatarCreator, photograph: Path
) -> None:
    told = person.reads("projects", "create", "Spring campaign")
    (project,) = shared_client.projects.list()
    assert told == f"Created project Spring campaign ({project.id}).\n"

    told = person.reads("avatars", "upload", str(photograph), "--project", project.id, "--name", "Sarah Lee")
    (face,) = shared_client.avatars.list()
    assert told == f"Uploaded Sarah Lee ({face.id}).\n"
    header, row = person.reads("projects", "list").splitlines()
    assert header.split() == ["id", "name", "avatars", "created"]
    assert re.split("  +", row.strip()) == [project.id, "Spring campaign", "1", local(project.create_time)]

    for app, action in (("pose-generator", "pose"), ("pose-generator", "export"), ("video", "film")):
        shared_client.usage.record(
            face.id, app_id=app, app_name=app.title(), action=action, reference_type="set", reference_id="7"
        )
    face = with_thumbnail(shared_client, face.id)
    header, row = person.reads("avatars", "list").splitlines()
    assert header.split() == ["id", "name", "source", "uses", "created"]
    assert re.split("  +", row.strip()) == [
        *(face.id, "Sarah Lee", "uploaded", "3"),
        local(face.create_time),
    ]
    shown = person.reads("avatars", "show", face.id)
    for fact in (
        face.id,
        project.id,
        "Sarah Lee",
        "image/jpeg, 48x32",
        "300x300",
        local(face.last_used_time),
    ):
        assert fact in shown

    apps, history = person.reads("usage", face.id, "--history", "2").split("\n\n")
    newest, second = shared_client.usage.summarize(face.id)
    assert [re.split("  +", line.strip()) for line in apps.splitlines()[1:]] == [
        [
            *("pose-generator", "2", local(newest.first_used_time)),
            *(local(newest.last_used_time), "export 1, pose 1"),
        ],
        [
            *("video", "1", local(second.first_used_time), local(second.last_used_time)),
            "film 1",
        ],
    ]
    assert [re.split("  +", line.strip())[1:] for line in history.splitlines()[1:]] == [
        ["video", "film", "set 7"],
        ["pose-generator", "export", "set 7"],
    ]

    stats = dict(re.split("  +", line.strip()) for line in person.reads("stats").splitlines())
    assert (stats["avatars"], stats["uses"], stats["uses per avatar"]) == ("1", "3", "3.00")
    assert stats["generations completed"] == "0"
    presets = person.reads("presets").splitlines()
    assert [line.split()[0] for line in presets[1:]] == [preset.id for preset in shared_client.presets.list()]
    personas = person.reads("personas").splitlines()
    assert [line.split()[0] for line in personas[1:]] == [one.id for one in shared_client.personas.list()]


def test_a_list_that_goes_on_says_so_and_an_empty_one_too(
    person: Person, shared_client: AvatarCreator
) -> None:
    assert person.json("projects", "list") == []
    outcome = person.run("avatars", "list")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "note: there are none\n")

    project = shared_client.projects.create("Spring")
    for _ in range(3):
        shared_client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")
    outcome = person.run("avatars", "list", "--limit", "2")

    assert len(outcome.stdout.splitlines()) == 3
    assert outcome.stderr == "note: there are more than these 2; --limit shows more\n"
    assert len(person.reads("avatars", "list", "--limit", "3").splitlines()) == 4


def test_what_users_wrote_is_shown_as_they_wrote_it_and_steers_nothing(
    person: Person, shared_client: AvatarCreator
) -> None:
    hostile = f"{MARKUP} :smile: \u202etxt.exe"
    project = shared_client.projects.create(hostile)
    avatar = shared_client.avatars.upload(project.id, pictures.jpeg(), name=hostile)
    shared_client.usage.record(
        avatar.id, app_id="[b]app", app_name=MARKUP, action="a[/]b", reference_id="\u200fr"
    )
    generation = shared_client.generations.create(project.id, "a\nb\x09[bold]c", width=256, height=256)
    for _ in shared_client.generations.watch(generation.id):
        pass
    (generated,) = shared_client.avatars.list(query="bold")

    printed = [
        person.reads("projects", "list"),
        person.reads("avatars", "list", "--query", "smile"),
        person.sees("avatars", "show", avatar.id, columns=100),
        person.reads("projects", "create", hostile),
    ]
    used = person.reads("usage", avatar.id, "--history", "1")
    shown = person.reads("avatars", "show", generated.id)
    listed = json.loads(person.run("projects", "list", "--json").stdout)

    for text in printed:
        assert f"{MARKUP} :smile: \N{REPLACEMENT CHARACTER}txt.exe" in text
        assert "\u202e" not in text
    assert "[b]app" in used
    assert "a[/]b" in used
    assert "\u200f" not in used
    assert "a b [bold]c" in shown
    assert [project["name"] for project in listed] == [hostile, hostile]
    assert MARKUP in person.refused("avatars", "show", MARKUP)


def test_a_narrow_terminal_cuts_names_and_never_ids(person: Person, shared_client: AvatarCreator) -> None:
    avatar = uploaded(shared_client, "Sarah " * 20)

    for columns in (100, 30):
        text = person.sees("avatars", "list", columns=columns)
        assert avatar.id in text
        assert "Sarah " * 20 not in text


# Downloads


def test_a_download_goes_to_a_safe_name_and_overwrites_only_by_force(
    person: Person, shared_client: AvatarCreator
) -> None:
    avatar = with_thumbnail(shared_client, uploaded(shared_client, "../../[red]x[/] ..").id)
    name = "red-x.jpg"

    assert person.reads("avatars", "download", avatar.id) == f"Saved the 48x32 picture to {name}.\n"
    assert [path.name for path in person.folder.iterdir()] == [name]
    kept = (person.folder / name).read_bytes()
    assert kept == shared_client.avatars.download(avatar.id)

    (person.folder / name).write_text("mine")
    assert f"{name} exists already" in person.refused("avatars", "download", avatar.id)
    (person.folder / "link").symlink_to("nowhere")
    assert "link exists already" in person.refused("avatars", "download", avatar.id, "--to", "link")
    assert (person.folder / name).read_text() == "mine"
    person.reads("avatars", "download", avatar.id, "--force")
    assert (person.folder / name).read_bytes() == kept

    saved = person.json("avatars", "download", avatar.id, "--thumbnail")
    assert saved["path"] == "red-x-thumbnail.webp"
    elsewhere = person.folder / "elsewhere.webp"
    person.json("avatars", "download", avatar.id, "--thumbnail", "--to", str(elsewhere))
    for path in (person.folder / saved["path"], elsewhere):
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("WEBP", (300, 300))
    assert "No such file or directory" in person.refused(
        "avatars", "download", avatar.id, "--to", "no/such/folder.jpg"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sarah", "Sarah.png"),
        ("Sarah O'Neil, age 32", "Sarah-O-Neil-age-32.png"),
        ("a/b\\c", "a-b-c.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        (".hidden", "hidden.png"),
        ("-rf", "rf.png"),
        ("...", "avatar.png"),
        ("/", "avatar.png"),
        ("x\x1b[31m\ny", "x-31m-y.png"),
        ("v1.2", "v1.2.png"),
        ("नेहा", "नेहा.png"),
        ("サラ", "サラ.png"),
    ],
)
def test_an_avatars_name_becomes_a_file_name(name: str, expected: str) -> None:
    assert default_file_name(name, "image/png") == expected


def test_a_long_name_becomes_a_file_name_that_file_systems_take(tmp_path: Path) -> None:
    path = tmp_path / default_file_name("サ" * 120, "image/webp", thumbnail=True)

    path.touch()

    assert path.name.endswith("サ-thumbnail.webp")
    # The client writes under a longer name first.
    assert len(path.name.encode()) <= 255 - len(f"..{uuid.uuid4().hex}.part")


# Generating


def test_a_portrait_goes_to_the_newest_project_and_to_a_file(
    person: Person, shared_client: AvatarCreator
) -> None:
    preset = next(shared_client.presets.list(query="batik"))
    persona = next(shared_client.personas.list())

    first = person.run("generate", "--preset", preset.id, *SMALL, "--to", "first.png")
    (project,) = shared_client.projects.list()
    (avatar,) = shared_client.avatars.list()
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[0] == f"note: created project Avatars ({project.id})"
    assert first.stdout.splitlines() == [
        f"Made {avatar.name} ({avatar.id}), drawn by sketch with seed {avatar.seed_used}.",
        "Saved the 256x256 picture to first.png.",
    ]
    with Image.open(person.folder / "first.png") as picture:
        assert picture.size == (256, 256)

    refused = person.refused("generate", "--preset", preset.id, *SMALL, "--to", "first.png")
    assert "first.png exists already" in refused
    second = person.run("generate", "a portrait", "--persona-example", persona.id, *SMALL, "--json")
    started = json.loads(second.stdout)
    assert second.stderr == f"note: in your newest project, Avatars ({project.id})\n"
    assert (started["project_id"], started["persona_example_id"]) == (project.id, persona.id)
    third = person.run("generate", "a portrait", "--project", project.id, *SMALL)
    newest = next(shared_client.generations.list())
    assert third.stdout.startswith(f"Started generation {newest.id}: ")
    assert [project.avatar_count >= 1 for project in shared_client.projects.list()] == [True]


def test_a_portrait_is_watched_live_on_a_terminal(person: Person, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring")

    shown = person.sees(
        "generate",
        MARKUP,
        *("--project", project.id, "--width", str(LARGEST), "--height", str(LARGEST), "--watch"),
        columns=100,
    )

    assert re.search(r"drawing\s.*\d+ %.*0:00:0\d", shown), shown
    assert re.search(r"completed\s.*100 %", shown), shown
    assert f"Made {MARKUP} (" in shown


Hold = Callable[[str], None]


@pytest.fixture
def busy(shared_deployment: Deployment) -> Iterator[Hold]:
    """A service whose workers have others' portraits to draw first; what it gives holds one in the queue."""

    def hold(generation_id: str) -> None:
        assert shared_deployment.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE id = %s AND state = 'pending' RETURNING id",
            datetime.now(UTC) + timedelta(hours=1),
            generation_id,
        ), row_of(shared_deployment, generation_id)["state"]

    with ExitStack() as clients:
        crowd = []
        for number in range(20):
            client = clients.enter_context(shared_deployment.client(f"crowd-{number}-{uuid.uuid4().hex}"))
            project = client.projects.create("Spring")
            generation = client.generations.create(project.id, "x", width=LARGEST, height=LARGEST)
            crowd.append((client, project.id, generation.id))
        yield hold
        for client, project_id, _ in crowd:
            client.projects.delete(project_id)


def test_a_watch_that_ends_badly_says_how(
    person: Person, shared_client: AvatarCreator, shared_deployment: Deployment, busy: Hold
) -> None:
    project = shared_client.projects.create("Spring")
    command = ("generate", "a portrait", "--project", project.id, "--watch", "--json")
    cancelled, failed, interrupted = (person.start(*command) for _ in range(3))
    with cancelled, failed, interrupted:
        ids = {}
        for process in (cancelled, failed, interrupted):
            assert process.stdout is not None
            state = json.loads(process.stdout.readline())
            assert state["state"] == "GENERATION_STATE_PENDING"
            assert state["queue_position"] >= 0
            busy(state["id"])
            ids[process] = state["id"]

        shared_client.generations.cancel(ids[cancelled])
        shared_deployment.execute(
            "UPDATE avatar_generations SET state = 'failed', stage = 'ended', revision = revision + 1,"
            " due_time = NULL, error_reason = 'PROVIDER_REJECTED', error_message = %s WHERE id = %s",
            f"no {MARKUP}",
            ids[failed],
        )
        interrupted.send_signal(signal.SIGINT)
        told = {process: process.communicate(timeout=20) for process in ids}

    assert (interrupted.returncode, told[interrupted]) == (130, ("", ""))
    assert told[cancelled][1] == f"error: CANCELLED: generation {ids[cancelled]} was cancelled\n"
    assert told[failed][1] == f"error: PROVIDER_REJECTED: no {MARKUP}\n"
    for process, ended in ((cancelled, "CANCELLED"), (failed, "FAILED")):
        assert process.returncode == 1
        assert json.loads(told[process][0].splitlines()[-1])["state"] == f"GENERATION_STATE_{ended}"


def test_a_person_sees_the_queue(person: Person, shared_client: AvatarCreator, busy: Hold) -> None:
    project = shared_client.projects.create("Spring")
    # One that was made lets the service say how long the next will take.
    shared_client.generations.create(project.id, "x", width=256, height=256)

    told = person.run("generate", "a portrait", "--project", project.id).stdout
    (generation_id,) = re.findall(r"Started generation (\S+): ", told)
    busy(generation_id)

    assert re.search(r": pending, \d+ before it", told), told
    shared_client.generations.cancel(generation_id)


# What cannot be done


def test_errors_are_one_line_that_names_the_reason(
    person: Person, shared_client: AvatarCreator, tmp_path: Path
) -> None:
    project = shared_client.projects.create("Spring")
    (tmp_path / "letter.jpg").write_text("Dear Sarah")
    (tmp_path / "folder.jpg").mkdir()
    upload = ("--project", project.id)
    cases: list[tuple[Sequence[str], dict[str, str], list[str]]] = [
        (["stats"], {"AVATAR_CREATOR_TOKEN": ""}, ["AVATAR_CREATOR_TOKEN", "avatar-creator token --user"]),
        (["stats", "--json"], {"AVATAR_CREATOR_TOKEN": "x.y.z"}, ["TOKEN_INVALID: "]),
        (["stats", "--token", "x.y.z"], {}, ["TOKEN_INVALID: "]),
        (["stats", "--token", "täken"], {}, ["token", "ASCII"]),
        (["avatars", "show", UNKNOWN], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["avatars", "download", UNKNOWN], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["avatars", "list", "--project", UNKNOWN, "--json"], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["usage", UNKNOWN], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["generate", "x", "--project", UNKNOWN, "--watch"], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["generate", "--preset", UNKNOWN, *upload], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN]),
        (["generate", "x", *upload, "--width", "100", "--name", "n" * 121], {}, ["width", "avatar_name"]),
        (["projects", "create", "", "--description", "d" * 2001], {}, ["INVALID_FIELD", "name: ", "2,000"]),
        (["avatars", "upload", "letter.jpg", *upload], {}, ["IMAGE_UNSUPPORTED: "]),
        (["avatars", "upload", "missing.jpg", *upload], {}, ["No such file", "missing.jpg"]),
        (["avatars", "upload", "folder.jpg", *upload], {}, ["directory", "folder.jpg"]),
        (["stats", "--tls"], {}, [f"cannot reach {person.target}: "]),
    ]

    told = person.refused_in_turn([(arguments, changes) for arguments, changes, _ in cases])

    missing = [
        (case[0], line)
        for case, line in zip(cases, told, strict=True)
        for text in case[2]
        if text not in line
    ]
    assert missing == []
    assert [project.name for project in shared_client.projects.list()] == ["Spring"]


def test_a_portrait_of_nothing_is_a_wrong_use(person: Person, shared_client: AvatarCreator) -> None:
    outcome = person.run("generate", "--json")

    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "--preset" in outcome.stderr
    assert list(shared_client.projects.list()) == []


def test_a_server_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    target = f"127.0.0.1:{free_port()}"
    nobody = Person(target, "token", tmp_path)
    began = time.monotonic()

    told = nobody.refused("projects", "list", "--json")

    assert f"cannot reach {target}: " in told
    assert "refused" in told
    assert time.monotonic() - began < 5


def test_a_client_command_needs_no_settings_of_the_service(person: Person) -> None:
    assert person.run("stats", DATABASE_URL="none", LOG_LEVEL="none", JWT_SECRET="x").returncode == 0


def test_help_names_every_command(tmp_path: Path) -> None:
    helped = run_command("--help", settings={"COLUMNS": "100"}, directory=tmp_path)

    commands = re.findall(r"^│ (\w+) ", helped.stdout, re.MULTILINE)
    assert commands == [
        *("serve", "worker", "migrate", "token", "demo", "doctor"),
        *("generate", "recipe", "reproduce", "usage", "stats", "presets", "personas", "projects", "avatars"),
    ]
    assert "AVATAR_CREATOR_TOKEN" in run_command("stats", "--help", settings={}, directory=tmp_path).stdout


# token


def test_a_token_is_made_for_an_app_and_for_operators(
    shared_deployment: Deployment, shared_client: AvatarCreator, user: str
) -> None:
    avatar = uploaded(shared_client)
    token = ("token", "--user", user)

    of_app = shared_deployment.run_command(*token, "--app", "pose-generator").stdout.strip()
    of_ops = shared_deployment.run_command("token", "--user", "olga", "--role", "ops").stdout.strip()
    of_olga = shared_deployment.run_command("token", "--user", "olga").stdout.strip()

    with AvatarCreator(shared_deployment.target, token=of_app) as app:
        assert app.usage.record(avatar.id, action="pose").usage.app_id == "pose-generator"
    with AvatarCreator(shared_deployment.target, token=of_ops) as ops:
        assert ops.avatars.get(avatar.id).user_id == user
    with AvatarCreator(shared_deployment.target, token=of_olga) as olga, pytest.raises(NotFoundError):
        olga.avatars.get(avatar.id)
    for app_id in ("", "a\nb"):
        assert "is not an app's id" in refusal(shared_deployment.run_command(*token, "--app", app_id))
    assert shared_deployment.run_command(*token, "--role", "king").returncode == 2


# TLS


def test_a_server_with_tls_is_reached_with_tls(embedded: Deployment, user: str, tmp_path: Path) -> None:
    pair = Certificate.make()
    for name, content in (("CERTIFICATE", pair.certificate), ("KEY", pair.key)):
        (tmp_path / f"{name}.pem").write_bytes(content)
        embedded.settings[f"TLS_{name}_FILE"] = str(tmp_path / f"{name}.pem")
    server = ServiceProcess(
        "server-with-tls",
        "serve",
        settings={**embedded.settings, "LISTEN_ADDRESS": embedded.target},
        directory=tmp_path,
    )
    embedded.servers.append(server)
    server.wait_for_output("server_ready")
    person = Person(embedded.target, embedded.token(user), tmp_path)

    assert f"cannot reach {person.target}: " in person.refused("stats")
    assert f"cannot reach {person.target}: " in person.refused("stats", "--tls")
    person.environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(tmp_path / "CERTIFICATE.pem")
    assert person.json("stats", "--tls")["avatar_count"] == "0"

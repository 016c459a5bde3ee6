"""The client commands: lists, tables, JSON, uploads, errors and TLS."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import Avatar, AvatarCreator
from tests import pictures
from tests.support.certificate import Certificate
from tests.support.command_line import SMALL, CommandLine, error_message
from tests.support.ports import free_port
from tests.support.presence import present
from tests.support.service import Deployment, run_command
from tests.support.service_in_thread import ServiceInThread
from tests.support.waiting import wait_until

UNKNOWN_ID = "01920000-0000-7000-8000-000000000000"
"""An id of nothing."""
MARKUP = "[red]x[/]"
"""A name that rich would print in red."""


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A picture to upload, large enough for several messages."""
    path = tmp_path / "Sarah.jpg"
    path.write_bytes(pictures.padded_jpeg(400_000))
    return path


def with_thumbnail(client: AvatarCreator, avatar_id: str) -> Avatar:
    """Wait until the avatar has its thumbnail, and return it."""

    def ready() -> Avatar | None:
        avatar = client.avatars.get(avatar_id)
        return None if avatar.thumbnail_pending else avatar

    return wait_until(ready)


def local(moment: datetime) -> str:
    """Return a time as a table shows it in Jakarta, the time zone of the tests' commands."""
    jakarta = timezone(timedelta(hours=7))
    return f"{moment.astimezone(jakarta):%Y-%m-%d %H:%M:%S}"


# The main use case


def test_a_script_does_the_main_use_case_with_json(
    command_line: CommandLine, shared_client: AvatarCreator, photograph: Path
) -> None:
    project = command_line.json("projects", "create", "Spring campaign", "--description", "For March")
    assert (project["name"], project["description"]) == ("Spring campaign", "For March")
    assert project["avatar_count"] == 0
    assert command_line.json("projects", "list") == [project]

    face = command_line.json("avatars", "upload", str(photograph), "--project", project["id"])
    assert (face["name"], face["source_type"]) == ("Sarah", "uploaded")

    watched = command_line.run(
        "generate",
        "confident business woman",
        *("--project", project["id"], "--name", "Portrait", "--seed", "7", *SMALL, "--watch", "--json"),
    )
    assert (watched.returncode, watched.stderr) == (0, "")
    states = [json.loads(line) for line in watched.stdout.splitlines()]
    revisions = [int(state["revision"]) for state in states]
    assert revisions == sorted(set(revisions))
    assert {state["id"] for state in states} == {states[0]["id"]}
    completed = states[-1]
    assert (completed["state"], completed["progress_percent"]) == ("completed", 100)
    assert (completed["avatar_name"], completed["seed_used"], completed["options"]["width"]) == (
        "Portrait",
        7,
        256,
    )

    listed = command_line.json("avatars", "list", "--project", project["id"])
    assert [avatar["id"] for avatar in listed] == [completed["avatar_id"], face["id"]]
    found = command_line.json("avatars", "list", "--query", "business", "--limit", "1")
    assert [avatar["id"] for avatar in found] == [completed["avatar_id"]]
    portrait = command_line.json("avatars", "show", completed["avatar_id"])
    assert portrait["generation_prompt"] == "confident business woman"

    saved = command_line.json("avatars", "download", completed["avatar_id"])
    assert saved == {"path": "Portrait.png", "image": portrait["image"]}
    with Image.open(command_line.directory / "Portrait.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))

    for action in ("generate_poses", "generate_poses", "export"):
        shared_client.usage.record(face["id"], app_id="pose-generator", action=action, reference_id=action)
    usage = command_line.json("usage", "show", face["id"])
    assert list(usage) == ["apps"]
    assert [(app["app_id"], app["usage_count"]) for app in usage["apps"]] == [("pose-generator", 3)]
    usage = command_line.json("usage", "show", face["id"], "--history", "2")
    assert [use["action"] for use in usage["usages"]] == ["export", "generate_poses"]

    stats = command_line.json("stats")
    assert (stats["avatar_count"], stats["usage_count"], stats["average_usage_per_avatar"]) == (2, 3, 1.5)
    presets = command_line.json("presets")
    assert len(presets) >= 20
    business = command_line.json("presets", "--category", "business", "--query", "batik")
    assert business == [preset for preset in presets if preset["name"] == "Batik entrepreneur"]
    personas = command_line.json("personas", "--category", "education")
    assert {persona["category"] for persona in personas} == {"education"}


def test_an_upload_can_return_before_the_thumbnail(
    command_line: CommandLine, shared_client: AvatarCreator, photograph: Path
) -> None:
    project = shared_client.projects.create("Spring campaign")
    upload = ("avatars", "upload", str(photograph), "--project", project.id)
    assert command_line.json(*upload, "--defer-thumbnail")["thumbnail_pending"]


# Tables for people


def test_tables_have_complete_ids(
    command_line: CommandLine, shared_client: AvatarCreator, photograph: Path
) -> None:
    text = command_line.output("projects", "create", "Spring campaign")
    (project,) = shared_client.projects.list()
    assert text == f"Created project Spring campaign ({project.id}).\n"

    text = command_line.output(
        "avatars", "upload", str(photograph), "--project", project.id, "--name", "Sarah Lee"
    )
    (face,) = shared_client.avatars.list()
    assert text == f"Uploaded Sarah Lee ({face.id}).\n"
    header, row = command_line.output("projects", "list").splitlines()
    assert header.split() == ["id", "name", "avatars", "created"]
    assert re.split("  +", row.strip()) == [project.id, "Spring campaign", "1", local(project.create_time)]

    for app, action in (("pose-generator", "pose"), ("pose-generator", "export"), ("video", "film")):
        shared_client.usage.record(
            face.id, app_id=app, app_name=app.title(), action=action, reference_type="set", reference_id="7"
        )
    face = with_thumbnail(shared_client, face.id)
    header, row = command_line.output("avatars", "list").splitlines()
    assert header.split() == ["id", "name", "source", "uses", "created"]
    assert re.split("  +", row.strip()) == [
        *(face.id, "Sarah Lee", "uploaded", "3"),
        local(face.create_time),
    ]
    shown = command_line.output("avatars", "show", face.id)
    for fact in (
        face.id,
        project.id,
        "Sarah Lee",
        "image/jpeg, 48x32",
        "300x300",
        local(present(face.last_used_time)),
    ):
        assert fact in shown

    apps, history = command_line.output("usage", "show", face.id, "--history", "2").split("\n\n")
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

    stats = dict(re.split("  +", line.strip()) for line in command_line.output("stats").splitlines())
    assert (stats["avatars"], stats["uses"], stats["uses per avatar"]) == ("1", "3", "3.00")
    assert stats["generations completed"] == "0"
    presets = command_line.output("presets").splitlines()
    assert [line.split()[0] for line in presets[1:]] == [preset.id for preset in shared_client.presets.list()]
    personas = command_line.output("personas").splitlines()
    assert [line.split()[0] for line in personas[1:]] == [one.id for one in shared_client.personas.list()]


def test_a_list_that_is_cut_or_empty_says_so(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    assert command_line.json("projects", "list") == []
    finished = command_line.run("avatars", "list")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "note: no results\n")

    project = shared_client.projects.create("Spring")
    for _ in range(3):
        shared_client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")
    finished = command_line.run("avatars", "list", "--limit", "2")

    assert len(finished.stdout.splitlines()) == 3
    assert finished.stderr == "note: there are more results; show them with a higher --limit\n"
    assert len(command_line.output("avatars", "list", "--limit", "3").splitlines()) == 4


def test_text_of_users_is_printed_literally_and_controls_nothing(
    command_line: CommandLine, shared_client: AvatarCreator
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
    (generated,) = shared_client.avatars.find(query="bold")

    printed = [
        command_line.output("projects", "list"),
        command_line.output("avatars", "list", "--query", "smile"),
        command_line.terminal_output("avatars", "show", avatar.id, columns=100),
        command_line.output("projects", "create", hostile),
    ]
    used = command_line.output("usage", "show", avatar.id, "--history", "1")
    shown = command_line.output("avatars", "show", generated.id)
    listed = json.loads(command_line.run("projects", "list", "--json").stdout)

    for text in printed:
        assert f"{MARKUP} :smile: \N{REPLACEMENT CHARACTER}txt.exe" in text
        assert "\u202e" not in text
    assert "[b]app" in used
    assert "a[/]b" in used
    assert "\u200f" not in used
    assert "a b [bold]c" in shown
    assert [project["name"] for project in listed] == [hostile, hostile]
    assert MARKUP in command_line.error("avatars", "show", MARKUP)


def test_a_narrow_terminal_shortens_names_but_not_ids(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    avatar = shared_client.avatars.upload(project.id, pictures.jpeg(), name="Sarah " * 20)

    for columns in (100, 30):
        text = command_line.terminal_output("avatars", "list", columns=columns)
        assert avatar.id in text
        assert "Sarah " * 20 not in text


# Errors


def test_an_error_is_one_line_with_its_reason(
    command_line: CommandLine, shared_client: AvatarCreator, tmp_path: Path
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
        (["avatars", "show", UNKNOWN_ID], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["avatars", "download", UNKNOWN_ID], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["avatars", "list", "--project", UNKNOWN_ID, "--json"], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["usage", "show", UNKNOWN_ID], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["generate", "x", "--project", UNKNOWN_ID, "--watch"], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["generate", "--preset", UNKNOWN_ID, *upload], {}, ["RESOURCE_NOT_FOUND: ", UNKNOWN_ID]),
        (["generate", "x", *upload, "--width", "100", "--name", "n" * 121], {}, ["width", "avatar_name"]),
        (["projects", "create", "", "--description", "d" * 2001], {}, ["INVALID_FIELD", "name: ", "2,000"]),
        (["avatars", "upload", "letter.jpg", *upload], {}, ["IMAGE_UNSUPPORTED: "]),
        (["avatars", "upload", "missing.jpg", *upload], {}, ["No such file", "missing.jpg"]),
        (["avatars", "upload", "folder.jpg", *upload], {}, ["directory", "folder.jpg"]),
        (["projects", "create", "\udcff"], {}, ["UTF-8"]),
        (["stats", "--tls"], {}, [f"cannot reach {command_line.target}: "]),
    ]

    messages = command_line.errors([(arguments, changes) for arguments, changes, _ in cases])

    missing = [
        (case[0], message)
        for case, message in zip(cases, messages, strict=True)
        for text in case[2]
        if text not in message
    ]
    assert missing == []
    assert [project.name for project in shared_client.projects.list()] == ["Spring"]


def test_a_portrait_needs_a_prompt_or_a_preset(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    finished = command_line.run("generate", "--json")

    assert (finished.returncode, finished.stdout) == (2, "")
    assert "--preset" in finished.stderr
    assert list(shared_client.projects.list()) == []


def test_an_unreachable_server_is_named_at_once(tmp_path: Path) -> None:
    target = f"127.0.0.1:{free_port()}"
    command_line = CommandLine(target, "token", tmp_path)
    started = time.monotonic()

    message = command_line.error("projects", "list", "--json")

    assert f"cannot reach {target}: " in message
    assert "refused" in message
    assert "--target" in message
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_needs_no_brackets(
    embedded: Deployment, user: str, tmp_path: Path, host: str
) -> None:
    target = f"{host}:{free_port()}"
    with ServiceInThread.serving(embedded, LISTEN_ADDRESS=target):
        assert CommandLine(target, embedded.token(user), tmp_path).json("projects", "list") == []


def test_a_malformed_target_is_called_malformed(tmp_path: Path) -> None:
    malformed = ("localhost", "localhost:", ":50051", "::1", "[::1:1", "host:65536", "ftp://host:1", "дом:1")
    settings = {"AVATAR_CREATOR_TOKEN": "token"}

    for target in malformed:
        result = run_command("stats", "--target", target, settings=settings, directory=tmp_path)
        assert error_message(result).startswith(
            "--target must be host:port, http://host:port or https://host:port"
        )


def test_a_client_command_ignores_the_settings_of_the_service(command_line: CommandLine) -> None:
    assert command_line.run("stats", DATABASE_URL="none", LOG_LEVEL="none", JWT_SECRET="x").returncode == 0


def test_help_lists_every_command(tmp_path: Path) -> None:
    shown = run_command("--help", settings={"COLUMNS": "100"}, directory=tmp_path)

    commands = re.findall(r"^│ (\w+) ", shown.stdout, re.MULTILINE)
    assert commands == [
        *("serve", "worker", "migrate", "token", "demo", "doctor"),
        *("generate", "recipe", "reproduce", "stats", "presets", "personas"),
        *("projects", "avatars", "usage", "generations"),
        *("top", "queue", "workers", "users", "limits"),
    ]
    assert "AVATAR_CREATOR_TOKEN" in run_command("stats", "--help", settings={}, directory=tmp_path).stdout


# TLS


def test_grpc_logs_nothing_by_default(command_line: CommandLine) -> None:
    # The server has no TLS, so the handshake fails.
    quiet = command_line.run("stats", "--tls")
    assert "the server does not use TLS: connect without TLS" in error_message(quiet)
    verbose = command_line.run("stats", "--tls", GRPC_VERBOSITY="INFO")

    assert quiet.stderr.splitlines() == [f"error: {error_message(quiet)}"]
    assert "Handshake failed" in verbose.stderr


def test_a_server_with_tls_needs_the_option_and_a_trusted_certificate(
    embedded: Deployment, user: str, tmp_path: Path
) -> None:
    certificate = Certificate.make()
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        (tmp_path / f"{name}.pem").write_bytes(content)
        embedded.settings[f"TLS_{name}_FILE"] = str(tmp_path / f"{name}.pem")
    with ServiceInThread.serving(embedded):
        command_line = CommandLine(embedded.target, embedded.token(user), tmp_path)

        unreachable = command_line.error("stats")
        assert f"cannot reach {command_line.target}: " in unreachable
        assert "as a server with TLS does: connect with TLS" in unreachable
        assert f"cannot reach {command_line.target}: " in command_line.error("stats", "--tls")
        command_line.environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(tmp_path / "none.pem")
        assert "none.pem cannot be read: No such file" in command_line.error("stats", "--tls")
        command_line.environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(tmp_path / "CERTIFICATE.pem")
        assert command_line.json("stats", "--tls")["avatar_count"] == 0
        variables = command_line.environment | {"AVATAR_CREATOR_TARGET": f"https://{embedded.target}"}
        listed = run_command("projects", "list", "--json", settings=variables, directory=tmp_path)
        assert (listed.returncode, listed.stdout) == (0, "[]\n")

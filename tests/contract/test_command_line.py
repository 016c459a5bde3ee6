"""The command `avatar-creator`: what it does, and how it says what it cannot do."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import grpc
import pytest
from PIL import Image

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from avatar_creator.v1.generation_service_pb2_grpc import GenerationServiceStub
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.settings import Settings
from tests import pictures
from tests.contract.calls import Calls, refusal
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.service import Deployment, ServiceProcess, run_command, run_in_turn
from tests.support.waiting import wait_until

SECRET = "0123456789abcdef" * 4
CANARY = "sk-canary-9c1e"
"""A key that nobody may read anywhere."""
NOWHERE = "127.0.0.1:1"
"""Nobody listens on port 1."""

Outcome = subprocess.CompletedProcess[str]


def said(outcome: Outcome) -> str:
    """All that a command printed, on one line as far as the terminal's width goes."""
    text = outcome.stdout + outcome.stderr
    assert "Traceback" not in text
    return " ".join(text.split())


def refused(outcome: Outcome) -> str:
    """What a command said that could not do its work."""
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    # What gRPC's own C++ writes when it cannot listen is not ours to silence.
    lines = [line for line in outcome.stderr.splitlines() if not re.match(r"E\d{4} .*\.cc:\d+\]", line)]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("error: "), outcome.stderr
    return said(outcome)


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing in it."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings of an embedded service, whose folders do not exist yet."""
    return _settings_in(tmp_path)


def _settings_in(directory: Path) -> dict[str, str]:
    return {
        "JWT_SECRET": SECRET,
        "DATA_PATH": str(directory / "data"),
        "UPLOAD_PATH": str(directory / "uploads"),
        "LISTEN_ADDRESS": f"127.0.0.1:{free_port()}",
    }


@pytest.fixture
def run(tmp_path: Path, settings: dict[str, str]) -> Callable[..., Outcome]:
    """Runs a command with `settings`, some of them changed; None takes one away."""

    def run_with(*arguments: str, **changes: str | None) -> Outcome:
        chosen = {name: value for name, value in {**settings, **changes}.items() if value is not None}
        return run_command(*arguments, settings=chosen, directory=tmp_path)

    return run_with


Run = Callable[..., Outcome]


# migrate


def test_migrating_twice_applies_once(run: Run, empty_database: str) -> None:
    first = run("migrate", DATABASE_URL=empty_database)
    second = run("migrate", DATABASE_URL=empty_database)

    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 0001_initial" in said(first)
    assert "applied 0001_initial" not in said(second)
    assert "up to date (0 migration(s) applied now)" in said(second)


@pytest.mark.parametrize("kind", ["PostgreSQL", "SQLite"])
def test_of_two_who_migrate_at_once_one_applies(run: Run, empty_database: str, kind: str) -> None:
    url = empty_database if kind == "PostgreSQL" else None

    with ThreadPoolExecutor(2) as threads:
        outcomes = [threads.submit(run, "migrate", DATABASE_URL=url) for _ in range(2)]
        told = [said(outcome.result()) for outcome in outcomes]

    assert [outcome.result().returncode for outcome in outcomes] == [0, 0], told
    assert sum("applied 0001_initial" in text for text in told) == 1, told


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_tables_of_another_product_are_refused(
    run: Run, tmp_path: Path, empty_database: str, command: str
) -> None:
    wired = {"DATABASE_URL": empty_database, "REDIS_URL": f"redis://{NOWHERE}/0"}
    deployment = Deployment(tmp_path, wired)
    deployment.execute("CREATE TABLE avatars (id INTEGER PRIMARY KEY)")

    told = refused(run(command, **wired))

    assert "tables named avatars that this service did not make" in told
    assert "give this service a database of its own" in told
    columns = deployment.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'avatars'"
    )
    assert [column["column_name"] for column in columns] == ["id"]


def test_tables_of_another_product_are_refused_embedded(
    run: Run, tmp_path: Path, settings: dict[str, str]
) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "avatar-creator.db"
    database.touch()
    Deployment.embedded(tmp_path).execute("CREATE TABLE avatars (id INTEGER PRIMARY KEY)")

    assert "tables named avatars" in refused(run("serve"))


def test_a_file_where_a_folder_should_be_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "avatar-creator.db.migrate-lock").mkdir(parents=True)
    (tmp_path / "file").write_text("in the way")

    assert "data/avatar-creator.db.migrate-lock" in refused(run("serve"))
    assert str(tmp_path / "file" / "demo") in refused(
        run("demo", "--folder", str(tmp_path / "file" / "demo"))
    )


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_is_down_is_said_in_a_line(run: Run, command: str) -> None:
    wired = {"DATABASE_URL": f"postgresql://{NOWHERE}/x", "REDIS_URL": f"redis://{NOWHERE}/0"}

    told = refused(run(command, **wired))

    assert "the database does not work" in told
    assert "avatar-creator doctor" in told


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_unmigrated_database_is_refused_with_the_command_to_run(
    run: Run, empty_database: str, redis_url: str, command: str
) -> None:
    told = refused(run(command, DATABASE_URL=empty_database, REDIS_URL=redis_url))

    assert "run `avatar-creator migrate`" in told


# Settings that do not make a service


ILLEGAL: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "SQLite with Redis": ({"REDIS_URL": "redis://localhost"}, ["REDIS_URL", "DATABASE_URL"]),
    "SQLite with Redis in parts": ({"REDIS_HOST": "localhost"}, ["REDIS_HOST", "DATABASE_URL"]),
    "SQLite by name with Redis": (
        {"DATABASE_URL": "sqlite:///x.db", "REDIS_URL": "redis://localhost"},
        ["REDIS_URL", "DATABASE_URL"],
    ),
    "PostgreSQL without Redis": ({"DATABASE_URL": "postgresql://localhost/x"}, ["REDIS_URL", "DATABASE_URL"]),
    "a bucket when embedded": ({"STORAGE_URL": "s3://bucket"}, ["STORAGE_URL", "DATABASE_URL", "REDIS_URL"]),
    "a bucket that is none": (
        {
            "DATABASE_URL": "postgresql://localhost/x",
            "REDIS_URL": "redis://localhost",
            "STORAGE_URL": "gs://bucket",
        },
        ["STORAGE_URL", "UPLOAD_PATH"],
    ),
    "a key without certificate": (
        {"TLS_KEY_FILE": "key.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "a certificate without key": (
        {"TLS_CERTIFICATE_FILE": "certificate.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "TLS files that are not there": (
        {"TLS_CERTIFICATE_FILE": "certificate.pem", "TLS_KEY_FILE": "key.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "TLS files that are none": (
        {"TLS_CERTIFICATE_FILE": __file__, "TLS_KEY_FILE": __file__},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "two variables at once": ({"REDIS_PORT": "none", "LOG_LEVEL": "loud"}, ["REDIS_PORT", "LOG_LEVEL"]),
    "a short secret": ({"JWT_SECRET": "x" * 31}, ["JWT_SECRET", "32 bytes"]),
    "no secret when distributed": (
        {
            "JWT_SECRET": None,
            "DATABASE_URL": "postgresql://localhost/x",
            "REDIS_URL": "redis://localhost",
        },
        ["JWT_SECRET"],
    ),
    "another kind of database": (
        {"DATABASE_URL": "mysql://localhost/x", "REDIS_URL": "redis://localhost"},
        ["DATABASE_URL", "postgresql://"],
    ),
    "another kind of database alone": (
        {"DATABASE_URL": "mysql://localhost/x"},
        ["must begin with postgresql://"],
    ),
    "a provider that is none": ({"PROVIDER": "dalle"}, ["PROVIDER", "'sketch'"]),
    "an endpoint without its address": (
        {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_ROUTE": "endpoint"},
        ["HUGGINGFACE_ENDPOINT_URL"],
    ),
    "another model on a route that has one": (
        {"HUGGINGFACE_API_KEY": "hf_x", "MODEL": "stabilityai/sdxl"},
        ["MODEL", "HUGGINGFACE_ROUTE", "FLUX.1-dev"],
    ),
    "prices that are no table": ({"PRICES_PER_MEGAPIXEL": "0.035"}, ["PRICES_PER_MEGAPIXEL"]),
    "a deny-list that is not there": (
        {"PROMPT_DENY_LIST_FILE": "words.txt"},
        ["PROMPT_DENY_LIST_FILE words.txt cannot be read"],
    ),
    "a moderation service without http": (
        {"MODERATION_URL": "moderation.example.com"},
        ["MODERATION_URL must be"],
    ),
    "a key for no moderation service": (
        {"MODERATION_API_KEY": CANARY},
        ["MODERATION_API_KEY is set but MODERATION_URL is not"],
    ),
    "a key that no header can carry": (
        {"MODERATION_URL": "http://127.0.0.1:1/", "MODERATION_API_KEY": f"{CANARY}\n"},
        ["MODERATION_API_KEY has"],
    ),
    "a model without its libraries": ({"PROVIDER": "diffusers"}, ["avatar-creator[gpu]"]),
    "an address that is none": ({"LISTEN_ADDRESS": "nowhere:at-all"}, ["LISTEN_ADDRESS", "host:port"]),
    "a port past the last": ({"LISTEN_ADDRESS": "127.0.0.1:65536"}, ["LISTEN_ADDRESS", "0 to 65535"]),
}


@pytest.fixture(scope="module")
def told_by_serve(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """How `serve` went with each of the illegal settings."""
    commands = []
    for changes, _ in ILLEGAL.values():
        directory = tmp_path_factory.mktemp("illegal")
        chosen = {name: value for name, value in {**_settings_in(directory), **changes}.items() if value}
        commands.append((["serve"], chosen, directory))
    return dict(zip(ILLEGAL, run_in_turn(commands), strict=True))


@pytest.mark.parametrize("case", ILLEGAL)
def test_serve_refuses_and_names_the_variables(told_by_serve: dict[str, Outcome], case: str) -> None:
    told = refused(told_by_serve[case])

    assert CANARY not in told
    assert [name for name in ILLEGAL[case][1] if name not in told] == [], told


def test_a_worker_beside_an_embedded_service_is_refused(run: Run) -> None:
    told = refused(run("worker"))

    assert "DATABASE_URL" in told
    assert "REDIS_URL" in told


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("serve", "DATA_PATH"),
        ("serve", "UPLOAD_PATH"),
        ("doctor", "DATA_PATH"),
        ("migrate", "DATA_PATH"),
        ("token", "DATA_PATH"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(run: Run, tmp_path: Path, command: str, variable: str) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = ["--user", "sarah"] if command == "token" else []

    outcome = run(command, *arguments, **{variable: str(tmp_path / "file" / "folder"), "JWT_SECRET": None})

    assert outcome.returncode == 1, said(outcome)
    assert variable in said(outcome)


def test_a_second_server_on_the_same_port_refuses(shared_deployment: Deployment, run: Run) -> None:
    told = refused(run("serve", LISTEN_ADDRESS=shared_deployment.target))

    assert f"LISTEN_ADDRESS {shared_deployment.target}" in told
    assert "is another server running there?" in told


def test_a_second_embedded_service_in_the_same_folder_refuses(embedded: Deployment) -> None:
    embedded.start()
    embedded.settings["LISTEN_ADDRESS"] = f"127.0.0.1:{free_port()}"

    told = refused(embedded.run_command("serve"))

    assert "another service runs on" in told
    assert "DATA_PATH" in told


# token


def test_an_embedded_service_keeps_a_secret_of_its_own_and_accepts_its_tokens(tmp_path: Path) -> None:
    deployment = Deployment.embedded(tmp_path)
    del deployment.settings["JWT_SECRET"]
    try:
        first = deployment.run_command("token", "--user", "sarah")
        secret_file = deployment.data_path / "jwt-secret"
        secret = secret_file.read_text().strip()
        deployment.start()
        second = deployment.run_command("token", "--user", "sarah", "--expires-in", "60")

        assert f"no service has run in {deployment.data_path}" in first.stderr
        assert second.stderr == ""
        assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
        assert len(secret) >= 32
        assert secret_file.read_text().strip() == secret
        for outcome in (first, second):
            assert outcome.returncode == 0, said(outcome)
            with Calls(deployment.target, outcome.stdout.strip()) as calls:
                assert calls.create_project().user_id == "sarah"
    finally:
        deployment.close()


def test_processes_that_make_the_secret_at_once_end_with_the_same(tmp_path: Path) -> None:
    settings = Settings(data_path=tmp_path / "data", database_url="", jwt_secret="")
    together = Barrier(8)

    def secret() -> str:
        together.wait()
        return settings.signing_secret()

    with ThreadPoolExecutor(8) as threads:
        secrets = {made.result() for made in [threads.submit(secret) for _ in range(8)]}

    assert secrets == {(tmp_path / "data" / "jwt-secret").read_text().strip()}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["jwt-secret"]


def test_an_empty_secret_signs_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jwt-secret").touch()

    told = refused(run("token", "--user", "sarah", JWT_SECRET=None))

    assert "jwt-secret holds no whole secret: delete it" in told


def test_a_token_is_for_a_user_id_only(run: Run) -> None:
    assert "is not a user id" in refused(run("token", "--user", "../sarah"))


def test_tokens_carry_the_issuer_and_audience_that_are_set(tmp_path: Path) -> None:
    deployment = Deployment.embedded(
        tmp_path, JWT_ISSUER="https://issuer", JWT_AUDIENCE="avatars", JWT_USER_CLAIM="user_id"
    )
    try:
        deployment.start()
        good = deployment.run_command("token", "--user", "sarah").stdout.strip()
        claims = {"iss": "https://issuer", "aud": "avatars", "user_id": "sarah"}
        tokens = [
            deployment.token("x", **(claims | changed))
            for changed in ({"iss": "x"}, {"aud": "x"}, {"user_id": ""})
        ]

        with Calls(deployment.target, good) as calls:
            assert calls.create_project().user_id == "sarah"
        for token in tokens:
            with Calls(deployment.target, token) as calls:
                assert refusal(calls.create_project).reason == "TOKEN_INVALID"
    finally:
        deployment.close()


# doctor


def findings(outcome: Outcome) -> dict[str, bool]:
    """What doctor says of each subject: whether it works."""
    return {match[2]: match[1] == "ok" for match in re.finditer(r"│ (ok|no) +│ (\w+) ", said(outcome))}


ALL_WELL = dict.fromkeys(("settings", "database", "queue", "generations", "storage", "provider"), True)


def test_doctor_finds_all_well(shared_deployment: Deployment) -> None:
    outcome = shared_deployment.run_command("doctor")

    assert findings(outcome) == ALL_WELL
    assert outcome.returncode == 0


def test_doctor_finds_all_well_before_an_embedded_service_ever_ran(run: Run) -> None:
    outcome = run("doctor")

    assert findings(outcome) == ALL_WELL
    assert outcome.returncode == 0


@pytest.mark.parametrize(
    ("broken", "changes", "remedy"),
    [
        ("settings", {"REDIS_URL": None}, "REDIS_URL"),
        ("database", {"DATABASE_URL": f"postgresql://{NOWHERE}/x"}, "DATABASE_URL"),
        ("database", {"DATABASE_URL": "EMPTY"}, "avatar-creator migrate"),
        ("queue", {"REDIS_URL": f"redis://{NOWHERE}/0"}, "REDIS_URL"),
        ("settings", {"UPLOAD_PATH": "FILE/folder"}, "UPLOAD_PATH"),
        ("storage", {"UPLOAD_PATH": "BLOCKED"}, "UPLOAD_PATH"),
        (
            "provider",
            {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_BASE_URL": f"http://{NOWHERE}"},
            "HUGGINGFACE_BASE_URL",
        ),
        ("provider", {"PROVIDER": "huggingface", "HUGGINGFACE_BASE_URL": f"http://{NOWHERE}"}, "set it for"),
    ],
    ids=[
        "settings",
        "database down",
        "database unmigrated",
        "Redis down",
        "no folder for uploads",
        "uploads refused",
        "provider down",
        "provider without its key",
    ],
)
def test_doctor_names_what_is_broken_and_the_remedy(
    run: Run,
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    empty_database: str,
    broken: str,
    changes: dict[str, str | None],
    remedy: str,
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "avatar-creator").write_text("in the way")
    stand_ins = {
        "EMPTY": empty_database,
        "FILE/folder": str(tmp_path / "file" / "folder"),
        "BLOCKED": str(tmp_path / "blocked"),
    }
    wired = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    chosen = {name: stand_ins.get(value, value) if value else None for name, value in changes.items()}

    outcome = run("doctor", **(wired | chosen), COLUMNS="200")

    assert outcome.returncode == 1
    expected = {"settings": False} if broken == "settings" else ALL_WELL | {broken: False}
    assert findings(outcome) == expected
    assert remedy in said(outcome)


# demo


def test_the_demo_leaves_two_pictures_and_their_thumbnails(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "demo"

    # What is set for a service elsewhere is none of the demo's business.
    outcome = run("demo", "--folder", str(folder), REDIS_URL=f"redis://{NOWHERE}/0", JWT_SECRET="short")

    assert outcome.returncode == 0, said(outcome)
    sizes = {}
    for path in folder.glob("*.*"):
        with Image.open(path) as picture:
            picture.load()
            sizes[path.stem] = picture.size
    with Image.open(
        Path(__file__).parents[2] / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"
    ) as photograph:
        assert sizes == {
            "upload": photograph.size,
            "upload-thumbnail": (300, 300),
            "portrait": (1024, 1024),
            "portrait-thumbnail": (300, 300),
        }
    assert "sketch" in said(outcome)


# The request log


def logged(server: ServiceProcess, method: str, user: str) -> list[dict[str, Any]]:
    """The lines about this user's calls of a method."""
    return [
        entry
        for entry in server.events("call_finished")
        if entry["method"].endswith(f"/{method}") and entry["user"] == user
    ]


def test_every_call_is_one_line_of_the_log(shared_deployment: Deployment, calls: Calls, user: str) -> None:
    server = shared_deployment.servers[0]
    project = calls.create_project()
    avatar = calls.upload(project.id, pictures.png())
    calls.download(avatar.id)
    generation = calls.wait_for_end(calls.create_generation(project.id).id)
    refusal(lambda: calls.projects.CreateProject(projects_pb.CreateProjectRequest(name="")))
    refusal(lambda: calls.projects.GetProject(projects_pb.GetProjectRequest(project_id=str(uuid.uuid4()))))
    unknown = WatchGenerationRequest(generation_id=str(uuid.uuid4()))
    refusal(lambda: calls.generations.WatchGeneration(unknown))
    expected = {
        "CreateProject": ["OK", "INVALID_ARGUMENT"],
        "GetProject": ["NOT_FOUND"],
        "UploadAvatar": ["OK"],
        "DownloadImage": ["OK"],
        "CreateGeneration": ["OK"],
        "WatchGeneration": ["OK", "NOT_FOUND"],
        "GetGeneration": ["OK"],
    }

    def codes() -> dict[str, list[str]]:
        return {method: [entry["code"] for entry in logged(server, method, user)] for method in expected}

    wait_until(lambda: codes() == expected, message=lambda: f"logged {codes()}")
    entries = [entry for entry in server.events("call_finished") if entry["user"] == user]
    assert len(entries) == sum(map(len, expected.values()))
    assert {entry["method"].split("/")[1] for entry in entries} <= set(SERVICE_NAMES)
    assert all(
        type(entry["milliseconds"]) is float and 0 <= entry["milliseconds"] < 30_000 for entry in entries
    )
    assert generation.id not in {entry["method"] for entry in entries}


def test_a_watch_that_its_caller_leaves_is_one_line_of_the_log(
    shared_deployment: Deployment, calls: Calls, user: str
) -> None:
    large = {"options": {"width": 1440, "height": 1440}}
    project = calls.create_project()
    generation = [calls.create_generation(project.id, **large) for _ in range(4)][-1]
    watch: Any = GenerationServiceStub(calls.channel).WatchGeneration(
        WatchGenerationRequest(generation_id=generation.id), metadata=calls.metadata, timeout=30
    )
    next(watch)

    watch.cancel()

    server = shared_deployment.servers[0]
    wait_until(lambda: logged(server, "WatchGeneration", user), message="the watch was never logged")
    assert [entry["code"] for entry in logged(server, "WatchGeneration", user)] == ["CANCELLED"]
    calls.projects.DeleteProject(projects_pb.DeleteProjectRequest(project_id=project.id))


def test_refused_callers_are_logged_without_a_user(shared_deployment: Deployment) -> None:
    server = shared_deployment.servers[0]

    def refusals() -> int:
        return sum(entry["code"] == "UNAUTHENTICATED" for entry in logged(server, "ListProjects", ""))

    before = refusals()

    with Calls(shared_deployment.target, "garbage") as calls:
        answer = refusal(lambda: calls.projects.ListProjects(projects_pb.ListProjectsRequest()))

    assert answer.code == grpc.StatusCode.UNAUTHENTICATED
    wait_until(lambda: refusals() == before + 1, message="the refusal was never logged")


def test_tokens_and_secrets_never_appear_in_the_log(
    shared_deployment: Deployment, calls: Calls, user: str
) -> None:
    server = shared_deployment.servers[0]
    ((_, authorization),) = calls.metadata
    expired = shared_deployment.token(user, exp=int(time.time()) - 10)
    calls.create_project()
    with Calls(shared_deployment.target, expired) as late:
        assert refusal(late.create_project).reason == "TOKEN_EXPIRED"
    wait_until(lambda: len(logged(server, "CreateProject", user)) == 1, message="the call was never logged")

    written = "".join(
        process.output() for process in (*shared_deployment.servers, *shared_deployment.workers)
    )

    hidden = [
        *authorization.removeprefix("Bearer ").split(".")[1:],
        *expired.split(".")[1:],
        shared_deployment.settings["JWT_SECRET"],
    ]
    assert [part for part in hidden if part in written] == []


def test_what_a_process_writes_is_lines_of_json(shared_deployment: Deployment, calls: Calls) -> None:
    garbage: Any = calls.channel.unary_unary(f"/{SERVICE_NAMES[0]}/CreateProject")
    refusal(lambda: garbage(b"\xff\xff", metadata=calls.metadata, timeout=10))
    for process in (*shared_deployment.servers, *shared_deployment.workers):
        lines = process.output().splitlines()
        assert lines
        for line in lines:
            assert isinstance(json.loads(line), dict)

"""The commands that run a service, except `serve` and `worker` themselves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from threading import Barrier

import jwt
import pytest
from PIL import Image

import avatar_creator_server
from avatar_creator import AvatarCreator, NotFoundError, UnauthenticatedError
from avatar_creator.v1.avatar_service_pb2 import ListAvatarsRequest
from avatar_creator_server.settings import Settings
from tests import pictures
from tests.contract.calls import Calls, refusal
from tests.contract.conftest import RunWithSettings
from tests.contract.settings_cases import CANARY, DEAD_PROXIES, PEM
from tests.support.child_process import ChildProcess
from tests.support.command_line import REPOSITORY, FinishedCommand, error_message, printed
from tests.support.doctor import checks_of
from tests.support.generations import final_state
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
from tests.support.threads import Threads
from tests.support.web_calls import WebCalls, rpcs

UNREACHABLE = "127.0.0.1:1"
"""An address without a server: port 1."""
VERSION = version("avatar-creator")


# --version


def test_the_version_is_that_of_the_distribution(run: RunWithSettings) -> None:
    finished = run("--version")

    assert (finished.returncode, finished.stdout, finished.stderr) == (0, f"avatar-creator {VERSION}\n", "")
    assert avatar_creator_server.__version__ == VERSION


def test_the_version_of_the_client_is_printed_if_it_differs(run: RunWithSettings, tmp_path: Path) -> None:
    metadata = tmp_path / "avatar_creator_client-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: avatar-creator-client\nVersion: 99.0\n")
    folders = [tmp_path, *(REPOSITORY / name for name in ("server", "tasks", "migrations", "clients/python"))]

    finished = run("--version", PYTHONPATH=os.pathsep.join(map(str, folders)))

    assert finished.stdout == f"avatar-creator {VERSION}, avatar-creator-client 99.0\n"


def test_servers_and_workers_log_the_version_when_they_are_ready(shared_deployment: Deployment) -> None:
    server = shared_deployment.servers[0]
    worker = shared_deployment.workers[0] if shared_deployment.workers else server

    assert [event["version"] for event in server.events("server_ready")] == [VERSION]
    assert [event["version"] for event in worker.events("worker_ready")] == [VERSION]


# migrate


def test_migrating_twice_applies_each_migration_once(run: RunWithSettings, empty_database: str) -> None:
    first = run("migrate", DATABASE_URL=empty_database)
    second = run("migrate", DATABASE_URL=empty_database)
    third = run("migrate", "--json", DATABASE_URL=empty_database)

    assert json.loads(third.stdout) == {"applied": []}
    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 0001_initial" in printed(first)
    assert "applied 0001_initial" not in printed(second)
    assert "up to date (0 migration(s) applied now)" in printed(second)


@pytest.mark.parametrize("kind", ["PostgreSQL", "SQLite"])
def test_of_two_migrations_at_once_one_applies(run: RunWithSettings, empty_database: str, kind: str) -> None:
    url = empty_database if kind == "PostgreSQL" else None

    with Threads(2) as threads:
        results = [threads.submit(run, "migrate", DATABASE_URL=url) for _ in range(2)]
        texts = [printed(result.result()) for result in results]

    assert [result.result().returncode for result in results] == [0, 0], texts
    assert sum("applied 0001_initial" in text for text in texts) == 1, texts


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_tables_of_another_product_are_refused(
    run: RunWithSettings, tmp_path: Path, empty_database: str, command: str
) -> None:
    addresses = {"DATABASE_URL": empty_database, "REDIS_URL": f"redis://{UNREACHABLE}/0"}
    deployment = Deployment(tmp_path, addresses)
    deployment.execute("CREATE TABLE avatars (id INTEGER PRIMARY KEY)")

    message = error_message(run(command, **addresses))

    assert "tables named avatars that this service did not make" in message
    assert "give this service a database of its own" in message
    columns = deployment.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'avatars'"
    )
    assert [column["column_name"] for column in columns] == ["id"]


def test_tables_of_another_product_are_refused_by_the_embedded_service(
    run: RunWithSettings, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "avatar-creator.db"
    database.touch()
    Deployment.embedded(tmp_path).execute("CREATE TABLE avatars (id INTEGER PRIMARY KEY)")

    assert "tables named avatars" in error_message(run("serve"))


def test_a_file_in_place_of_a_folder_is_named(run: RunWithSettings, tmp_path: Path) -> None:
    (tmp_path / "data" / "avatar-creator.db.migrate-lock").mkdir(parents=True)
    (tmp_path / "file").write_text("in the way")

    assert "data/avatar-creator.db.migrate-lock" in error_message(run("serve"))
    assert str(tmp_path / "file" / "demo") in error_message(
        run("demo", "--folder", str(tmp_path / "file" / "demo"))
    )


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_does_not_answer_is_one_line(run: RunWithSettings, command: str) -> None:
    addresses = {"DATABASE_URL": f"postgresql://{UNREACHABLE}/x", "REDIS_URL": f"redis://{UNREACHABLE}/0"}

    message = error_message(run(command, **addresses))

    assert "the database cannot be used" in message
    assert "avatar-creator doctor" in message


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_old_schema_is_refused_with_the_command_to_run(
    run: RunWithSettings, empty_database: str, redis_url: str, command: str
) -> None:
    message = error_message(run(command, DATABASE_URL=empty_database, REDIS_URL=redis_url))

    assert "run `avatar-creator migrate`" in message


# token


def test_an_embedded_service_generates_a_secret_and_accepts_its_tokens(tmp_path: Path) -> None:
    deployment = Deployment.embedded(tmp_path)
    del deployment.settings["JWT_SECRET"]
    try:
        refusal = error_message(deployment.run_command("token", "--user", "sarah"))
        assert refusal == (
            f"no service has run in {deployment.data_path} yet, and JWT_SECRET is not set: run this in "
            "the folder of the service, or set DATA_PATH or JWT_SECRET as the service has it; for a new "
            "service, run `avatar-creator serve` first"
        )
        assert not deployment.data_path.exists()

        deployment.start()
        secret_file = deployment.data_path / "jwt-secret"
        secret = secret_file.read_text().strip()
        first = deployment.run_command("token", "--user", "sarah")
        second = deployment.run_command("token", "--user", "sarah", "--expires-in", "60", "--json")

        assert (first.stderr, second.stderr) == ("", "")
        assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
        assert len(secret) >= 32
        assert secret_file.read_text().strip() == secret
        for finished in (first, second):
            assert finished.returncode == 0, printed(finished)
        for token in (first.stdout.strip(), json.loads(second.stdout)["token"]):
            with Calls(deployment.target, token) as calls:
                assert calls.create_project().user_id == "sarah"
    finally:
        deployment.close()


def test_processes_that_generate_the_secret_at_once_get_the_same(tmp_path: Path) -> None:
    settings = Settings(data_path=tmp_path / "data", database_url="", jwt_secret="")
    together = Barrier(8, timeout=30)

    def secret() -> str:
        together.wait()
        return settings.signing_secret()

    with Threads(8) as threads:
        secrets = {result.result() for result in [threads.submit(secret) for _ in range(8)]}

    assert secrets == {(tmp_path / "data" / "jwt-secret").read_text().strip()}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["jwt-secret"]


def test_an_empty_secret_file_is_refused(run: RunWithSettings, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jwt-secret").touch()

    message = error_message(run("token", "--user", "sarah", JWT_SECRET=None))

    assert "jwt-secret has no complete secret: delete the file" in message


def test_the_user_of_a_token_must_be_a_user_id(run: RunWithSettings) -> None:
    message = error_message(run("token", "--user", "../sarah"))

    assert message.startswith("--user must have 1 to 128 letters, digits")
    assert message.endswith("(got ../sarah)")


@pytest.mark.parametrize(
    "option", [("--user=-8xq2l0VYh",), ("--user", "_8xq2l0VYh"), ("--user", "-8xq2l0VYh")]
)
def test_a_token_can_be_made_for_an_id_that_begins_with_a_dash_or_an_underscore(
    run: RunWithSettings, settings: dict[str, str], option: tuple[str, ...]
) -> None:
    finished = run("token", *option)

    assert finished.returncode == 0, finished.stderr
    claims = jwt.decode(finished.stdout.strip(), settings["JWT_SECRET"], algorithms=["HS256"])
    assert claims["sub"] == option[-1].removeprefix("--user=")
    assert "- alone is not a user id" in error_message(run("token", "--user", "-"))


def test_a_service_accepts_tokens_of_clocks_that_differ_by_half_a_minute(tmp_path: Path) -> None:
    deployment = Deployment.embedded(tmp_path)
    del deployment.settings["JWT_LEEWAY_SECONDS"]
    now = int(time.time())
    with ServiceInThread.serving(deployment) as service, service.working():
        for claims in ({"iat": now + 25, "nbf": now + 25}, {"exp": now - 5}):
            with deployment.client("sarah", **claims) as client:
                project = client.projects.create("Spring")
                # A watch ends with the token too.
                final_state(client.generations.create(project.id, "x", width=256, height=256))
        for late in ({"iat": now + 600}, {"nbf": now + 600}, {"exp": now - 60}):
            with deployment.client("sarah", **late) as client, pytest.raises(UnauthenticatedError):
                client.projects.create("Spring")


def test_tokens_have_the_issuer_and_audience_of_the_settings(tmp_path: Path) -> None:
    deployment = Deployment.embedded(
        tmp_path, JWT_ISSUER="https://issuer", JWT_AUDIENCE="avatars", JWT_USER_CLAIM="user_id"
    )
    with ServiceInThread.serving(deployment):
        valid = deployment.run_command("token", "--user", "sarah").stdout.strip()
        claims = {"iss": "https://issuer", "aud": "avatars", "user_id": "sarah"}
        invalid = [
            deployment.token("x", **(claims | changed))
            for changed in ({"iss": "x"}, {"aud": "x"}, {"user_id": ""})
        ]

        with Calls(deployment.target, valid) as calls:
            assert calls.create_project().user_id == "sarah"
        for token in invalid:
            with Calls(deployment.target, token) as calls:
                assert refusal(calls.create_project).reason == "TOKEN_INVALID"


def test_tokens_can_be_for_an_app_and_for_an_operator(shared_deployment: Deployment, user: str) -> None:
    with shared_deployment.client(user) as client:
        project = client.projects.create("Spring")
        avatar = client.avatars.upload(project.id, pictures.jpeg(), name="Sarah")
    token = ("token", "--user", user)

    of_app = shared_deployment.run_command(*token, "--app", "pose-generator").stdout.strip()
    of_operator = shared_deployment.run_command("token", "--user", "olga", "--role", "ops").stdout.strip()
    of_olga = shared_deployment.run_command("token", "--user", "olga").stdout.strip()

    with AvatarCreator(shared_deployment.target, token=of_app) as app:
        assert app.usage.record(avatar.id, action="pose").usage.app_id == "pose-generator"
    with AvatarCreator(shared_deployment.target, token=of_operator) as operator:
        assert operator.avatars.get(avatar.id).user_id == user
    with AvatarCreator(shared_deployment.target, token=of_olga) as olga, pytest.raises(NotFoundError):
        olga.avatars.get(avatar.id)
    for app_id, problem in (
        ("", "must not be empty"),
        ("a\nb", "must not have control characters such as line breaks"),
    ):
        refused = error_message(shared_deployment.run_command(*token, "--app", app_id))
        assert refused == f"--app {problem}"
    assert shared_deployment.run_command(*token, "--role", "king").returncode == 2


# doctor


def checks(finished: FinishedCommand) -> dict[str, bool]:
    """Return whether each check of `doctor` passed, except those with a warning."""
    found = checks_of(finished.stdout)
    return {name: check.result == "ok" for name, check in found.items() if check.result != "warning"}


ALL_PASSED = dict.fromkeys(
    (
        *("version", "sources", "settings", "address", "web", "database", "queue", "workers", "generations"),
        *("storage", "provider", "moderation"),
    ),
    True,
)


def test_doctor_passes_for_a_working_service(shared_deployment: Deployment) -> None:
    finished = shared_deployment.run_command("doctor")

    assert checks(finished) == ALL_PASSED
    assert f"avatar-creator {VERSION}" in printed(finished)
    assert finished.returncode == 0


@pytest.fixture(scope="module")
def databases(postgres: Postgres, database_template: str) -> Iterator[tuple[str, str]]:
    """A migrated database and an empty one, which no test changes."""
    urls = postgres.create_database(database_template), postgres.create_database()
    yield urls
    for url in urls:
        postgres.drop_database(url)


@pytest.mark.parametrize(
    ("broken", "changes", "fix"),
    [
        ("settings", {"REDIS_URL": None}, "REDIS_URL"),
        ("database", {"DATABASE_URL": f"postgresql://{UNREACHABLE}/x"}, "DATABASE_URL"),
        ("database", {"DATABASE_URL": "EMPTY"}, "avatar-creator migrate"),
        ("queue", {"REDIS_URL": f"redis://{UNREACHABLE}/0"}, "REDIS_URL"),
        ("settings", {"UPLOAD_PATH": "FILE/folder"}, "UPLOAD_PATH"),
        ("settings", {"UPLOAD_PATH": "BLOCKED"}, "UPLOAD_PATH"),
        (
            "provider",
            {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_BASE_URL": f"http://{UNREACHABLE}"},
            "check the network and HUGGINGFACE_BASE_URL apps",
        ),
        (
            "provider",
            {"PROVIDER": "huggingface", "HUGGINGFACE_BASE_URL": f"http://{UNREACHABLE}"},
            "set HUGGINGFACE_API_KEY for",
        ),
        (
            "provider",
            {"REPLICATE_API_TOKEN": "r8_x", "REPLICATE_BASE_URL": f"http://{UNREACHABLE}"},
            "REPLICATE_BASE_URL",
        ),
        ("provider", {"PROVIDER": "replicate"}, "set REPLICATE_API_TOKEN for"),
    ],
    ids=[
        "settings",
        "database away",
        "database without tables",
        "Redis away",
        "no folder for uploads",
        "uploads refused",
        "provider away",
        "provider without its key",
        "Replicate away",
        "Replicate without its token",
    ],
)
def test_doctor_names_the_problem_and_the_fix(
    run: RunWithSettings,
    tmp_path: Path,
    databases: tuple[str, str],
    redis_server: Redis,
    broken: str,
    changes: dict[str, str | None],
    fix: str,
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "avatar-creator").write_text("in the way")
    migrated, empty = databases
    placeholders = {
        "EMPTY": empty,
        "FILE/folder": str(tmp_path / "file" / "folder"),
        "BLOCKED": str(tmp_path / "blocked"),
    }
    addresses = {"DATABASE_URL": migrated, "REDIS_URL": redis_server.url()}
    chosen = {name: placeholders.get(value, value) if value else None for name, value in changes.items()}

    finished = run("doctor", **(addresses | chosen))

    assert finished.returncode == 1
    # No worker runs in this test.
    found = ALL_PASSED | {"workers": False, broken: False}
    if broken == "database":
        found["generations"] = False
    if broken == "settings":
        found = {name: passed for name, passed in found.items() if name in ("version", "sources", "settings")}
    # The addresses are checked before some of the settings.
    assert {name: passed for name, passed in checks(finished).items() if name not in ("address", "web")} == {
        name: passed for name, passed in found.items() if name not in ("address", "web")
    }
    assert fix in printed(finished)


@pytest.mark.parametrize(
    ("changes", "check", "found", "fix"),
    [
        (
            {"PROVIDER": "huggingface", "HUGGINGFACE_ROUTE": "hf-inference"},
            "prices",
            "the price of the route hf-inference is unknown and counts as $0.00",
            'PRICES_PER_MEGAPIXEL={"hf-inference": 0.03}',
        ),
        (
            {"PROVIDER": "huggingface", "HUGGINGFACE_ROUTE": "hf-inference"},
            "model",
            "draws without the LoRA strangerzonehf/Flux-Super-Realism-LoRA",
            "set LORA_REPOSITORY=none",
        ),
        (
            {"MODEL": "Qwen/Qwen-Image", "MODEL_SPEED": "fast", "PICTURE_MODERATION": "/none"},
            "unused",
            "sketch ignores MODEL and MODEL_SPEED and PICTURE_MODERATION",
            "unset MODEL and MODEL_SPEED and PICTURE_MODERATION",
        ),
    ],
)
def test_doctor_warns_about_settings_that_have_no_effect(
    run: RunWithSettings, changes: dict[str, str], check: str, found: str, fix: str
) -> None:
    result = checks_of(run("doctor", **changes).stdout)[check]

    assert result.result == "warning"
    assert found in result.found
    assert fix in result.fix


def test_a_worker_without_the_key_of_its_provider_says_so_when_it_starts(embedded: Deployment) -> None:
    embedded.settings |= {"PROVIDER": "huggingface", "HUGGINGFACE_API_KEY": ""}
    embedded.start()

    events = embedded.servers[0].events("provider_key_missed")
    assert [event["variable"] for event in events] == ["HUGGINGFACE_API_KEY"]


def test_doctor_warns_about_no_price_and_no_setting_without_cause(run: RunWithSettings) -> None:
    priced = {"HUGGINGFACE_ROUTE": "hf-inference", "PRICES_PER_MEGAPIXEL": '{"hf-inference": 0}'}

    for changes in ({}, {"PROVIDER": "huggingface", **priced}, {"PROVIDER": "huggingface"}):
        assert {"prices", "unused"}.isdisjoint(checks_of(run("doctor", **changes).stdout))


# demo


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_stopped_demo_says_where_its_data_is(
    settings: dict[str, str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with ChildProcess(
        [sys.executable, "-m", "avatar_creator_server.cli", "demo", "--folder", tmp_path / "demo"],
        directory=tmp_path,
        environment={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert any("Generating a portrait" in line for line in process.stdout)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == status
    assert errors == f"note: the demo and its service have stopped; their data is in {tmp_path / 'demo'}\n"


def test_a_kept_demo_serves_what_an_earlier_demo_has_made(
    run: RunWithSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    run("demo", "--folder", str(tmp_path / "demo")).check_returncode()
    with ChildProcess(
        [sys.executable, "-m", "avatar_creator_server.cli", "demo", "--folder", tmp_path / "demo", "--keep"],
        directory=tmp_path,
        environment={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        link = next(line.strip() for line in process.stdout if "#token=" in line)
        url, _, token = link.partition("/#token=")
        with WebCalls(url.removeprefix("http://"), token) as web:
            outcome = web.call(rpcs()["ListAvatars"], [ListAvatarsRequest()])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert sorted(avatar.name for avatar in outcome.answers[0].avatars) == ["Eileen", "Sari"]
    assert process.returncode == 130
    assert "#token" not in errors


@pytest.mark.parametrize(
    ("settings", "otherwise"),
    [({}, "unset HUGGINGFACE_API_KEY"), ({"PROVIDER": "huggingface"}, "set PROVIDER=sketch")],
)
def test_a_demo_that_cannot_reach_its_provider_says_what_to_do(
    run: RunWithSettings, tmp_path: Path, settings: dict[str, str], otherwise: str
) -> None:
    finished = run(
        "demo",
        *("--folder", str(tmp_path)),
        HUGGINGFACE_API_KEY=f"hf_{CANARY}",
        HUGGINGFACE_BASE_URL=f"http://{UNREACHABLE}",
        **settings,
    )

    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1] == (
        "error: the portrait could not be drawn: could not connect to the provider; "
        f"run `avatar-creator doctor`, or {otherwise} to draw with sketch"
    )
    assert CANARY not in printed(finished)


def test_the_demo_leaves_two_pictures_and_ignores_the_settings_of_another_service_and_proxies(
    run: RunWithSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    of_another_service = {
        "DATABASE_URL": "postgresql://u:p@ss@nosuchhost.invalid/x",
        "REDIS_URL": "redis://h?family=6",
        "REDIS_PORT": "tcp://10.0.0.1:6379",
        "JWT_SECRET": PEM,
        "JWT_ISSUER": "issuer",
        "METRICS_ADDRESS": "nowhere",
        "LOG_LEVEL": "loud",
        "GENERATION_LIMIT_PER_DAY": "none",
        "MODERATION_API_KEY": f"{CANARY}\n",
        "TLS_KEY_FILE": "none.pem",
        "PROVIDER": "",
    }

    finished = run("demo", "--folder", str(folder), **of_another_service, **DEAD_PROXIES)

    assert finished.returncode == 0, printed(finished)
    sizes = {}
    for path in folder.glob("*.*"):
        with Image.open(path) as picture:
            picture.load()
            sizes[path.stem] = picture.size
    with Image.open(REPOSITORY / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg") as photograph:
        assert sizes == {
            "upload": photograph.size,
            "upload-thumbnail": (300, 300),
            "portrait": (1024, 1024),
            "portrait-thumbnail": (300, 300),
        }
    assert "sketch" in printed(finished)

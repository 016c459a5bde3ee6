"""`doctor` has the verdict of `serve`, knows its own server, creates nothing, and asks a running server."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import jwt
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from redis import Redis as Connection

from tests import pictures
from tests.client.scripted_server import Failure, ScriptedServer
from tests.contract.conftest import ONE_STACK, RunWithSettings
from tests.contract.settings_cases import PEM
from tests.support.certificate import Certificate
from tests.support.command_line import CommandLine, FinishedCommand, error_message, printed
from tests.support.doctor import Check, checks_of
from tests.support.generations import SMALLEST
from tests.support.object_storage import ObjectStorage
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import CLOSED_ADDRESS, Deployment, ServiceProcess, run_command
from tests.support.service_in_thread import ServiceInThread
from tests.support.settings_trial import Trial, try_settings
from tests.support.waiting import wait_until

_REDIS_USER = "doctor"
_SECRET = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True)
class Broken:
    """Changes of working settings, and the verdict that `serve` and `doctor` share."""

    changes: dict[str, str]
    check: str
    """The check of `doctor` that fails."""
    says: str
    """Words that both print."""
    is_distributed: bool = False
    serves: bool = False
    """True if `serve` starts all the same, because what is missing may come back."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Contents of files by path; a folder if the path ends with a slash."""


BROKEN = {
    # Once, `doctor` called each of these all right, or ended in a traceback.
    "short secret": Broken({"JWT_SECRET": "short"}, "settings", "JWT_SECRET must have at least 32 bytes"),
    "PEM as the secret": Broken({"JWT_SECRET": PEM}, "settings", "JWT_SECRET is a key or certificate"),
    "TLS files missing": Broken(
        {"TLS_CERTIFICATE_FILE": "none.pem", "TLS_KEY_FILE": "none.pem"},
        *("settings", "none.pem cannot be read: No such file or directory"),
    ),
    "diffusers without torch": Broken({"PROVIDER": "diffusers"}, "settings", "PROVIDER is diffusers, which"),
    "port taken": Broken({"LISTEN_ADDRESS": "<occupied>"}, "address", "Address already in use"),
    "metrics port taken": Broken({"METRICS_ADDRESS": "<occupied>"}, "metrics", "METRICS_ADDRESS <occupied>"),
    "Redis by a socket, without PostgreSQL": Broken(
        {"REDIS_URL": "unix:///none.sock"}, "settings", "REDIS_URL is set, but the database is SQLite"
    ),
    "Redis by a socket that is away": Broken(
        {"REDIS_URL": "unix:///none.sock"}, "queue", "", is_distributed=True, serves=True
    ),
    "unknown parameter of the database": Broken(
        {"DATABASE_URL": "postgresql://h/x?foo=1"}, "settings", "the parameter foo", is_distributed=True
    ),
    "unknown parameter of Redis": Broken(
        {"REDIS_URL": "redis://h?foo=1"}, "settings", "the parameter foo", is_distributed=True
    ),
    "database away": Broken(
        {"DATABASE_URL": f"postgresql://{CLOSED_ADDRESS}/x"},
        *("database", "nothing listens at its address"),
        is_distributed=True,
    ),
    "database without tables": Broken(
        {"DATABASE_URL": "<empty>"}, "database", "avatar-creator migrate", is_distributed=True
    ),
    # Others of the same kinds.
    "address of another machine": Broken(
        {"LISTEN_ADDRESS": "192.0.2.1:1"}, "address", "is not an address of this machine"
    ),
    "metrics address without a port": Broken(
        {"METRICS_ADDRESS": "localhost"}, "settings", "METRICS_ADDRESS must be host:port"
    ),
    "TLS key of another certificate": Broken(
        {"TLS_CERTIFICATE_FILE": "<folder>/certificate.pem", "TLS_KEY_FILE": "<folder>/other-key.pem"},
        *("settings", "are not a certificate and its private key"),
    ),
    "endpoint without its address": Broken(
        {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_ROUTE": "endpoint"},
        *("settings", "HUGGINGFACE_ENDPOINT_URL is not set"),
    ),
    "several processes on SQLite": Broken({"SERVER_PROCESSES": "2"}, "settings", "SERVER_PROCESSES"),
    "a file in place of the uploads": Broken(
        {}, "settings", "UPLOAD_PATH must be a folder", files={"uploads/avatar-creator": b""}
    ),
    "uploads through a link that leads nowhere": Broken(
        {"UPLOAD_PATH": "<folder>/nowhere"}, "settings", "UPLOAD_PATH must be a folder"
    ),
    "no folder to receive uploads in": Broken({"SPOOL_PATH": "none"}, "settings", "SPOOL_PATH must be a fo"),
    "a folder in place of a lock": Broken(
        {},
        "database",
        "avatar-creator.db.migrate-lock: Is a directory",
        files={"data/avatar-creator.db.migrate-lock/": b""},
    ),
    "SQLite that is damaged": Broken(
        {},
        *("database", "its file is not a SQLite database or is damaged"),
        files={"data/avatar-creator.db": b"SQLite format 3\0" + b"x" * 4096},
    ),
    "tables of another product": Broken(
        {"DATA_PATH": "<folder>/foreign"}, "database", "tables named avatars that this service did not make"
    ),
    "picture moderation without its folder": Broken(
        {"HUGGINGFACE_API_KEY": "hf_x", "PICTURE_MODERATION": "/none"},
        *("settings", "PICTURE_MODERATION is /none"),
    ),
    "a proxy that is none": Broken(
        {"HUGGINGFACE_API_KEY": "hf_x", "all_proxy": "http://a:b"}, "settings", "is not the URL of an HTTP"
    ),
    "Redis refuses the password": Broken(
        {"REDIS_URL": "<redis-with-password>"},
        *("queue", "Redis cannot be used: it refuses the user or the password"),
        is_distributed=True,
    ),
    "Redis without that database": Broken(
        {"REDIS_URL": "<redis>/9999"}, "queue", "Redis cannot be used", is_distributed=True
    ),
    "no such bucket": Broken(
        {"STORAGE_URL": "s3://nothere/p", "AWS_ENDPOINT_URL": "<s3>", "AWS_ALLOW_HTTP": "true"}
        | {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
        *("storage", "the storage has no such bucket"),
        is_distributed=True,
    ),
}


@pytest.fixture(scope="module")
def values(
    postgres: Postgres,
    database_template: str,
    redis_server: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The values of the placeholders."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "certificate.pem").write_bytes(Certificate.make().certificate)
    (folder / "other-key.pem").write_bytes(Certificate.make().key)
    (folder / "nowhere").symlink_to(folder / "none")
    (folder / "foreign").mkdir()
    with closing(sqlite3.connect(folder / "foreign" / "avatar-creator.db")) as other:
        other.execute("CREATE TABLE avatars (id INTEGER PRIMARY KEY)")
    url, empty = postgres.create_database(database_template), postgres.create_database()
    redis = redis_server.url()
    with Connection.from_url(redis) as connection:
        connection.acl_setuser(
            _REDIS_USER, enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"]
        )
    storage = ObjectStorage()
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        yield {
            "<postgresql>": url,
            "<empty>": empty,
            "<redis>": redis.rpartition("/")[0],
            "<redis-with-password>": redis.replace("redis://", f"redis://{_REDIS_USER}:wrong@"),
            "<folder>": str(folder),
            "<s3>": storage.endpoint,
            "<occupied>": f"127.0.0.1:{occupied.getsockname()[1]}",
        }
    storage.close()
    postgres.drop_database(url)
    postgres.drop_database(empty)


@pytest.fixture(scope="module")
def trials(values: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Trial]]:
    """The ends of `serve` and `doctor` with the settings of all set-ups, each in a folder of its own."""
    commands = []
    for broken in BROKEN.values():
        directory = tmp_path_factory.mktemp("broken")
        for name, content in broken.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_bytes(content)
        commands.append((_environment(broken, values), directory))
    return dict(zip(BROKEN, try_settings(commands), strict=True))


def _environment(broken: Broken, values: dict[str, str]) -> dict[str, str]:
    settings = {
        "JWT_SECRET": _SECRET,
        "DATA_PATH": "data",
        "UPLOAD_PATH": "uploads",
        "LISTEN_ADDRESS": "127.0.0.1:0",
        "SHUTDOWN_GRACE_SECONDS": "0",
    }
    if broken.is_distributed:
        settings |= {"DATABASE_URL": "<postgresql>", "REDIS_URL": "<redis>/0"}
    return {name: _filled(text, values) for name, text in (settings | broken.changes).items()}


def _filled(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


@pytest.mark.parametrize("name", BROKEN)
def test_doctor_has_the_verdict_of_serve(
    trials: dict[str, dict[str, Trial]], values: dict[str, str], name: str
) -> None:
    broken, serve, doctor = BROKEN[name], trials[name]["serve"], trials[name]["doctor"]
    says = _filled(broken.says, values)

    found = checks_of(doctor.output)[broken.check]
    assert (doctor.code, found.result, bool(found.fix)) == (1, "failed", True), doctor.output
    assert says in f"{found.found}: {found.fix}"
    if broken.serves:
        assert (serve.ready, serve.code) == (True, 0), serve.errors
    else:
        finished = FinishedCommand([], serve.code, serve.output, serve.errors)
        message = error_message(finished)
        assert says in message
        assert found.message == message or broken.check == "database" or found.found == message
    assert "Traceback" not in serve.errors + doctor.errors


def test_a_working_service_has_no_other_problem_than_its_missing_workers(
    run: RunWithSettings, database_url: str, redis_url: str
) -> None:
    found = checks_of(run("doctor", DATABASE_URL=database_url, REDIS_URL=redis_url).stdout)

    assert [name for name, check in found.items() if check.result != "ok"] == ["workers"]


def test_a_folder_without_a_service_is_a_doubt_and_stays_empty(run: RunWithSettings, tmp_path: Path) -> None:
    finished = run("doctor", DATA_PATH=None, UPLOAD_PATH=None)
    files = run("doctor", "--files", DATA_PATH=None, UPLOAD_PATH=None)

    found = checks_of(finished.stdout)
    assert finished.returncode == 1
    assert {name for name, check in found.items() if check.result == "unknown"} == {
        *("database", "workers", "generations"),
    }
    assert f"no service has run in {tmp_path}/avatar-creator-data yet" in found["database"].found
    assert f"by default: DATA_PATH={tmp_path}/avatar-creator-data" in found["sources"].found
    assert "no service has run in" in error_message(files)
    assert list(tmp_path.iterdir()) == []


def test_pictures_in_another_folder_are_a_failure(embedded: Deployment, user: str) -> None:
    with ServiceInThread.serving(embedded), embedded.client(user) as client:
        client.avatars.upload(client.projects.create("Spring"), pictures.png(), name="Sarah")
    embedded.settings["UPLOAD_PATH"] = str(embedded.data_path / "elsewhere")

    check = checks_of(embedded.run_command("doctor").stdout)["storage"]

    assert (check.result, "the database has files in it" in check.found) == ("failed", True)


def test_a_temporary_folder_with_a_long_path_is_refused(run: RunWithSettings, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 80)
    folder.mkdir()

    message = error_message(run("serve", TMPDIR=str(folder)))

    assert message.startswith(f"cannot create a socket in {folder}: set TMPDIR")
    assert checks_of(run("doctor", TMPDIR=str(folder)).stdout)["settings"].message == message


# The service's own server


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running embedded service with TLS and metrics."""
    directory = tmp_path_factory.mktemp("secured")
    embedded = Deployment.embedded(directory)
    certificate = Certificate.make("avatars.example")
    for name, content in (("CERTIFICATE", certificate.certificate), ("KEY", certificate.key)):
        path = directory / f"{name.lower()}.pem"
        path.write_bytes(content)
        embedded.settings[f"TLS_{name}_FILE"] = str(path)
    embedded.settings |= {
        "LISTEN_ADDRESS": embedded.target,
        "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "WEB_ADDRESS": embedded.web_target,
    }
    server = ServiceProcess("secured", "serve", settings=embedded.settings, directory=directory)
    embedded.servers.append(server)
    try:
        server.wait_for_output("server_ready")
        yield embedded
    finally:
        embedded.close()


def test_the_ports_of_the_service_itself_are_no_problem(secured: Deployment) -> None:
    finished = secured.run_command("doctor")

    found = checks_of(finished.stdout)
    assert finished.returncode == 0, finished.stdout
    assert found["address"] == Check(
        "ok", f"{secured.target} is held by this service's own server, which is healthy", ""
    )
    assert found["metrics"].found.endswith("is held by this service's own server")
    assert found["web"].found.endswith("is held by this service's own server")
    assert found["workers"].found == "one inside the `serve` process, which runs"


def test_the_server_of_another_service_is_in_the_way(secured: Deployment, tmp_path: Path) -> None:
    other = Certificate.make()
    (tmp_path / "other.pem").write_bytes(other.certificate)
    (tmp_path / "other-key.pem").write_bytes(other.key)
    problems = []
    for changes in (
        {"JWT_SECRET": "fedcba9876543210" * 4},
        {"DATA_PATH": str(tmp_path / "another")},
        {
            "TLS_CERTIFICATE_FILE": str(tmp_path / "other.pem"),
            "TLS_KEY_FILE": str(tmp_path / "other-key.pem"),
        },
    ):
        finished = run_command("doctor", settings=secured.settings | changes, directory=secured.directory)
        found = checks_of(finished.stdout)
        problems.append((found["address"].result, found["metrics"].result, found["address"].found))

    assert [problem[:2] for problem in problems] == [("failed", "failed")] * 3
    assert ["is another server running there?" in problem[2] for problem in problems] == [True, True, False]
    assert "with another certificate than TLS_CERTIFICATE_FILE" in problems[2][2]


def test_a_server_that_holds_the_port_gets_no_token_that_it_can_use(
    run: RunWithSettings, database_url: str, redis_url: str
) -> None:
    server = ScriptedServer()
    expired = ErrorInfo(reason="TOKEN_EXPIRED", domain="avatar-creator")
    server.script("ListProjects", [Failure(grpc.StatusCode.UNAUTHENTICATED, (expired,))])
    try:
        finished = run("doctor", LISTEN_ADDRESS=server.target, DATABASE_URL=database_url, REDIS_URL=redis_url)
    finally:
        server.stop()

    [call] = server.calls
    token = call.metadata["authorization"].removeprefix("Bearer ")
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(token, _SECRET, algorithms=["HS256"], leeway=3_600)
    # The server answers like one of this service, but not about its health.
    check = checks_of(finished.stdout)["address"]
    assert (check.result, check.fix) == ("failed", "look in its log")
    assert "which is not healthy (" in check.found


def test_the_running_server_of_a_folder_is_found_at_another_address(embedded: Deployment) -> None:
    embedded.start()
    other = embedded.settings["LISTEN_ADDRESS"] = f"127.0.0.1:{free_port()}"

    finished = embedded.run_command("doctor")

    found = checks_of(finished.stdout)
    assert finished.returncode == 0, finished.stdout
    assert found["address"].found == (
        f"this service's own server runs on {embedded.target} instead of {other}, and is healthy"
    )
    assert found["database"].result == "ok"
    # Only one service may run in the folder.
    assert "another service runs on" in error_message(embedded.run_command("serve"))
    assert embedded.servers[0].exit_code() is None

    embedded.servers[0].kill()
    assert checks_of(embedded.run_command("doctor").stdout)["address"].found == f"{other} is free"


@pytest.mark.parametrize("kind", ["embedded", "distributed"])
def test_a_schema_of_a_newer_version_is_a_warning(request: pytest.FixtureRequest, kind: str) -> None:
    deployment: Deployment = request.getfixturevalue(kind)
    deployment.run_command("migrate").check_returncode()
    deployment.execute(
        "INSERT INTO avatar_creator_migrations (name, applied) VALUES ('9999_from_the_future', %s)",
        datetime.now(UTC),
    )

    check = checks_of(deployment.run_command("doctor").stdout)["database"]

    assert check.result == "warning"
    assert "schema of a newer version than this program (it has 9999_from_the_future" in check.found
    assert "install here the version that made this schema" in check.fix


# --json


@pytest.mark.parametrize("kind", ["embedded", "distributed"])
def test_the_advice_for_a_stopped_queue_lets_workers_claim_again(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    deployment: Deployment = request.getfixturevalue(kind)
    deployment.start()
    olga = CommandLine(deployment.target, deployment.token("olga", role="ops"), tmp_path)
    olga.output("queue", "pause", "--note", "outage")
    olga.output("queue", "pause", "--route", "local")
    with deployment.client("sarah") as sarah:
        project = sarah.projects.create("Spring")
        waiting = sarah.generations.create(project, "a man", width=SMALLEST, height=SMALLEST)
        long_ago = datetime.now(UTC) - timedelta(minutes=5)
        due = "%s" if kind == "distributed" else "?"
        deployment.execute(f"UPDATE avatar_generations SET due_time = {due}", long_ago)

        paused = deployment.run_command("doctor")
        found = checks_of(paused.stdout)
        assert paused.returncode == 0, paused.stdout
        assert (found["workers"].result, found["generations"].result) == ("warning", "ok")
        assert "1 due" in found["generations"].found

        [worker] = olga.json("workers", "list")
        olga.output("workers", "drain", worker["name"])
        drained = checks_of(deployment.run_command("doctor").stdout)
        assert (drained["workers"].result, drained["generations"].result) == ("failed", "ok")
        assert f"an operator drains {worker['name']}" in drained["workers"].found
        wait_until(lambda: checks_of(olga.run("doctor").stdout)["worker"].result == "failed")
        asked = checks_of(olga.run("doctor").stdout)
        assert (asked["claims"].result, asked["workers"].result) == ("warning", "failed")

        commands = _commands_in(drained["workers"].fix)
        assert commands == _commands_in(asked["claims"].fix) + _commands_in(asked["workers"].fix)
        for command in commands:
            olga.output(*command)
        waiting.wait()
    finished = deployment.run_command("doctor")
    assert (finished.returncode, checks_of(finished.stdout)["workers"].result) == (0, "ok"), finished.stdout


def _commands_in(advice: str) -> list[list[str]]:
    return [shlex.split(command) for command in re.findall("`avatar-creator (.+?)`", advice)]


def test_doctor_says_which_settings_it_used_and_hides_secrets(tmp_path: Path, run: RunWithSettings) -> None:
    finished = run("doctor", "--json", HUGGINGFACE_API_KEY="hf_secret", LOG_LEVEL="error", JWT_ISSUER=" ")

    report = json.loads(finished.stdout)
    settings = {each["name"]: (each["value"], each["source"]) for each in report["settings"]}
    assert settings["LOG_LEVEL"] == ("error", "environment")
    assert settings["HUGGINGFACE_API_KEY"] == settings["JWT_SECRET"] == ("[secret]", "environment")
    assert settings["JWT_ISSUER"] == ("", "default")
    assert settings["METRICS_ADDRESS"] == ("", "default")
    assert settings["DATA_PATH"] == (str(tmp_path / "data"), "environment")
    assert report["passed"] is False
    checks = {each["check"]: each["result"] for each in report["checks"]}
    assert (checks["settings"], checks["database"]) == ("ok", "unknown")
    assert _SECRET not in finished.stdout
    invalid = json.loads(run("doctor", "--json", REDIS_URL="redis://h:word").stdout)
    assert "word" not in json.dumps(invalid)


# --target


def test_a_running_server_is_asked_for_its_health_and_its_workers(
    shared_deployment: Deployment, tmp_path: Path
) -> None:
    token = shared_deployment.token("olga", role="ops")
    operator = CommandLine(shared_deployment.target, token, tmp_path)

    # A server looks for its workers every second.
    wait_until(lambda: operator.run("doctor").returncode == 0)
    finished = operator.run("doctor")
    report = operator.json("doctor")

    found = checks_of(finished.stdout)
    assert {name: check.result for name, check in found.items()} == dict.fromkeys(
        ("version", "server", "provider", "queue", "claims", "worker", "workers"), "ok"
    )
    assert finished.returncode == 0
    [worker] = report["workers"]
    assert f"{worker['name']} (version " in found["workers"].found
    assert (report["passed"], report["target"]) == (True, shared_deployment.target)
    assert list(tmp_path.iterdir()) == []


@ONE_STACK
def test_workers_stay_unknown_without_the_token_of_an_operator(
    shared_deployment: Deployment, user: str, tmp_path: Path
) -> None:
    for token in ("", shared_deployment.token(user), "none"):
        finished = CommandLine(shared_deployment.target, token, tmp_path).run("doctor")
        check = checks_of(finished.stdout)["workers"]
        assert (finished.returncode, check.result) == (1, "unknown")
        assert "--role ops" in check.fix


def test_a_target_without_a_server_is_a_failure(run: RunWithSettings) -> None:
    finished = run("doctor", "--target", CLOSED_ADDRESS)

    check = checks_of(finished.stdout)["server"]
    assert (finished.returncode, check.result) == (1, "failed")
    assert CLOSED_ADDRESS in check.found
    assert "--target must be" in printed(run("doctor", "--target", "ftp://host")).replace("error: ", "")
    assert "--target" in error_message(run("doctor", "--tls"))

"""Settings that the service refuses: one line names the variables and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import RunWithSettings, embedded_settings
from tests.support.command_line import FinishedCommand, error_message, printed
from tests.support.ports import free_port
from tests.support.service import Deployment, run_in_turn

CANARY = "sk-canary-9c1e"
"""A key that no message may contain."""

INVALID: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "SQLite with Redis": ({"REDIS_URL": "redis://localhost"}, ["REDIS_URL", "DATABASE_URL"]),
    "SQLite with Redis in parts": ({"REDIS_HOST": "localhost"}, ["REDIS_HOST", "DATABASE_URL"]),
    "SQLite by URL with Redis": (
        {"DATABASE_URL": "sqlite:///x.db", "REDIS_URL": "redis://localhost"},
        ["REDIS_URL", "DATABASE_URL"],
    ),
    "PostgreSQL without Redis": ({"DATABASE_URL": "postgresql://localhost/x"}, ["REDIS_URL", "DATABASE_URL"]),
    "embedded with a bucket": ({"STORAGE_URL": "s3://bucket"}, ["STORAGE_URL", "DATABASE_URL", "REDIS_URL"]),
    "another kind of bucket": (
        {
            "DATABASE_URL": "postgresql://localhost/x",
            "REDIS_URL": "redis://localhost",
            "STORAGE_URL": "gs://bucket",
        },
        ["STORAGE_URL", "UPLOAD_PATH"],
    ),
    "TLS key without certificate": (
        {"TLS_KEY_FILE": "key.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "TLS certificate without key": (
        {"TLS_CERTIFICATE_FILE": "certificate.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "TLS files that do not exist": (
        {"TLS_CERTIFICATE_FILE": "certificate.pem", "TLS_KEY_FILE": "key.pem"},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "TLS files of another format": (
        {"TLS_CERTIFICATE_FILE": __file__, "TLS_KEY_FILE": __file__},
        ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"],
    ),
    "two invalid variables": (
        {"REDIS_PORT": "none", "LOG_LEVEL": "loud"},
        ["REDIS_PORT must be a valid integer", "LOG_LEVEL must be 'debug', 'info', 'warning' or 'error'"],
    ),
    "short secret": ({"JWT_SECRET": "x" * 31}, ["JWT_SECRET", "32 bytes"]),
    "distributed without a secret": (
        {
            "JWT_SECRET": None,
            "DATABASE_URL": "postgresql://localhost/x",
            "REDIS_URL": "redis://localhost",
        },
        ["JWT_SECRET"],
    ),
    "another database": (
        {"DATABASE_URL": "mysql://localhost/x", "REDIS_URL": "redis://localhost"},
        ["DATABASE_URL", "postgresql://"],
    ),
    "another database without Redis": (
        {"DATABASE_URL": "mysql://localhost/x"},
        ["must begin with postgresql://"],
    ),
    "SQLite with a pooler": (
        {"DATABASE_POOLER": "transaction"},
        ["DATABASE_POOLER is set, but the database is SQLite"],
    ),
    "SQLite with an address for migrations": (
        {"MIGRATE_DATABASE_URL": "postgresql://localhost/x"},
        ["MIGRATE_DATABASE_URL is set, but the database is SQLite"],
    ),
    "another mode of the pooler": ({"DATABASE_POOLER": "session"}, ["DATABASE_POOLER", "'transaction'"]),
    "another database for migrations": (
        {
            "DATABASE_URL": "postgresql://localhost/x",
            "REDIS_URL": "redis://localhost",
            "MIGRATE_DATABASE_URL": f"mysql://x:{CANARY}@localhost/x",
        },
        ["MIGRATE_DATABASE_URL must begin with postgresql://"],
    ),
    "settings of the session through a pooler": (
        {
            "DATABASE_URL": f"postgresql://x:{CANARY}@localhost/x?options=-csearch_path%3Dx",
            "REDIS_URL": "redis://localhost",
            "DATABASE_POOLER": "transaction",
        },
        ["DATABASE_URL has options", "ALTER ROLE"],
    ),
    "unknown provider": ({"PROVIDER": "dalle"}, ["PROVIDER", "'sketch'"]),
    "endpoint without URL": (
        {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_ROUTE": "endpoint"},
        ["HUGGINGFACE_ENDPOINT_URL"],
    ),
    "another model on the route fal-ai": (
        {"HUGGINGFACE_API_KEY": "hf_x", "MODEL": "stabilityai/sdxl"},
        ["MODEL", "HUGGINGFACE_ROUTE", "FLUX.1-dev"],
    ),
    "prices that are no table": ({"PRICES_PER_MEGAPIXEL": "0.035"}, ["PRICES_PER_MEGAPIXEL"]),
    "prices that are no JSON": ({"PRICES_PER_MEGAPIXEL": "fal"}, ["PRICES_PER_MEGAPIXEL must be JSON"]),
    "deny list that does not exist": (
        {"PROMPT_DENY_LIST_FILE": "words.txt"},
        ["PROMPT_DENY_LIST_FILE words.txt cannot be read"],
    ),
    "moderation URL without http": (
        {"MODERATION_URL": "moderation.example.com"},
        ["MODERATION_URL must be"],
    ),
    "moderation key without URL": (
        {"MODERATION_API_KEY": CANARY},
        ["MODERATION_API_KEY is set but MODERATION_URL is not"],
    ),
    "moderation key with a line break": (
        {"MODERATION_URL": "http://127.0.0.1:1/", "MODERATION_API_KEY": f"{CANARY}\n"},
        ["MODERATION_API_KEY has"],
    ),
    "diffusers without its libraries": ({"PROVIDER": "diffusers"}, ["install the extra gpu from the wheel"]),
    "address without a port": ({"LISTEN_ADDRESS": "nowhere:at-all"}, ["LISTEN_ADDRESS", "host:port"]),
    "port out of range": ({"LISTEN_ADDRESS": "127.0.0.1:65536"}, ["LISTEN_ADDRESS", "0 to 65535"]),
}
"""Changes of valid settings, and texts that the message must contain."""


@pytest.fixture(scope="module")
def results_of_serve(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedCommand]:
    """The result of `serve` with each of the invalid settings."""
    commands = []
    for changes, _ in INVALID.values():
        directory = tmp_path_factory.mktemp("invalid")
        chosen = {name: value for name, value in {**embedded_settings(directory), **changes}.items() if value}
        commands.append((["serve"], chosen, directory))
    return dict(zip(INVALID, run_in_turn(commands), strict=True))


@pytest.mark.parametrize("case", INVALID)
def test_serve_refuses_and_names_the_variables(
    results_of_serve: dict[str, FinishedCommand], case: str
) -> None:
    message = error_message(results_of_serve[case])

    assert CANARY not in message
    assert [text for text in INVALID[case][1] if text not in message] == [], message


def test_a_worker_for_an_embedded_service_is_refused(run: RunWithSettings) -> None:
    message = error_message(run("worker"))

    assert "DATABASE_URL" in message
    assert "REDIS_URL" in message


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
def test_a_folder_that_cannot_be_created_is_named(
    run: RunWithSettings, tmp_path: Path, command: str, variable: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = ["--user", "sarah"] if command == "token" else []

    finished = run(command, *arguments, **{variable: str(tmp_path / "file" / "folder"), "JWT_SECRET": None})

    assert finished.returncode == 1, printed(finished)
    assert variable in printed(finished)


def test_a_second_server_on_the_same_port_is_refused(
    shared_deployment: Deployment, run: RunWithSettings
) -> None:
    message = error_message(run("serve", LISTEN_ADDRESS=shared_deployment.target))

    assert f"LISTEN_ADDRESS {shared_deployment.target}" in message
    assert "is another server running there?" in message


def test_a_second_embedded_service_in_the_same_folder_is_refused(embedded: Deployment) -> None:
    embedded.start()
    embedded.settings["LISTEN_ADDRESS"] = f"127.0.0.1:{free_port()}"

    message = error_message(embedded.run_command("serve"))

    assert "another service runs on" in message
    assert "DATA_PATH" in message

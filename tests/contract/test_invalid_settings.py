"""Settings that one command or one machine refuses. The matrix of settings has what all commands agree on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avatar_creator_server.settings import Settings
from tests.contract.conftest import ONE_STACK, RunWithSettings, embedded_settings
from tests.contract.settings_cases import CANARY, PEM
from tests.support.certificate import Certificate
from tests.support.command_line import error_message, printed
from tests.support.doctor import checks_of
from tests.support.ports import free_port
from tests.support.service import Deployment, run_command

ANOTHER_MACHINE = "192.0.2.1:50051"
"""An address of no machine: RFC 5737."""

DAMAGED_SECRETS = {
    "empty": b"",
    "cut off": b"0123456789abcdef",
    "not text": b"\xff\xfe" * 40,
    "a key": PEM.encode(),
}
"""Contents of the secret file of an embedded service."""


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


@ONE_STACK
def test_a_second_server_on_the_same_port_is_refused(
    shared_deployment: Deployment, run: RunWithSettings
) -> None:
    message = error_message(run("serve", LISTEN_ADDRESS=shared_deployment.target))

    assert f"LISTEN_ADDRESS {shared_deployment.target}" in message
    assert "is another server running there?" in message


@ONE_STACK
def test_a_port_in_use_is_not_blamed_on_the_certificate(
    shared_deployment: Deployment, run: RunWithSettings, tmp_path: Path
) -> None:
    certificate = Certificate.make()
    (tmp_path / "certificate.pem").write_bytes(certificate.certificate)
    (tmp_path / "key.pem").write_bytes(certificate.key)

    message = error_message(
        run(
            "serve",
            LISTEN_ADDRESS=shared_deployment.target,
            TLS_CERTIFICATE_FILE="certificate.pem",
            TLS_KEY_FILE="key.pem",
        )
    )

    assert message.startswith(
        f"cannot listen on LISTEN_ADDRESS {shared_deployment.target}: Address already in"
    )


@ONE_STACK
def test_a_port_in_use_for_metrics_is_named(shared_deployment: Deployment, run: RunWithSettings) -> None:
    message = error_message(run("serve", METRICS_ADDRESS=shared_deployment.target))

    assert message.startswith(f"cannot listen on METRICS_ADDRESS {shared_deployment.target}: Address already")


def test_a_second_embedded_service_in_the_same_folder_is_refused(embedded: Deployment) -> None:
    embedded.start()
    embedded.settings["LISTEN_ADDRESS"] = f"127.0.0.1:{free_port()}"

    message = error_message(embedded.run_command("serve"))

    assert "another service runs on" in message
    assert "DATA_PATH" in message


@pytest.mark.parametrize("secret", [PEM, "x" * 31, f"{CANARY * 4}\n"], ids=["key", "short", "line break"])
def test_every_command_refuses_a_bad_secret_with_the_same_sentence(tmp_path: Path, secret: str) -> None:
    settings = embedded_settings(tmp_path) | {"JWT_SECRET": secret}
    commands = (["serve"], ["worker"], ["token", "--user", "sarah"], ["migrate"])

    results = [
        run_command(*command, settings=settings, directory=tmp_path) for command in (*commands, ["doctor"])
    ]

    [message] = {error_message(result) for result in results[:-1]}
    assert message.startswith("JWT_SECRET ")
    assert CANARY not in message
    check = checks_of(results[-1].stdout)["settings"]
    assert (results[-1].returncode, message in (check.message, check.found)) == (1, True), check


@pytest.mark.parametrize("content", DAMAGED_SECRETS.values(), ids=DAMAGED_SECRETS.keys())
def test_a_damaged_secret_of_an_embedded_service_is_refused(tmp_path: Path, content: bytes) -> None:
    settings = embedded_settings(tmp_path)
    del settings["JWT_SECRET"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jwt-secret").write_bytes(content)

    serve, token, doctor = (
        run_command(*command, settings=settings, directory=tmp_path)
        for command in (["serve"], ["token", "--user", "x"], ["doctor"])
    )

    assert "jwt-secret has no complete secret: delete the file" in error_message(serve)
    assert error_message(token) == error_message(serve)
    assert error_message(serve) == checks_of(doctor.stdout)["settings"].message


def test_a_secret_file_that_an_editor_has_changed_is_the_same_secret(tmp_path: Path) -> None:
    settings = Settings(data_path=tmp_path, database_url="", jwt_secret="")
    secret = settings.signing_secret()
    settings.secret_file.write_bytes(f"\ufeff{secret}\r\n".encode())

    assert settings.signing_secret() == secret


def test_a_folder_in_place_of_the_secret_is_named(run: RunWithSettings, tmp_path: Path) -> None:
    (tmp_path / "data" / "jwt-secret").mkdir(parents=True)

    message = error_message(run("token", "--user", "sarah", JWT_SECRET=None))

    assert message.startswith("the secret in DATA_PATH cannot be read: ")
    assert message.endswith("data/jwt-secret: Is a directory")


@pytest.mark.parametrize(
    ("address", "problem"),
    [(ANOTHER_MACHINE, "is not an address of this machine"), ("nosuchhost.invalid:1", "cannot be resolved")],
)
def test_an_address_of_another_machine_is_not_called_in_use(
    run: RunWithSettings, address: str, problem: str
) -> None:
    message = error_message(run("serve", LISTEN_ADDRESS=address))

    assert message.startswith(f"cannot listen on LISTEN_ADDRESS {address}: ")
    assert problem in message
    check = checks_of(run("doctor", LISTEN_ADDRESS=address).stdout)["address"]
    assert message in (check.message, check.found)


def test_diffusers_without_its_libraries_is_refused_by_those_that_draw(tmp_path: Path) -> None:
    settings = embedded_settings(tmp_path) | {"PROVIDER": "diffusers"}

    serve, doctor = (
        run_command(command, settings=settings, directory=tmp_path) for command in ("serve", "doctor")
    )

    assert "PROVIDER is diffusers" in error_message(serve)
    assert "install the extra gpu from the wheel" in error_message(serve)
    assert error_message(serve) == checks_of(doctor.stdout)["settings"].message


def test_bytes_that_are_no_text_end_in_one_line(run: RunWithSettings) -> None:
    assert (
        error_message(run("serve", JWT_SECRET="\udcff" * 40)) == "JWT_SECRET is not UTF-8 text: set it again"
    )


def test_only_one_setting_has_a_name_that_a_service_of_kubernetes_sets() -> None:
    """Kubernetes sets these variables in every pod of a namespace, for example for a Service named redis.

    Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables. Docker's
    links set `X_NAME` and `X_ENV_…` too.
    """
    injected = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_.+)?|NAME|ENV_.+)")

    assert [name for name in Settings.model_fields if injected.fullmatch(name.upper())] == ["redis_port"]


def test_the_demo_says_why_it_cannot_draw(run: RunWithSettings, tmp_path: Path) -> None:
    finished = run(
        "demo",
        *("--folder", str(tmp_path / "demo")),
        HUGGINGFACE_API_KEY="hf_x",
        HUGGINGFACE_ROUTE="endpoint",
    )

    assert "HUGGINGFACE_ENDPOINT_URL is not set" in error_message(finished)

"""`serve`, `worker` and `doctor` agree on settings: they work, or one sentence names the variables.

Each message is the same from all three, and none has a traceback or a part of a secret.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.contract.settings_cases import CANARY, CASES, Case
from tests.support.certificate import Certificate
from tests.support.command_line import error_message
from tests.support.doctor import checks_of
from tests.support.postgres import Postgres
from tests.support.redis import OwnRedis
from tests.support.settings_trial import Trial, try_settings

_BASE = {
    "JWT_SECRET": "0123456789abcdef" * 4,
    "DATA_PATH": "data",
    "UPLOAD_PATH": "uploads",
    "LISTEN_ADDRESS": "127.0.0.1:0",
    "WEB_ADDRESS": "127.0.0.1:0",
    # A worker that stops has nothing to finish here.
    "SHUTDOWN_GRACE_SECONDS": "0",
}
_PYTHON = r"\[Errno|0x[0-9a-f]{6}|Error\(|<class|Value error|Traceback|Connect call"
_SEPARATE_WORKER = "the embedded service already runs a worker inside `serve`"


@pytest.fixture(scope="module")
def values(
    postgres: Postgres, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The values of the placeholders."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    for name in ("text", "database.db"):
        (folder / name).write_text("no database and no certificate")
    certificate, other = Certificate.make(), Certificate.make()
    (folder / "certificate.pem").write_bytes(certificate.certificate)
    (folder / "key.pem").write_bytes(certificate.key)
    (folder / "other-key.pem").write_bytes(other.key)
    url = postgres.create_database(database_template)
    redis = OwnRedis()
    address = urlsplit(redis.url())
    yield {
        "<postgresql>": url,
        "<postgresql-with>": url + ("&" if "?" in url else "?"),
        "<POSTGRES>": url.replace("postgresql://", "POSTGRES://"),
        "<redis>": redis.url(),
        "<redis-host>": str(address.hostname),
        "<redis-port>": str(address.port),
        "<redis-socket>": str(redis.socket),
        "<folder>": str(folder),
    }
    redis.close()
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def trials(values: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Trial]]:
    """The ends of all commands with the settings of all cases."""
    directory = tmp_path_factory.mktemp("trials")
    ends = try_settings([(_environment(case, values), directory) for case in CASES.values()])
    return dict(zip(CASES, ends, strict=True))


def _environment(case: Case, values: dict[str, str]) -> dict[str, str]:
    base = dict(_BASE)
    if case.mode == "distributed":
        base |= {"DATABASE_URL": "<postgresql>", "REDIS_URL": "<redis>"}
    chosen = {name: value for name, value in {**base, **case.changes}.items() if value is not None}
    for placeholder, value in values.items():
        chosen = {name: text.replace(placeholder, value) for name, text in chosen.items()}
    return chosen


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.message])
def test_the_settings_work(trials: dict[str, dict[str, Trial]], name: str) -> None:
    serve, worker, doctor = trials[name].values()

    assert (serve.ready, serve.code) == (True, 0), serve.errors
    if CASES[name].mode == "embedded":
        assert _SEPARATE_WORKER in _message(worker)
    else:
        assert (worker.ready, worker.code) == (True, 0), worker.errors
    assert checks_of(doctor.output)["settings"].result == "ok", doctor.output + doctor.errors
    assert re.search(_PYTHON, doctor.output) is None
    assert "Traceback" not in serve.errors + worker.errors + doctor.errors


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.message])
def test_the_settings_are_refused_with_one_sentence(trials: dict[str, dict[str, Trial]], name: str) -> None:
    case = CASES[name]
    serve, worker, doctor = trials[name].values()

    message = _message(serve)
    assert [text for text in case.message if text not in message] == [], message
    assert CANARY not in message + doctor.output + worker.errors
    assert re.search(_PYTHON, message) is None
    refused = [check for check in checks_of(doctor.output).values() if check.result == "failed"]
    assert any(message in (check.message, check.found) for check in refused), doctor.output
    assert (doctor.code, doctor.errors) == (1, "")
    if case.worker == "works":
        assert (worker.ready, worker.code) == (True, 0), worker.errors
    else:
        assert _message(worker) == message


def _message(trial: Trial) -> str:
    assert not trial.ready
    return error_message(subprocess.CompletedProcess([], trial.code, trial.output, trial.errors))

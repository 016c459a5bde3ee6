"""No command prints a password: any characters, any setting, and any library that complains about it."""

from __future__ import annotations

import random
import secrets
import string
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.service import Deployment
from tests.support.settings_trial import Trial, try_settings

_ALPHABET = string.ascii_letters + string.digits + string.punctuation + " äß漢🙂"
_PASSWORDS = 2
_PIECE = 6
"""Number of consecutive characters of a password that no output may have."""
_CLOSED = "127.0.0.1:1"
"""Address at which nothing listens, so that every library complains."""

_BASE = {
    "LOG_LEVEL": "debug",  # the words of the libraries too
    "JWT_SECRET": "0123456789abcdef" * 4,
    "LISTEN_ADDRESS": "127.0.0.1:0",
    "WEB_ADDRESS": "127.0.0.1:0",
    "SHUTDOWN_GRACE_SECONDS": "0",
}
_DISTRIBUTED = {
    "DATABASE_URL": f"postgresql://sarah@{_CLOSED}/faces",
    "REDIS_URL": f"redis://{_CLOSED}",
}
_HOSTED = {"HUGGINGFACE_API_KEY": "hf_0123456789", "HUGGINGFACE_HUB_URL": f"http://{_CLOSED}"}

PLACES: dict[str, Callable[[str], dict[str, str]]] = {
    "DATABASE_URL": lambda word: {
        **_DISTRIBUTED,
        "DATABASE_URL": f"postgresql://sarah:{word}@{_CLOSED}/faces",
    },
    "DATABASE_URL's parameter": lambda word: {
        **_DISTRIBUTED,
        "DATABASE_URL": f"postgresql://sarah@{_CLOSED}/faces?password={word}",
    },
    "MIGRATE_DATABASE_URL": lambda word: {
        **_DISTRIBUTED,
        "DATABASE_POOLER": "transaction",
        "MIGRATE_DATABASE_URL": f"postgresql://sarah:{word}@{_CLOSED}/faces",
    },
    "REDIS_URL": lambda word: {**_DISTRIBUTED, "REDIS_URL": f"redis://:{word}@{_CLOSED}"},
    "REDIS_PASSWORD": lambda word: {
        **{name: value for name, value in _DISTRIBUTED.items() if name != "REDIS_URL"},
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PASSWORD": word,
    },
    "STORAGE_URL": lambda word: {**_DISTRIBUTED, "STORAGE_URL": f"s3://sarah:{word}@bucket/faces"},
    "AWS_SECRET_ACCESS_KEY": lambda word: {
        **_DISTRIBUTED,
        "STORAGE_URL": "s3://bucket/faces",
        "AWS_ENDPOINT_URL": f"http://{_CLOSED}",
        "AWS_ACCESS_KEY_ID": "sarah",
        "AWS_SECRET_ACCESS_KEY": word,
    },
    "HUGGINGFACE_BASE_URL": lambda word: {
        **_HOSTED,
        "HUGGINGFACE_BASE_URL": f"http://sarah:{word}@{_CLOSED}",
    },
    "HUGGINGFACE_HUB_URL": lambda word: {
        **_HOSTED,
        "HUGGINGFACE_HUB_URL": f"http://sarah:{word}@{_CLOSED}",
    },
    "HUGGINGFACE_API_KEY": lambda word: {
        **_HOSTED,
        "HUGGINGFACE_API_KEY": word,
        "HUGGINGFACE_BASE_URL": f"http://{_CLOSED}",
    },
    "REPLICATE_BASE_URL": lambda word: {
        "REPLICATE_API_TOKEN": "r8_0123456789",
        "REPLICATE_BASE_URL": f"http://sarah:{word}@{_CLOSED}",
    },
    "REPLICATE_API_TOKEN": lambda word: {
        "REPLICATE_API_TOKEN": word,
        "REPLICATE_BASE_URL": f"http://{_CLOSED}",
    },
    "MODERATION_URL": lambda word: {"MODERATION_URL": f"http://sarah:{word}@{_CLOSED}"},
    "PICTURE_MODERATION": lambda word: {**_HOSTED, "PICTURE_MODERATION": f"http://sarah:{word}@{_CLOSED}"},
    "PICTURE_MODERATION_API_KEY": lambda word: {
        **_HOSTED,
        "PICTURE_MODERATION": f"http://{_CLOSED}",
        "PICTURE_MODERATION_API_KEY": word,
    },
    "https_proxy": lambda word: {**_HOSTED, "https_proxy": f"http://sarah:{word}@{_CLOSED}"},
    "JWT_SECRET": lambda word: {"JWT_SECRET": word},
}


@pytest.fixture(scope="module")
def seed() -> int:
    """The seed of the passwords."""
    chosen = secrets.randbits(32)
    print(f"seed {chosen}")
    return chosen


@pytest.fixture(scope="module")
def passwords(seed: int) -> list[str]:
    """Passwords of all kinds of characters."""
    rng = random.Random(seed)
    return ["".join(rng.choices(_ALPHABET, k=rng.randint(16, 24))) for _ in range(_PASSWORDS)]


@pytest.fixture(scope="module")
def trials(
    passwords: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[str, dict[str, Trial]]]]:
    """The ends of all commands for each place, with each password as it is and escaped."""
    directory = tmp_path_factory.mktemp("trials")
    cases = [
        (place, password, {**_BASE, **settings(written)})
        for place, settings in PLACES.items()
        for password in passwords
        for written in (password, quote(password, safe=""))
    ]
    ends = try_settings([(settings, directory) for _, _, settings in cases])
    found: dict[str, list[tuple[str, dict[str, Trial]]]] = {}
    for (place, password, _), trial in zip(cases, ends, strict=True):
        found.setdefault(place, []).append((password, trial))
    return found


@pytest.mark.parametrize("place", PLACES)
def test_no_command_prints_a_piece_of_a_password(
    trials: dict[str, list[tuple[str, dict[str, Trial]]]], seed: int, place: str
) -> None:
    for password, commands in trials[place]:
        for command, trial in commands.items():
            printed = trial.output + trial.errors
            assert printed
            assert pieces_in(password, printed) == [], f"seed {seed}: {command} with {password!r}\n{printed}"


def pieces_in(password: str, text: str) -> list[str]:
    """Return the pieces of a password, as it is or escaped for a URL, that the text has."""
    forms = (password, quote(password, safe=""))
    pieces = {form[start : start + _PIECE] for form in forms for start in range(len(form) - _PIECE + 1)}
    return sorted(piece for piece in pieces if piece in text)


def test_migrate_and_token_print_no_password(passwords: list[str], tmp_path: Path) -> None:
    deployment = Deployment.distributed(
        tmp_path, f"postgresql://sarah:{quote(passwords[0], safe='')}@{_CLOSED}/faces", f"redis://{_CLOSED}"
    )
    deployment.settings["JWT_SECRET"] = passwords[1] * 3

    for arguments in (("migrate",), ("token", "--user", "sarah"), ("doctor", "--files")):
        finished = deployment.run_command(*arguments)
        for password in passwords[:2]:
            assert pieces_in(password, finished.stdout + finished.stderr) == []

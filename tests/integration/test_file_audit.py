"""Files and rows that do not fit each other, and files that other users of the machine can read."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_creator_server.images.local_files import remove_temporary
from avatar_creator_server.operations.file_audit import audit_files
from avatar_creator_server.settings import Settings
from tests import pictures
from tests.support.object_storage import ObjectStorage
from tests.support.service import CLOSED_ADDRESS, Deployment, run_command
from tests.support.shared_services import deployed, remove_contents
from tests.support.waiting import wait_until

DAY = 86_400.0
KINDS = (
    "files without a row",
    "temporary files",
    "rows without a file",
    "files of a wrong size",
    "open to other users",
)


@pytest.fixture
def object_storage() -> Iterator[ObjectStorage]:
    """An S3 server."""
    storage = ObjectStorage()
    yield storage
    storage.close()


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def running(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A running service of the tests of this file."""
    with deployed(request, request.param) as deployment:
        deployment.start()
        yield deployment


@pytest.fixture
def deployment(running: Deployment) -> Iterator[Deployment]:
    """The running service, without files and rows of other tests."""
    yield running
    remove_contents(running)


on_sqlite = pytest.mark.parametrize("running", ["embedded"], indirect=True)


def doctor(deployment: Deployment, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `doctor --files` with additional options and settings."""
    return run_command(
        "doctor",
        "--files",
        *options,
        settings=deployment.settings | settings,
        directory=deployment.directory,
    )


def upload(deployment: Deployment, user: str, number: int) -> Path:
    """Upload pictures, and return the folder of the user's files."""
    with deployment.client(user) as client:
        project = client.projects.create("Files")
        for _ in range(number):
            client.avatars.upload(project.id, pictures.png(), name="Face")
    return deployment.upload_path / "avatar-creator" / user


def make_older(path: Path, seconds: float) -> None:
    changed = path.stat().st_mtime - seconds
    os.utime(path, (changed, changed))


def leave(path: Path, *, age: float, content: bytes = b"face") -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    make_older(path, age)
    return path


def found(outcome: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, ...]]:
    """Return number, bytes and repaired number by kind, for the kinds with a number."""
    rows = [[cell.strip() for cell in line.split("│")[2:6]] for line in outcome.stdout.splitlines()]
    table = {row[0]: tuple(row[1:]) for row in rows if row and row[0] in KINDS}
    assert set(table) == set(KINDS), outcome.stdout
    return {kind: numbers for kind, numbers in table.items() if numbers[0] != "0"}


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Return whether it is a folder, and its permissions, of everything below a folder and of itself."""
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))}


def test_files_and_folders_are_private(deployment: Deployment, user: str) -> None:
    upload(deployment, user, 1)
    created = {(True, 0o700), (False, 0o600)}
    assert modes(deployment.upload_path) == created
    if deployment.is_embedded:
        assert modes(deployment.data_path) == created
        assert len(list(deployment.data_path.iterdir())) >= 4  # the database, its log, and two locks


@on_sqlite
def test_files_that_others_can_read_are_made_private_at_the_start(deployment: Deployment, user: str) -> None:
    folder = upload(deployment, user, 1)
    deployment.servers[-1].close()
    database = deployment.data_path / "avatar-creator.db"
    database.chmod(0o644)
    folder.parent.chmod(0o755)
    deployment.data_path.chmod(0o755)

    deployment.start_server()

    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    # The operator's own folder may have other contents.
    assert stat.S_IMODE(deployment.data_path.stat().st_mode) == 0o755
    deployment.data_path.chmod(0o700)


def test_what_a_killed_upload_was_writing_is_removed_an_hour_later(deployment: Deployment, user: str) -> None:
    folder = upload(deployment, user, 1)
    picture = next(folder.glob("*.png"))
    # The name that the local storage gives to a file until it is complete.
    old = leave(folder / "0198c0de-0000-7000-8000-000000000001.png#1", age=2 * 3600)
    check = leave(folder.parent / ".check-0198c0de-0000-7000-8000-000000000002", age=2 * 3600)
    young = leave(folder / "0198c0de-0000-7000-8000-000000000003.png#1", age=600)
    make_older(picture, DAY)

    if deployment.is_embedded:
        deployment.servers[-1].close()
        deployment.start_server()
    else:
        deployment.workers[-1].close()
        deployment.start_worker()

    wait_until(lambda: not old.exists() and not check.exists())
    assert young.exists()
    assert picture.exists()


def test_the_doctor_compares_files_and_rows_in_both_directions(deployment: Deployment, user: str) -> None:
    folder = upload(deployment, user, 3)
    clean = doctor(deployment)
    assert (clean.returncode, found(clean)) == (0, {})
    assert "Compared 6 files with their rows and 6 rows with their files" in clean.stdout

    images = sorted(folder.glob("*.png"))
    unknown = leave(folder / "unknown.png", age=2 * DAY)
    leave(folder / "unknown.png#1", age=2 * DAY)
    leave(folder / "recent.png", age=3600)
    images[0].unlink()
    images[1].write_bytes(b"cut")
    images[2].chmod(0o644)

    outcome = doctor(deployment)

    assert outcome.returncode == 1
    assert found(outcome) == {
        "files without a row": ("1", "4", "0"),
        "temporary files": ("1", "4", "0"),
        "rows without a file": ("1", "0", "0"),
        "files of a wrong size": ("1", "3", "0"),
        "open to other users": ("1", "0", "0"),
    }
    assert "left out 1 younger files" in outcome.stdout
    assert unknown.exists()

    repaired = doctor(deployment, "--repair")

    assert repaired.returncode == 1, "rows without a file need a backup"
    assert found(repaired)["files without a row"] == ("1", "4", "1")
    assert sorted(path.name for path in folder.iterdir() if path.stem.startswith("unknown")) == []
    assert (folder / "recent.png").exists()
    assert set(found(doctor(deployment))) == {
        "rows without a file",
        "files of a wrong size",
    }


def test_the_doctor_compares_a_bucket(
    distributed: Deployment, object_storage: ObjectStorage, user: str
) -> None:
    distributed.settings.update(object_storage.settings("production"))
    distributed.start()
    upload(distributed, user, 2)
    assert len(object_storage.keys()) == 4
    assert doctor(distributed).returncode == 0
    (row, other, *_) = distributed.execute("SELECT id, key FROM files ORDER BY id")
    distributed.execute("UPDATE files SET key = key || '.gone' WHERE id = %s", row["id"])
    distributed.execute("UPDATE files SET size_bytes = 1 WHERE id = %s", other["id"])

    outcome = doctor(distributed)

    assert outcome.returncode == 1
    assert {kind: numbers[0] for kind, numbers in found(outcome).items()} == {
        "rows without a file": "1",
        "files of a wrong size": "1",
    }
    assert "left out 1 younger files" in outcome.stdout
    assert len(object_storage.keys()) == 4


def stored(deployment: Deployment) -> list[Path]:
    """Return the files in the storage, all of them older than a day."""
    files = [path for path in deployment.upload_path.rglob("*") if path.is_file()]
    for path in files:
        make_older(path, 2 * DAY)
    return files


@on_sqlite
def test_repair_removes_no_file_with_an_empty_database(deployment: Deployment, user: str) -> None:
    upload(deployment, user, 2)
    files = stored(deployment)
    empty = {"DATA_PATH": str(deployment.directory / "another")}
    settings = deployment.settings | empty
    assert run_command("migrate", settings=settings, directory=deployment.directory).returncode == 0

    for arguments in (("--remove", "3"), ("--remove", "5"), ()):
        refused = doctor(deployment, "--repair", *arguments, **empty)
        assert refused.returncode == 1
        assert found(refused)["files without a row"][::2] == ("4", "0")
        assert "no file without a row was removed" in refused.stderr
        assert all(path.exists() for path in files)
    assert "the database has no files" in refused.stderr

    assert doctor(deployment, "--repair", "--remove", "4", **empty).returncode == 0
    assert not any(path.exists() for path in files)


def test_repair_needs_the_number_to_remove_more_than_a_tenth(deployment: Deployment, user: str) -> None:
    folder = upload(deployment, user, 3)
    files = stored(deployment)
    # The rows of another database: it has files, but not these.
    deployment.execute("UPDATE files SET key = key || '.other'")
    temporary = leave(folder / "unknown.png#1", age=2 * DAY)

    refused = doctor(deployment, "--repair")

    assert refused.returncode == 1
    assert found(refused)["files without a row"][::2] == ("6", "0")
    assert (
        "error: no file without a row was removed: 6 of 6 files have no row, so this may not be the database "
        "of these files: check DATABASE_URL (DATA_PATH if that is not set); if all 6 files must go, repeat "
        "the command with --remove 6"
    ) in refused.stderr
    assert all(path.exists() for path in files)
    assert not temporary.exists()

    removed = doctor(deployment, "--repair", "--remove", "6")

    assert found(removed)["files without a row"][::2] == ("6", "6")
    assert not any(path.exists() for path in files)


def test_repair_removes_a_tenth_without_a_number(deployment: Deployment, user: str) -> None:
    folder = upload(deployment, user, 10)
    unknown = [leave(folder / f"unknown-{number}.png", age=2 * DAY) for number in range(2)]

    repaired = doctor(deployment, "--repair")

    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert found(repaired)["files without a row"] == ("2", "8", "2")
    assert not any(path.exists() for path in unknown)


def test_remove_needs_repair(embedded: Deployment) -> None:
    outcome = doctor(embedded, "--remove", "1")
    assert outcome.returncode == 1
    assert "--remove works only together with --files --repair" in outcome.stderr


@pytest.fixture
def closed_folder(deployment: Deployment, user: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's pictures, which this process must not read, also if it runs as root."""
    folder = upload(deployment, user, 1)
    upload(deployment, "other", 1)
    scan = os.scandir

    def refuse(path: str | Path) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


@on_sqlite
async def test_a_folder_that_cannot_be_read_does_not_hide_the_others(
    deployment: Deployment, closed_folder: Path
) -> None:
    unknown = leave(closed_folder.parent / "other" / "unknown.png", age=2 * DAY)
    settings = Settings(upload_path=deployment.upload_path, data_path=deployment.data_path)

    audit = await audit_files(settings, repair=False, older_than_seconds=DAY)

    assert (audit.files, audit.rows) == (3, 4)
    assert audit.not_readable.examples == [str(closed_folder.relative_to(deployment.upload_path))]
    assert audit.without_row.examples == [str(unknown.relative_to(deployment.upload_path))]
    assert audit.without_file.count == 0
    assert not audit.is_clean


@on_sqlite
def test_a_folder_that_cannot_be_read_does_not_end_the_removal_of_temporary_files(
    deployment: Deployment, closed_folder: Path
) -> None:
    temporary = leave(closed_folder.parent / "other" / "unknown.png#1", age=DAY)
    last = leave(closed_folder.parent / "zzz#1", age=DAY)
    assert remove_temporary(deployment.upload_path, older_than_seconds=1.0) == 2
    assert not temporary.exists()
    assert not last.exists()


def test_repair_needs_files(embedded: Deployment) -> None:
    outcome = embedded.run_command("doctor", "--repair")
    assert outcome.returncode == 1
    assert "--repair works only together with --files" in outcome.stderr


def test_a_storage_that_does_not_answer_is_reported_in_one_line(distributed: Deployment) -> None:
    storage = {
        "STORAGE_URL": "s3://avatars/production",
        "AWS_ENDPOINT_URL": f"http://{CLOSED_ADDRESS}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    outcome = doctor(distributed, **storage)
    assert outcome.returncode == 1
    assert outcome.stderr.strip().splitlines()[-1] == (
        "error: the storage does not answer: check it with `avatar-creator doctor`"
    )

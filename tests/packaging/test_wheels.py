"""The wheels work without this repository, and next to packages that other projects install."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from tests.support import child_process

pytestmark = pytest.mark.timeout(900)  # pip loads packages

REPOSITORY = Path(__file__).parents[2]
COMMAND_SECONDS = 300.0

SERVICE_PACKAGES = {"avatar_creator_server", "avatar_creator_tasks", "avatar_creator_migrations"}
CLIENT_PACKAGES = {"avatar_creator"}

COMMON_NAMES = ("server", "tasks", "migrations", "tests", "bench")
"""Packages that an app may own: the folders of this repository have the same names."""

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder and return its output, which is also in the message if it fails."""
    finished = child_process.run(command, timeout=COMMAND_SECONDS, directory=folder)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def top_level_names(wheel: Path) -> set[str]:
    """Return the packages that a wheel installs, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}
    return {name for name in names if not name.endswith(".dist-info")}


def write_wheel(folder: Path, distribution: str, packages: Iterable[str]) -> Path:
    """Write a wheel that installs packages with a module `owner` that names the distribution."""
    wheel = folder / f"{distribution}-1.0-py3-none-any.whl"
    info = f"{distribution}-1.0.dist-info"
    files = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"}
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    for package in packages:
        files[f"{package}/__init__.py"] = ""
        files[f"{package}/owner.py"] = f"NAME = {distribution!r}\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def install_into(environment: Path, *wheels: Path, folder: Path) -> None:
    """Make an environment that has these wheels, their dependencies and nothing else."""
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    # The programs import few of the modules, so Python compiles those quicker than pip compiles all.
    install = (*PIP, "--python", environment / "bin" / "python", "install", "--no-compile")
    run(*install, "--constraint", REPOSITORY / "constraints.txt", *wheels, folder=folder)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of service and client, by distribution name."""
    folder = tmp_path_factory.mktemp("wheels")
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", folder, "clients/python", ".", folder=REPOSITORY)
    return {wheel.name.split("-")[0]: wheel for wheel in folder.glob("*.whl")}


def test_the_wheels_install_only_packages_of_their_own(wheels: dict[str, Path]) -> None:
    assert {name: top_level_names(wheel) for name, wheel in wheels.items()} == {
        "avatar_creator": SERVICE_PACKAGES,
        "avatar_creator_client": CLIENT_PACKAGES,
    }


def test_the_service_brings_all_its_files(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["avatar_creator"]) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = [REPOSITORY / folder for folder in ("server", "tasks", "migrations")]

    assert packed == {
        str(path.relative_to(folder))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_service_works_next_to_an_app_with_common_package_names(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    environment, app = tmp_path / "environment", tmp_path / "app"
    python = environment / "bin" / "python"
    command = environment / "bin" / "avatar-creator"
    # The app owns the names twice: installed, and as folders on its path.
    for name in COMMON_NAMES:
        (app / name).mkdir(parents=True)
        (app / name / "__init__.py").touch()
    dummy_app = write_wheel(tmp_path, "dummy_app", COMMON_NAMES)
    install_into(environment, *wheels.values(), dummy_app, folder=tmp_path)

    version = run(command, "--version", folder=app)
    # No service has run here, so it fails.
    environment_with_app = {**os.environ, "PYTHONPATH": str(app)}
    doctor = child_process.run(
        [command, "doctor"], timeout=COMMAND_SECONDS, directory=app, environment=environment_with_app
    ).stdout
    demo = run("env", f"PYTHONPATH={app}", command, "demo", "--folder", "pictures", folder=app)
    owners = run(
        python,
        "-c",
        f"from importlib import import_module\n"
        f"for name in {COMMON_NAMES}: print(import_module(name + '.owner').NAME)",
        folder=tmp_path,
    )

    assert version.startswith("avatar-creator 0.")
    assert "provider" in doctor
    assert "sketch" in demo
    assert owners.split() == ["dummy_app"] * len(COMMON_NAMES)
    for name, size in {
        "upload.jpeg": (512, 512),
        "upload-thumbnail.webp": (300, 300),
        "portrait.png": (1024, 1024),
        "portrait-thumbnail.webp": (300, 300),
    }.items():
        with Image.open(app / "pictures" / name) as picture:
            picture.load()
            assert picture.size == size


def test_the_wheels_carry_complete_metadata(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            [metadata_path] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            metadata = archive.read(metadata_path).decode()
            assert any("licenses/LICENSE" in name for name in archive.namelist())
        headers, _, readme = metadata.partition("\n\n")
        for header in ("License-Expression: Apache-2.0", "Author: ", "Classifier: ", "Keywords: "):
            assert header in headers, f"{wheel.name} lacks {header!r}"
        # A relative link works in the repository and nowhere else, such as on an index page.
        links = [link.split(")")[0] for link in readme.split("](")[1:]]
        assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_client_wheel_alone_brings_only_its_libraries(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    install_into(environment, wheels["avatar_creator_client"], folder=tmp_path)

    installed = run(
        sys.executable, "-m", "pip", "--python", python, "list", "--format", "freeze", folder=tmp_path
    )
    run(
        python,
        "-c",
        "import avatar_creator; avatar_creator.AvatarCreator('localhost:1', token='t').close()",
        folder=tmp_path,
    )

    assert {line.split("==")[0] for line in installed.split()} == {
        "avatar-creator-client",
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
        "typing_extensions",
    }

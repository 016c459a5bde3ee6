"""The built files of the page: types, caching, compression, paths of the page's own, and no others."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from avatar_creator_server.web.messages import Request, Response
from avatar_creator_server.web.page_files import PageFiles

INDEX = b"<!doctype html><title>Avatars</title>" + b"<p>A page.</p>" * 200
SCRIPT = b"console.log('hello');\n" * 200
FONT = bytes(range(256)) * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A built page."""
    (tmp_path / "page" / "assets").mkdir(parents=True)
    for name, data in {
        "index.html": INDEX,
        "robots.txt": b"User-agent: *\nDisallow: /\n",
        "assets/index-Bq2cX9aK.js": SCRIPT,
        "assets/text-D3f8.woff2": FONT,
        ".hidden": b"secret",
        "assets/.hidden": b"secret",
    }.items():
        (tmp_path / "page" / name).write_bytes(data)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return tmp_path / "page"


@pytest.fixture
def page(folder: Path) -> PageFiles:
    """The files of `folder`."""
    return PageFiles(folder)


async def get(page: PageFiles, path: str, *headers: tuple[str, str]) -> Response:
    """Request a path, as it is after its escapes were decoded."""
    return await page.answer(Request(scope(path, headers)))


def scope(path: str, headers: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Return what the listener says about a request."""
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"method": "GET", "path": path, "query_string": b"", "headers": encoded}


async def test_the_page_is_asked_for_again_and_its_assets_are_not(page: PageFiles) -> None:
    index, script = await get(page, "/index.html"), await get(page, "/assets/index-Bq2cX9aK.js")

    assert (index.status, index.body) == (200, INDEX)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert index.headers["cache-control"] == "no-cache"
    assert (script.status, script.body) == (200, SCRIPT)
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await get(page, "/robots.txt")).headers["content-type"] == "text/plain; charset=utf-8"
    assert (await get(page, "/assets/text-D3f8.woff2")).headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    "path", ["/", "/projects", "/projects/01a204d8-05a5-7495-bb1b-5f38ae8f7b43", "/usage/"]
)
async def test_paths_of_the_page_itself_are_the_page(page: PageFiles, path: str) -> None:
    answer = await get(page, path)

    assert (answer.status, answer.body) == (200, INDEX)
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        *("/missing.js", "/assets/missing-AAAA.js", "/favicon.ico", "/.env", "/.hidden", "/assets/.hidden"),
        *(
            "/../secret.txt",
            "/assets/../../secret.txt",
            "//etc/passwd.txt",
            "/..\\secret.txt",
            "/%2e%2e/secret.txt",
        ),
        *("/avatar_creator.v1.AvatarService/GetAvatar", "/index.html/", "index.html", "/index.html\0.js"),
    ],
)
async def test_other_paths_are_not_found(page: PageFiles, path: str) -> None:
    answer = await get(page, path)

    assert answer.status == 404
    assert b"secret" not in bytes(answer.body if isinstance(answer.body, bytes) else b"secret")


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "GZIP", "deflate, gzip ; q=1.0"])
async def test_texts_are_compressed_for_those_who_accept_it(page: PageFiles, accepted: str) -> None:
    plain = await get(page, "/assets/index-Bq2cX9aK.js")
    packed = await get(page, "/assets/index-Bq2cX9aK.js", ("accept-encoding", accepted))

    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == SCRIPT
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(len(packed.body))
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize("accepted", ["", "br", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "xgzip"])
async def test_texts_are_whole_for_all_others(page: PageFiles, accepted: str) -> None:
    answer = await get(page, "/assets/index-Bq2cX9aK.js", ("accept-encoding", accepted))

    assert answer.body == SCRIPT
    assert "content-encoding" not in answer.headers


async def test_what_compression_does_not_make_smaller_is_sent_as_it_is(page: PageFiles) -> None:
    for path in ("/assets/text-D3f8.woff2", "/robots.txt"):
        answer = await get(page, path, ("accept-encoding", "gzip"))

        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers


async def test_a_browser_that_has_the_version_gets_no_bytes(page: PageFiles, folder: Path) -> None:
    tag = (await get(page, "/")).headers["etag"]

    for header in (tag, f'W/{tag}, "other"', "*"):
        unchanged = await get(page, "/", ("if-none-match", header))
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["etag"] == tag
    assert (await get(page, "/", ("if-none-match", '"other"'))).status == 200

    (folder / "index.html").write_bytes(INDEX + b"<p>New.</p>")
    assert (await get(PageFiles(folder), "/", ("if-none-match", tag))).status == 200


async def test_without_a_built_page_there_is_nothing(tmp_path: Path) -> None:
    for page in (PageFiles(tmp_path), PageFiles(tmp_path / "missing")):
        answer = await get(page, "/")

        assert (answer.status, answer.body) == (404, b"Not found.\n")

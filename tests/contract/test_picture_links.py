"""Pictures by signed links: what browsers get, what they may cache, and that nothing else gets out."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import httpx
import pytest

from avatar_creator import Avatar, AvatarCreator, ImageVariant
from tests import pictures
from tests.support.command_line import CommandLine
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread
from tests.support.waiting import wait_until

PICTURE = pictures.jpeg()


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """Requests without a token."""
    with httpx.Client(trust_env=False, timeout=10.0) as opened:
        yield opened


@pytest.fixture
def sarah(shared_client: AvatarCreator) -> Avatar:
    """An avatar with links and a thumbnail."""
    project = shared_client.projects.create("Links")
    return with_links(shared_client, shared_client.avatars.upload(project, PICTURE, name="Sarah Müller"))


def with_links(client: AvatarCreator, avatar: Avatar) -> Avatar:
    """Read an avatar with its links, once it has a thumbnail."""
    wait_until(lambda: not client.avatars.get(avatar).thumbnail_pending)
    return client.avatars.get(avatar, include_links=True)


def image_url(avatar: Avatar) -> str:
    """Return the link to the full-size picture."""
    return present(avatar.image_url)


def test_links_come_only_to_those_who_ask_for_them(
    shared_client: AvatarCreator, sarah: Avatar, shared_deployment: Deployment
) -> None:
    avatars, projects = shared_client.avatars, shared_client.projects
    project = sarah.project_id

    for with_them in (True, False):
        read = [
            avatars.get(sarah, include_links=with_them),
            *avatars.batch_get([sarah], include_links=with_them).avatars,
            *avatars.list(project, include_links=with_them),
            *avatars.find(project=project, include_links=with_them),
            *projects.open(project, include_links=with_them).avatars,
            *next(
                each.newest_avatars
                for each in projects.list(include_newest_avatars=True, include_links=with_them)
                if each.id == project
            ),
        ]
        links = {(avatar.image_url, avatar.thumbnail_url) for avatar in read}

        assert len(read) == 6
        assert links == {(sarah.image_url, sarah.thumbnail_url) if with_them else (None, None)}
    assert image_url(sarah).startswith(f"http://{shared_deployment.web_target}/pictures/{sarah.id}/original?")


def test_an_avatar_without_a_thumbnail_has_no_link_to_one(
    distributed: Deployment, user: str, browser: httpx.Client
) -> None:
    with ServiceInThread.serving(distributed), distributed.client(user) as client:
        project = client.projects.create("No worker")
        pending = client.avatars.upload(project, PICTURE, name="Pending", defer_thumbnail=True)
        avatar = client.avatars.get(pending, include_links=True)

        assert avatar.thumbnail_pending
        assert avatar.thumbnail_url is None
        assert browser.get(image_url(avatar)).status_code == 200
        # Its signature is not that of a thumbnail, and none is given out before there is one.
        assert browser.get(image_url(avatar).replace("original", "thumbnail")).status_code == 403


def test_a_server_without_a_web_port_has_no_links(embedded: Deployment, user: str) -> None:
    with ServiceInThread.serving(embedded, WEB_ADDRESS="none"), embedded.client(user) as client:
        project = client.projects.create("No web port")
        avatar = client.avatars.upload(project, PICTURE, name="Sarah")

        assert client.avatars.get(avatar, include_links=True).image_url is None


def test_the_public_address_of_the_service_begins_each_link(
    embedded: Deployment, user: str, browser: httpx.Client
) -> None:
    with (
        ServiceInThread.serving(embedded, WEB_PUBLIC_URL="https://example.com/avatars/"),
        embedded.client(user) as client,
    ):
        project = client.projects.create("P")
        uploaded = client.avatars.upload(project, PICTURE, name="S", defer_thumbnail=True)
        avatar = client.avatars.get(uploaded, include_links=True)

        assert image_url(avatar).startswith(f"https://example.com/avatars/pictures/{avatar.id}/original?")
        # As a proxy asks that takes the path of the page away.
        local = image_url(avatar).replace("https://example.com/avatars", f"http://{embedded.web_target}")
        assert browser.get(local).status_code == 200


@pytest.mark.parametrize("variant", ["original", "thumbnail"])
def test_a_link_shows_a_picture_that_browsers_cache(
    shared_client: AvatarCreator, sarah: Avatar, browser: httpx.Client, variant: str
) -> None:
    url = present(sarah.image_url if variant == "original" else sarah.thumbnail_url)
    data = shared_client.avatars.download(sarah, variant=ImageVariant(variant))

    answer = browser.get(url)

    assert (answer.status_code, answer.content) == (200, data)
    headers = answer.headers
    assert headers["content-type"] == ("image/jpeg" if variant == "original" else "image/webp")
    assert headers["content-length"] == str(len(data))
    assert headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    *rules, age = headers["cache-control"].split(", ")
    assert rules == ["private", "immutable"]
    assert 3600 < int(age.removeprefix("max-age=")) <= 7200

    head = browser.head(url)
    assert (head.status_code, head.content) == (200, b"")
    changing = ("date", "cache-control")
    assert {name: value for name, value in head.headers.items() if name not in changing} == {
        name: value for name, value in headers.items() if name not in changing
    }


def test_a_browser_that_has_the_picture_gets_no_bytes(sarah: Avatar, browser: httpx.Client) -> None:
    url = image_url(sarah)
    tag = browser.get(url).headers["etag"]

    for header in (tag, f'"other", W/{tag}', "*"):
        for method in ("GET", "HEAD"):
            answer = browser.request(method, url, headers={"if-none-match": header, "range": "bytes=0-1"})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
            assert "private, immutable" in answer.headers["cache-control"]
    assert browser.get(url, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_part_of_a_picture_is_sent_alone(
    shared_client: AvatarCreator, sarah: Avatar, browser: httpx.Client
) -> None:
    url, data = image_url(sarah), shared_client.avatars.download(sarah)
    size, tag = len(data), browser.head(url).headers["etag"]
    for header, start, end in (
        ("bytes=0-99", 0, 100),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-10", size - 10, size),
        (f"bytes=10-{size * 10}", 10, size),
    ):
        for further in ({}, {"if-range": tag}):
            answer = browser.get(url, headers={"range": header, **further})

            assert (answer.status_code, answer.content) == (206, data[start:end])
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert answer.headers["content-length"] == str(end - start)
    # Of another version, a part is of no use; and several parts cost more than the picture.
    many = "bytes=" + ",".join(f"{place}-{place}" for place in range(3000))
    for headers in ({"range": "bytes=0-1", "if-range": '"other"'}, {"range": many}, {"range": "bytes=x"}):
        answer = browser.get(url, headers=headers)
        assert (answer.status_code, answer.content) == (200, data)
    for header in (f"bytes={size}-", "bytes=-0"):
        answer = browser.get(url, headers={"range": header})
        assert (answer.status_code, answer.content) == (416, b"")
        assert answer.headers["content-range"] == f"bytes */{size}"
    assert browser.head(url, headers={"range": "bytes=0-1"}).status_code == 200


def test_a_download_gets_the_name_of_the_avatar(sarah: Avatar, browser: httpx.Client) -> None:
    name = quote("Sarah-Müller.jpg")
    shown = browser.get(image_url(sarah)).headers["content-disposition"]
    saved = browser.get(f"{image_url(sarah)}&download").headers["content-disposition"]

    assert shown == f"inline; filename=\"Sarah-M_ller.jpg\"; filename*=UTF-8''{name}"
    assert saved == shown.replace("inline", "attachment")


async def test_a_page_of_many_pictures_loads_at_once(embedded: Deployment, user: str) -> None:
    # So that only the number of pictures counts, not the speed of the machine.
    embedded.start_server(TRANSFER_WAIT_SECONDS="60", DATABASE_WAIT_SECONDS="60")
    with embedded.client(user) as client:
        project = client.projects.create("Many")
        avatars = [client.avatars.upload(project, PICTURE, name=str(number)) for number in range(10)]
        linked = [with_links(client, avatar) for avatar in avatars]
    urls = [present(url) for avatar in linked for url in (avatar.image_url, avatar.thumbnail_url)]

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=60.0, limits=limits) as browser:
        answers = await asyncio.gather(*(browser.get(url) for url in urls * 10))

    assert Counter(answer.status_code for answer in answers) == {200: 200}


def test_a_file_name_never_leads_out_of_the_folder_or_out_of_the_header(
    shared_client: AvatarCreator, browser: httpx.Client
) -> None:
    project = shared_client.projects.create("Names")
    for name in ('../../etc/passwd"; filename="x.exe', "नेहा\u202egpj.exe", '"\\";'):
        avatar = with_links(shared_client, shared_client.avatars.upload(project, PICTURE, name=name))
        disposition = browser.get(image_url(avatar)).headers["content-disposition"]

        assert disposition.count('"') == 2
        assert not set(disposition) & set("/\\\r\n")
        assert disposition.endswith(".jpg")


def test_nothing_gets_out_without_a_valid_signature(
    shared_client: AvatarCreator, sarah: Avatar, browser: httpx.Client
) -> None:
    other = with_links(shared_client, shared_client.avatars.upload(sarah.project_id, PICTURE, name="Other"))
    url = urlsplit(image_url(sarah))
    signature = url.query.rpartition("signature=")[2]
    flipped = chr(ord(signature[0]) ^ 1)
    bad = [
        f"/pictures/{sarah.id}/original",
        f"/pictures/{sarah.id}/thumbnail?{url.query}",
        f"/pictures/{other.id}/original?{url.query}",
        f"/pictures/01a204d8-05a5-7495-bb1b-5f38ae8f7b43/original?{url.query}",
        f"{url.path}?{url.query.replace(signature, flipped + signature[1:])}",
        f"{url.path}?{url.query.replace('expires=', 'expires=9')}",
        f"{url.path}?{url.query}&x=1",
        f"/pictures/?{url.query}",
        f"/pictures/{sarah.id}/?{url.query}",
        f"/pictures/{sarah.id}/original/?{url.query}",
        f"/pictures/{sarah.id}/original%00?{url.query}",
        f"/pictures/../pictures/{sarah.id}/original?{url.query}",
        f"/pictures/%2e%2e%2f%2e%2e%2fetc%2fpasswd/original?{url.query}",
        f"/pictures/{sarah.id}%2foriginal?{url.query}&signature=",
        f"/pictures/{'x' * 5000}/original?{url.query}",
    ]
    # One answer for all: it does not say whether there is such an avatar, or how close the link was.
    answers = [raw_answer(url.netloc, path) for path in bad]
    assert answers == [answers[0]] * len(bad)
    status, headers, _ = answers[0]
    assert (status, headers["cache-control"]) == (403, "no-store")
    assert "etag" not in headers
    assert browser.head(f"{url.scheme}://{url.netloc}{bad[0]}").status_code == 403


def raw_answer(address: str, target: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body for a path that is sent as it is, without its date."""
    with closing(HTTPConnection(address, timeout=10.0)) as connection:
        connection.request("GET", target)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"}
        return answer.status, headers, answer.read()


def test_a_deleted_avatar_is_gone_in_spite_of_its_link(
    shared_client: AvatarCreator, browser: httpx.Client
) -> None:
    for delete in ("avatar", "project"):
        project = shared_client.projects.create("Short")
        avatar = with_links(shared_client, shared_client.avatars.upload(project, PICTURE, name="Gone"))
        urls = [image_url(avatar), present(avatar.thumbnail_url)]
        assert [browser.get(url).status_code for url in urls] == [200, 200]

        if delete == "avatar":
            shared_client.avatars.delete(avatar)
        else:
            shared_client.projects.delete(project)

        for url in urls:
            answer = browser.get(url, headers={"if-none-match": "*"})
            assert answer.status_code == 404
            assert answer.headers["cache-control"] == "no-store"


def test_a_lost_file_is_not_found(
    shared_deployment: Deployment, shared_client: AvatarCreator, user: str, browser: httpx.Client
) -> None:
    project = shared_client.projects.create("P")
    avatar = with_links(shared_client, shared_client.avatars.upload(project, PICTURE, name="S"))
    files = [path for path in shared_deployment.files() if user in path.parts]
    assert len(files) == 2
    for path in files:
        path.unlink()

    assert browser.get(image_url(avatar)).status_code == 404


def test_links_of_another_secret_are_refused(embedded: Deployment, user: str, browser: httpx.Client) -> None:
    with ServiceInThread.serving(embedded), embedded.client(user) as client:
        project = client.projects.create("P")
        uploaded = client.avatars.upload(project, PICTURE, name="S", defer_thumbnail=True)
        url = image_url(client.avatars.get(uploaded, include_links=True))
        assert browser.get(url).status_code == 200

    embedded.settings["JWT_SECRET"] = "another-secret-" * 4
    with ServiceInThread.serving(embedded), embedded.client(user) as client:
        assert browser.get(url).status_code == 403
        assert browser.get(image_url(client.avatars.get(uploaded, include_links=True))).status_code == 200


def test_the_command_shows_the_links(command_line: CommandLine, sarah: Avatar) -> None:
    shown = command_line.json("avatars", "show", sarah.id, "--links")
    assert (shown["image_url"], shown["thumbnail_url"]) == (sarah.image_url, sarah.thumbnail_url)
    assert "picture link" in command_line.output("avatars", "show", sarah.id, "--links")
    assert "link" not in command_line.output("avatars", "show", sarah.id)

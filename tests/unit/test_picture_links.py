"""Signed links: what they allow, for how long, and that nothing else is allowed."""

from __future__ import annotations

import base64
import hmac
import string
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from avatar_creator_server.images.picture_links import OpenedLink, PictureLinks, Variant

SECRET = "0123456789abcdef" * 4
OTHER_SECRET = "fedcba9876543210" * 4
AVATAR = "01a204d8-05a5-7495-bb1b-5f38ae8f7b43"
OTHER_AVATAR = "01a204d8-05a5-7495-bb1b-5f38ae8f7b44"
HOUR = 3600
TEN_TO_ELEVEN = 490_000 * HOUR - 600
"""A time ten minutes before a full hour, in seconds since 1970."""


class Clock:
    """A clock that tests set."""

    def __init__(self, seconds: float = TEN_TO_ELEVEN) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """The clock of `links`."""
    return Clock()


@pytest.fixture
def links(clock: Clock) -> PictureLinks:
    """The links of a service with a web port."""
    return serving(PictureLinks(lambda: SECRET, clock))


def serving(links: PictureLinks, address: str = "https://avatars.example.com") -> PictureLinks:
    """Return the links of a server whose web port has this public address."""
    links.serve_at(address)
    return links


def query_of(links: PictureLinks, variant: Variant = Variant.ORIGINAL) -> str:
    """Return the query of a new link to a picture of `AVATAR`."""
    return urlsplit(links.make(AVATAR, variant)).query


def test_a_link_leads_to_the_web_port_and_allows_one_picture(links: PictureLinks) -> None:
    url = urlsplit(links.make(AVATAR, Variant.THUMBNAIL))

    assert f"{url.scheme}://{url.netloc}{url.path}" == (
        f"https://avatars.example.com/pictures/{AVATAR}/thumbnail"
    )
    assert links.open(AVATAR, Variant.THUMBNAIL, url.query) == OpenedLink(HOUR + 600, download=False)
    assert links.open(AVATAR, Variant.ORIGINAL, url.query) is None
    assert links.open(OTHER_AVATAR, Variant.THUMBNAIL, url.query) is None
    assert links.open("", Variant.THUMBNAIL, url.query) is None


def test_a_public_address_may_have_a_path_and_a_slash(clock: Clock) -> None:
    links = serving(PictureLinks(lambda: SECRET, clock), "https://example.com/avatars/")

    assert links.make(AVATAR, Variant.ORIGINAL).startswith("https://example.com/avatars/pictures/")


def test_a_server_without_a_web_port_makes_no_links() -> None:
    def no_secret() -> str:
        raise AssertionError("a worker has no secret")

    assert PictureLinks(no_secret).make(AVATAR, Variant.ORIGINAL) == ""


def test_a_link_stays_the_same_for_an_hour_and_works_for_at_least_another_one(
    links: PictureLinks, clock: Clock
) -> None:
    seen = set()
    for second in range(TEN_TO_ELEVEN, TEN_TO_ELEVEN + 3 * HOUR, 599):
        clock.seconds = second
        query = query_of(links)
        seen.add(query)
        opened = links.open(AVATAR, Variant.ORIGINAL, query)
        assert opened is not None
        assert HOUR <= opened.seconds_left <= 2 * HOUR

    assert len(seen) == 4  # the rest of the first hour, two whole ones, and the beginning of another


def test_a_link_ends_at_its_time(links: PictureLinks, clock: Clock) -> None:
    query = query_of(links)

    clock.seconds += HOUR + 599
    assert links.open(AVATAR, Variant.ORIGINAL, query) == OpenedLink(1, download=False)
    clock.seconds += 1
    assert links.open(AVATAR, Variant.ORIGINAL, query) is None


def test_no_changed_bit_of_a_link_is_accepted(links: PictureLinks) -> None:
    query = query_of(links)
    original = query.encode()
    for place in range(len(original)):
        for bit in range(8):
            changed = bytearray(original)
            changed[place] ^= 1 << bit
            assert links.open(AVATAR, Variant.ORIGINAL, changed.decode("latin-1")) is None, changed


def test_no_other_text_of_the_same_signature_is_accepted(links: PictureLinks) -> None:
    query = query_of(links)
    accepted = [
        changed
        for place in range(len(query))
        for character in string.printable
        if character != query[place]
        and links.open(AVATAR, Variant.ORIGINAL, changed := query[:place] + character + query[place + 1 :])
    ]

    assert accepted == []


@pytest.mark.parametrize(
    "change",
    [
        lambda query: "",
        lambda query: query.replace("expires=", "expires=0"),
        lambda query: query.replace("expires=", "expires=%2B"),
        lambda query: query.replace("expires=", "expires=9"),
        lambda query: query + "&expires=9999999999",
        lambda query: "expires=9999999999&" + query,
        lambda query: query + "&x=1",
        lambda query: query + "&download&download",
        lambda query: query + "&",
        lambda query: query + "=",
        lambda query: query + "A",
        lambda query: query[:-1],
        lambda query: query.rpartition("&")[0],
        lambda query: query.replace("key=", "Key="),
        lambda query: query.replace("signature=", "signature=%00"),
        lambda query: query.replace("signature=", "signature=\udc80"),
        lambda query: query + "&download=" + "x" * 10_000,
        lambda query: "&".join(["a=1"] * 100_000),
    ],
)
def test_no_changed_parameter_is_accepted(links: PictureLinks, change: object) -> None:
    assert callable(change)
    assert links.open(AVATAR, Variant.ORIGINAL, change(query_of(links))) is None


def test_a_link_may_say_that_its_reader_saves_the_picture(links: PictureLinks) -> None:
    for addition in ("&download", "&download=", "&download=1"):
        opened = links.open(AVATAR, Variant.ORIGINAL, query_of(links) + addition)
        assert opened is not None
        assert opened.download


def test_the_signature_is_hmac_with_a_key_of_hkdf(links: PictureLinks) -> None:
    values = dict(parse_qsl(query_of(links)))
    derived = {
        use: HKDF(SHA256(), 32, None, b"avatar-creator picture links\0" + use).derive(SECRET.encode())
        for use in (b"signature", b"key id")
    }

    message = f"original\0{AVATAR}\0{values['expires']}".encode()
    signature = hmac.digest(derived[b"signature"], message, "sha256")
    assert values["signature"] == base64.urlsafe_b64encode(signature[:24]).decode()
    assert values["key"] == base64.urlsafe_b64encode(derived[b"key id"][:6]).decode()


def test_all_servers_with_the_secret_make_the_same_links(links: PictureLinks, clock: Clock) -> None:
    other = serving(PictureLinks(lambda: SECRET, clock))

    assert other.make(AVATAR, Variant.ORIGINAL) == links.make(AVATAR, Variant.ORIGINAL)


def test_a_new_secret_ends_the_old_links(links: PictureLinks, clock: Clock) -> None:
    rotated = serving(PictureLinks(lambda: OTHER_SECRET, clock))
    old, new = query_of(links), query_of(rotated)

    assert links.open(AVATAR, Variant.ORIGINAL, new) is None
    assert rotated.open(AVATAR, Variant.ORIGINAL, old) is None
    assert rotated.open(AVATAR, Variant.ORIGINAL, new) is not None
    # The key id says which secret a link needs, and gives no other link away.
    keys = [query.split("&")[1] for query in (old, new)]
    assert keys[0] != keys[1]
    assert all(key.startswith("key=") and len(key) == len("key=") + 8 for key in keys)
    for mixed in (f"{new.split('&')[0]}&{keys[1]}&{old.split('&')[2]}", old.replace(keys[0], keys[1])):
        assert rotated.open(AVATAR, Variant.ORIGINAL, mixed) is None

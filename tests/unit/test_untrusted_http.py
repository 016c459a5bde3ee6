"""Requests to addresses that another service has named reach only the public internet."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avatar_creator_server.settings.host_lists import HostList, IpAddress
from avatar_creator_server.shared.public_addresses import is_internal_name, is_public, literal_address
from avatar_creator_server.shared.untrusted_http import (
    EgressRules,
    RefusedAddressError,
    Target,
    UntrustedTransport,
)
from tests.client.connect_proxy import remove_proxy_variables
from tests.support.certificate import Certificate
from tests.support.ports import free_port
from tests.support.trap_server import TrapServer

PUBLIC = ("8.8.8.8", "1.1.1.1", "151.101.1.69", "2606:4700::1111", "2a00:1450:4001:800::200e")
NOT_PUBLIC = (
    # this host, private networks, NAT of a provider, loopback, link
    *("0.0.0.0", "0.1.2.3", "10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("127.0.0.1", "127.255.255.254", "169.254.1.1", "fe80::1", "fc00::1", "fd12::1", "::1", "::"),
    # credentials of a cloud
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    *("fd00:ec2::254", "fd20:ce::254"),
    # groups, reserved, documentation, tests
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1"),
    *("203.0.113.1", "198.18.0.1", "192.88.99.1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "100::1"),
    # IPv4 within IPv6: mapped, compatible, translated, 6to4, Teredo
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:5"),
    *("2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "5f00::1"),
    *("2606:4700::5efe:10.0.0.5", "2606:4700::200:5efe:10.0.0.5"),
)


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own proxy."""
    remove_proxy_variables(monkeypatch)


def rules(hosts: str = "", private_hosts: str = "", own: str = "https://router.example") -> EgressRules:
    """Return the rules of these settings."""
    return EgressRules(
        HostList.parse(hosts), HostList.parse(private_hosts, networks=True), Target.of(httpx.URL(own))
    )


def refusal(chosen: EgressRules, url: str, *addresses: str) -> str:
    """Return why the rules refuse a URL whose host has these addresses; empty if they allow it."""
    try:
        target = Target.of(httpx.URL(url))
        chosen.require_allowed(target, [ipaddress.ip_address(each) for each in addresses])
    except RefusedAddressError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert not refusal(rules(), "https://v3.fal.media/a.png", address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert "not public" in refusal(rules(), "https://v3.fal.media/a.png", address)
    assert "not public" in refusal(rules(), "https://v3.fal.media/a.png", "8.8.8.8", address)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_within_ipv6_is_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for base in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address(base)) + number))
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) + (number << 80)))


@given(st.ip_addresses())
@example(ipaddress.IPv6Address("fe80::1%eth0"))
def test_every_public_address_is_global_and_no_group(address: IpAddress) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "[::1]"]
)
def test_an_address_is_recognized_in_every_form_that_the_system_reads(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert address.is_loopback


@pytest.mark.parametrize(
    "name", ["redis", "localhost", "db.internal", "metadata.google.internal", "x.local", "a.localhost"]
)
def test_a_proxy_is_not_asked_for_names_of_private_networks(name: str) -> None:
    assert is_internal_name(name)
    assert "name of a private network" in refusal(rules(), f"https://{name}/a.png")


@pytest.mark.parametrize(
    ("chosen", "url", "addresses", "reason"),
    [
        (rules(), "https://fal.media/a.png", ["8.8.8.8"], ""),
        (rules(), "https://fal.media./a.png", ["8.8.8.8"], ""),
        (rules(), "http://fal.media/a.png", ["8.8.8.8"], "https://"),
        (rules(), "https://fal.media:6379/", ["8.8.8.8"], "port"),
        (rules(), "https://fal.media:22/", [], "port"),
        (rules(), "https://u:p@fal.media/", ["8.8.8.8"], "password"),
        (rules(), "ftp://fal.media/", ["8.8.8.8"], "web"),
        (rules(), "https://fal.media/", [], ""),
        # A proxy could read these as 127.0.0.1.
        (rules(), "https://127%2e0.0.1/", [], "not a plain name"),
        (rules(), "https://1.127.0.0.1/", [], "not a plain name"),
        (rules(), "https://a.0x7f/", [], "not a plain name"),
        (rules(), "https://a%00.example/", [], "not a plain name"),
        (rules(), "https://xn--bcher-kva.example/", [], ""),
        (rules(), "https://3.fal-media.3x/", [], ""),
        # The router serves the pictures itself.
        (rules(own="http://10.1.2.3:8000"), "http://10.1.2.3:8000/a.png", ["10.1.2.3"], ""),
        (rules(own="http://10.1.2.3:8000"), "http://10.1.2.3:6379/", ["10.1.2.3"], "not public"),
        # The only hosts
        (rules("fal.media,*.fal.media"), "https://v3.fal.media/", ["8.8.8.8"], ""),
        (rules("fal.media,*.fal.media"), "https://V3.Fal.Media/", ["8.8.8.8"], ""),
        (rules("*.fal.media"), "https://evilfal.media/", ["8.8.8.8"], "not in PROVIDER_RESULT_HOSTS"),
        (rules("*.fal.media"), "https://fal.media/", ["8.8.8.8"], "not in PROVIDER_RESULT_HOSTS"),
        (rules("fal.media"), "https://fal.media.evil.example/", ["8.8.8.8"], "not in PROVIDER_RESULT_HOSTS"),
        (rules("fal.media"), "https://fal.media/", ["10.0.0.1"], "not public"),
        (rules("fal.media:8443"), "https://fal.media:8443/", ["8.8.8.8"], ""),
        (rules("fal.media:8443"), "https://fal.media/", ["8.8.8.8"], "not in PROVIDER_RESULT_HOSTS"),
        (rules("8.8.8.8:8443"), "https://8.8.8.8:8443/", ["8.8.8.8"], ""),
        # Private ones
        (rules("", "files.internal"), "http://files.internal:9000/a.png", ["10.0.0.7"], ""),
        (rules("", "files.internal"), "http://files.internal:9000/a.png", [], ""),
        (rules("", "files.internal:9000"), "http://files.internal:6379/", ["10.0.0.7"], "not public"),
        (rules("", "files.internal"), "http://files.internal/", ["169.254.169.254"], "not public"),
        (rules("", "files.internal"), "http://files.internal/", ["10.0.0.7", "::"], "not public"),
        (rules("", "169.254.169.254"), "http://169.254.169.254/", ["169.254.169.254"], ""),
        (rules("", "10.0.0.0/8"), "http://anything.example:9000/", ["10.0.0.7"], ""),
        (rules("", "10.0.0.0/8"), "http://anything.example:9000/", ["10.0.0.7", "8.8.8.8"], "not public"),
        (rules("", "10.0.0.0/8"), "http://anything.example/", ["::ffff:10.0.0.7"], "not public"),
        (rules("fal.media", "10.0.0.0/8"), "http://10.0.0.7/", ["10.0.0.7"], ""),
        (rules("", "[fd12::1]:9000"), "http://[fd12::1]:9000/", ["fd12::1"], ""),
        (rules("", "127.0.0.1:9000"), "http://127.0.0.1:6379/", ["127.0.0.1"], "not public"),
    ],
)
def test_the_rules(chosen: EgressRules, url: str, addresses: list[str], reason: str) -> None:
    found = refusal(chosen, url, *addresses)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("text", "networks", "written"),
    [
        ("fal.media, *.FAL.media.", False, "fal.media,*.fal.media"),
        ("::1,[::1]:80,127.0.0.1:80,10.0.0.0/8", True, "::1,[::1]:80,127.0.0.1:80,10.0.0.0/8"),
        (" ,", False, ""),
    ],
)
def test_a_list_has_one_form(text: str, networks: bool, written: str) -> None:
    assert str(HostList.parse(text, networks=networks)).replace("[::1],", "::1,") == written


@pytest.mark.parametrize(
    "text",
    ["https://fal.media", "fal.media/x", "*", "*.10.0.0.1", "a b", "10.0.0.0/8", "x:port", "user@host"],
)
def test_an_entry_that_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="separated by commas") as caught:
        HostList.parse(text)
    assert f" {text} " not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0/8", "::/129", "/8", "10.1.2.3/8", "10.0.0.1/31", "fd00::1/8"]
)
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="separated by commas"):
        HostList.parse(text, networks=True)


class Names:
    """A name server whose answer changes with each question."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = iter(answers)
        self.questions: list[str] = []

    def resolve(self, host: str, port: int) -> list[IpAddress]:
        """Return the next answer."""
        self.questions.append(host)
        return [ipaddress.ip_address(each) for each in next(self._answers)]


async def fetch(
    url: str, chosen: EgressRules, names: Names, tls: ssl.SSLContext | None = None
) -> httpx.Response:
    """Send a GET request through the transport."""
    transport = UntrustedTransport(chosen, tls or ssl.create_default_context(), resolve=names.resolve)
    async with httpx.AsyncClient(transport=transport) as http:
        return await http.get(url)


async def test_the_checked_address_is_the_one_that_is_used() -> None:
    names = Names(["127.0.0.1"], ["8.8.8.8"])
    with TrapServer.running() as trap:
        url = f"http://files.internal:{trap.server_port}/a.png"
        answer = await fetch(url, rules("", "files.internal"), names)

    assert answer.status_code == 200
    assert names.questions == ["files.internal"]
    [(path, headers)] = trap.requests
    assert (path, headers["Host"]) == ("/a.png", f"files.internal:{trap.server_port}")


async def test_a_name_whose_second_answer_is_private_is_refused_then() -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    transport = UntrustedTransport(
        rules("", "files.internal"), ssl.create_default_context(), resolve=names.resolve
    )
    with TrapServer.running() as trap:
        url = f"http://files.internal:{trap.server_port}/"
        async with httpx.AsyncClient(transport=transport) as http:
            await http.get(url)
            with pytest.raises(RefusedAddressError):
                await http.get(url)


async def test_the_next_address_is_used_if_the_first_refuses_the_connection() -> None:
    with TrapServer.running() as trap:
        url = f"http://files.internal:{trap.server_port}/"
        answer = await fetch(url, rules("", "files.internal"), Names(["127.9.9.9", "127.0.0.1"]))

    assert answer.status_code == 200


async def test_a_connection_to_no_address_is_one_error() -> None:
    url = f"http://files.internal:{free_port()}/"
    with pytest.raises(httpx.ConnectError):
        await fetch(url, rules("", "files.internal"), Names(["127.0.0.1", "::1"]))
    with pytest.raises(httpx.ConnectError):
        await fetch(url, rules("", "files.internal"), Names([]))


@contextmanager
def tls_server(certificate: Certificate, directory: Path) -> Iterator[tuple[TrapServer, list[str]]]:
    """Run a server with TLS, and yield it with the names that clients ask for."""
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, content in (("certificate", certificate.certificate), ("key", certificate.key)):
        (directory / name).write_bytes(content)
    context.load_cert_chain(directory / "certificate", directory / "key")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with ExitStack() as stack:
        server = stack.enter_context(TrapServer(200, "text/plain", b"fine"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield server, asked


async def test_the_certificate_must_be_that_of_the_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    right, wrong = Certificate.make("pictures.example"), Certificate.make()
    for certificate, is_right in ((right, True), (wrong, False)):
        directory = tmp_path_factory.mktemp("tls")
        trusting = ssl.create_default_context(cadata=certificate.certificate.decode())
        with tls_server(certificate, directory) as (server, asked):
            url = f"https://pictures.example:{server.server_port}/"
            chosen = rules("", "pictures.example")
            if is_right:
                assert (await fetch(url, chosen, Names(["127.0.0.1"]), trusting)).text == "fine"
            else:
                with pytest.raises(httpx.ConnectError):
                    await fetch(url, chosen, Names(["127.0.0.1"]), trusting)
        assert asked == ["pictures.example"]


async def test_a_proxy_receives_names_and_no_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with TrapServer.running() as proxy:
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        chosen = rules("", "files.internal")
        answer = await fetch("http://files.internal/a.png", chosen, Names())
        for refused in (
            "https://10.0.0.5/",
            "https://[::ffff:10.0.0.5]/",
            "https://0x0a000005/",
            "https://db/",
        ):
            with pytest.raises(RefusedAddressError):
                await fetch(refused, chosen, Names())

    assert answer.status_code == 200
    assert [path for path, _ in proxy.requests] == ["http://files.internal/a.png"]

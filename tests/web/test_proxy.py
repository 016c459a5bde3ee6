"""The web port behind a proxy, which has the certificate and says who calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.support.service import Deployment
from tests.support.web_calls import envelope

_WATCH = "/grpc.health.v1.Health/Watch"
_STREAM = {"content-type": "application/connect+json"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The web port of a service behind a proxy, as the proxy calls it."""
    deployment = Deployment.embedded(tmp_path_factory.mktemp("proxied"))
    port = deployment.web_target.rpartition(":")[2]
    try:
        deployment.start_server(
            WEB_ADDRESS=f"0.0.0.0:{port}", WEB_BEHIND_PROXY="true", ANONYMOUS_STREAMS_PER_PEER="1"
        )
        with httpx.Client(base_url=f"http://{deployment.web_target}", trust_env=False, timeout=30) as client:
            yield client
    finally:
        deployment.close()


def test_the_proxy_chooses_the_names_of_the_service(proxied: httpx.Client) -> None:
    assert proxied.get("/readyz", headers={"host": "avatars.example.com"}).status_code == 200


def test_limits_of_a_machine_are_those_of_the_proxys_client(proxied: httpx.Client) -> None:
    pieces: list[Iterator[bytes]] = []  # a stream that nothing refers to would be closed
    with ExitStack() as stack:

        def first_message(forwarded: str) -> bytes:
            answer = stack.enter_context(
                proxied.stream(
                    "POST", _WATCH, content=envelope(b"{}"), headers={**_STREAM, "x-forwarded-for": forwarded}
                )
            )
            pieces.append(answer.iter_raw())
            return next(pieces[-1])

        assert b"SERVING" in first_message("192.0.2.1")
        assert b"SERVING" in first_message("192.0.2.2")
        assert b"SERVING" in first_message("2001:db8::1")
        # The client itself has sent the first address.
        assert b"resource_exhausted" in first_message("192.0.2.3, 192.0.2.1")
        # Some proxies add the port of their client.
        assert b"resource_exhausted" in first_message("192.0.2.1:4711")
        assert b"resource_exhausted" in first_message("[2001:db8::1]:4711")
        # A client without an address counts as the proxy.
        assert b"SERVING" in first_message("unknown")
        assert b"resource_exhausted" in first_message("2001:db8::1::1")

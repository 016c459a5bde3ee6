"""Addresses in the provider's answers: the service reads no private address, and sends its key nowhere."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from PIL import Image
from structlog.testing import capture_logs

from tests import pictures
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.provider_recorder import Outputs
from tests.support.trap_server import SECRET, TrapServer
from tests.unit.huggingface_provider.drawing import KEY, REQUEST, draw, draw_and_fail, status


@pytest.fixture
def trap() -> Iterator[TrapServer]:
    """A web server of the private network."""
    with TrapServer.running() as server:
        yield server


def instant(**changes: object) -> Behavior:
    """Return the behavior of a job that completes at once."""
    return Behavior(run_seconds=0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"],
)
async def test_a_picture_at_a_private_address_is_not_read(
    fake: RouterFake, outputs: Outputs, trap: TrapServer, host: str
) -> None:
    fake.behave(instant(image_url=f"http://{host}:{trap.server_port}/latest/meta-data/"))

    with capture_logs() as logs:
        error = await draw_and_fail(fake, outputs)

    assert trap.requests == []
    assert (error.reason, error.retryable, error.charged) == ("PROVIDER_BAD_ANSWER", False, True)
    assert error.message == "the provider's picture is at an address that the service must not read"
    [refused] = [entry for entry in logs if entry["event"] == "picture_address_refused"]
    assert "PROVIDER_RESULT_PRIVATE_HOSTS" in refused["because"]


@pytest.mark.parametrize("private_hosts", ["", "files.internal"])
@pytest.mark.parametrize("is_redirect", [False, True])
async def test_an_address_without_tls_gets_the_same_answer_with_any_settings(
    fake: RouterFake, outputs: Outputs, private_hosts: str, is_redirect: bool
) -> None:
    address = "http://8.8.8.8/a.png"
    moved = status(302, "image", body="", headers={"Location": address})
    fake.behave(instant(faults=(moved,)) if is_redirect else instant(image_url=address))

    error = await draw_and_fail(fake, outputs, result_private_hosts=private_hosts)

    assert error.message == "the provider's picture is at an address that the service must not read"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_private_address_is_not_followed(
    fake: RouterFake, outputs: Outputs, trap: TrapServer, code: int
) -> None:
    fake.behave(instant(faults=(status(code, "image", body="", headers={"Location": f"{trap.url}/a.png"}),)))

    error = await draw_and_fail(fake, outputs)

    assert trap.requests == []
    assert error.message == "the provider's picture is at an address that the service must not read"


@pytest.mark.parametrize("code", [200, 403, 404, 500])
async def test_no_text_of_the_host_of_a_picture_reaches_the_user(
    fake: RouterFake, outputs: Outputs, code: int
) -> None:
    with TrapServer.running(code) as allowed, capture_logs() as logs:
        fake.behave(instant(image_url=f"{allowed.url}/a.png"))
        error = await draw_and_fail(fake, outputs, result_private_hosts="127.0.0.1")

    assert allowed.requests
    assert SECRET not in error.message
    assert (SECRET in json.dumps(logs)) == (code != 200)


@pytest.mark.parametrize("code", [302, 403, 404, 500])
async def test_the_host_of_a_picture_cannot_say_that_the_provider_charges_nothing(
    fake: RouterFake, outputs: Outputs, code: int
) -> None:
    fake.behave(instant(faults=(status(code, "image", headers={"X-Fal-Billable-Units": "0"}),)))

    assert (await draw_and_fail(fake, outputs)).charged


async def test_an_allowed_private_host_is_read_without_the_key(fake: RouterFake, outputs: Outputs) -> None:
    picture = pictures.png(Image.new("RGB", (REQUEST.width, REQUEST.height)))
    with TrapServer.running(200, "image/png", picture) as allowed:
        fake.behave(instant(image_url=f"{allowed.url}/a.png"))
        await draw(fake, outputs, result_private_hosts=f"127.0.0.1:{allowed.server_port}")

    [(path, headers)] = allowed.requests
    assert path == "/a.png"
    assert {name.lower() for name in headers} <= {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
    }


async def test_a_host_that_is_not_listed_is_not_read(fake: RouterFake, outputs: Outputs) -> None:
    fake.behave(instant(image_url="https://8.8.8.8/a.png"))

    with capture_logs() as logs:
        await draw_and_fail(fake, outputs, result_hosts="fal.media,*.fal.media")

    assert "not in PROVIDER_RESULT_HOSTS" in json.dumps(logs)


async def test_the_addresses_in_a_receipt_and_a_status_lead_to_no_other_host(
    fake: RouterFake, outputs: Outputs, trap: TrapServer
) -> None:
    def forged(path: str) -> dict[str, str]:
        return {
            "status": "IN_QUEUE",
            "request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b",
            **dict.fromkeys(("response_url", "status_url", "cancel_url"), f"{trap.url}/{path}"),
        }

    for path in ("x", "fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b", "@evil", "//evil/..\\"):
        fake.behave(status(200, body=forged(path)))
        await draw_and_fail(fake, outputs)

    assert trap.requests == []


async def test_a_redirect_of_the_router_takes_the_key_nowhere(
    fake: RouterFake, outputs: Outputs, trap: TrapServer
) -> None:
    for stage in ("submit", "status", "result"):
        fake.behave(instant(faults=(status(307, stage, body="", headers={"Location": trap.url}),)))
        await draw_and_fail(fake, outputs, result_private_hosts="127.0.0.1")

    assert trap.requests == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unknown"])
async def test_a_compressed_answer_is_not_expanded(fake: RouterFake, outputs: Outputs, encoding: str) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    with TrapServer.running(200, f"image/png\r\nContent-Encoding: {encoding}", bomb) as allowed:
        fake.behave(instant(image_url=f"{allowed.url}/a.png"))
        error = await draw_and_fail(fake, outputs, result_private_hosts="127.0.0.1")

    assert error.message == "the picture's address returned something that is not a picture"


async def test_no_cookie_of_an_answer_is_sent_back(fake: RouterFake, outputs: Outputs) -> None:
    cookie = {"Set-Cookie": "track=1; Path=/"}
    fake.behave(
        instant(faults=(status(200, "result", headers=cookie), status(200, "status", headers=cookie)))
    )
    await draw(fake, outputs)

    [submission] = fake.submissions()
    assert "cookie" not in {name.lower() for name, _ in submission["image_headers"][0]}


@pytest.mark.parametrize("seed", [-1, 2**64, True, "7", 10**4000])
async def test_a_seed_that_is_none_is_not_shown(fake: RouterFake, outputs: Outputs, seed: object) -> None:
    await draw(fake, outputs)
    picture = f"{fake.url}/files/{fake.submissions()[0]['request_id']}/0.png"
    fake.behave(instant(faults=(status(200, "result", body={"images": [{"url": picture}], "seed": seed}),)))

    portrait = await draw(fake, outputs)

    assert not [warning for warning in portrait.warnings if "seed" in warning]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "9" * 5000},
        {"Retry-After": "Mon, 99 Jan 99999999999999999999 00:00:00 GMT"},
        {"Retry-After": "Mon, 01 Jan 0001 00:00:00 +9999"},
        {"Retry-After": "nan"},
        {"Retry-After": "-inf"},
        {"Retry-After": "(" * 500},
    ],
)
async def test_an_absurd_delay_is_an_ordinary_failure(
    fake: RouterFake, outputs: Outputs, headers: dict[str, str]
) -> None:
    fake.behave(status(429, headers=headers))
    error = await draw_and_fail(fake, outputs)
    assert error.reason == "PROVIDER_OVERLOADED"
    assert 0 <= error.retry_after.total_seconds() <= 3600


@pytest.mark.parametrize("seconds", ["1" + "0" * 400, "1e999", "NaN", "-Infinity", "true", '"5"', "[5]"])
async def test_an_absurd_time_until_the_model_is_loaded_is_an_ordinary_failure(
    fake: RouterFake, outputs: Outputs, seconds: str
) -> None:
    fake.behave(status(503, body=f'{{"error": "loading", "estimated_time": {seconds}}}'))
    error = await draw_and_fail(fake, outputs)
    assert error.reason == "PROVIDER_UNAVAILABLE"
    assert 0 <= error.retry_after.total_seconds() <= 3600
    assert KEY not in error.message

"""Commands in an environment with proxies: this machine is reached directly, a remote one by the proxy."""

from __future__ import annotations

import json

import pytest

from tests.client.connect_proxy import ConnectProxy
from tests.contract.conftest import RunWithSettings
from tests.contract.settings_cases import DEAD_PROXIES
from tests.support.command_line import CommandLine, error_message, printed
from tests.support.doctor import checks_of
from tests.support.service import Deployment

SOCKS = {"all_proxy": "socks5://127.0.0.1:9"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_command_reaches_a_service_on_this_machine(command_line: CommandLine, host: str) -> None:
    command_line.target = command_line.target.replace("127.0.0.1", host)

    finished = command_line.run("projects", "create", "Spring", "--json", **DEAD_PROXIES)

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["name"] == "Spring"


def test_a_command_reaches_a_remote_service_through_the_proxy(
    shared_deployment: Deployment, command_line: CommandLine
) -> None:
    command_line.target = "avatars.invalid:50051"
    with ConnectProxy.running(int(shared_deployment.target.rpartition(":")[2])) as proxy:
        through_proxy = command_line.run("stats", "--json", https_proxy=proxy.url)
        direct = command_line.run("stats", https_proxy=proxy.url, no_proxy=".invalid")

    assert through_proxy.returncode == 0, through_proxy.stderr
    assert proxy.requested == ["avatars.invalid:50051"]
    assert error_message(direct).startswith("cannot reach avatars.invalid:50051: ")


def test_doctor_reaches_a_provider_on_this_machine(
    shared_deployment: Deployment, run: RunWithSettings, redis_url: str, database_url: str
) -> None:
    finished = run(
        "doctor",
        HUGGINGFACE_API_KEY="hf_x",
        HUGGINGFACE_BASE_URL=f"http://{shared_deployment.target}",
        HUGGINGFACE_HUB_URL=f"http://{shared_deployment.target}",
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        **DEAD_PROXIES,
    )

    # The address is that of a gRPC server, which is not a provider but answers.
    assert "no connection to its address" not in printed(finished)
    assert "the proxy refuses the connection" not in printed(finished)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://a:b"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(run: RunWithSettings, proxy: str) -> None:
    served = run("serve", MODERATION_URL="https://moderation.invalid/v1", all_proxy=proxy)
    examined = run("doctor", PROVIDER="huggingface", HUGGINGFACE_API_KEY="hf_x", all_proxy=proxy)

    message = (
        "http_proxy, https_proxy or all_proxy is not the URL of an HTTP proxy: set it to http://host:port"
    )
    assert error_message(served).startswith(message)
    check = checks_of(examined.stdout)["settings"]
    assert message in check.message
    assert examined.returncode == 1


def test_a_client_command_ignores_a_proxy_that_it_cannot_use(command_line: CommandLine) -> None:
    assert command_line.run("stats", **SOCKS).returncode == 0

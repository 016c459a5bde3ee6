"""The TypeScript client keeps its promises, alone and with a running service, over each of its protocols."""

from __future__ import annotations

import pytest

from tests.support.node import CLIENT, REPOSITORY, run_node_tests
from tests.support.service import Deployment

PICTURE = REPOSITORY / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"


def test_it_retries_resumes_and_reports_with_a_scripted_service() -> None:
    run_node_tests(*(CLIENT / "test" / "scripted").glob("*.test.ts"))


# The client sees only the protocols, which are the same on both stacks.
@pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)
def test_it_works_with_a_running_service(shared_deployment: Deployment) -> None:
    run_node_tests(
        *(CLIENT / "test" / "service").glob("*.test.ts"),
        AVATAR_CREATOR_GRPC_URL=f"http://{shared_deployment.target}",
        AVATAR_CREATOR_WEB_URL=f"http://{shared_deployment.web_target}",
        AVATAR_CREATOR_PICTURE=str(PICTURE),
        JWT_SECRET=shared_deployment.settings["JWT_SECRET"],
    )

"""The access log: a flood of refusals does not fill it, and does not hide the refusals of others."""

from __future__ import annotations

from collections import Counter

import grpc
from structlog.testing import capture_logs

from avatar_creator_server.api.access_log import (
    REFUSALS_PER_SECOND,
    REFUSALS_PER_USER,
    AccessLog,
)

LIST = "/avatar_creator.v1.AvatarProjectService/ListProjects"


async def test_each_user_has_a_share_of_the_logged_refusals_and_the_others_are_counted() -> None:
    now = 100.0
    access_log = AccessLog(lambda: now)

    def refuse(user: str, number: int) -> None:
        for _ in range(number):
            access_log.log_refusal(LIST, user, grpc.StatusCode.RESOURCE_EXHAUSTED)

    with capture_logs() as lines:
        refuse("many", 200)
        refuse("single", 1)
        refuse("", 50)
        now += 1
        refuse("many", 1)

    users = Counter(line["user"] for line in lines if line["event"] == "call_finished")
    assert users == {"many": REFUSALS_PER_USER + 1, "single": 1, "": REFUSALS_PER_USER}
    counted = [line["count"] for line in lines if line["event"] == "refusals_not_logged"]
    assert counted == [250 - 2 * REFUSALS_PER_USER]


async def test_a_second_has_a_limit_for_all_users() -> None:
    access_log = AccessLog(lambda: 100.0)

    with capture_logs() as lines:
        for user in range(100):
            access_log.log_refusal(LIST, str(user), grpc.StatusCode.UNAVAILABLE)
        access_log.report_not_logged()

    assert [line["event"] for line in lines].count("call_finished") == REFUSALS_PER_SECOND
    assert lines[-1]["count"] == 100 - REFUSALS_PER_SECOND

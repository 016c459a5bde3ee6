"""The server of the fake."""

from __future__ import annotations

from aiohttp import web

from tests.support.hosted_fake.behavior import Plan
from tests.support.hosted_fake.serving import controlled_application
from tests.support.hosted_fake.submissions import Submissions
from tests.support.replicate_api.predictions_api import PredictionsApi
from tests.support.replicate_api.problems import documented


def application() -> web.Application:
    """Create a fake without predictions and without faults."""
    plan = Plan("r8_")
    submissions = Submissions()
    app = controlled_application(plan, submissions, documented)
    PredictionsApi(plan, submissions).add_routes(app)
    return app

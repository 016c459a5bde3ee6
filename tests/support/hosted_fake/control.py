"""The control routes, through which a test in another process steers the fake."""

from __future__ import annotations

from aiohttp import web

from tests.support.hosted_fake.behavior import Plan
from tests.support.hosted_fake.submissions import Submissions


class Control:
    """Routes under `/_control`."""

    def __init__(self, plan: Plan, submissions: Submissions) -> None:
        """Create the routes for this plan and these submissions."""
        self._plan = plan
        self._submissions = submissions

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_post("/_control/behave", self._behave)
        app.router.add_get("/_control/submissions", self._show)
        app.router.add_post("/_control/finish", self._finish)
        app.router.add_post("/_control/let_pass", self._let_pass)
        app.router.add_post("/_control/reset", self._reset)

    async def _behave(self, request: web.Request) -> web.Response:
        try:
            self._plan.change(await request.json())
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._submissions.to_json())

    async def _finish(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        return web.json_response({"finished": self._submissions.finish(body.get("request_id"))})

    async def _let_pass(self, request: web.Request) -> web.Response:
        self._submissions.let_pass((await request.json())["seconds"])
        return web.json_response({})

    async def _reset(self, request: web.Request) -> web.Response:
        self._plan.clear()
        self._submissions.clear()
        return web.json_response({})

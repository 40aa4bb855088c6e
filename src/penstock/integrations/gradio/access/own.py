"""What operators ask for: the list of somebody who sees only his own runs, and runs that they begin."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ....errors import BodyTooLarge
from ..seams.inner import Answer, call, object_in

__all__ = ["OwnRuns", "as_nobodys"]

MOST_PAGES = 20
"""Pages of everybody's runs that are gone through for one of somebody's own: some ten thousand runs at the most.
The answer may then be short, or empty, and continues all the same."""

PAGE = 500
"""Runs in each of them: as many as the server gives."""

LIMIT = 50
"""Runs in an answer, where the request does not say."""


MOST_BYTES = 64 * 1024 * 1024
"""Of a submission. The server's own limit is lower; this one is for what is gathered before it."""


class OwnRuns:
    """GET /api/runs, without the runs that `is_own` refuses. What is searched for is looked for in those, too."""

    def __init__(self, server: ASGIApp, is_own: Callable[[Scope, str], Awaitable[bool]]) -> None:
        self._server = server
        self._is_own = is_own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        answer = await self._page(scope, query)
        limit = int(query.get("limit", LIMIT)) if answer.status == 200 else 0
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            if answer.status != 200:
                await _respond(answer.body, answer.status)(scope, receive, send)
                return
            page = msgspec.json.decode(answer.body)
            found += [run for run in page["runs"] if await self._is_own(scope, run["run_id"])]
            following = page["next"]
            if following is None or len(found) >= limit:
                break
            answer = await self._page(scope, {**query, "limit": str(PAGE), "before": following})
        if len(found) > limit:
            found, following = found[:limit], found[limit - 1]["run_id"]
        await _respond(msgspec.json.encode({"runs": found, "next": following}))(scope, receive, send)

    async def _page(self, scope: Scope, query: dict[str, str]) -> Answer:
        asked = {"method": "GET", "query_string": urlencode(query).encode(), "type": "http"}
        return await call(self._server, {**scope, **asked})


def _respond(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


async def as_nobodys(receive: Receive) -> Receive:
    """A submission without what says how Gradio's own events came: whose they are, and under whose name they run.

    So whoever runs a user's event again does so in a session of its own. Raises BodyTooLarge.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise BodyTooLarge(f"The body has over {MOST_BYTES} bytes.", hint="Send a smaller one.")
    given = object_in(bytes(body))
    if (
        given is not None
        and isinstance(given.get("input"), dict)
        and given["input"].pop("gradio", None) is not None
    ):
        body[:] = msgspec.json.encode(given)
    left: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def receiving() -> Message:
        return left.pop() if left else await receive()

    return receiving

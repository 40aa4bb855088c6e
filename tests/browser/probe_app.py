"""The site that the probe page comes from: Penstock mounted under a prefix, once open and once behind a login.

Started as a program, it serves on the port that it is given and keeps its store in the working folder.
"""

import asyncio
import secrets
import socket
import sys
from collections.abc import AsyncGenerator
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

import penstock

FILE = Path(__file__)

app = penstock.App(store="sqlite:///runs.db", allowed_hosts="127.0.0.1")

WORDS = ("plain ", "naïve ", "日本語 ", "🙂👩‍👧 ", "\n\n", "data: x\r\n", "id: 9-9\n", '"\\ ', "\u2028", ": ")
"""What a wire could trip over: several bytes a character, line breaks of every kind, its own field names."""

GATE_POLL_S = 0.02


async def story(
    seed: int, steps: int, pause_ms: float, run: penstock.Run, lane: str, gate: str = ""
) -> AsyncGenerator[Any, None]:
    """All kinds of events, in at least so many steps.

    lane: runs of one lane come one after the other.
    gate: a folder. Before the step that a file in it is named after, `N.shut`, the story waits for it to go away;
        while there is a file `more`, it goes on.
    """
    chance = Random(seed)
    for number in count():
        while gate and Path(gate, f"{number}.shut").exists():
            await asyncio.sleep(GATE_POLL_S)
        if number >= steps and not (gate and Path(gate, "more").exists()):
            break
        yield f"{number} {chance.choice(WORDS)}"
        if number % 5 == 0:
            run.progress(number, steps, "steps")
            yield penstock.Replace({"number": number, "seen": [number - 1, number]})
        if number % 7 == 0:
            yield {"number": number, "word": chance.choice(WORDS)}
        if number % 10 == 0:
            run.log(f"step {number}", number=number)
            with run.span(f"step {number}", kind="tool", input={"number": number}) as span:
                yield chance.choice(WORDS) * 3
                span.output = number
        await asyncio.sleep(pause_ms / 1000)


options: dict[str, Any] = {"concurrency_key": "lane", "concurrency_limit": None}
app.function(**options)(story)
app.function(name="story-again", on_crash="retry", **options)(story)


class Login:
    """A site's own check before Penstock, of tokens: as bearer, in the address or as cookie.

    They live until they are ended. Once it is closed to a page, those that the page is given are good for nothing.
    """

    def __init__(self, served: ASGIApp) -> None:
        self.served = served
        self.pages: dict[str, str] = {}  # of tokens that live
        self.closed: set[str] = set()

    def mint(self, page: str) -> str:
        token = secrets.token_hex(8)
        if page not in self.closed:
            self.pages[token] = page
        return token

    def end(self, page: str) -> None:
        """The tokens that the page has by now have had their time."""
        self.pages = {token: whose for token, whose in self.pages.items() if whose != page}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "/web/" in scope["path"] or _token_of(scope) in self.pages:
            await self.served(scope, receive, send)
        else:
            error = {"code": "unauthorized", "message": "The token has expired.", "hint": "Ask for another."}
            answer = JSONResponse({"error": error}, 401, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)


def _token_of(scope: Scope) -> str:
    headers = dict(scope["headers"])
    bearer = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
    query = parse_qs(scope["query_string"].decode()).get("token", [""])[0]
    cookie = SimpleCookie(headers.get(b"cookie", b"").decode()).get("token")
    return bearer or query or (cookie.value if cookie else "")


login = Login(app)


async def page(_: Request) -> Response:
    return FileResponse(FILE.with_name("probe.html"), headers={"Cache-Control": "no-cache"})


async def script(_: Request) -> Response:
    return FileResponse(FILE.with_name("probe.js"), media_type="text/javascript")


async def token(request: Request) -> Response:
    """A token for `?page=`; set as a cookie as well, for what can't send a header."""
    minted = login.mint(request.query_params["page"])
    answer = JSONResponse({"token": minted})
    answer.set_cookie("token", minted, path="/guarded", samesite="strict")
    return answer


async def expire(request: Request) -> Response:
    """The tokens of `?page=` expire now; with `&closed=1` so do those that it is given later."""
    page = request.query_params["page"]
    if "closed" in request.query_params:
        login.closed.add(page)
    login.end(page)
    return JSONResponse({})


ROUTES = [
    Route("/probe.html", page),
    Route("/probe.js", script),
    Route("/token", token),
    Route("/expire", expire, methods=["POST"]),
    Mount("/penstock", app),
    Mount("/guarded", login),
]


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"Penstock is ready at http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    site = Starlette(routes=ROUTES, lifespan=app.lifespan)
    Server(
        uvicorn.Config(site, port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=2)
    ).run()

"""Who may have what of Penstock's own server inside a Gradio app.

A page reads the runs of its own sessions and stops them; the modules of its script are open. Everything else is
for operators: who has the token, whom the app's login knows (all of it where `operators` names them, else their
own runs), or, where the app has no login, whoever sits at this machine.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders, QueryParams
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ....errors import ForbiddenOrigin, NotFound, NotOperator, PenstockError, Unauthorized, UnknownRun
from ....server.auth import Token, is_known_origin, path_of
from ....server.refusing import error_response, refuse
from .local import ThisMachine
from .own import OwnRuns, as_nobodys
from .owners import Owners, is_foreign, may_read

__all__ = ["Guard", "OwnerOfRun"]

OwnerOfRun = Callable[[str], Awaitable[tuple[bool, str | None]]]
"""Whether there is such a run that may be read, and whose it is."""

SCRIPT = "/web/gradio/page.js"

FIGURES = frozenset({"/", "/api/functions", "/api/queue", "/healthz", "/readyz", "/metrics"})
"""What tells of no run what was asked or answered: for whoever is logged in."""

_OF_ONE_RUN = re.compile(r"/api/runs/([^/]+)(/events|/ws|/cancel)?")

_MOUNT = re.compile(r"(/gradio_api)?/penstock$")


class Guard:
    """Stands in front of the server, below `…/penstock`.

    Args:
        owners: Who asks.
        owner_of_run: Whose a run is.
        server: Penstock's server, which asks for nothing itself.
        console: False for a page's own runs only.
        operators: Names of logins that see everything; None for each login its own.
        token: A secret that opens everything; empty for none.
    """

    def __init__(
        self,
        owners: Owners,
        owner_of_run: OwnerOfRun,
        server: ASGIApp,
        *,
        console: bool = True,
        operators: Collection[str] | None = None,
        token: str | None = None,
    ) -> None:
        self._owners = owners
        self._owner_of_run = owner_of_run
        self._server = server
        self._console = console
        self._operators = operators
        self._token = Token(token) if token else None
        self._here: Final = ThisMachine()
        self._own_runs = OwnRuns(server, self._is_own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose `root_path` ends with where this is mounted."""
        scope = _with_plain_root(scope)
        self._here.notice(scope)
        try:
            app = await self._app_for(scope)
        except PenstockError as error:
            await refuse(error_response(error), scope, receive, send)
            return
        await app(scope, receive, send)

    async def _app_for(self, scope: Scope) -> ASGIApp:
        path = path_of(scope)
        if path.startswith("/web/"):
            return self._modules
        if is_foreign(scope) or not (_says_same_origin(scope) or is_known_origin(scope, frozenset())):
            hint = "A proxy has to pass on the Host header."
            raise ForbiddenOrigin("Pages of other addresses may not ask this.", hint=hint)
        runs = _runs_in(scope, path)
        if runs is None:
            return await self._for_operator(scope, path)
        if self._has_token(scope):
            return self._server
        if not await self._owners.admits(scope):
            return self._owners.refuse
        for run_id in runs:
            if not (await self._may_read(scope, run_id) or await self._sees_all(scope)):
                # Word for word what is said of one that does not exist.
                raise UnknownRun(
                    f"There is no run {run_id!r}.", hint="It may be of another store, or long gone."
                )
        return self._server

    async def _modules(self, scope: Scope, receive: Receive, send: Send) -> None:
        if path_of(scope) == SCRIPT and not (is_foreign(scope) or self._owners.has_cookie(scope)):
            # The page came from elsewhere (a rendering server), and could not bring it.
            root = _MOUNT.sub("", scope["root_path"])
            send = _with_headers(send, self._owners.page_headers({**scope, "root_path": root}))
        await self._server(scope, receive, send)

    # A page's own

    async def _may_read(self, scope: Scope, run_id: str) -> bool:
        known, owner = await self._owner_of_run(run_id)
        return known and may_read(await self._owners.of(scope), owner)

    async def _is_own(self, scope: Scope, run_id: str) -> bool:
        known, owner = await self._owner_of_run(run_id)
        return known and owner is not None and may_read(await self._owners.of(scope), owner)

    # Operators

    async def _for_operator(self, scope: Scope, path: str) -> ASGIApp:
        if not self._console:
            raise NotFound("There is no console here.", hint="It was left out: install(console=False).")
        if path == "":
            return RedirectResponse(f"{scope['path'].rsplit('/', 1)[-1]}/{_query(scope)}", status_code=307)
        if await self._sees_all(scope):
            return self._submit if (scope.get("method"), path) == ("POST", "/api/runs") else self._server
        if (entry := self._entry(scope)) is not None:
            return entry
        if not self._owners.login_required:
            hint = "Set one, install(token=…), and open the console once as ./?token=…"
            raise Unauthorized("It opens to this machine's user only, and without a proxy.", hint=hint)
        if not await self._owners.admits(scope):
            return self._owners.refuse
        return self._for_user(scope, path)

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            submission = await as_nobodys(receive)
        except PenstockError as error:
            await refuse(error_response(error), scope, receive, send)
        else:
            await self._server(scope, submission, send)

    def _for_user(self, scope: Scope, path: str) -> ASGIApp:
        if self._operators is None and scope.get("method") in ("GET", "HEAD"):
            if path in FIGURES:
                return self._server
            if path == "/api/runs":
                return self._own_runs
        raise NotOperator("This is for operators.", hint="install(operators=[…]) names who they are.")

    async def _sees_all(self, scope: Scope) -> bool:
        if not self._console:
            return False
        if self._has_token(scope):
            return True
        login, operators = await self._owners.login(scope), self._operators or ()
        if self._owners.login_required:
            return login.admitted and login.user in operators
        if login.oauth_name is not None and login.oauth_name in operators:
            return True
        return not self._owners.has_proxy and await self._here.has_sent(scope)

    def _has_token(self, scope: Scope) -> bool:
        return self._token is not None and self._token.is_in(scope)

    def _entry(self, scope: Scope) -> Response | None:
        return None if self._token is None else self._token.entry(scope)


def _runs_in(scope: Scope, path: str) -> list[str] | None:
    """The runs that a request is about; None where it is about anything else."""
    if scope["type"] == "websocket":
        found = _OF_ONE_RUN.fullmatch(path)
        return [found[1]] if found else None
    reads = scope["method"] in ("GET", "HEAD")
    if path == "/api/events" and reads:
        return [one.partition("@")[0] for one in QueryParams(scope["query_string"]).getlist("stream")] or None
    found = _OF_ONE_RUN.fullmatch(path)
    if found is None:
        return None
    return [found[1]] if reads or (scope["method"], found[2]) == ("POST", "/cancel") else None


def _with_plain_root(scope: Scope) -> Scope:
    # A root path of Gradio's may be a whole address.
    root, below = urlsplit(scope.get("root_path", "")).path, path_of(scope)
    return {**scope, "root_path": root, "path": root + below}


def _says_same_origin(scope: Scope) -> bool:
    return (b"sec-fetch-site", b"same-origin") in scope["headers"]


def _query(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"?{query}" if query else ""


def _with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            for name, value in more:
                headers.append(name.decode(), value.decode())
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending

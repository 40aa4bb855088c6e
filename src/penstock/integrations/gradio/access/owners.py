"""Who asks, and whose a session is: somebody that Gradio knows, else a browser that has our cookie, else nobody.

An owner is a text: `user:NAME` of Gradio's login, `oauth:ID` of an account elsewhere, `cookie:DIGEST` of a
browser, or None where nobody can be told from another (a client that sends no cookie). Somebody who has logged in
with OAuth is `oauth:ID cookie:DIGEST`: what he begins is his only, yet he may read on what his browser had begun.
"""

import hashlib
import re
import secrets
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ....server.refusing import refuse
from .logins import Login, Logins

__all__ = ["COOKIE", "Owners", "is_foreign", "may_read", "owner_after", "username_of"]

COOKIE = "penstock-gradio"

COOKIE_BYTES = 32
"""Of chance in a cookie: more than anybody can guess, in 43 characters."""

COOKIE_KEPT_S = 30 * 24 * 3600
"""How long a browser keeps it after the last page: runs that were stored are still its own after a holiday."""

_IN_HEADER = re.compile(rb"(?:^|;)[ \t]*" + COOKIE.encode() + rb"=([A-Za-z0-9_-]{43})[ \t]*(?=;|$)")

_ASKING = "penstock.gradio.login"
"""Where a request's scope keeps what Gradio said, so that it is asked once for each."""

REFUSED = b'{"detail":{"error":"Not authenticated"}}'


def may_read(asking: str | None, owner: str | None) -> bool:
    """Whether somebody may read, feed and stop what an owner has begun. What nobody owns goes by its hash."""
    return owner is None or (asking is not None and _first(owner) in asking.split(" "))


def owner_after(asking: str | None, owner: str | None) -> str | None:
    """Whose a session is, once somebody who may read it has begun something in it.

    It stays whose it was, with one exception: a browser's session in which its user goes on after a login is that
    user's from then on, as what a logged-in user begins is nobody else's who comes to that browser later.
    """
    goes_on = asking is not None and owner is not None and may_read(asking, owner)
    return asking if goes_on and _first(str(asking)) != _first(str(owner)) else owner


def username_of(owner: str | None) -> str | None:
    """The name of Gradio's login, where the owner has one."""
    kind, _, name = _first(owner or "").partition(":")
    return unquote(name) if kind == "user" else None


def is_foreign(scope: Scope) -> bool:
    """Whether a page of another site asks, and not a person who follows a link.

    Browsers say so, and no page can make them say otherwise. Where they say nothing, our cookie is SameSite=Lax.
    """
    said = {name: value for name, value in scope["headers"] if name in (b"sec-fetch-site", b"sec-fetch-mode")}
    follows = said.get(b"sec-fetch-mode") == b"navigate" and scope.get("method") in ("GET", "HEAD")
    return said.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and not follows


class Owners:
    """Who asks. gradio: Gradio's App object. inner: the application that the middleware stands in front of."""

    def __init__(self, gradio: Any, inner: ASGIApp) -> None:
        self._logins = Logins(gradio, inner)

    @property
    def login_required(self) -> bool:
        """Whether Gradio lets in only whoever has logged in."""
        return self._logins.required

    @property
    def has_proxy(self) -> bool:
        """Whether Gradio itself has put something in front of it that runs on this machine."""
        return self._logins.has_proxy

    async def login(self, scope: Scope) -> Login:
        """What Gradio knows of who asks."""
        if _ASKING not in scope:
            scope[_ASKING] = await self._logins.of(scope)
        login: Login = scope[_ASKING]
        return login

    async def of(self, scope: Scope) -> str | None:
        """Who asks, and so whose it will be what he begins."""
        if is_foreign(scope):  # pages of other sites speak for nobody, whatever cookies browsers add to it
            return None
        login, browser = await self.login(scope), _browser(scope)
        if login.user is not None:
            return f"user:{_word(login.user)}"
        if login.oauth is None:
            return browser
        return " ".join(filter(None, [f"oauth:{_word(login.oauth)}", browser]))

    async def admits(self, scope: Scope) -> bool:
        """Gradio's own login check, to be asked before anything is answered from the log."""
        return (await self.login(scope)).admitted

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is not admitted, as Gradio does."""
        said = await self._logins.answer(scope, "/login_check")
        if said.status < 400:  # a login came between
            said = said._replace(status=401, headers=[], body=REFUSED)
        kept = {name.decode("latin-1"): value.decode("latin-1") for name, value in said.headers}
        await refuse(Response(said.body, said.status, kept), scope, receive, send)

    def page_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What goes with a page: the cookie, new or for longer. So no cache may share it."""
        root = urlsplit(scope.get("root_path", ""))
        value = _value(scope) or secrets.token_urlsafe(COOKIE_BYTES)
        path = quote(root.path.rstrip("/") or "/", safe="/~!$&'()*+:@")
        cookie = f"{COOKIE}={value}; Path={path}; Max-Age={COOKIE_KEPT_S}; HttpOnly; SameSite=Lax"
        if _is_secure(scope) or root.scheme == "https":
            cookie += "; Secure"
        return [(b"set-cookie", cookie.encode()), (b"cache-control", b"private")]

    def has_cookie(self, scope: Scope) -> bool:
        """Whether the browser has a cookie of ours."""
        return _value(scope) is not None


def _value(scope: Scope) -> str | None:
    # The first: browsers send the cookie of the longest path first, that of this very app.
    for name, header in scope["headers"]:
        if name == b"cookie" and (found := _IN_HEADER.search(header)):
            return found[1].decode()
    return None


def _browser(scope: Scope) -> str | None:
    value = _value(scope)
    # Who reads the store does not learn the cookie.
    return None if value is None else f"cookie:{hashlib.sha256(value.encode()).hexdigest()[:32]}"


def _is_secure(scope: Scope) -> bool:
    forwarded = next((value for name, value in scope["headers"] if name == b"x-forwarded-proto"), b"")
    return scope.get("scheme") == "https" or forwarded.split(b",")[0].strip() == b"https"


def _word(name: object) -> str:
    return quote(str(name), safe="@.-_")


def _first(owner: str) -> str:
    return owner.split(" ", 1)[0]

"""Who may speak to the server: whoever has the token, or, where there is none, whoever is on this machine."""

import hashlib
import hmac
import ipaddress
import re
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import ForbiddenHost, ForbiddenOrigin, PenstockError, Unauthorized
from .refusing import refuse

__all__ = [
    "Token",
    "hosts_in",
    "is_known_origin",
    "is_loopback",
    "path_of",
    "require_known_host",
    "require_known_origin",
    "require_token",
]

COOKIE = "penstock"

_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")

_ORIGIN = re.compile(r"(https?)://([^/]+)")

DEFAULT_PORTS = {"http": "80", "https": "443"}

CONNECTIONS = ("http", "websocket")

OPEN_PATHS = ("/healthz",)
"""Answered to anyone: load balancers carry no token."""


@lru_cache(maxsize=256)  # asked at each request; the names in use are few
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Token:
    """A secret that requests carry: as a bearer, or as the cookie that `/?token=…` sets."""

    def __init__(self, token: str) -> None:
        self._token = token
        # The cookie holds a digest: who reads a browser's cookies does not learn the token.
        self._cookie = hmac.new(token.encode(), b"penstock cookie", hashlib.sha256).hexdigest()

    def is_in(self, scope: Scope) -> bool:
        """Whether a request carries it."""
        return _allowed(scope, self._token, self._cookie)

    def entry(self, scope: Scope) -> Response | None:
        """The answer that sets the cookie, to a page that is opened with the token in its address."""
        return _entry(scope, self._token, self._cookie)


def require_token(app: ASGIApp, secret: str) -> ASGIApp:
    """Let requests through that carry the token."""
    token = Token(secret)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in CONNECTIONS or path_of(scope) in OPEN_PATHS or token.is_in(scope):
            await app(scope, receive, send)
        elif (entry := token.entry(scope)) is not None:
            await entry(scope, receive, send)
        else:
            hint = "Send Authorization: Bearer TOKEN, or open the page once as /?token=TOKEN."
            error = Unauthorized("The token is missing or wrong.", hint=hint)
            await refuse(_answer(error), scope, receive, send)

    return guarded


def require_known_host(app: ASGIApp, allowed: frozenset[str]) -> ASGIApp:
    """Refuse names that are not this machine's: a page of another site could otherwise point its own name here."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        host = _name_in(_header(scope, b"host")) if scope["type"] in CONNECTIONS else "localhost"
        if is_loopback(host) or host in allowed:
            await app(scope, receive, send)
        else:
            hint = "Set a token (--token), or name the host with --allowed-hosts."
            error = ForbiddenHost(f"This server does not answer to {host!r}.", hint=hint)
            await refuse(_answer(error), scope, receive, send)

    return guarded


def require_known_origin(app: ASGIApp, allowed: frozenset[str]) -> ASGIApp:
    """Refuse WebSockets to pages of other sites: browsers open them for any page, and send our cookie along."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or is_known_origin(scope, allowed):
            await app(scope, receive, send)
        else:
            origin = _header(scope, b"origin").decode("latin-1")
            hint = "Name its host with --allowed-hosts; a proxy has to pass on the Host header."
            error = ForbiddenOrigin(f"Pages of {origin!r} may not open a WebSocket here.", hint=hint)
            await refuse(_answer(error), scope, receive, send)

    return guarded


def hosts_in(setting: str) -> frozenset[str]:
    """The names in `allowed_hosts`."""
    return frozenset(filter(None, map(str.strip, setting.lower().split(","))))


def path_of(scope: Scope) -> str:
    """The path below where the app is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def is_known_origin(scope: Scope, allowed: frozenset[str]) -> bool:
    """Whether a request comes from a page of this host, or one that is allowed; or from no page at all."""
    origin = _header(scope, b"origin").decode("latin-1").lower()
    if not origin:
        return True
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    scheme, place = match.groups()
    host = _header(scope, b"host").decode("latin-1").lower()
    same = place.removesuffix(f":{DEFAULT_PORTS[scheme]}") == host.removesuffix(f":{DEFAULT_PORTS[scheme]}")
    return same or _name_in(place.encode("latin-1")) in allowed


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


@lru_cache(maxsize=256)
def _name_in(header: bytes) -> str:
    host = header.decode("latin-1")
    match = _HOST.fullmatch(host)
    return (match[1] if match else host).lower()


def _allowed(scope: Scope, token: str, cookie: str) -> bool:
    headers = Headers(scope=scope)
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(bearer.strip(), token):
        return True
    # Not http.cookies: that gives up at the first cookie it can't read, and others on this host may be such.
    return _same(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), cookie)


def _entry(scope: Scope, token: str, cookie: str) -> Response | None:
    """The page opened with the token in its address: keep it as a cookie, and out of the address bar."""
    if scope["type"] != "http":
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    given = [value for name, value in query if name == "token"]
    if path_of(scope) != "/" or not given or not _same(given[-1], token):
        return None
    rest = urlencode([pair for pair in query if pair[0] != "token"])
    response = RedirectResponse(f"{scope.get('root_path', '')}/{'?' if rest else ''}{rest}", status_code=303)
    path = f"{scope.get('root_path', '')}/"
    secure = scope.get("scheme") == "https"
    response.set_cookie(COOKIE, cookie, path=path, httponly=True, samesite="strict", secure=secure)
    return response


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _answer(error: PenstockError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return Response(
        msgspec.json.encode({"error": error.as_dict()}), error.status, headers, "application/json"
    )

"""What Gradio itself knows of who asks: `auth=`, `auth_dependency=`, and a login with OAuth."""

import importlib
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec
from starlette.types import ASGIApp, Scope

from ..seams.inner import API, Answer, call

__all__ = ["ANYBODY", "Login", "Logins", "asked_on_behalf_of"]

KNOWN_S = 1.0
"""How long a name that Gradio gave for some cookies stands, as joins come in bursts. A logout counts after it."""

KNOWN = 1024
"""Cookies whose names are remembered: users of that second."""


class Login(NamedTuple):
    """What Gradio says of a request.

    admitted: it may go on. user: the name it is logged in under. oauth: the id of an account elsewhere that it has
    proved to be, and `oauth_name`, which that account may change.
    """

    admitted: bool
    user: str | None = None
    oauth: str | None = None
    oauth_name: str | None = None


ANYBODY = Login(admitted=True)


class Logins:
    """Asks Gradio. gradio: its App object. inner: the application that the middleware stands in front of."""

    def __init__(self, gradio: Any, inner: ASGIApp) -> None:
        self._gradio = gradio
        self._inner = inner
        self._known: OrderedDict[tuple[bytes, ...], tuple[float, Login]] = OrderedDict()

    @property
    def required(self) -> bool:
        """Whether Gradio lets in only whoever has logged in. Where that can't be seen: it might."""
        return self._has("auth") or self._has("auth_dependency")

    def _has(self, name: str) -> bool:
        return getattr(self._gradio, name, name) is not None

    @property
    def has_proxy(self) -> bool:
        """Whether Gradio has a proxy of its own on this machine: the server that renders, or a shared link's."""
        blocks = getattr(self._gradio, "blocks", None)
        return bool(getattr(blocks, "ssr_mode", False) or getattr(blocks, "share", False))

    async def of(self, scope: Scope) -> Login:
        """Who asks. Costs next to nothing where no login is required."""
        if not self.required:
            return self._with_oauth(scope)
        if self._has("auth_dependency"):  # it may look at anything in the request
            return await self._ask(scope)
        cookies = tuple(value for name, value in scope["headers"] if name == b"cookie")
        known = self._known.get(cookies)
        if known is None or known[0] < time.monotonic():
            known = self._remember(cookies, await self._ask(scope))
        return known[1]

    def _remember(self, cookies: tuple[bytes, ...], login: Login) -> tuple[float, Login]:
        known = time.monotonic() + KNOWN_S, login
        if login.admitted:  # who is not may be in a moment
            self._known[cookies] = known
            self._known.move_to_end(cookies)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return known

    async def _ask(self, scope: Scope) -> Login:
        answer = await self.answer(scope, "/user")
        if answer.status == 200:
            user = msgspec.json.decode(answer.body)
            return Login(user is not None, user)
        # An auth_dependency may refuse in its own way, or name somebody by something that is no text.
        return Login((await self.answer(scope, "/login_check")).status == 200)

    async def answer(self, scope: Scope, path: str) -> Answer:
        """What Gradio's API answers at this path to whoever asks."""
        try:
            return await call(self._inner, asked_on_behalf_of(scope, f"{API}{path}"))
        except Exception:  # noqa: BLE001 - an auth_dependency of the app's that fails: the log has it from there
            return Answer(500, [], b"")

    def _with_oauth(self, scope: Scope) -> Login:
        if "session" not in scope or not self._trusts_oauth():
            return ANYBODY
        info = scope["session"].get("oauth_info") or {}
        if (info.get("expires_at") or float("inf")) < time.time():
            return ANYBODY
        account = info.get("userinfo") or {}
        name = account.get("preferred_username")
        return ANYBODY._replace(oauth=account.get("sub") or name, oauth_name=name)

    def _trusts_oauth(self) -> bool:
        # Elsewhere than on Spaces everybody who presses the button gets the same account, and without a secret the
        # key of the session's cookie is known to all.
        if not getattr(getattr(self._gradio, "blocks", None), "expects_oauth", False):
            return False
        try:
            oauth, utils = importlib.import_module("gradio.oauth"), importlib.import_module("gradio.utils")
            return bool(oauth.OAUTH_CLIENT_SECRET) and utils.get_space() is not None
        except (ImportError, AttributeError):
            return False


def asked_on_behalf_of(scope: Scope, route: str) -> Scope:
    """The same request, with all that outer applications have put into it, for another address; without a body."""
    dropped = (b"content-length", b"content-type", b"transfer-encoding")
    headers = [one for one in scope["headers"] if one[0] not in dropped]
    root = scope.get("root_path", "")
    path = f"{root if scope['path'].startswith(root) else ''}{route}"
    asked = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    return {**scope, **asked, "headers": headers}

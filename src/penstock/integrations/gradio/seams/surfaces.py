"""Every private surface of Gradio that Penstock touches, in one table, and the only doors to them.

What Gradio documents, and its HTTP protocol, are not listed: its own clients depend on them. Each surface is
looked for in the Gradio that runs. Where one is missing, pages are reconnected and nothing more is promised: never
a broken app.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

from .functions import Dependency, dependency, fit
from .line import harden_line, is_private_line, spare_mailbox

__all__ = [
    "NEWEST_TESTED",
    "OLDEST",
    "SUPPORTED",
    "TABLE",
    "Mode",
    "Surface",
    "Surfaces",
    "detect",
    "mend",
    "numbers",
]

log = logging.getLogger("penstock")

OLDEST = (5, 50)
"""The oldest supported version."""

NEWEST_TESTED = (6, 31)
"""The newest version with which the tests have run. A later one may be different where no test has looked."""

SUPPORTED = ".".join(map(str, OLDEST)) + " to " + ".".join(map(str, NEWEST_TESTED))

NATIVE = "resume_event_id"
"""The name by which Gradio's own branch for resuming asks for what a page has missed."""

HEARTBEAT_S = 15.0
"""Gradio's interval between heartbeats, in the versions that don't tell."""

ONLY_RECONNECTED = "pages are reconnected, but not restored after a reload."

Mode = Literal["full", "reconnect", "aside"]
"""`full`: everything. `reconnect`: streams and sessions outlive connections; nothing is restored after a reload.
`aside`: Gradio does it itself, and Penstock nothing."""


class Surface(NamedTuple):
    """One private surface, which only the modules of this package touch.

    found: whether this Gradio app has it; None for those in the page, where the page's script looks itself.
    since, until: the tested versions that have it.
    """

    name: str
    use: str
    without: str
    found: Callable[[Any], bool] | None
    since: str = "5.50"
    until: str = "6.31"


def _queue(app: Any) -> Any:
    return _queue_of(app.blocks)


def _queue_of(blocks: Any) -> Any:
    return getattr(blocks, "_queue", None)


TABLE = (
    Surface(
        "routes.App.create_app",
        "called by launch(), mount_gradio_app(), gr.Server and reload mode alike: takes our middleware in",
        "install() does nothing, and says so",
        None,
    ),
    Surface(
        "App.blocks, Blocks.fns, BlockFunction.*",
        "names, limits and kinds of functions",
        "runs are named by number, and idempotent marks are not found",
        lambda app: hasattr(app.blocks, "fns") and all(hasattr(fn, "fn") for fn in app.blocks.fns.values()),
    ),
    Surface(
        "App.state_holder.session_data[…].blocks_config.fns",
        "functions that @gr.render has made for one session",
        "those are named by number",
        lambda app: hasattr(getattr(app, "state_holder", None), "session_data"),
    ),
    Surface(
        "App.tokens, App.cookie_id",
        "a login for the moment in which a run of before a restart is submitted again",
        "such a run waits until its user is back",
        lambda app: isinstance(getattr(app, "tokens", None), dict) and hasattr(app, "cookie_id"),
    ),
    Surface(
        "App.auth, App.auth_dependency",
        "whether a login is required: only then is Gradio asked who somebody is (logins.py)",
        "it is asked at each request",
        lambda app: hasattr(app, "auth") and hasattr(app, "auth_dependency"),
    ),
    Surface(
        "Blocks.expects_oauth, oauth.OAUTH_CLIENT_SECRET, utils.get_space, session[oauth_info]",
        "who has logged in with an account elsewhere (logins.py)",
        "his browser's cookie owns what he begins",
        None,
    ),
    Surface(
        "Blocks.ssr_mode, Blocks.share",
        "telling that Gradio has put a proxy of its own in front, which makes every request local (logins.py)",
        "the console's other checks stand alone",
        lambda app: hasattr(app.blocks, "ssr_mode") or hasattr(app.blocks, "share"),
    ),
    Surface(
        "Blocks._queue, Queue.pending_messages_per_session, Queue.pending_event_ids_session",
        "the mailboxes of sessions: those that are in use are kept, whatever their number",
        "a session is cut off by the 2,000th after it",
        lambda app: is_private_line(_queue(app), "pending_messages_per_session", "pending_event_ids_session"),
    ),
    Surface(
        "Queue.start_progress_updates",
        "begun again when it dies",
        "one error ends the progress of all sessions",
        lambda app: is_private_line(_queue(app), "start_progress_updates"),
    ),
    Surface(
        "Queue.compute_analytics_summary, Queue.cached_event_analytics_summary",
        "the summary for /monitoring is made when it is asked for, not after each event",
        "some 45 % of what an event costs the queue is spent on it",
        lambda app: is_private_line(
            _queue(app), "compute_analytics_summary", "cached_event_analytics_summary"
        ),
    ),
    Surface(
        "Queue.default_concurrency_limit",
        "the limit of functions that name none",
        "the console shows 1",
        lambda app: is_private_line(_queue(app), "default_concurrency_limit"),
    ),
    Surface(
        "utils.get_heartbeat_rate",
        "the interval of heartbeats, where it can be set",
        "15 seconds, as the versions before have it",
        None,
        since="6.31",
    ),
    Surface(
        "Blocks.get_instances, Blocks.is_running, Blocks.custom_mount_path",
        "telling that install() comes too late",
        "it is not told",
        None,
    ),
    Surface(
        "http_server.start_server, Blocks.block_thread",
        "`penstock serve app.py`: launch() is given our server",
        "`penstock serve` refuses Gradio apps; `penstock gradio` serves them",
        None,
    ),
    Surface(
        "Blocks.call_function, utils.async_iteration, utils.SyncToAsyncIterator, Component._id …",
        "merging fast yields before Gradio looks at them (merging.py looks for them itself)",
        "each yield is sent",
        None,
    ),
    Surface(
        "Queue.pending_messages_per_session",
        "a generator waits while what it has yielded is on its way into the store (room.py)",
        "it does not wait",
        None,
    ),
    Surface(
        "the functions of /queue/join and /queue/data, App.auth, App.auth_dependency, data_classes.PredictBody",
        "joining and hearing without the way through HTTP (direct.py looks for them itself)",
        "the way through HTTP is gone",
        None,
    ),
    Surface(
        "node_server.start_node_process",
        "Node, which renders pages where SSR is on, puts our script into them (rendering.py)",
        "such pages are left as they are",
        None,
    ),
    Surface(
        "Request.signal of the page's own stream, read after its answer",
        "a page that is asked whether it may be left, and stays, goes on listening (wrap.js)",
        "it is loaded again when it comes back from the browser's cache",
        None,
    ),
    Surface(
        "StateHolder.session_data, SessionState.state_data, SessionState._state_ttl, BlockFunction.*",
        "gr.State values that have a JSON form are given back after a restart (stateful.py looks itself)",
        "they begin at their defaults after a restart",
        None,
    ),
    Surface(
        "window.gradio_config",
        "hearing of inputs, restoring them and attaching to what runs, after a reload (the page looks itself)",
        "a reloaded page begins anew",
        None,
    ),
)
"""All of them."""


@dataclass(frozen=True)
class Surfaces:
    """What one Gradio app has, and the ways to it. Its methods never raise for what is missing."""

    version: str
    mode: Mode
    label: str = ""
    """Tells the functions of several apps in one process apart; empty for the first."""
    missing: tuple[str, ...] = ()
    heartbeat_s: float = HEARTBEAT_S

    @property
    def has_sessions(self) -> bool:
        """Whether functions that were made for one session can be told."""
        return not any("state_holder" in name for name in self.missing)

    def stopped(self, app: Any) -> bool:
        """Whether Gradio's queue takes no more: its server ends."""
        return bool(getattr(_queue(app), "stopped", False))

    def functions(self, app: Any) -> list[Dependency]:
        """All functions of the app, as it is now: reload mode changes it."""
        fns = getattr(app.blocks, "fns", {})
        return [self._known(app, index, fns) for index in fns]

    def dependency(
        self, app: Any, session_hash: str | None, fn_index: int | None, api_name: str | None = None
    ) -> Dependency:
        """The function that an event calls; of the session's own ones where it has any."""
        fns = self._functions_of(app, session_hash)
        if fn_index is None:
            named = (index for index, fn in fns.items() if getattr(fn, "api_name", None) == api_name)
            fn_index = next(named, -1)
        if fn_index in fns:
            return self._known(app, fn_index, fns)
        return Dependency(fn_index, self._labelled(fit(api_name or f"function_{fn_index}")), api_name)

    def _functions_of(self, app: Any, session_hash: str | None) -> dict[int, Any]:
        # Not by [session_hash], which makes a session where there is none.
        sessions = getattr(getattr(app, "state_holder", None), "session_data", {})
        config = getattr(sessions.get(session_hash), "blocks_config", None)
        found: dict[int, Any] = getattr(config, "fns", None) or getattr(app.blocks, "fns", {})
        return found

    def _known(self, app: Any, index: int, fns: dict[int, Any]) -> Dependency:
        limit = getattr(_queue(app), "default_concurrency_limit", 1)
        found = dependency(index, fns[index], fns, limit)
        group = found.concurrency_id
        named = {"name": self._labelled(found.name), "concurrency_id": group and self._labelled(group)}
        return Dependency(**vars(found) | named)

    def _labelled(self, name: str) -> str:
        return f"{self.label}.{name}" if self.label else name

    def forget_session(self, app: Any, session_hash: str) -> None:
        """A session is over: drop its mailbox, unless an event still writes to it."""
        spare_mailbox(_queue(app), session_hash)

    @contextmanager
    def login_as(self, app: Any, username: str | None) -> Iterator[list[tuple[bytes, bytes]] | None]:
        """Headers of a request that the app takes for this user's, while the context lasts.

        Empty where nobody was logged in; None where the app can't be told: its login is another one's
        (`auth_dependency`), or the surface is missing.
        """
        if username is None:
            yield []
            return
        tokens, name = getattr(app, "tokens", None), getattr(app, "cookie_id", None)
        if getattr(app, "auth_dependency", None) is not None or not isinstance(tokens, dict) or name is None:
            yield None
            return
        token = secrets.token_urlsafe(16)
        tokens[token] = username
        try:
            yield [(b"cookie", f"access-token-{name}={token}; access-token-unsecure-{name}={token}".encode())]
        finally:
            tokens.pop(token, None)


def mend(app: Any) -> bool:
    """Mend what can be mended of the app's own line, before it starts: see `line`. Whether it is ours to mend."""
    import gradio

    if _resumes_itself(str(gradio.__version__)):
        return False
    harden_line(_queue(app))
    return True


def detect(app: Any) -> Surfaces:
    """Look at a Gradio app. What is unusual is logged once in a process."""
    import gradio

    version = str(gradio.__version__)
    if _resumes_itself(version):
        _say(f"Gradio {version} resumes streams itself: Penstock stands aside and leaves the app as it is.")
        return Surfaces(version, "aside")
    missing = tuple(one.name for one in TABLE if one.found is not None and not _found(one.found, app))
    if missing:
        _say(f"Gradio {version} lacks {'; '.join(missing)}: {ONLY_RECONNECTED}")
    elif not _is_tested(version):
        _say(f"Gradio {version} is not among the tested versions ({SUPPORTED}): {ONLY_RECONNECTED}")
    mode: Mode = "full" if _is_tested(version) and not missing else "reconnect"
    return Surfaces(version, mode, _label(app), missing, _heartbeat_s())


def _found(look: Callable[[Any], bool], app: Any) -> bool:
    try:
        return look(app)
    except Exception:  # noqa: BLE001 - whatever a Gradio of tomorrow raises, the surface is not as it was
        return False


def numbers(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _is_tested(version: str) -> bool:
    return OLDEST <= numbers(version) <= NEWEST_TESTED


def _heartbeat_s() -> float:
    from gradio import utils

    tell = getattr(utils, "get_heartbeat_rate", None)
    try:
        return float(tell()) if tell is not None else HEARTBEAT_S
    except (TypeError, ValueError):
        return HEARTBEAT_S


# Gradio's own resuming


def _resumes_itself(version: str) -> bool:
    """Whether its server or its page asks for what was missed; the page is read only of versions not tested."""
    from gradio import routes

    if NATIVE in Path(routes.__file__).read_text(encoding="utf-8", errors="replace"):
        return True
    return numbers(version) > NEWEST_TESTED and _page_knows(NATIVE.encode())


@cache
def _page_knows(word: bytes) -> bool:
    import gradio

    scripts = Path(gradio.__file__).parent / "templates" / "frontend"
    return any(word in script.read_bytes() for script in scripts.rglob("*.js"))


# Several apps in one process


_LABELS: "WeakValueDictionary[str, Any]" = WeakValueDictionary()


def _label(app: Any) -> str:
    """The path where the app is mounted, or nothing; with a number where another app of this process has that."""
    place = fit((getattr(app.blocks, "custom_mount_path", None) or "").strip("/").replace("/", "."))
    number = 1
    while _is_taken(name := place if number == 1 else f"{place}-{number}".strip("-"), app.blocks):
        number += 1
    _LABELS[name] = app.blocks
    return name


def _is_taken(name: str, blocks: Any) -> bool:
    holder = _LABELS.get(name)
    return holder is not None and holder is not blocks and getattr(holder, "is_running", False)


# One log line


_SAID: set[str] = set()


def _say(line: str) -> None:
    if line not in _SAID:
        _SAID.add(line)
        log.warning("%s", line)

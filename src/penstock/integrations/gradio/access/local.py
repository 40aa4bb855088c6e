"""Whether whoever asks sits at this machine: what opens the console where there is neither a login nor a token.

A proxy on this machine makes every request of the world come from here. So a request is believed only where
nothing speaks against it: the connection and the name it asked for are this machine's, no header says that it was
passed on, no browser says that its page has another address, and, where the system tells (Linux), the process at
the other end is of the same user. And once anything has shown that there is a proxy, nothing opens the console by
itself any more. What is left is a proxy of the same user that hides itself completely: `token=` is for that.
"""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import Scope

from ....server.auth import is_loopback

__all__ = ["ThisMachine"]

PASSED_ON = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fly-client-ip",
    }
)
"""Headers that only proxies add, beside those that begin with x-forwarded."""

SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's tables of connections, which name each one's user."""

REWRITTEN_PORT = 0
"""What uvicorn gives as the client's port where it has taken the address from a proxy's header. It believes
proxies on this machine only; others may send such headers as they like."""

ROOT = 0


class ThisMachine:
    """Tells requests of whoever sits here from others."""

    def __init__(self) -> None:
        self.proxied = False
        """Something on this machine passes requests on to us."""

    async def has_sent(self, scope: Scope) -> bool:
        """Whether nothing speaks against it."""
        self.notice(scope)
        # HTTP/1.0 is what nginx speaks where it was told nothing else, and it says nothing of itself then.
        if self.proxied or not _is_from_loopback(scope) or scope.get("http_version") == "1.0":
            return False
        user = await asyncio.to_thread(_user_of, scope)
        return user is None or user in (os.geteuid(), ROOT)

    def notice(self, scope: Scope) -> None:
        """Learn from any request whether there is a proxy."""
        passed_on = _is_passed_on(scope)
        if _is_from_loopback(scope):
            self.proxied |= passed_on or _was_asked_elsewhere(scope)
        elif passed_on and scope["client"] is not None:
            self.proxied |= scope["client"][1] == REWRITTEN_PORT


def _is_from_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _is_passed_on(scope: Scope) -> bool:
    return any(name in PASSED_ON or name.startswith(b"x-forwarded") for name, _ in scope["headers"])


def _was_asked_elsewhere(scope: Scope) -> bool:
    """Whether the name it asked for is not this machine's, or a page of this app has another address than that."""
    headers = dict(scope["headers"])
    host = _name(b"//" + headers.get(b"host", b""))
    if not is_loopback(host):
        return True
    # Pages of other sites ask from this machine's browsers, too: only a page of our own tells where we are seen.
    if headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
        return False
    pages = [headers[name] for name in (b"origin", b"referer") if headers.get(name, b"null") != b"null"]
    return any(not is_loopback(_name(page)) for page in pages)


def _name(address: bytes) -> str:
    try:
        return urlsplit(address.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def _user_of(scope: Scope) -> int | None:
    """Whose process is at the other end; None where that can't be told."""
    client, server = scope.get("client"), scope.get("server")
    if client is None or server is None or server[1] is None:
        return None
    ends = f":{client[1]:04X}", f":{server[1]:04X}"
    for table in SOCKETS:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                return int(fields[7])
    return None

"""The page: our script goes before Gradio's own, and a browser that has no cookie gets one."""

from collections.abc import Iterable

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .seams.inner import API, route_of

__all__ = ["base_of", "tags", "with_script"]

MODULE = b'<script type="module"'
"""Modules run in the order of their tags: ours goes before the first."""

MARK = b"window.gradio_config"
"""What only a page of Gradio's has."""

MOST_BYTES = 64 * 1024 * 1024
"""A longer page goes as it is. Those of large apps have a few megabytes."""


def base_of(route: str) -> str:
    """Penstock's address, as seen from a page: relative, as nobody knows what proxies stand before."""
    return "../" * (route.count("/") - 1) + f"{API[1:]}/penstock/"


def tags(base: str, mode: str) -> bytes:
    """What is put into a page."""
    told = msgspec.json.encode({"base": base, "mode": mode}).replace(b"<", b"\\u003c")
    script = f'<script type="module" src="{base}web/gradio/page.js"></script>'.encode()
    return b'<script type="application/json" id="penstock-gradio">' + told + b"</script>" + script


async def with_script(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    mode: str,
    cookies: Iterable[tuple[bytes, bytes]],
) -> None:
    """Let the inner app answer, and put the script into what is a page of Gradio's."""
    page = _Page(send, tags(base_of(route_of(scope)), mode), list(cookies))
    await app(scope, receive, page.send)


class _Page:
    """Holds a page back until it is whole; lets everything else through."""

    def __init__(self, send: Send, tags: bytes, cookies: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._tags = tags
        self._cookies = cookies
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False) or len(self._body) > MOST_BYTES:
                await self._give(message)

    async def _give(self, last: Message) -> None:
        assert self._start is not None
        body, headers = bytes(self._body), list(self._start.get("headers", ()))
        if MARK in body and not last.get("more_body", False):
            body = _inserted(body, self._tags)
            headers = [one for one in headers if one[0].lower() not in (b"content-length", b"etag")]
            headers += [(b"content-length", str(len(body)).encode()), *self._cookies]
        start, self._start = self._start, None
        self._body.clear()
        await self._send({**start, "headers": headers})
        await self._send({**last, "body": body})


def _is_page(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start.get("headers", ())}
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers


def _inserted(body: bytes, tags: bytes) -> bytes:
    place = body.find(MODULE)
    if place < 0:
        place = body.find(b"</head>")
    return body if place < 0 else body[:place] + tags + body[place:]

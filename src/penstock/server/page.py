"""The page at `/`, and its modules under `/web`."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

__all__ = ["Modules", "index"]

WEB = Path(__file__).parent.parent / "web"
INDEX = WEB / "console" / "index.html"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def index(_request: Request) -> Response:
    """GET /"""
    return FileResponse(INDEX, headers=HEADERS, media_type="text/html; charset=utf-8")


class Modules(StaticFiles):
    """What the page loads. Asked for anew each time (304 if unchanged): an upgrade must not mix old and new."""

    def __init__(self) -> None:
        super().__init__(directory=WEB)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response

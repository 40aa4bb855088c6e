"""The page at `/`."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

__all__ = ["index"]

INDEX = Path(__file__).parent.parent / "web" / "console" / "index.html"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def index(_request: Request) -> Response:
    """GET /"""
    return FileResponse(INDEX, headers=HEADERS, media_type="text/html; charset=utf-8")
